"""What each recording rule makes of series, in both generations of the exporter where that matters."""

from __future__ import annotations

from typing import NamedTuple

from tests.unit.pillars.observability_cases import (
    CARD,
    DEV,
    PROF,
    Series,
    gpu,
    histogram,
    holding,
    meter,
    million,
    offers,
    pending,
    pool,
    quota,
    series,
    spent,
    there,
    used,
    vllm,
)

Samples = list[tuple[dict[str, str], float]]
GPU1 = {"node": "n1", "UUID": "GPU-1"}
OF_CHAT = {"namespace": "serving", "service": "chat"}


class Value(NamedTuple):
    """series: what is scraped. samples: what is recorded after an hour, by the labels named here; others add up."""

    series: list[Series]
    samples: Samples


def _same(value: float, *readings: Series) -> list[Value]:
    """Readings that each mean the same of the GPU."""
    return [Value([each], [(GPU1, value)]) for each in readings]


def _shared(name: str, device: str, *pods: str) -> list[Series]:
    """A reading of a GPU that pods share, and each pod's own or a copy."""
    found = [gpu(name, each, pod=f"p{place}", vgpu=str(place)) for place, each in enumerate(pods)]
    return [gpu(name, device), *found] if device else found


def _host(**labels: str) -> Series:
    """A reading without `node`, as from a scrape that does not write it."""
    return series(f"{DEV}GPU_TEMP", "40x100", {key: CARD[key] for key in ("gpu", "UUID", "modelName")}, **labels)


