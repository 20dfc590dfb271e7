"""Series under which each alert fires, and some under which it must not."""

from __future__ import annotations

from typing import Any, NamedTuple

CARD = {"gpu": "0", "UUID": "GPU-1", "modelName": "NVIDIA H100", "node": "n1"}
POD = {"namespace": "research", "pod": "train-0"}
UID = {**POD, "uid": "u1"}
CHAT = {"namespace": "serving", "service": "chat", "model_name": "chat", "pod": "chat-1", "engine": "0"}
DEV, PROF = "DCGM_FI_DEV_", "DCGM_FI_PROF_"

Series = dict[str, str]


class Case(NamedTuple):
    """at: when to look, such as 40m. fires, quiet: each a scenario of its own."""

    at: str
    fires: list[list[Series]]
    quiet: list[list[Series]]


def series(name: str, values: str, labels: dict[str, str] | None = None, **more: str) -> Series:
    pairs = ",".join(f'{key}="{value}"' for key, value in ((labels or {}) | more).items())
    return {"series": f"{name}{{{pairs}}}", "values": values}


def gpu(name: str, values: str, **more: str) -> Series:
    return series(name if name.startswith("DCGM") else DEV + name, values, CARD, **more)


def there(values: str = "100x500", **more: str) -> Series:
    """A GPU that is measured."""
    return gpu("FB_USED", values, **more)


def node(what: str, resource: str, values: str, name: str = "n1") -> Series:
    return series(f"kube_node_status_{what}", values, node=name, resource=resource, unit="integer")


def offers(values: str = "8x2000", name: str = "n1") -> Series:
    return node("allocatable", "nvidia_com_gpu", values, name)


def pool(name: str = "n1") -> Series:
    return series("kube_node_labels", "1x2000", node=name, label_plimsoll_dev_pool="h100")


def holding(gpus: str = "1x500", phase: str = "Running") -> list[Series]:
    """A pod of team research on node n1, scheduled at time 0, with devices."""
    return [
        series("kube_pod_container_resource_requests", gpus, UID, container="main", node="n1",
               resource="nvidia_com_gpu", unit="integer"),
        series("kube_pod_status_phase", "1x500", UID, phase=phase),
        series("kube_pod_status_scheduled_time", "0x500", UID),
    ]  # fmt: skip


def used(busy: str, memory: str = "20000x500", sm: str = "0.5x500") -> list[Series]:
    """What that pod's GPU does."""
    return [
        there(memory, **POD, container="main"),
        gpu("FB_FREE", "60000x500", **POD, container="main"),
        gpu("FB_RESERVED", "0x500", **POD, container="main"),
        gpu(f"{PROF}GR_ENGINE_ACTIVE", busy, **POD, container="main"),
        gpu(f"{PROF}SM_ACTIVE", sm, **POD, container="main"),
    ]


def pending(status: str, values: str) -> Series:
    return series("kueue_pending_workloads", values, cluster_queue="research", status=status, replica_role="leader")


def quota(used: str) -> list[Series]:
    own = {"cohort": "main", "cluster_queue": "research", "flavor": "h100", "resource": "nvidia.com/gpu"}
    return [
        series("kueue_cluster_queue_nominal_quota", "16x500", own),
        series("kueue_cluster_queue_resource_reservation", used, own),
    ]


def evicted(reason: str, values: str) -> Series:
    return series("kueue_evicted_workloads_total", values, cluster_queue="research", reason=reason, instance="k1")


def vllm(name: str, values: str, **more: str) -> Series:
    return series(f"vllm:{name}", values, CHAT, **more)


def histogram(name: str, quick: str, every: str = "0+10x100", bound: str = "1") -> list[Series]:
    """Answers within a bound, and all of them, within ten times as much."""
    return [
        vllm(f"{name}_bucket", quick, le=bound),
        vllm(f"{name}_bucket", every, le=str(float(bound) * 10)),
        vllm(f"{name}_bucket", every, le="+Inf"),
    ]


def scaled(values: str = "0x100") -> dict[str, Any]:
    return {"namespace": "serving", "scaledObject": "chat"}


