"""Services on vLLM, by namespace and the name of the service.

`service` is what a monitor of ours writes, or the Kubernetes Service through which another one found the pod. Names of
metrics changed: the gauge of the KV cache in 0.12, the time between tokens in 0.15; both forms are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

from plimsoll.pillars.observability.pack.model import Group, Record

SERVICE = "namespace, service"
QUANTILES = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99"}
LATENCIES = {
    "ttft": ("time_to_first_token_seconds",),
    "itl": ("inter_token_latency_seconds", "time_per_output_token_seconds"),
    "e2e": ("e2e_request_latency_seconds",),
}
"""Field of an objective to the histogram that shows it, the present name first."""


def latency(of: str, quantile: str, chosen: str = "") -> str:
    """A quantile of a latency over the last five minutes, of services that are chosen by a selector of labels."""
    return " or ".join(
        f"histogram_quantile({quantile}, sum by ({SERVICE}, le) (rate(vllm:{name}_bucket{{{chosen}}}[5m])))"
        for name in LATENCIES[of]
    )


def _sum(name: str, *metrics: str) -> Record:
    return Record(
        record=f"plimsoll:service_{name}", expr=" or ".join(f"sum by ({SERVICE}) ({each})" for each in metrics)
    )


def serving(judged: Iterable[tuple[str, str]]) -> Group:
    """judged: the latencies and percentiles that some service has an objective for, such as ("ttft", "p90")."""
    rates = ("prompt_tokens", "generation_tokens", "num_preemptions", "request_success", "admission_rejections")
    return Group(
        name="plimsoll-serving",
        rules=(
            Record(
                record="plimsoll:service_answering:replicas",
                expr=f"count by ({SERVICE}) (group by ({SERVICE}, pod) (vllm:num_requests_running))",
            ),
            _sum("waiting:requests", "vllm:num_requests_waiting"),
            _sum("running:requests", "vllm:num_requests_running"),
            Record(
                record="plimsoll:service_kv_cache:ratio",
                expr=f"avg by ({SERVICE}) (vllm:kv_cache_usage_perc) or avg by ({SERVICE}) (vllm:gpu_cache_usage_perc)",
            ),
            *(_sum(f"{name}:rate5m", f"rate(vllm:{name}_total[5m])") for name in rates),
            *(
                Record(
                    record=f"plimsoll:service_{of}:seconds",
                    expr=latency(of, QUANTILES[percentile]),
                    labels={"quantile": percentile},
                )
                for of, percentile in sorted(judged)
            ),
        ),
    )
