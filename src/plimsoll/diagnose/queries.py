"""What is asked of a Prometheus, of whichever generation of dcgm-exporter, with recorded series where ours are there.

Names changed with dcgm-exporter 4.9, and units with them; a query on a name that is gone is empty, not wrong. Series of
devices have the labels node, UUID, GPU_I_ID (of a MIG instance), GPU_I_PROFILE and modelName.
"""

from __future__ import annotations

_DEV, _PROF, _MIB = "DCGM_FI_DEV_", "DCGM_FI_PROF_", 1 << 20
UNIT = "node, UUID, GPU_I_ID"
_DEVICE = f"{UNIT}, GPU_I_PROFILE, modelName"
_EXPORTER = ".*dcgm-exporter.*"


def _on_node(expr: str) -> str:
    """With the name of the node in `node`: a monitor of ours writes it, else the exporter's own label is its name."""
    joined = f'label_join({expr}, "node", ";", "node", "hostname", "Hostname")'
    return f'label_replace({joined}, "node", "$1", "node", ";*([^;]+).*")'


def _device(*exprs: str, recorded: str = "") -> str:
    """One series for each device: sharers of one GPU repeat it, so the largest is the device's own."""
    raw = f"max by ({_DEVICE}) ({_on_node('(' + ' or '.join(exprs) + ')')})"
    return f"max by ({_DEVICE}) ({recorded}) or {raw}" if recorded else raw


def _held(metric: str) -> str:
    """The series that name the pod which uses a device; where labels of the exporter are not honoured they are called
    exported_…, and `pod` is the exporter."""
    renamed = f'{metric}{{exported_pod!=""}}'
    for label in ("namespace", "pod"):
        renamed = f'label_replace({renamed}, "{label}", "$1", "exported_{label}", "(.+)")'
    return f'({renamed} or {metric}{{exported_pod="",pod!="",pod!~"{_EXPORTER}"}})'


_UTIL = (f"{_DEV}GPU_UTIL / 100", f"({_DEV}GPU_UTIL_RATIO <= 1)", f"{_DEV}GPU_UTIL_RATIO / 100")

DEVICE: dict[str, str] = {
    "busy": _device(
        f"{_PROF}GR_ENGINE_ACTIVE", f"{_PROF}GR_ENGINE_UTIL_RATIO", *_UTIL, recorded="plimsoll:gpu_busy:ratio"
    ),
    "sm": _device(f"{_PROF}SM_ACTIVE", f"{_PROF}SM_UTIL_RATIO", recorded="plimsoll:gpu_sm_active:ratio"),
    "tensor": _device(
        f"{_PROF}PIPE_TENSOR_ACTIVE", f"{_PROF}TENSOR_UTIL_RATIO", recorded="plimsoll:gpu_tensor_active:ratio"
    ),
    "dram": _device(f"{_PROF}DRAM_ACTIVE", f"{_PROF}DRAM_UTIL_RATIO", recorded="plimsoll:gpu_dram_active:ratio"),
    "memory": _device(
        f"{_DEV}FB_USED", f"{_DEV}FB_USED_BYTES / {_MIB}", recorded=f"plimsoll:gpu_memory_used:bytes / {_MIB}"
    ),
    "watts": _device(f"{_DEV}POWER_USAGE", f"{_DEV}BOARD_POWER_WATTS"),
    "clock": _device(f"{_DEV}SM_CLOCK * 1e6", f"{_DEV}SM_CLOCK_HERTZ"),
    "pcie": _device(f"{_PROF}PCIE_RX_BYTES"),
    "nvlink": _device(
        f"({_PROF}NVLINK_TX_BYTES + {_PROF}NVLINK_RX_BYTES)",
        f"{_DEV}NVLINK_THROUGHPUT_BYTES_PER_SECOND",
        f"{_DEV}NVLINK_BANDWIDTH_TOTAL * 1e6",
    ),
    "xid": _device(f"{_DEV}XID_ERRORS", f"{_DEV}XID_ERROR"),
}
"""Of devices: shares of their time, MiB, W, Hz, bytes a second; the last Xid."""

# Nanoseconds, which the field reference says since DCGM 3; the exporter's older comments said microseconds.
DEVICE_RATES: dict[str, str] = {
    "heat": f"{_DEV}THERMAL_VIOLATION",
    "power": f"{_DEV}POWER_VIOLATION",
}


def slowed(metric: str, span: str) -> str:
    """The share of the time before in which a GPU was slowed down."""
    return f"{_device(f'rate({metric}[{span}])')} / 1e9"


HOLDERS = (
    f"group by ({_DEVICE}, namespace, pod) ("
    + _on_node("(" + " or ".join(_held(f"{_DEV}{name}") for name in ("FB_USED", "FB_USED_BYTES")) + ")")
    + ")"
)
"""Which pods use which devices. Not the recorded form: that one lacks the model and the profile."""

OWNERS = 'max by (namespace, pod, owner_kind, owner_name) (last_over_time(kube_pod_owner{owner_kind!=""}[SPAN]))'

_POD = "namespace, pod"
_CONTAINERS = 'container!="",NAMESPACES'