def meter(name: str, values: str, **labels: str) -> Series:
    """What the meter's page says."""
    return series(f"plimsoll_{name}", values, labels)


def spent(team: str, **classes: str) -> list[Series]:
    """What a team cost in the last day, by class."""
    return [meter("cost_last_day", values, **{"team": team, "class": each}) for each, values in classes.items()]


def million(values: str, kind: str = "all") -> Series:
    return meter("inference_cost_per_million_tokens", values, model="chat", kind=kind)


def cards(*clocks: str, slow: str = "0.9x500") -> list[Series]:
    """Busy cards of one model with these clocks; the use of the last one is `slow`."""
    found: list[Series] = []
    for place, clock in enumerate(clocks, 1):
        own = {"UUID": f"GPU-{place}", "gpu": str(place)}
        found += [
            gpu("SM_CLOCK", clock, **own),
            gpu(f"{PROF}GR_ENGINE_ACTIVE", slow if place == len(clocks) else "0.9x500", **own),
        ]
    return found


def crashing(*nodes: str) -> list[Series]:
    return [
        each
        for name in nodes
        for each in (there(node=name, UUID=name), gpu("XID_ERRORS", "_x30 31x60", node=name, UUID=name))
    ]


def condition(kind: str, status: str, values: str) -> Series:
    return series("kube_node_status_condition", values, node="n1", condition=kind, status=status)


def lost(count: int) -> list[Series]:
    found = [pool()]
    for place in range(count):
        own = {"namespace": "research", "pod": f"p{place}", "uid": f"u{place}"}
        found += [
            series("kube_pod_status_disruption_reason", "1x60", own, reason="DeletionByTaintManager"),
            series("kube_pod_info", "1x60", own, node="n1"),
        ]
    return found


def waiting(reason: str, owner: str) -> list[Series]:
    return [
        series("kube_pod_container_status_waiting_reason", "1x60", UID, container="c", reason=reason),
        series("kube_pod_info", "1x60", UID, node="n1", created_by_kind="DaemonSet", created_by_name=owner),
    ]


def unscheduled(scheduled: str, phase: str = "Pending") -> list[Series]:
    return [
        series("kube_pod_status_scheduled", scheduled, UID, condition="false"),
        series("kube_pod_container_resource_requests", "1x60", UID, container="main", node="",
               resource="nvidia_com_gpu", unit="integer"),
        series("kube_pod_status_phase", "1x60", UID, phase=phase),
    ]  # fmt: skip


def cpus(asked: str) -> list[Series]:
    return [
        offers(),
        node("allocatable", "cpu", "96x100"),
        series("kube_pod_container_resource_requests", asked, UID, container="main", node="n1", resource="cpu"),
        *holding("4x100"),
    ]


def driver(version: str, name: str) -> list[Series]:
    return [there("100x1600", node=name, UUID=name, DCGM_FI_DRIVER_VERSION=version), pool(name)]


OBJECTIVE_KEPT = [
    *histogram("time_to_first_token_seconds", "0+10x100"),
    *histogram("inter_token_latency_seconds", "0+10x100", bound="0.05"),
    *histogram("e2e_request_latency_seconds", "0+10x100"),
]

