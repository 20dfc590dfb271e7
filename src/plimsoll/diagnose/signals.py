"""The vocabulary of signals: what each one means, its unit, and what one must have to know it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Unit = Literal["share", "count", "ratio", "minutes", "hours", "MiB", "W", "B/s", "1/h", "cores"]


class Signal(NamedTuple):
    unit: Unit
    says: str
    from_: str  # where it comes from: what to add where it is missing


_LEDGER = "a ledger, or Prometheus with dcgm-exporter"
_PROF = "DCGM's profiling fields in a ledger or in Prometheus"
_DEVICE = "Prometheus with dcgm-exporter"
_SM = f"DCGM_FI_PROF_SM_ACTIVE among the exporter's counters; {_PROF}"
_CADVISOR = "Prometheus with cAdvisor's metrics"
_VLLM = "Prometheus with vLLM's metrics"
_SNAPSHOT = "a snapshot, or a cluster"
_BILL = "a ledger"
_KUEUE = "Prometheus with Kueue's metrics (metrics.enableClusterQueueResources), or a snapshot"

SIGNALS: dict[str, Signal] = {
    "held.minutes": Signal("minutes", "the longest that one of its devices was held in the window", _LEDGER),
    "held.gpu_hours": Signal("hours", "GPU time held, in hours of a whole GPU", _LEDGER),
    "held.gpus": Signal("count", "devices held for half an hour or more", _LEDGER),
    "held.pods": Signal("count", "pods that held them", _LEDGER),
    "held.share": Signal("share", "of all GPU time held in the cluster", _LEDGER),
    "unused.gpus": Signal("count", "devices on which nothing ran since they are held", _LEDGER),
    "unused.minutes": Signal("minutes", "the longest that one of those is held", _LEDGER),
    "unused.gpu_hours": Signal("hours", "GPU time of those in the window", _LEDGER),
    "unused.memory": Signal("MiB", "memory in use on one of those, on average", _LEDGER),
    "unused.watts": Signal("W", "power of one of those, on average", _LEDGER),
    "quiet.gpus": Signal("count", "devices that were used once and do nothing now", _LEDGER),
    "quiet.minutes": Signal("minutes", "the longest that one of those has done nothing", _LEDGER),
    "quiet.gpu_hours": Signal("hours", "GPU time of those since they do nothing", _LEDGER),
    "quiet.memory": Signal("MiB", "memory in use on one of those, on average", _LEDGER),
    "quiet.watts": Signal("W", "power of one of those, on average", _LEDGER),
    "busy.mean": Signal("share", "of the time in which anything ran on its devices", _LEDGER),
    "busy.cv": Signal("ratio", "how uneven that is: standard deviation by mean", _DEVICE),
    "sm.mean": Signal("share", "of the SMs that had work, on average", _SM),
    "tensor.mean": Signal("share", "of the time in which tensor cores worked", _PROF),
    "dram.mean": Signal("share", "of the time in which device memory was read or written", _PROF),
    "memory.p99": Signal("MiB", "device memory in use, the most of 99 % of the time", _DEVICE),
    "memory.peak": Signal("MiB", "device memory in use at its most", _DEVICE),
    "watts.mean": Signal("W", "power of one GPU on average", _LEDGER),
    "pcie.lull": Signal("ratio", "PCIe traffic to the GPU while it is less busy, by that while it is busier", _DEVICE),
    "nvlink.rate": Signal("B/s", "NVLink traffic of one GPU, both directions", _DEVICE),
    "network.rate": Signal("B/s", "network traffic of one pod, both directions", _CADVISOR),
    "ranks.spread": Signal("ratio", "the busiest pod of a job by the least busy one", _LEDGER),
    "ranks.lowest": Signal("share", "how busy the least busy pod of the job is", _LEDGER),
    "clock.ratio": Signal("ratio", "its SM clock under load by the median of its job's GPUs", _DEVICE),
    "job.gpus": Signal("count", "devices the job holds at once", _LEDGER),
    "job.nodes": Signal("count", "nodes it holds them on", _LEDGER),
    "job.minutes": Signal("minutes", "how long it has held them all", _LEDGER),
    "node.gpus": Signal("count", "GPUs of one of those nodes", _LEDGER),
    "throttle.thermal": Signal("share", "of the time in which heat slowed it down", "DCGM_FI_DEV_THERMAL_VIOLATION"),
    "throttle.power": Signal("share", "of the time in which its power limit slowed it down",
                             "DCGM_FI_DEV_POWER_VIOLATION"),
    "cpu.cores": Signal("cores", "CPU cores used for each device", _CADVISOR),
    "cpu.of_limit": Signal("share", "of its CPU limit that a pod uses", _CADVISOR),
    "cpu.throttled": Signal("share", "of the scheduling periods in which its CPU limit stopped it", _CADVISOR),
    "host.memory": Signal("MiB", "host memory of one pod at its most", _CADVISOR),
    "io.stalled": Signal("share", "of the time in which it waited for storage", "cAdvisor with pressure (PSI) metrics"),
    "cores.asked": Signal("cores", "CPU cores asked for with each device", _SNAPSHOT),
    "cores.node": Signal("cores", "CPU cores its nodes have for each device", _SNAPSHOT),
    "serve.running": Signal("count", "requests that one replica works on, on average", _VLLM),
    "serve.running_p95": Signal("count", "requests that all replicas work on, the most of 95 % of the time", _VLLM),
    "serve.waiting": Signal("share", "of the time in which requests waited", _VLLM),
    "serve.kv": Signal("share", "of the KV cache in use, on average", _VLLM),
    "serve.kv_p90": Signal("share", "of the KV cache in use, the most of 90 % of the time", _VLLM),
    "serve.preemptions": Signal("1/h", "requests an hour that were put off because the KV cache was full", _VLLM),
    "serve.replicas": Signal("count", "replicas that answered, on average", _VLLM),
    "serve.max_seqs": Signal("count", "requests one replica takes at once (--max-num-seqs)", _SNAPSHOT),
    "oom.kills": Signal("count", "containers that ended for want of memory", _SNAPSHOT),
    "xid.memory": Signal("count", "of its GPUs with a memory fault (Xid 31)", _DEVICE),
    "free.gpus": Signal("count", "devices that nobody holds", _SNAPSHOT),
    "free.cores": Signal("cores", "CPU cores that nobody asked for", _SNAPSHOT),
    "free.memory": Signal("MiB", "host memory that nobody asked for", _SNAPSHOT),
    "free.unwanted": Signal("count", "free MIG instances of profiles that no waiting pod asks for", _SNAPSHOT),
    "wanted.pods": Signal("count", "pods that wait for MIG profiles of which none is free", _SNAPSHOT),
    "queue.waiting": Signal("count", "workloads that wait and would fit into free quota", _KUEUE),
    "queue.minutes": Signal("minutes", "how long they wait", _KUEUE),
    "queue.free": Signal("count", "free devices of the quota that the queue may use", _KUEUE),
    "queue.wanted": Signal("count", "devices the waiting ones ask for", _KUEUE),
    "queue.inadmissible": Signal("count", "workloads that wait for something to change", _KUEUE),
    "limit.used": Signal("share", "of their time limits that finished jobs used", _SNAPSHOT),
    "limit.unused_gpu_hours": Signal("hours", "GPU time of those limits that was not used", _SNAPSHOT),
    "start.minutes": Signal("minutes", "from a pod's schedule until its containers run, on average", _BILL),
    "start.pods": Signal("count", "pods that started in the window", _BILL),
    "restarts": Signal("count", "restarts of its containers in the window", "Prometheus with kube-state-metrics"),
    "ready.minutes": Signal("minutes", "from a container's start until it is ready", _SNAPSHOT),
    "evictions": Signal("count", "pods that were pushed out in the window", _BILL),
    "evictions.gpu_hours": Signal("hours", "GPU time those did, at most since a checkpoint was due", _BILL),
    "checkpoint.minutes": Signal("minutes", "between two checkpoints", "spot.checkpoint.interval in platform.yaml"),
}  # fmt: skip


def shown(name: str, value: float) -> str:
    """A value with its unit, as people read it."""
    match SIGNALS[name].unit:
        case "share":
            return f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"
        case "MiB":
            return f"{value / 1024:,.1f} GiB"
        case "count":
            return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
        case "ratio":
            return f"{value:.2f}"
        case "minutes":
            return f"{value / 60:,.1f} h" if value >= 120 else f"{value:,.0f} min"
        case "hours":
            return f"{value:,.1f} h"
        case "B/s":
            return f"{value / 1e9:,.1f} GB/s"
        case unit:
            return f"{value:,.1f} {unit}" if unit != "1/h" else f"{value:,.1f} an hour"