POD: dict[str, str] = {
    "cores": f"sum by ({_POD}) (rate(container_cpu_usage_seconds_total{{{_CONTAINERS}}}[RATE]))",
    "of_limit": f"sum by ({_POD}) (rate(container_cpu_usage_seconds_total{{{_CONTAINERS}}}[RATE])) / "
    f'sum by ({_POD}) (max by ({_POD}, container) (kube_pod_container_resource_limits{{resource="cpu",NAMESPACES}}))',
    "throttled": f"sum by ({_POD}) (rate(container_cpu_cfs_throttled_periods_total{{{_CONTAINERS}}}[RATE])) / "
    f"(sum by ({_POD}) (rate(container_cpu_cfs_periods_total{{{_CONTAINERS}}}[RATE])) > 0)",
    "memory": f"sum by ({_POD}) (container_memory_working_set_bytes{{{_CONTAINERS}}}) / {_MIB}",
    "stalled": f"max by ({_POD}) (rate(container_pressure_io_waiting_seconds_total{{{_CONTAINERS}}}[RATE]))",
    "network": f"sum by ({_POD}) (rate(container_network_receive_bytes_total{{NAMESPACES}}[RATE]) + "
    "rate(container_network_transmit_bytes_total{NAMESPACES}[RATE]))",
}
"""Of pods: cores, shares, MiB, bytes a second. The machine's own rows (container="") hold the sums once more."""

RESTARTS = f"sum by ({_POD}) (increase(kube_pod_container_status_restarts_total{{NAMESPACES}}[SPAN]))"

ENGINE: dict[str, str] = {
    "running": f"sum by ({_POD}) (vllm:num_requests_running)",
    "waiting": f"sum by ({_POD}) (vllm:num_requests_waiting)",
    "kv": f"avg by ({_POD}) (vllm:kv_cache_usage_perc) or avg by ({_POD}) (vllm:gpu_cache_usage_perc)",
    "preempted": f"sum by ({_POD}) (rate(vllm:num_preemptions_total[RATE])) * 3600",
}
"""Of vLLM servers: requests, a share, requests an hour. The cache's gauge was renamed in 0.12."""

_QUEUE = "cohort, cluster_queue"
_DEVICES = 'resource=~"nvidia.com/.+"'
QUEUE: dict[str, str] = {
    "pending": 'max by (cluster_queue) (kueue_pending_workloads{status="active"})',
    "inadmissible": 'max by (cluster_queue) (kueue_pending_workloads{status="inadmissible"})',
    "quota": f"sum by ({_QUEUE}) (max by ({_QUEUE}, flavor, resource) "
    f"(kueue_cluster_queue_nominal_quota{{{_DEVICES}}}))",
    "reserved": f"sum by ({_QUEUE}) (max by ({_QUEUE}, flavor, resource) "
    f"(kueue_cluster_queue_resource_reservation{{{_DEVICES}}}))",
    "wanted": f"sum by (cluster_queue) (max by (cluster_queue, resource) "
    f"(kueue_cluster_queue_resource_pending{{{_DEVICES}}}))",
}
"""Of ClusterQueues: workloads and devices. Every replica of Kueue says the same, so the largest is the value."""


def filled(expr: str, *, rate: str, span: str, namespaces: str) -> str:
    """An expression with its ranges and namespaces. namespaces: a matcher such as `namespace=~"a|b"`."""
    return expr.replace("RATE", rate).replace("SPAN", span).replace("NAMESPACES", namespaces)


_OF_SIGNAL = {
    "busy.mean": DEVICE["busy"],
    "busy.cv": DEVICE["busy"],
    "sm.mean": DEVICE["sm"],
    "tensor.mean": DEVICE["tensor"],
    "dram.mean": DEVICE["dram"],
    "unused.memory": DEVICE["memory"],
    "unused.watts": DEVICE["watts"],
    "quiet.memory": DEVICE["memory"],
    "quiet.watts": DEVICE["watts"],
    "memory.p99": DEVICE["memory"],
    "memory.peak": DEVICE["memory"],
    "watts.mean": DEVICE["watts"],
    "pcie.lull": DEVICE["pcie"],
    "nvlink.rate": DEVICE["nvlink"],
    "clock.ratio": DEVICE["clock"],
    "xid.memory": DEVICE["xid"],
    "throttle.thermal": slowed(DEVICE_RATES["heat"], "RATE"),
    "throttle.power": slowed(DEVICE_RATES["power"], "RATE"),
    "cpu.cores": POD["cores"],
    "cpu.of_limit": POD["of_limit"],
    "cpu.throttled": POD["throttled"],
    "host.memory": POD["memory"],
    "io.stalled": POD["stalled"],
    "network.rate": POD["network"],
    "restarts": RESTARTS,
    "serve.running": ENGINE["running"],
    "serve.running_p95": ENGINE["running"],
    "serve.replicas": ENGINE["running"],
    "serve.waiting": ENGINE["waiting"],
    "serve.kv": ENGINE["kv"],
    "serve.kv_p90": ENGINE["kv"],
    "serve.preemptions": ENGINE["preempted"],
    "queue.waiting": QUEUE["pending"],
    "queue.inadmissible": QUEUE["inadmissible"],
    "queue.wanted": QUEUE["wanted"],
    "queue.free": QUEUE["quota"],
}


def asked(signal: str) -> str:
    """The query behind a signal, for a day; "" where it is not asked of a Prometheus."""
    return filled(_OF_SIGNAL.get(signal, ""), rate="600s", span="1d", namespaces='namespace=~"…"')