CASES: dict[str, Case] = {
    "GpuFailed": Case(
        "55m",
        [
            [there(), gpu("XID_ERRORS", "_x30 79x60", err_code="79")],
            [there(), gpu("XID_ERRORS", "0x30 79x60")],
            [gpu("FB_USED_BYTES", "1x100"), gpu("XID_ERROR", "_x30 48x60")],
            [there(), gpu("XID_ERRORS", "13x30 95x60")],
        ],
        [
            [there(), gpu("XID_ERRORS", "79x100")],
            [there(), gpu("XID_ERRORS", "_x30 13x60")],
            [there(), gpu("XID_ERRORS", "0x100")],
            [there("_x35 100x60"), gpu("XID_ERRORS", "_x35 79x60")],
            [there(), gpu("XID_ERRORS", "0x20 79x10 0x60")],
        ],
    ),
    "GpuProgramsCrash": Case("35m", [crashing("n1", "n2", "n3")], [crashing("n1", "n2")]),
    "GpuMemoryBroken": Case(
        "30m",
        [
            [gpu("ROW_REMAP_FAILURE", "1x60")],
            [gpu("ROW_REMAP_FAILED", "1x60")],
            [gpu("ECC_DBE_VOL_TOTAL", "0x20 1x60")],
        ],
        [[gpu("ROW_REMAP_FAILURE", "0x60"), gpu("ECC_DBE_VOL_TOTAL", "3x60")]],
    ),
    "GpuNeedsReset": Case(
        "75m", [[gpu("ROW_REMAP_PENDING", "1x100")]], [[gpu("ROW_REMAP_PENDING", "0x30 1x100")]]
    ),
    "GpuMemoryWears": Case(
        "60m",
        [[gpu("UNCORRECTABLE_REMAPPED_ROWS", "0x20 1x60")], [gpu("ROW_REMAP_UNCORRECTABLE_TOTAL", "2x20 3x60")]],
        [[gpu("UNCORRECTABLE_REMAPPED_ROWS", "4x60")]],
    ),
    "GpuLost": Case(
        "10m",
        [[node("capacity", "nvidia_com_gpu", "8x20"), offers("7x20")]],
        [[node("capacity", "nvidia_com_gpu", "8x20"), offers("8x20")],
         [node("capacity", "cpu", "8x20"), node("allocatable", "cpu", "7x20")]],
    ),
    "GpuVanished": Case(
        "115m",
        [[there(), there("100x90 stale", UUID="GPU-2")]],
        [[there(), there(UUID="GPU-2")],
         [there("1x90 stale", GPU_I_ID="1"), there("1x90 stale", GPU_I_ID="2"), there("_x91 1x90", GPU_I_ID="3")]],
    ),
    "GpuTooHot": Case(
        "15m",
        [[gpu("GPU_TEMP", "85x60"), gpu("SLOWDOWN_TEMP", "89x60")],
         [gpu("GPU_TEMP_CELSIUS", "85x60"), gpu("SLOWDOWN_TEMP", "89x60")]],
        [[gpu("GPU_TEMP", "83x60"), gpu("SLOWDOWN_TEMP", "89x60")], [gpu("GPU_TEMP", "95x60")]],
    ),
    "GpuMemoryTooHot": Case(
        "15m",
        [[gpu("MEMORY_TEMP", "92x60"), gpu("MEM_MAX_OP_TEMP", "95x60")]],
        [[gpu("MEMORY_TEMP", "80x60"), gpu("MEM_MAX_OP_TEMP", "95x60")],
         [gpu("MEMORY_TEMP", "40x60"), gpu("MEM_MAX_OP_TEMP", "0x60")]],
    ),
    "GpuThrottledByHeat": Case(
        "30m",
        [[gpu("THERMAL_VIOLATION", "0+6000000000x60")]],
        [[gpu("THERMAL_VIOLATION", "0+1000000000x60")], [gpu("POWER_VIOLATION", "0+6000000000x60")]],
    ),
    "GpuThrottledByPower": Case(
        "50m",
        [[gpu("POWER_VIOLATION", "0+20000000000x60")]],
        [[gpu("POWER_VIOLATION", "0+6000000000x60")]],
    ),
    "GpuSlowerThanItsKind": Case(
        "40m",
        [cards("1980x60", "1980x60", "1400x60")],
        [cards("1980x60", "1980x60", "1400x60", slow="0x60"), cards("1980x60", "1980x60", "1900x60")],
    ),
    "GpuBusRepeats": Case(
        "70m",
        [[gpu("PCIE_REPLAY_COUNTER", "0+5x100")], [gpu("PCIE_REPLAY_TOTAL", "0+5x100")]],
        [[gpu("PCIE_REPLAY_COUNTER", "0+1x100")],
         # every sharer of a GPU shows the whole reading
         [gpu("PCIE_REPLAY_COUNTER", "0+1x100", pod=f"p{place}") for place in range(4)]],
    ),
    "GpuNodeNotMeasured": Case(
        "15m", [[offers()], [offers(), there(node="n2")]], [[offers(), there()], [offers("0x60")]]
    ),
    "GpuExporterDown": Case(
        "15m",
        [[series("up", "0x60", job="nvidia-dcgm-exporter", instance="10.0.0.1:9400", node="n1")]],
        [[series("up", "1x60", job="nvidia-dcgm-exporter", instance="10.0.0.1:9400", node="n1")],
         [series("up", "0x60", job="other", instance="10.0.0.1:9400", node="n1")]],
    ),
    "GpuProfilingNotMeasured": Case(
        "40m",
        [[gpu("GPU_UTIL", "50x60")], [gpu("GPU_UTIL_RATIO", "0.5x60")]],
        [[gpu("GPU_UTIL", "50x60"), gpu(f"{PROF}GR_ENGINE_ACTIVE", "0.5x60")],
         [gpu("GPU_UTIL_RATIO", "0.5x60"), gpu(f"{PROF}GR_ENGINE_UTIL_RATIO", "0.5x60")]],
    ),
    "GpuShareOfPodsNotMeasured": Case(
        "40m",
        [[gpu("GPU_UTIL", "90x60"), *(gpu("GPU_UTIL", "0x60", pod=each, vgpu=each) for each in "01")]],
        [[gpu("GPU_UTIL", "90x60"), *(gpu("GPU_UTIL", "45x60", pod=each, vgpu=each) for each in "01")],
         [gpu("GPU_UTIL", "0x60"), gpu("GPU_UTIL", "0x60", pod="p", vgpu="0")],
         [gpu("GPU_UTIL", "90x60")]],
    ),
    "GpuMetricsOfTwoGenerations": Case(
        "370m",
        [[gpu("GPU_TEMP", "40x500"), gpu("GPU_TEMP_CELSIUS", "40x500", node="n2")]],
        [[gpu("GPU_TEMP", "40x500"), gpu("GPU_TEMP", "40x500", node="n2")]],
    ),
    "GpuMetricsNameTheExporter": Case(
        "70m",
        [[there(pod="nvidia-dcgm-exporter-x", exported_pod="train-0")]],
        [[there(pod="train-0")]],
    ),
    "GpuDriversDiffer": Case(
        "1450m",
        [driver("580.1", "n1") + driver("595.2", "n2")],
        [driver("595.2", "n1") + driver("595.2", "n2")],
    ),
    "GpuHeldIdle": Case(
        "70m",
        [holding() + used("0x500")],
        [holding() + used("0.5x500"), holding() + used("0x30 0.5x1 0x500"), holding("1x500", "Succeeded")
         + used("0x500")],
    ),
    "GpuNeverUsed": Case(
        "130m",
        [holding() + used("0x500", "1x500")],
        [holding() + used("0x500"), holding() + used("0.1x500", "1x500")],
    ),
    "GpuUsedPoorly": Case(
        "375m",
        [holding() + used("0.5x500", sm="0.05x500")],
        [holding() + used("0.5x500"), holding() + used("0x500", sm="0x500")],
    ),
    "PoolMostlyFree": Case(
        "40m",
        [[offers(), pool()], [offers(), pool(), *holding("2x500")]],
        [[offers(), pool(), *holding("6x500")], [offers("0x500"), pool()]],
    ),
    "GpuStranded": Case("40m", [cpus("95x100")], [cpus("10x100")]),
    "GpuPodUnschedulable": Case(
        "35m", [unscheduled("1x60")], [unscheduled("0x60"), unscheduled("1x60", "Failed"), unscheduled("1x20 0x60")]
    ),
    "GpuNodeNotReady": Case(
        "10m",
        [[condition("Ready", "true", "0x60"), offers()]],
        [[condition("Ready", "true", "1x60"), offers()], [condition("Ready", "true", "0x60")]],
    ),
    "GpuNodeUnderPressure": Case(
        "15m",
        [[condition("DiskPressure", "true", "1x60"), offers()]],
        [[condition("DiskPressure", "true", "0x60"), offers()], [condition("Ready", "true", "1x60"), offers()]],
    ),
    "GpuNodeCordonedLong": Case(
        "245m",
        [[series("kube_node_spec_unschedulable", "1x500", node="n1"), offers()]],
        [[series("kube_node_spec_unschedulable", "0x30 1x500", node="n1"), offers()]],
    ),
    "GpuPodsLostToTheirNode": Case("10m", [lost(5)], [lost(4)]),
    "QueueWaitsBesideFreeQuota": Case(
        "35m",
        [[pending("active", "3x60"), *quota("8x60")]],
        [[pending("active", "3x60"), *quota("16x60")], [pending("active", "0x60"), *quota("8x60")],
         [pending("inadmissible", "3x60"), *quota("8x60")]],
    ),
    "QueueJobsNeverFit": Case(
        "125m", [[pending("inadmissible", "2x200")]], [[pending("inadmissible", "0x200"), pending("active", "2x200")]]
    ),
    "QueueWaitLong": Case(
        "80m",
        [[series("kueue_admission_wait_time_seconds_bucket", values, cluster_queue="research", le=le)
          for le, values in (("10240", "0x100"), ("20480", "0+1x100"), ("+Inf", "0+1x100"))]],
        [[series("kueue_admission_wait_time_seconds_bucket", values, cluster_queue="research", le=le)
          for le, values in (("5", "0+1x100"), ("20480", "0+1x100"), ("+Inf", "0+1x100"))]],
    ),
    "QueueEvictsOften": Case(
        "80m",
        [[evicted("Preempted", "0+1x100")]],
        [[evicted("Preempted", "0x30 5x100")], [evicted("Preempted", "500x100")]],
    ),
    "QueueJobsDoNotStart": Case(
        "70m",
        [[evicted("PodsReadyTimeout", "0x50 1x100")]],
        [[evicted("PodsReadyTimeout", "4x100"), evicted("Preempted", "0+1x100")]],
    ),
    "QueueClosed": Case(
        "15m",
        [[series("kueue_cluster_queue_status", "0x60", cluster_queue="research", status="active"),
          series("kueue_cluster_queue_status", "1x60", cluster_queue="research", status="pending")]],
        [[series("kueue_cluster_queue_status", "1x60", cluster_queue="research", status="active"),
          series("kueue_cluster_queue_status", "0x60", cluster_queue="research", status="pending")]],
    ),
    "QueueNotMeasured": Case("35m", [[there()]], [[series("kueue_build_info", "1x60", git_version="v0.19.2")]]),
    "GpuOperatorFails": Case(
        "35m",
        [[series("gpu_operator_reconciliation_status", "0x60")], [series("gpu_operator_reconciliation_status",
          "-2x60")]],
        [[series("gpu_operator_reconciliation_status", "1x60")]],
    ),
    "GpuDriverUpgradeFailed": Case(
        "10m",
        [[series("gpu_operator_nodes_upgrades_failed", "1x60")]],
        [[series("gpu_operator_nodes_upgrades_failed", "0x60")]],
    ),
    "GpuOperandsWait": Case(
        "20m",
        [waiting("CrashLoopBackOff", "nvidia-driver-daemonset"), waiting("ImagePullBackOff", "gpu-feature-discovery")],
        [waiting("ContainerCreating", "nvidia-driver-daemonset"), waiting("CrashLoopBackOff", "fluent-bit")],
    ),
    "ServiceFirstTokenLate": Case(
        "20m", [histogram("time_to_first_token_seconds", "0+1x100")], [OBJECTIVE_KEPT]
    ),
    "ServiceTokensSlow": Case(
        "20m",
        [histogram("inter_token_latency_seconds", "0+1x100", bound="0.05"),
         histogram("time_per_output_token_seconds", "0+1x100", bound="0.05")],
        [OBJECTIVE_KEPT],
    ),
    "ServiceAnswersLate": Case("20m", [histogram("e2e_request_latency_seconds", "0+1x100")], [OBJECTIVE_KEPT]),
    "ServiceDoesNotAnswer": Case(
        "15m",
        [[there()], [vllm("num_requests_running", "1x60", service="other")]],
        [[vllm("num_requests_running", "1x60")]],
    ),
    "ServiceBelowItsLeast": Case(
        "35m",
        [[vllm("num_requests_running", "1x60")]],
        [[vllm("num_requests_running", "1x60", pod=each) for each in "ab"]],
    ),
    "ServiceCannotGrow": Case(
        "15m",
        [[vllm(f"num_requests_{each}", "2x60", pod=pod) for pod in "abc" for each in ("waiting", "running")]],
        [[vllm(f"num_requests_{each}", "2x60", pod=pod) for pod in "ab" for each in ("waiting", "running")],
         [vllm(f"num_requests_{each}", "0x60", pod=pod) for pod in "abc" for each in ("waiting", "running")]],
    ),
    "ServiceDoesNotGrow": Case(
        "45m",
        [[vllm(f"num_requests_{each}", "2x60", pod=pod) for pod in "ab" for each in ("waiting", "running")]],
        [[vllm(f"num_requests_{each}", "2x60", pod=pod) for pod in "abc" for each in ("waiting", "running")],
         [vllm(f"num_requests_{each}", "2x60", pod="a") for each in ("waiting", "running")]
         + [vllm("num_requests_running", "_x35 2x60", pod="b")]],
    ),
    "ServiceCacheFull": Case(
        "15m",
        [[vllm("kv_cache_usage_perc", "0.95x60"), vllm("num_requests_waiting", "3x60")],
         [vllm("gpu_cache_usage_perc", "0.95x60"), vllm("num_requests_waiting", "3x60")]],
        [[vllm("kv_cache_usage_perc", "0.95x60"), vllm("num_requests_waiting", "0x60")],
         [vllm("kv_cache_usage_perc", "0.5x60"), vllm("num_requests_waiting", "3x60")]],
    ),
    "ServicePutsRequestsBack": Case(
        "25m", [[vllm("num_preemptions_total", "0+12x60")]], [[vllm("num_preemptions_total", "0+1x60")]]
    ),
    "ServiceFails": Case(
        "25m",
        [[vllm("request_success_total", "0+95x60", finished_reason="stop"),
          vllm("request_success_total", "0+5x60", finished_reason="error")]],
        [[vllm("request_success_total", "0+95x60", finished_reason="stop"),
          vllm("request_success_total", "0+50x60", finished_reason="abort"),
          vllm("request_success_total", "0+1x60", finished_reason="error")]],
    ),
    "ServiceTurnsAway": Case(
        "20m",
        [[vllm("admission_rejections_total", "0+1x60", reason="max_num_queued_reqs")]],
        [[vllm("admission_rejections_total", "7x60", reason="max_num_queued_reqs")]],
    ),
    "ServiceLargerThanItsLoad": Case(
        "400m",
        [[vllm("num_requests_waiting", "0x500"), vllm("kv_cache_usage_perc", "0.1x500"),
          *(vllm("num_requests_running", "1x500", pod=each) for each in "ab")]],
        [[vllm("num_requests_waiting", "0x350 1x1 0x500"), vllm("kv_cache_usage_perc", "0.1x500"),
          *(vllm("num_requests_running", "1x500", pod=each) for each in "ab")],
         [vllm("num_requests_waiting", "0x500"), vllm("kv_cache_usage_perc", "0.5x500"),
          *(vllm("num_requests_running", "1x500", pod=each) for each in "ab")],
         [vllm("num_requests_waiting", "0x500"), vllm("kv_cache_usage_perc", "0.1x500"),
          vllm("num_requests_running", "1x500")]],
    ),
    "ServiceRestarts": Case(
        "70m",
        [[series("kube_pod_container_status_restarts_total", "0x20 2x20 4x60", namespace="serving", pod="chat-1",
                 container="vllm"), vllm("num_requests_running", "1x100")]],
        [[series("kube_pod_container_status_restarts_total", "0x20 1x60", namespace="serving", pod="chat-1",
                 container="vllm"), vllm("num_requests_running", "1x100")],
         [series("kube_pod_container_status_restarts_total", "0x20 2x20 4x60", namespace="serving", pod="other",
                 container="vllm"), vllm("num_requests_running", "1x100")]],
    ),
    "ScalerBlind": Case(
        "30m",
        [[series("keda_scaler_detail_errors_total", "0+1x60", scaled())]],
        [[series("keda_scaler_detail_errors_total", "5x60", scaled())]],
    ),
    "ScalerPaused": Case(
        "245m",
        [[series("keda_scaled_object_paused", "1x300", scaled())]],
        [[series("keda_scaled_object_paused", "0x300", scaled())]],
    ),
    "TeamIdleBudget": Case(
        "130m",
        [[*spent("research", idle="11x200", productive="990x200"), meter("budget_month", "3000x200", team="research")],
         spent("research", idle="31x200", productive="69x200")],
        [[*spent("research", idle="9x200", low="1x200"), meter("budget_month", "3000x200", team="research")],
         spent("research", idle="29x200", productive="71x200"),
         spent("(other)", idle="31x200"),
         [meter("cost_last_day", "31x200", **{"class": "idle"})],
         spent("research", unmeasured="31x200")],
    ),
    "BudgetBurn": Case(
        "370m",
        [[meter("cost_forecast_month", "1001x400", team="a"), meter("budget_month", "1000x400", team="a")]],
        [[meter("cost_forecast_month", "999x400", team="a"), meter("budget_month", "1000x400", team="a")],
         [meter("cost_forecast_month", "1001x400", team="a")],
         [meter("cost_forecast_month", "1001x400", team="b"), meter("budget_month", "1000x400", team="a")]],
    ),
    "LostWorkHigh": Case(
        "70m",
        [[meter("lost_work_last_day", "6x100", team="a"), *spent("a", productive="90x100", low="10x100")]],
        [[meter("lost_work_last_day", "4x100", team="a"), *spent("a", productive="90x100", low="10x100")],
         spent("a", productive="90x100")],
    ),
    "CostPerMtokRegression": Case(
        "3180m",
        [[million("1x2880 1.4x400")]],
        [[million("1x2880 1.2x400")], [million("_x2880 1.4x400")], [million("1x2880 1.4x400", kind="output")]],
    ),
    "NodeUnpriced": Case(
        "70m",
        [[meter("node_unpriced", "1x100", node=each, pool="h100") for each in ("n1", "n2")],
         [meter("node_unpriced", "7x100", node="(other)")]],
        [[meter("node_price_per_hour", "1x100", node="n1")], [meter("node_unpriced", "_x50 1x50", node="n1")]],
    ),
    "PriceBookStale": Case(
        "70m",
        [[meter("price_age_days", "91x100", source="price book, 2026-08-01: list")]],
        [[meter("price_age_days", "90x100", source="price book, 2026-08-01: list")]],
    ),
    "CostNotConserved": Case(
        "10m",
        [[meter("cost_conserved", "0x60")]],
        [[meter("cost_conserved", "1x60")], [meter("cost_conserved", "0x2 1x60")]],
    ),
    "MeterDown": Case(
        "30m",
        [[offers()], [meter("meter_watching_seconds", "60x5"), meter("cost_info", "1x5", currency="USD")],
         [meter("meter_watching_seconds", "60+60x60", node="n1")]],
        [[meter("meter_watching_seconds", "60+60x60"), meter("cost_info", "1x60", currency="USD")],
         [meter("meter_watching_seconds", "0x60"), meter("cost_info", "1x60", currency="USD")]],
    ),
    "MeterBlind": Case(
        "30m",
        [[meter("ledger_behind_seconds", "901+60x60")],
         [meter("meter_watching_seconds", "0x60", node="n1"), meter("meter_watching_seconds", "60x60", node="n2"),
          meter("meter_readings", "8x60")],
         [meter("meter_watching_seconds", "60x60"), meter("meter_readings", "0x60"), offers()]],
        [[meter("meter_watching_seconds", "60x60"), meter("meter_readings", "8x60"), offers(),
          meter("ledger_behind_seconds", "20x60")],
         [meter("meter_watching_seconds", "60x60"), meter("meter_readings", "0x60"), offers("0x60")],
         [meter("meter_watching_seconds", "0x20 60x40"), meter("meter_readings", "8x60")]],
    ),
    "MeterMissesPages": Case(
        "70m",
        [[meter("meter_pages_failed", "1x100")]],
        [[meter("meter_pages_failed", "0x100")], [meter("meter_pages_failed", "1x30 0x5 1x65")]],
    ),
}  # fmt: skip
