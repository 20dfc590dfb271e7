"""Dashboards of machines: nodes and the operator, spot capacity."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.boards_common import CPU, MEMORY, POOL, in_pool
from plimsoll.pillars.observability.pack.grafana import Board, Panel, Query, Row, Step

NODES = Board(
    uid="plimsoll-nodes",
    title="Nodes and operator",
    about="Machines with GPUs, and what keeps their driver and device plugin.",
    variables=(POOL,),
    rows=(
        Row(
            "Nodes",
            (
                Panel(
                    title="GPU nodes",
                    about="That are there.",
                    kind="stat",
                    width=6,
                    height=4,
                    queries=(Query('count(plimsoll:node_pool:info{pool=~"$pool"})'),),
                ),
                Panel(
                    title="Not ready",
                    about="Of these.",
                    kind="stat",
                    width=6,
                    height=4,
                    steps=(Step(1, "red"),),
                    queries=(
                        Query(
                            "count("
                            + in_pool(
                                'max by (node) (kube_node_status_condition{condition="Ready", status="true"} == 0)'
                            )
                            + ") or vector(0)"
                        ),
                    ),
                ),
                Panel(
                    title="Cordoned",
                    about="Paid for, and closed to pods.",
                    kind="stat",
                    width=6,
                    height=4,
                    steps=(Step(1, "yellow"),),
                    queries=(
                        Query(f"count({in_pool('max by (node) (kube_node_spec_unschedulable == 1)')}) or vector(0)"),
                    ),
                ),
                Panel(
                    title="Devices taken back",
                    about="Offered less than the node has: unhealthy.",
                    kind="stat",
                    width=6,
                    height=4,
                    steps=(Step(1, "red"),),
                    queries=(
                        Query(
                            'sum(max by (node, resource) (kube_node_status_capacity{resource=~"nvidia_com_.+"}) '
                            "- on (node, resource) plimsoll:node_gpu_allocatable:devices) or vector(0)"
                        ),
                    ),
                ),
                Panel(
                    title="Nodes by pool",
                    about="As pools grow and shrink.",
                    stack=True,
                    queries=(Query('count by (pool) (plimsoll:node_pool:info{pool=~"$pool"})', "{{pool}}"),),
                ),
                Panel(title="CPU", about="Of GPU nodes.", queries=CPU),
                Panel(title="Memory", about="Of GPU nodes.", unit="bytes", queries=MEMORY),
            ),
        ),
        Row(
            "GPU Operator",
            (
                Panel(
                    title="State",
                    about="1: well. 0: an operand is not ready. -1: no ClusterPolicy. -2: an error.",
                    kind="stat",
                    queries=(Query("max(gpu_operator_reconciliation_status)"),),
                ),
                Panel(
                    title="Driver upgrades",
                    about="Nodes by state.",
                    stack=True,
                    queries=tuple(
                        Query(f"max(gpu_operator_nodes_upgrades_{state})", state.replace("_", " "))
                        for state in ("in_progress", "pending", "done", "failed")
                    ),
                ),
                Panel(
                    title="Versions of the driver",
                    about="Nodes by version.",
                    stack=True,
                    queries=(
                        Query(
                            "count by (driver) (group by (node, driver) (label_join("
                            "DCGM_FI_DEV_FB_USED or DCGM_FI_DEV_FB_USED_BYTES, "
                            '"driver", "", "DCGM_FI_DRIVER_VERSION", "DCGM_FI_SYSTEM_DRIVER_VERSION")))',
                            "{{driver}}",
                        ),
                    ),
                ),
                Panel(
                    title="Operands that do not run",
                    about="Pods of DaemonSets of the GPU stack, and why.",
                    kind="table",
                    width=16,
                    queries=(
                        Query(
                            "max by (namespace, pod, reason) (kube_pod_container_status_waiting_reason and on "
                            '(namespace, pod) kube_pod_info{created_by_kind="DaemonSet", '
                            'created_by_name=~"nvidia-.*|gpu-feature-discovery"})'
                        ),
                    ),
                ),
                Panel(
                    title="Nodes nobody measures",
                    about="They offer GPUs, and no series of theirs arrives.",
                    kind="stat",
                    steps=(Step(1, "red"),),
                    queries=(
                        Query(
                            "count(sum by (node) (plimsoll:node_gpu_allocatable:devices) > 0 unless on (node) "
                            "plimsoll:gpu:info) or vector(0)"
                        ),
                    ),
                ),
            ),
        ),
    ),
)

SPOT = Board(
    uid="plimsoll-spot",
    title="Spot capacity",
    about="Nodes that may vanish: how many there are, how often they go, and what goes with them.",
    variables=(POOL,),
    rows=(
        Row(
            "Capacity",
            (
                Panel(
                    title="Nodes",
                    about="By pool.",
                    stack=True,
                    queries=(Query('count by (pool) (plimsoll:node_pool:info{pool=~"$pool"})', "{{pool}}"),),
                ),
                Panel(
                    title="Age of nodes",
                    about="Mean, by pool: a falling line is a market that takes back.",
                    unit="s",
                    queries=(
                        Query(f"avg by (pool) ({in_pool('(time() - max by (node) (kube_node_created))')})", "{{pool}}"),
                    ),
                ),
                Panel(
                    title="Held",
                    about="Share of devices.",
                    unit="percentunit",
                    most=1,
                    queries=(Query('plimsoll:pool_gpu_allocation:ratio{pool=~"$pool"}', "{{pool}} {{resource}}"),),
                ),
            ),
        ),
        Row(
            "Losses",
            (
                Panel(
                    title="Nodes that went",
                    about="In an hour.",
                    stack=True,
                    width=12,
                    queries=(
                        Query(
                            "count by (pool) (plimsoll:node_pool:info offset 1h unless on (node) "
                            "plimsoll:node_pool:info)",
                            "{{pool}}",
                        ),
                    ),
                ),
                Panel(
                    title="Pods that are being lost",
                    about="By reason.",
                    stack=True,
                    width=12,
                    queries=(Query("count by (reason) (kube_pod_status_disruption_reason)", "{{reason}}"),),
                ),
            ),
        ),
    ),
)