VALUES: dict[str, list[Value]] = {
    "plimsoll:gpu:info": [
        *_same(1, there("1x100"), gpu("FB_USED_BYTES", "1x100"), gpu("GPU_UTIL", "0x100")),
        Value([_host(hostname="n1")], [(GPU1, 1)]),
        Value([_host(Hostname="n1")], [(GPU1, 1)]),
        Value([_host(Hostname="nvidia-dcgm-exporter-x", node="n1")], [(GPU1, 1)]),
        Value(
            [there(GPU_I_ID="1"), there(GPU_I_ID="2")], [(GPU1 | {"GPU_I_ID": "1"}, 1), (GPU1 | {"GPU_I_ID": "2"}, 1)]
        ),
    ],
    "plimsoll:gpu_util_nvml:ratio": [
        *_same(0.9, gpu("GPU_UTIL", "90x100"), gpu("GPU_UTIL_RATIO", "0.9x100"), gpu("GPU_UTIL_RATIO", "90x100")),
        Value(_shared("GPU_UTIL", "90x100", "60x100", "30x100"), [(GPU1, 0.9)]),
    ],
    "plimsoll:gpu_busy:ratio": [
        *_same(
            0.4,
            gpu(f"{PROF}GR_ENGINE_ACTIVE", "0.4x100"),
            gpu(f"{PROF}GR_ENGINE_UTIL_RATIO", "0.4x100"),
            gpu("GPU_UTIL", "40x100"),
        ),
        Value([gpu("GPU_UTIL", "90x100"), gpu(f"{PROF}GR_ENGINE_ACTIVE", "0.4x100")], [(GPU1, 0.4)]),
        Value(_shared(f"{PROF}GR_ENGINE_ACTIVE", "", "0.4x100", "0.4x100"), [(GPU1, 0.4)]),
    ],
    "plimsoll:gpu_sm_active:ratio": _same(
        0.3, gpu(f"{PROF}SM_ACTIVE", "0.3x100"), gpu(f"{PROF}SM_UTIL_RATIO", "0.3x100")
    ),
    "plimsoll:gpu_tensor_active:ratio": _same(
        0.2, gpu(f"{PROF}PIPE_TENSOR_ACTIVE", "0.2x100"), gpu(f"{PROF}TENSOR_UTIL_RATIO", "0.2x100")
    ),
    "plimsoll:gpu_dram_active:ratio": _same(
        0.6, gpu(f"{PROF}DRAM_ACTIVE", "0.6x100"), gpu(f"{PROF}DRAM_UTIL_RATIO", "0.6x100")
    ),
    "plimsoll:gpu_memory_used:bytes": [
        *_same(1048576, gpu("FB_USED", "1x100"), gpu("FB_USED_BYTES", "1048576x100")),
        Value(_shared("FB_USED", "9x100", "6x100", "3x100"), [(GPU1, 9 * 1048576)]),
    ],
    "plimsoll:gpu_memory:bytes": [
        Value([gpu(f"FB_{each}", "2x100") for each in ("USED", "FREE", "RESERVED")], [(GPU1, 6 * 1048576)]),
        Value([gpu(f"FB_{each}_BYTES", "2x100") for each in ("USED", "FREE", "RESERVED")], [(GPU1, 6)]),
        Value([gpu(f"FB_{each}_BYTES", "2x100") for each in ("USED", "CAPACITY")], [(GPU1, 2)]),
    ],
    "plimsoll:gpu_memory_used:ratio": [
        Value([gpu("FB_USED", "1x100"), gpu("FB_FREE", "3x100"), gpu("FB_RESERVED", "0x100")], [(GPU1, 0.25)])
    ],
    "plimsoll:gpu_temperature:celsius": _same(61, gpu("GPU_TEMP", "61x100"), gpu("GPU_TEMP_CELSIUS", "61x100")),
    "plimsoll:gpu_memory_temperature:celsius": [
        *_same(71, gpu("MEMORY_TEMP", "71x100"), gpu("MEMORY_TEMP_CELSIUS", "71x100")),
        Value([gpu("MEMORY_TEMP", "0x100")], []),
    ],
    "plimsoll:gpu_power:watts": [
        *_same(512.5, gpu("POWER_USAGE", "512.5x100"), gpu("BOARD_POWER_WATTS", "512.5x100")),
        Value([gpu("POWER_USAGE", "112x100", GPU_I_ID="1"), gpu("POWER_USAGE", "112x100", GPU_I_ID="2")], [(GPU1,
          112)]),
    ],
    "plimsoll:gpu_energy:joules_total": _same(
        5, gpu("TOTAL_ENERGY_CONSUMPTION", "5000x100"), gpu("GPU_ENERGY_JOULES_TOTAL", "5x100")
    ),
    "plimsoll:gpu_sm_clock:hertz": _same(
        1.98e9, gpu("SM_CLOCK", "1980x100"), gpu("SM_CLOCK_HERTZ", "1980000000x100")
    ),
    "plimsoll:gpu_xid:info": [
        Value([each], [(GPU1 | {"xid": "79"}, 1)])
        for each in (gpu("XID_ERRORS", "79x100"), gpu("XID_ERRORS", "79x100", err_code="79"), gpu("XID_ERROR",
          "79x100"))
    ]
    + [
        Value([gpu("XID_ERRORS", "0x100")], []),
        Value([gpu("XID_ERRORS", "79x100", GPU_I_ID=each) for each in "12"], [(GPU1 | {"xid": "79"}, 1)]),
    ],
    "plimsoll:gpu_xid_new:info": [
        Value([there(), gpu("XID_ERRORS", "_x57 79x100")], [(GPU1 | {"xid": "79"}, 1)]),
        Value([there(), gpu("XID_ERRORS", "_x50 79x100")], []),
        Value([there(), gpu("XID_ERRORS", "79x100")], []),
    ],
    "plimsoll:gpu_holder:info": [
        Value([there(pod="train-0", namespace="research")], [({"pod": "train-0", "namespace": "research"}, 1)]),
        Value([gpu("FB_USED_BYTES", "1x100", pod="train-0", namespace="research")], [({"pod": "train-0"}, 1)]),
        Value(
            [there(pod="nvidia-dcgm-exporter-x", namespace="gpu-operator", exported_pod="train-0",
                   exported_namespace="research", exported_container="main")],
            [({"pod": "train-0", "namespace": "research", "container": "main"}, 1)],
        ),
        Value([there(pod="nvidia-dcgm-exporter-x", namespace="gpu-operator")], []),
        Value([there()], []),
    ],
    "plimsoll:gpu_holders:count": [Value(_shared("FB_USED", "9x100", "6x100", "3x100"), [(GPU1, 2)])],
    "plimsoll:pod_gpu_held:devices": [
        Value(holding("2x100"), [({"namespace": "research", "pod": "train-0", "node": "n1"}, 2)]),
        Value(holding("2x100", "Pending"), [({"pod": "train-0", "resource": "nvidia_com_gpu"}, 2)]),
        Value(holding("2x100", "Succeeded"), []),
    ],
    "plimsoll:node_gpu_allocatable:devices": [Value([offers()], [({"node": "n1", "resource": "nvidia_com_gpu"}, 8)])],
    "plimsoll:node_gpu_free:devices": [
        Value([offers()], [({"node": "n1"}, 8)]),
        Value([offers(), *holding("3x100")], [({"node": "n1"}, 5)]),
    ],
    "plimsoll:node_pool:info": [
        Value([pool()], [({"node": "n1", "pool": "h100"}, 1)]),
        Value([there(pool="h100")], [({"node": "n1", "pool": "h100"}, 1)]),
        Value([gpu("FB_USED_BYTES", "1x100", pool="h100")], [({"node": "n1", "pool": "h100"}, 1)]),
        Value([there(pool="other")], []),
    ],
    "plimsoll:pool_gpu_allocatable:devices": [
        Value([offers(), offers(name="n2"), pool(), pool("n2")], [({"pool": "h100"}, 16)])
    ],
    "plimsoll:pool_gpu_held:devices": [
        Value([offers(), pool(), *holding("3x100")], [({"pool": "h100", "resource": "nvidia_com_gpu"}, 3)])
    ],
    "plimsoll:pool_gpu_allocation:ratio": [Value([offers(), pool(), *holding("2x100")], [({"pool": "h100"}, 0.25)])],
    "plimsoll:namespace_team:info": [
        Value([], [({"namespace": "research", "team": "research"}, 1), ({"namespace": "serving", "team": "serving"},
          1)])
    ],
    "plimsoll:team_gpu_held:devices": [Value(holding("3x100"), [({"team": "research"}, 3)])],
    "plimsoll:pod_gpu_busy:ratio": [Value(used("0.5x100"), [({"pod": "train-0", "UUID": "GPU-1"}, 0.5)])],
    "plimsoll:team_gpu_busy:ratio": [Value(used("0.5x100"), [({"team": "research"}, 0.5)])],
    "plimsoll:node_gpu_busy:ratio": [
        Value(
            [gpu(f"{PROF}GR_ENGINE_ACTIVE", "1x100"), gpu(f"{PROF}GR_ENGINE_ACTIVE", "0x100", UUID="GPU-2")],
            [({"node": "n1"}, 0.5)],
        )
    ],
    "plimsoll:queue_pending:workloads": [
        Value(
            [pending("active", "3x100"), series("kueue_pending_workloads", "3x100", cluster_queue="research",
                                                status="active", replica_role="follower")],
            [({"cluster_queue": "research", "status": "active"}, 3)],
        )
    ],
    "plimsoll:queue_admitted:workloads": [
        Value(
            [series("kueue_admitted_active_workloads", "4x100", cluster_queue="research")],
            [({"cluster_queue": "research"}, 4)],
        )
    ],
    "plimsoll:queue_quota:devices": [Value(quota("4x100"), [({"cluster_queue": "research", "flavor": "h100"}, 16)])],
    "plimsoll:queue_reserved:devices": [Value(quota("4x100"), [({"cluster_queue": "research"}, 4)])],
    "plimsoll:queue_used:devices": [
        Value(
            [series("kueue_cluster_queue_resource_usage", "5x100", cluster_queue="research", resource=each)
             for each in ("nvidia.com/gpu", "cpu")],
            [({"cluster_queue": "research"}, 5)],
        )
    ],
    "plimsoll:cohort_free:devices": [Value(quota("4x100"), [({"cohort": "main", "flavor": "h100"}, 12)])],
    "plimsoll:queue_admission_wait:p95_seconds": [
        Value(
            [series("kueue_admission_wait_time_seconds_bucket", "0+20x100", cluster_queue="research", le=le)
             for le in ("10", "20", "+Inf")],
            [({"cluster_queue": "research"}, 9.5)],
        )
    ],
    "plimsoll:service_answering:replicas": [
        Value([vllm("num_requests_running", "1x100", pod="a", engine=each) for each in "01"], [(OF_CHAT, 1)])
    ],
    "plimsoll:service_waiting:requests": [
        Value([vllm("num_requests_waiting", "2x100", pod=each) for each in "ab"], [(OF_CHAT, 4)])
    ],
    "plimsoll:service_running:requests": [Value([vllm("num_requests_running", "3x100")], [(OF_CHAT, 3)])],
    "plimsoll:service_kv_cache:ratio": [
        Value([vllm("kv_cache_usage_perc", "0.5x100")], [(OF_CHAT, 0.5)]),
        Value([vllm("gpu_cache_usage_perc", "0.5x100")], [(OF_CHAT, 0.5)]),
    ],
    **{
        f"plimsoll:service_{name}:rate5m": [Value([vllm(f"{name}_total", "0+60x100")], [(OF_CHAT, 1)])]
        for name in ("prompt_tokens", "generation_tokens", "num_preemptions", "request_success", "admission_rejections")
    },
    "plimsoll:service_ttft:seconds": [
        Value(histogram("time_to_first_token_seconds", "0+10x100"), [(OF_CHAT | {"quantile": "p90"}, 0.9)])
    ],
    "plimsoll:service_itl:seconds": [
        Value(histogram(f"{each}_seconds", "0+10x100"), [(OF_CHAT | {"quantile": "p90"}, 0.9)])
        for each in ("inter_token_latency", "time_per_output_token")
    ],
    "plimsoll:service_e2e:seconds": [
        Value(histogram("e2e_request_latency_seconds", "0+10x100"), [(OF_CHAT | {"quantile": "p99"}, 0.99)])
    ],
    "plimsoll:service_least:replicas": [Value([], [(OF_CHAT | {"team": "serving", "pool": "h100"}, 2)])],
    "plimsoll:service_most:replicas": [Value([], [(OF_CHAT, 3)])],
    "plimsoll:service_ttft_objective:seconds": [Value([], [(OF_CHAT | {"quantile": "p90"}, 2)])],
    "plimsoll:service_itl_objective:seconds": [Value([], [(OF_CHAT | {"quantile": "p90"}, 0.1)])],
    "plimsoll:service_e2e_objective:seconds": [Value([], [(OF_CHAT | {"quantile": "p99"}, 3)])],
    "plimsoll:cost_last_hour:money": [
        Value(
            [meter("cost_last_hour", "3x100", pod=each, **{"team": "research", "class": "idle"}) for each in "ab"],
            [({"team": "research", "class": "idle"}, 3)],
        )
    ],
    "plimsoll:cost_last_day:money": [Value(spent("research", idle="3x100", low="4x100"), [({"class": "idle"}, 3),
                                                                                          ({"class": "low"}, 4)])],
    "plimsoll:cost_month:money": [
        Value([meter("cost_month_to_date", "9x100", **{"class": "unallocated"})], [({"class": "unallocated"}, 9)])
    ],
    "plimsoll:team_forecast:money": [
        Value([meter("cost_forecast_month", "9x100", team="research")], [({"team": "research"}, 9)])
    ],
    "plimsoll:team_budget:money": [
        Value([meter("budget_month", "9x100", team="research")], [({"team": "research"}, 9)])
    ],
    "plimsoll:team_lost_work:money": [
        Value([meter("lost_work_last_day", "9x100", team="research")], [({"team": "research"}, 9)])
    ],
    "plimsoll:node_price:money_per_hour": [
        Value(
            [meter("node_price_per_hour", "9x100", node="n1", pool="h100", source="list", pod=each) for each in "ab"],
            [({"node": "n1", "pool": "h100", "source": "list"}, 9)],
        )
    ],
    "plimsoll:model_million_tokens:money": [
        Value([million("9x100")], [({"model": "chat", "kind": "all"}, 9)]),
    ],
    "plimsoll:team_idle:ratio": [
        Value(spent("research", idle="3x100", productive="9x100"), [({"team": "research"}, 0.25)]),
        Value(spent("research", productive="9x100"), []),
        Value(spent("(other)", idle="3x100"), []),
        Value([meter("cost_last_day", "9x100", **{"class": "idle"})], []),
    ],
}  # fmt: skip
