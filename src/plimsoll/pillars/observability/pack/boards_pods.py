"""Dashboards of pods: those whose GPUs idle, and one job from all sides."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.boards_common import NAMESPACE
from plimsoll.pillars.observability.pack.grafana import Board, Panel, Query, Row, Variable
from plimsoll.pillars.observability.pack.promql import GPU_RESOURCE

_SPACE = 'namespace=~"$namespace"'
IDLE = Board(
    uid="plimsoll-idle",
    title="Idle GPUs",
    about="Where money goes that buys nothing: devices nobody holds, and devices that are held and do nothing.",
    variables=(NAMESPACE,),
    rows=(
        Row(
            "How much",
            (
                Panel(
                    title="Devices nobody holds",
                    about="By pool and kind.",
                    stack=True,
                    width=12,
                    queries=(
                        Query(
                            "plimsoll:pool_gpu_allocatable:devices - plimsoll:pool_gpu_held:devices",
                            "{{pool}} {{resource}}",
                        ),
                    ),
                ),
                Panel(
                    title="Devices held and idle",
                    about="Held for an hour, and busy for less than 1 % of it at any time.",
                    stack=True,
                    width=12,
                    queries=(
                        Query(
                            "count by (team) ((max_over_time(plimsoll:pod_gpu_busy:ratio[1h]) < 0.01) "
                            "* on (namespace) group_left (team) plimsoll:namespace_team:info)",
                            "{{team}}",
                        ),
                    ),
                ),
                Panel(
                    title="Busy by team",
                    about="Mean over the devices its pods hold.",
                    unit="percentunit",
                    most=1,
                    width=12,
                    queries=(Query("plimsoll:team_gpu_busy:ratio", "{{team}}"),),
                ),
                Panel(
                    title="Held by team",
                    about="Devices of each kind.",
                    stack=True,
                    width=12,
                    queries=(Query("plimsoll:team_gpu_held:devices", "{{team}} {{resource}}"),),
                ),
            ),
        ),
        Row(
            "Who",
            (
                Panel(
                    title="Least busy pods",
                    about="The busiest their GPUs were in an hour; the lowest first.",
                    kind="table",
                    width=12,
                    height=12,
                    queries=(
                        Query(
                            f"bottomk(30, max by (namespace, pod, node) "
                            f"(max_over_time(plimsoll:pod_gpu_busy:ratio{{{_SPACE}}}[1h])))"
                        ),
                    ),
                ),
                Panel(
                    title="Pods that wait for a node",
                    about="Admitted or without a queue, and not scheduled.",
                    kind="table",
                    width=12,
                    height=12,
                    queries=(
                        Query(
                            f'max by (namespace, pod) (kube_pod_status_scheduled{{condition="false", {_SPACE}}} == 1 '
                            f"and on (namespace, pod, uid) kube_pod_container_resource_requests{{{GPU_RESOURCE}}})"
                        ),
                    ),
                ),
            ),
        ),
    ),
)

_POD = 'namespace=~"$namespace", pod=~"$pod"'
_ON = "* on (node, UUID, GPU_I_ID) group_left () max by (node, UUID, GPU_I_ID)"
PODS = Board(
    uid="plimsoll-pods",
    title="Pods on GPUs",
    about="One job or notebook: its GPUs beside its CPU, memory and network, rank by rank.",
    variables=(NAMESPACE, Variable("pod", "Pod", 'plimsoll:pod_gpu_held:devices{namespace=~"$namespace"}', "pod")),
    rows=(
        Row(
            "GPUs",
            tuple(
                Panel(
                    title=title,
                    about=about,
                    unit=unit,
                    most=1 if unit == "percentunit" else None,
                    queries=(
                        Query(
                            f"max by (namespace, pod, node, UUID) (plimsoll:gpu_holder:info{{{_POD}}} "
                            f"{_ON} (plimsoll:{name}))",
                            "{{pod}} {{UUID}}",
                        ),
                    ),
                )
                for title, about, unit, name in (
                    (
                        "Busy",
                        "A sawtooth is a loader that cannot keep up; one rank below the others holds them up.",
                        "percentunit",
                        "gpu_busy:ratio",
                    ),
                    ("Processors with work", "Low beside busy: small kernels.", "percentunit", "gpu_sm_active:ratio"),
                    (
                        "Tensor cores",
                        "Near zero in training: the wrong data type.",
                        "percentunit",
                        "gpu_tensor_active:ratio",
                    ),
                    (
                        "GPU memory",
                        "What it needs, for the choice of a smaller device.",
                        "bytes",
                        "gpu_memory_used:bytes",
                    ),
                )
            ),
        ),
        Row(
            "Beside them",
            (
                Panel(
                    title="CPU",
                    about="Used cores.",
                    queries=(
                        Query(
                            f'sum by (pod) (rate(container_cpu_usage_seconds_total{{{_POD}, container!=""}}[5m]))',
                            "{{pod}}",
                        ),
                    ),
                ),
                Panel(
                    title="CPU held back",
                    about="Share of periods in which its limit stopped it.",
                    unit="percentunit",
                    most=1,
                    queries=(
                        Query(
                            f"sum by (pod) (rate(container_cpu_cfs_throttled_periods_total{{{_POD}}}[5m])) "
                            f"/ sum by (pod) (rate(container_cpu_cfs_periods_total{{{_POD}}}[5m]))",
                            "{{pod}}",
                        ),
                    ),
                ),
                Panel(
                    title="Memory",
                    about="Of the host.",
                    unit="bytes",
                    queries=(
                        Query(f'sum by (pod) (container_memory_working_set_bytes{{{_POD}, container!=""}})', "{{pod}}"),
                    ),
                ),
                Panel(
                    title="Network",
                    about="Received and sent.",
                    unit="Bps",
                    queries=(
                        Query(
                            f"sum by (pod) (rate(container_network_receive_bytes_total{{{_POD}}}[5m]))", "{{pod}} in"
                        ),
                        Query(
                            f"sum by (pod) (rate(container_network_transmit_bytes_total{{{_POD}}}[5m]))", "{{pod}} out"
                        ),
                    ),
                ),
                Panel(
                    title="Restarts",
                    about="In an hour.",
                    stack=True,
                    queries=(
                        Query(
                            f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{_POD}}}[1h]))",
                            "{{pod}}",
                        ),
                    ),
                ),
                Panel(
                    title="Devices",
                    about="What it holds.",
                    kind="table",
                    queries=(Query(f"plimsoll:pod_gpu_held:devices{{{_POD}}}"),),
                ),
            ),
        ),
    ),
)
