"""Alerts on GPUs that cost and do nothing, and on the nodes they are in."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.model import Alert, Group
from plimsoll.pillars.observability.pack.promql import GPU_RESOURCE

_POD = "namespace, pod"
_OF_TEAM = "* on (namespace) group_left (team) plimsoll:namespace_team:info"
_HELD_SINCE = f"max by ({_POD}) (time() - kube_pod_status_scheduled_time)"
_GPU_NODES = "and on (node) plimsoll:node_gpu_allocatable:devices > 0"
_OWNER = "Ask team {{ $labels.team }}: kubectl -n {{ $labels.namespace }} describe pod {{ $labels.pod }}"


def _idle(window: str, over: str) -> str:
    """Pods all of whose devices were below a use for a window, and which have held them for longer."""
    return (
        f"max by ({_POD}) (max_over_time(plimsoll:pod_gpu_busy:ratio[{window}])) {over} "
        f"and on ({_POD}) (max by ({_POD}) (plimsoll:pod_gpu_held:devices) > 0)"
    )


USE = (
    Alert(
        name="GpuHeldIdle",
        severity="warning",
        expr=f"({_idle('1h', '< 0.01')} and on ({_POD}) {_HELD_SINCE} > 3600) {_OF_TEAM}",
        lasts="5m",
        summary="{{ $labels.namespace }}/{{ $labels.pod }} has held its GPUs for an hour without using them",
        means="No kernel ran on any of them for more than 1 % of the time in the last hour, while others may wait. "
        "Notebooks left open and jobs that wait for data look like this. A pod that shares its GPU is judged by "
        "the whole GPU, so it is named only where all sharers are idle.",
        runbook=(
            _OWNER,
            "A notebook: stop it when idle, or move it to shared GPUs",
            "A job: look for a data loader, a download or a rank that is missing",
        ),
    ),
    Alert(
        name="GpuNeverUsed",
        severity="warning",
        expr=f"""(max by ({_POD}) (max_over_time(plimsoll:pod_gpu_busy:ratio[2h])) == 0
            and on ({_POD}) {_HELD_SINCE} > 7200
            and on ({_POD}) max by ({_POD}) (plimsoll:gpu_holder:info * on (node, UUID, GPU_I_ID) group_left ()
              max by (node, UUID, GPU_I_ID) (max_over_time(plimsoll:gpu_memory_used:ratio[2h]))) < 0.01) {_OF_TEAM}""",
        lasts="5m",
        summary="{{ $labels.namespace }}/{{ $labels.pod }} has held GPUs for two hours and never opened one",
        means="Neither compute nor memory of its GPUs was touched: the program does not find them, or needs none.",
        runbook=(
            "kubectl -n {{ $labels.namespace }} exec {{ $labels.pod }} -- nvidia-smi",
            "Does the program ask for cuda? An image without CUDA falls back to the CPU without an error",
            _OWNER,
        ),
    ),
    Alert(
        name="GpuUsedPoorly",
        severity="info",
        expr=f"""(max by ({_POD}) (plimsoll:gpu_holder:info * on (node, UUID, GPU_I_ID) group_left ()
              max by (node, UUID, GPU_I_ID) (avg_over_time(plimsoll:gpu_sm_active:ratio[6h]))) < 0.15
            and on ({_POD}) max by ({_POD}) (avg_over_time(plimsoll:pod_gpu_busy:ratio[6h])) > 0.05
            and on ({_POD}) {_HELD_SINCE} > 21600) {_OF_TEAM}""",
        lasts="10m",
        summary="{{ $labels.namespace }}/{{ $labels.pod }} keeps its GPUs busy with little",
        means="Something runs much of the time, and on average less than 15 % of the GPU's processors have work: "
        "batches "
        "too small, many tiny kernels, or a model far smaller than the GPU.",
        runbook=("Larger batches, or CUDA graphs", "A MIG profile or a shared GPU may be enough", _OWNER),
    ),
    Alert(
        name="PoolMostlyFree",
        severity="info",
        expr="max by (pool) (avg_over_time(plimsoll:pool_gpu_allocation:ratio[6h])) < 0.5",
        lasts="30m",
        summary="More than half of pool {{ $labels.pool }} has been free for six hours",
        means="On average {{ $value | humanizePercentage }} of its devices were held. Nodes of it are paid for and "
        "wait.",
        runbook=(
            "Lower nodes.min of the pool, or let it shrink",
            "Is somebody's quota on it unused? Let others borrow (teams[].lend)",
        ),
    ),
    Alert(
        name="GpuStranded",
        severity="warning",
        expr="""
            sum by (node) (plimsoll:node_gpu_free:devices) > 0 and on (node) (
              max by (node) (kube_node_status_allocatable{resource="cpu"}) - on (node)
              sum by (node) (max by (namespace, pod, uid, container, node) (
                kube_pod_container_resource_requests{resource="cpu", node!=""})
                * on (namespace, pod, uid) group_left ()
                max by (namespace, pod, uid) (kube_pod_status_phase{phase=~"Pending|Running"} == 1)) < 2)""",
        lasts="30m",
        summary="{{ $value }} devices of {{ $labels.node }} are free, and less than two CPUs to go with them",
        means="Pods there asked for more CPU than goes with their GPUs, so the rest of the GPUs can be given to "
        "nobody.",
        runbook=(
            "kubectl describe node {{ $labels.node }}   # who asked for the CPUs",
            "Bound CPUs per GPU in the team's quota, or move the pods that need no GPU",
        ),
    ),
    Alert(
        name="GpuPodUnschedulable",
        severity="warning",
        expr=f"""max by ({_POD}) (max by ({_POD}, uid) (kube_pod_status_scheduled{{condition="false"}} == 1)
            and on ({_POD}, uid) kube_pod_container_resource_requests{{{GPU_RESOURCE}}}
            and on ({_POD}, uid) (kube_pod_status_phase{{phase="Pending"}} == 1))""",
        lasts="30m",
        summary="{{ $labels.namespace }}/{{ $labels.pod }} finds no node with the GPUs it asks for",
        means="It passed the queue, or has none, and no node fits: taints, a resource name that no node has, a "
        "topology "
        "it cannot get, or CPUs that are gone. While it waits its quota is taken.",
        runbook=(
            "kubectl -n {{ $labels.namespace }} describe pod {{ $labels.pod }}   # the scheduler's reasons, node by "
            "node",
            "plimsoll check",
        ),
    ),
)
"""Money."""

NODES = (
    Alert(
        name="GpuNodeNotReady",
        severity="critical",
        expr=f'max by (node) (kube_node_status_condition{{condition="Ready", status="true"}} == 0) {_GPU_NODES}',
        lasts="5m",
        summary="GPU node {{ $labels.node }} is not ready",
        means="Its kubelet does not answer. Pods on it are moved after five minutes; jobs lose what they did since "
        "their "
        "last checkpoint.",
        runbook=(
            "kubectl describe node {{ $labels.node }}",
            "A spot node: it was taken back, and another one comes. Otherwise: the machine's console",
        ),
    ),
    Alert(
        name="GpuNodeUnderPressure",
        severity="warning",
        expr='max by (node, condition) (kube_node_status_condition{condition=~"(Memory|Disk|PID)Pressure", '
        'status="true"}'
        f" == 1) {_GPU_NODES}",
        lasts="10m",
        summary="GPU node {{ $labels.node }} reports {{ $labels.condition }}",
        means="The kubelet starts to end pods, those that exceed their requests first, and pulls no images.",
        runbook=(
            "kubectl describe node {{ $labels.node }}",
            "Disk: images and emptyDirs of model weights; memory: pods without limits, /dev/shm",
        ),
    ),
    Alert(
        name="GpuNodeCordonedLong",
        severity="info",
        expr=f"max by (node) (kube_node_spec_unschedulable == 1) {_GPU_NODES}",
        lasts="4h",
        summary="GPU node {{ $labels.node }} has been cordoned for four hours",
        means="It is paid for and takes no pods. Often a drain or a driver upgrade that nobody finished.",
        runbook=(
            "kubectl get node {{ $labels.node }} -L nvidia.com/gpu-driver-upgrade-state",
            "Mended: kubectl uncordon {{ $labels.node }}; otherwise give the machine back",
        ),
    ),
    Alert(
        name="GpuPodsLostToTheirNode",
        severity="info",
        expr="""
            count by (pool, reason) (
              max by (namespace, pod, uid, reason) (kube_pod_status_disruption_reason)
              * on (namespace, pod, uid) group_left (pool) max by (namespace, pod, uid, pool) (
                kube_pod_info{node!=""} * on (node) group_left (pool) plimsoll:node_pool:info)) >= 5""",
        lasts="5m",
        summary="{{ $value }} pods of pool {{ $labels.pool }} are being lost: {{ $labels.reason }}",
        means="Nodes are taken back, drained or tainted faster than usual. Each pod loses what it did since its last "
        "checkpoint.",
        runbook=(
            "DeletionByTaintManager or TerminationByKubelet on spot: the market; let jobs fall back (spot.fallback)",
            "EvictionByEvictionAPI: somebody drains nodes",
            "PreemptionByScheduler: priorities outside the queue",
        ),
    ),
)
"""Machines."""

USES = (Group(name="plimsoll-gpu-use", rules=USE), Group(name="plimsoll-gpu-nodes", rules=NODES))
