"""Alerts on GPUs that fail, are slow, or are not seen. Xid codes: NVIDIA's Xid catalogue, actions by what it says."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.model import Alert, Group
from plimsoll.pillars.observability.pack.promql import either, on_node, per_device

FATAL_XIDS = "48|62|64|74|79|95|109|110|119|120|136|140|143|155|158"
"""Errors after which the GPU must be reset, its node rebooted, or its link repaired."""
APPLICATION_XIDS = "8|11|13|25|31|32|43|45|46|69"
"""Errors that a program makes: its owner is told, the GPU is well."""
_CARD = "node, UUID"
_DRAIN = "kubectl cordon {{ $labels.node }}; let its pods move: kubectl drain {{ $labels.node }} --ignore-daemonsets"
_SMI = "On the node: nvidia-smi -q -i {{ $labels.UUID }}"
_COOL = (
    "Look at its neighbours on the dashboard GPUs one by one: one hot GPU is dust, paste or a fan; all are the room",
    _SMI + " -d TEMPERATURE,PERFORMANCE",
    "Until it is mended: kubectl cordon {{ $labels.node }}",
)


def _card(*exprs: str) -> str:
    return per_device(either(*exprs), _CARD)


def _share(field: str) -> str:
    """The share of the last ten minutes in which a counter of nanoseconds ran."""
    return f"max by ({_CARD}) ({on_node(f'rate(DCGM_FI_DEV_{field}[10m])')}) / 1e9"


HARDWARE = (
    Alert(
        name="GpuFailed",
        severity="critical",
        expr=f'max_over_time(plimsoll:gpu_xid_new:info{{xid=~"{FATAL_XIDS}"}}[6h])'
        f" and on ({_CARD}, xid) plimsoll:gpu_xid:info",
        summary="GPU {{ $labels.UUID }} of {{ $labels.node }} failed with Xid {{ $labels.xid }}",
        means="The driver reported an error after which this GPU does not work until it is reset, or its node is "
        "rebooted. Pods on it hang or fail, and new ones are sent there. The alert ends when the exporter no longer "
        "shows the error, or after six hours.",
        runbook=(
            _DRAIN,
            "Look the code up in NVIDIA's Xid catalogue; the earliest code in the node's kernel log is the cause",
            "Reset the GPU (nvidia-smi --gpu-reset -i {{ $labels.UUID }}) or reboot the node; 79: always reboot",
            "The same GPU again within a month: have it replaced. 119 or 120 on many nodes: the driver",
        ),
    ),
    Alert(
        name="GpuProgramsCrash",
        severity="info",
        expr=f"count by (xid) (count by (node, xid) "
        f'(max_over_time(plimsoll:gpu_xid_new:info{{xid=~"{APPLICATION_XIDS}"}}[15m])))'
        " >= 3",
        summary="Programs on three or more nodes crash with Xid {{ $labels.xid }}",
        means="These errors are made by programs: reads out of bounds, bad kernels. The same one on several nodes at "
        "once "
        "is a job or an image, not hardware.",
        runbook=(
            "Find what ran there: plimsoll:gpu_holder:info at that time",
            "Tell the job's owner; a new image or library is the first suspect",
        ),
    ),
    Alert(
        name="GpuMemoryBroken",
        severity="critical",
        expr=_card(
            "DCGM_FI_DEV_ROW_REMAP_FAILURE > 0",
            "DCGM_FI_DEV_ROW_REMAP_FAILED > 0",
            "increase(DCGM_FI_DEV_ECC_DBE_VOL_TOTAL[15m]) > 0",
        ),
        summary="Memory of GPU {{ $labels.UUID }} of {{ $labels.node }} is broken",
        means="A double-bit error, or a row of memory that could not be replaced. What ran there may have computed "
        "with "
        "wrong values.",
        runbook=(_DRAIN, "Run its jobs again from their last checkpoint", "Have the GPU replaced if the remap failed"),
    ),
    Alert(
        name="GpuNeedsReset",
        severity="warning",
        expr=per_device("DCGM_FI_DEV_ROW_REMAP_PENDING > 0", _CARD),
        lasts="1h",
        summary="GPU {{ $labels.UUID }} of {{ $labels.node }} has rows of memory to replace",
        means="Rows that showed errors are replaced at the next reset. Until then the GPU works on with them.",
        runbook=(_DRAIN, "Reset the GPU: nvidia-smi --gpu-reset -i {{ $labels.UUID }}", "kubectl uncordon the node"),
    ),
    Alert(
        name="GpuMemoryWears",
        severity="info",
        expr=_card(
            "increase(DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS[1d]) > 0",
            "increase(DCGM_FI_DEV_ROW_REMAP_UNCORRECTABLE_TOTAL[1d]) > 0",
        ),
        summary="GPU {{ $labels.UUID }} of {{ $labels.node }} replaced rows of memory today",
        means="The card mended itself. A GPU that does so often will run out of spare rows.",
        runbook=("Note it for the next maintenance", "More than a few in a month: ask for a replacement"),
    ),
    Alert(
        name="GpuLost",
        severity="critical",
        expr='max by (node, resource) (kube_node_status_capacity{resource=~"nvidia_com_(gpu|gpu_shared|mig_.+)"}) '
        "> on (node, resource) plimsoll:node_gpu_allocatable:devices",
        lasts="5m",
        summary="{{ $labels.node }} has {{ $value }} devices, and not all of {{ $labels.resource }} can be given out",
        means="The device plugin took devices back as unhealthy: after an Xid, a GPU that fell off the bus, or a lost "
        "driver. Jobs that need whole nodes wait for ever.",
        runbook=(
            "Logs of the node's nvidia-device-plugin-daemonset in the operator's namespace: which device, and why",
            "On the node: nvidia-smi -L against the GPUs it should have",
            _DRAIN + ", then reboot; missing again: have the GPU replaced",
        ),
    ),
    Alert(
        name="GpuVanished",
        severity="warning",
        expr=f"count by (node) (group by ({_CARD}) (plimsoll:gpu:info)) "
        f"< count by (node) (group by ({_CARD}) (plimsoll:gpu:info offset 1h))",
        lasts="10m",
        summary="{{ $labels.node }} measures {{ $value }} GPUs, fewer than an hour ago",
        means="The exporter no longer finds a GPU that was there an hour ago: it fell off the bus, or the exporter "
        "was told "
        "to leave it out.",
        runbook=(
            "On the node: nvidia-smi -L, and the kernel log for Xid 79",
            _DRAIN + ", then reboot",
        ),
    ),
    Alert(
        name="GpuTooHot",
        severity="warning",
        expr=f"max by ({_CARD}) (plimsoll:gpu_temperature:celsius) "
        f"> on ({_CARD}) {_card('DCGM_FI_DEV_SLOWDOWN_TEMP')} - 5",
        lasts="10m",
        summary="GPU {{ $labels.UUID }} of {{ $labels.node }} is at {{ $value }} °C, and slows down within five more",
        means="The card's own limit is near; nothing is slower yet.",
        runbook=_COOL,
    ),
    Alert(
        name="GpuMemoryTooHot",
        severity="warning",
        expr=f"max by ({_CARD}) (plimsoll:gpu_memory_temperature:celsius) "
        f"> on ({_CARD}) {_card('(DCGM_FI_DEV_MEM_MAX_OP_TEMP > 0)')} - 5",
        lasts="10m",
        summary="Memory of GPU {{ $labels.UUID }} of {{ $labels.node }} is at {{ $value }} °C, near its limit",
        means="Stacked memory slows the card down while its core reads sixty degrees; nothing else shows that.",
        runbook=_COOL,
    ),
    Alert(
        name="GpuThrottledByHeat",
        severity="warning",
        expr=f"{_share('THERMAL_VIOLATION')} > 0.05",
        lasts="10m",
        summary="GPU {{ $labels.UUID }} of {{ $labels.node }} is slowed down by heat",
        means="For more than a twentieth of the time it runs below its clock because it is too hot. In a job of "
        "several "
        "nodes the slowest GPU sets the pace of all.",
        runbook=_COOL,
    ),
    Alert(
        name="GpuThrottledByPower",
        severity="info",
        expr=f"{_share('POWER_VIOLATION')} > 0.2",
        lasts="30m",
        summary="GPU {{ $labels.UUID }} of {{ $labels.node }} runs at its power limit",
        means="For more than a fifth of the time it would run faster if it were allowed more power. Dense training "
        "does "
        "that by nature; below the card's own limit somebody set a lower one.",
        runbook=(_SMI + " -d POWER   # current against default limit", "Compare with GPUs of the same model"),
    ),
    Alert(
        name="GpuSlowerThanItsKind",
        severity="warning",
        expr="""
            plimsoll:gpu_sm_clock:hertz
            < on (modelName) group_left () 0.85 * quantile by (modelName) (0.5, plimsoll:gpu_sm_clock:hertz
              and on (node, UUID) (max by (node, UUID) (plimsoll:gpu_busy:ratio) > 0.5))
            and on (node, UUID) (max by (node, UUID) (plimsoll:gpu_busy:ratio) > 0.5)""",
        lasts="30m",
        summary="GPU {{ $labels.UUID }} of {{ $labels.node }} is slower than other {{ $labels.modelName }}",
        means="Under load its clock is more than 15 % below the median of its model. It holds up every job that "
        "spans it.",
        runbook=(
            _SMI + " -d PERFORMANCE,CLOCK   # locked clocks, a power brake, heat of the memory",
            "Drain it and run DCGM's diagnosis: dcgmi diag -r 2",
        ),
    ),
    Alert(
        name="GpuBusRepeats",
        severity="warning",
        expr=_card("increase(DCGM_FI_DEV_PCIE_REPLAY_COUNTER[1h])", "increase(DCGM_FI_DEV_PCIE_REPLAY_TOTAL[1h])")
        + " > 100",
        summary="GPU {{ $labels.UUID }} of {{ $labels.node }} repeats transfers over PCIe",
        means="More than a hundred transfers in an hour had to be sent again: a riser, a cable or a slot.",
        runbook=("Have the card reseated at the next maintenance", "Many GPUs of one node: the board"),
    ),
)
"""What the cards themselves say."""

SIGHT = (
    Alert(
        name="GpuNodeNotMeasured",
        severity="critical",
        expr="sum by (node) (plimsoll:node_gpu_allocatable:devices) > 0 unless on (node) plimsoll:gpu:info",
        lasts="10m",
        summary="Nobody measures the GPUs of {{ $labels.node }}",
        means="The node offers GPUs, and none of their series arrives: no other alert on them can fire.",
        runbook=(
            "kubectl get pods -A -l app=nvidia-dcgm-exporter --field-selector spec.nodeName={{ $labels.node }}",
            "Its logs; memory limit on nodes with eight GPUs: 1Gi",
            "Prometheus' page of targets: is the node's exporter among them?",
        ),
    ),
    Alert(
        name="GpuExporterDown",
        severity="warning",
        expr='max by (instance, node) (up{job=~".*dcgm-exporter.*"}) == 0',
        lasts="10m",
        summary="The exporter at {{ $labels.instance }} does not answer",
        means="Its series have ended; graphs show a gap, not a zero.",
        runbook=("kubectl get pods -A -l app=nvidia-dcgm-exporter -o wide", "Look at the logs of that one"),
    ),
    Alert(
        name="GpuProfilingNotMeasured",
        severity="warning",
        expr="count by (node) (plimsoll:gpu_util_nvml:ratio) > 0 unless on (node) "
        + per_device(either("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO"), "node"),
        lasts="30m",
        summary="{{ $labels.node }} shows use, but neither tensor nor memory activity",
        means="The profiling fields are missing: another program has the counters, the exporter lacks SYS_ADMIN, or "
        "its "
        "file of counters does not ask for them. A GPU that seems busy may do little.",
        runbook=(
            "What the node's nvidia-dcgm-exporter logs of profiling, and whether its file of counters has "
            "DCGM_FI_PROF_…",
            "Is Nsight or `dcgmi profile --pause` in use on the node? Only one program at a time may read them",
        ),
    ),
    Alert(
        name="GpuShareOfPodsNotMeasured",
        severity="warning",
        expr="""
            sum by (node, UUID) (plimsoll:gpu_util_nvml:ratio) > 0.2
            and on (node, UUID) (sum by (node, UUID) ("""
        + on_node('(DCGM_FI_DEV_GPU_UTIL{vgpu!=""} or DCGM_FI_DEV_GPU_UTIL_RATIO{vgpu!=""})')
        + """) == 0)""",
        lasts="30m",
        summary="Pods that share GPU {{ $labels.UUID }} of {{ $labels.node }} seem idle, and it is busy",
        means="The exporter cannot see the processes of the pods, so it writes 0 for each. Whoever goes by that "
        "takes GPUs "
        "away from jobs that run.",
        runbook=("Set hostPID for the exporter", "Until then judge shared GPUs by the device, not by pod"),
    ),
    Alert(
        name="GpuMetricsOfTwoGenerations",
        severity="info",
        expr="count(count by (node) (DCGM_FI_DEV_GPU_TEMP)) > 0 and count(count by (node) "
        "(DCGM_FI_DEV_GPU_TEMP_CELSIUS)) > 0",
        lasts="6h",
        summary="Exporters before and since 4.9 run side by side",
        means="Their fields have other names and units. These rules know both; dashboards and queries of your own may "
        "show half of the cluster.",
        runbook=("kubectl get ds -A -l app=nvidia-dcgm-exporter -o wide", "Finish the upgrade, or pin one version"),
    ),
    Alert(
        name="GpuMetricsNameTheExporter",
        severity="info",
        expr='count(DCGM_FI_DEV_FB_USED{exported_pod!=""} or DCGM_FI_DEV_FB_USED_BYTES{exported_pod!=""}) > 0',
        lasts="1h",
        summary="GPU metrics name the exporter's pod, not the one that uses the GPU",
        means="A scrape without honorLabels renames the user's pod to exported_pod. These rules know that; queries "
        "of your "
        "own by pod add up the exporter's.",
        runbook=("Set honorLabels: true on the monitor of the exporter, and keep only one monitor",),
    ),
    Alert(
        name="GpuDriversDiffer",
        severity="info",
        expr="""
            count by (pool) (count by (pool, driver) (label_join(
              (DCGM_FI_DEV_FB_USED or DCGM_FI_DEV_FB_USED_BYTES) * on (node) group_left (pool) plimsoll:node_pool:info,
              "driver", "", "DCGM_FI_DRIVER_VERSION", "DCGM_FI_SYSTEM_DRIVER_VERSION"))) > 1""",
        lasts="1d",
        summary="Nodes of pool {{ $labels.pool }} run {{ $value }} versions of the driver",
        means="An upgrade stopped half-way, or nodes were made from different images. Jobs may work on one node and "
        "fail "
        "on the next.",
        runbook=(
            "kubectl get nodes -L nvidia.com/cuda.driver-version.full,nvidia.com/gpu-driver-upgrade-state",
            "Let the upgrade go on, or replace the nodes that are behind",
        ),
    ),
)
"""Whether they are seen at all, and rightly."""

GPUS = (Group(name="plimsoll-gpu-hardware", rules=HARDWARE), Group(name="plimsoll-gpu-sight", rules=SIGHT))
