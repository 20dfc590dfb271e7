"""How many replicas run: a ScaledObject whose triggers ask Prometheus what the servers say of themselves.

Every trigger compares a total with what one replica bears (AverageValue), so the replicas asked for do not depend on
how many there are. A missing metric is an error and never 0: nothing shrinks while nobody knows the load.
"""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.pillars.serving.metricnames import SINCE
from plimsoll.pillars.serving.render_facts import Facts
from plimsoll.pillars.serving.render_workloads import LWS
from plimsoll.plan.model import thing
from plimsoll.spec.model import Platform
from plimsoll.spec.serving import Percentiles
from plimsoll.units import version

_QUEUE = 32  # requests one replica works on or holds, where the engine may run more
_REACHABLE = 0.7  # of --max-num-seqs: running requests end there, and what is never reached never grows
_CACHE = "0.8"  # of the KV cache; above it requests wait for blocks or are preempted
_SLO = "0.8"  # of the objective: a new replica takes minutes, so it is asked for before the objective is missed
_RATIO_MAX = 2  # of the objective: more does not mean more replicas are needed, only that the queue is old
_WINDOW = "2m"  # four scrapes at the slowest usual interval, 30 s
_STABLE_DOWN, _STEP_DOWN = 300, 120  # seconds
_STABLE_MAX = 3600  # more the API server refuses
_KINDS = {"ttft": "time_to_first_token_seconds", "itl": "inter_token_latency_seconds",
          "e2e": "e2e_request_latency_seconds"}  # fmt: skip


def scaler(platform: Platform, facts: Facts) -> Obj:
    replicas = facts.service.replicas
    spec: Obj = {
        "scaleTargetRef": _target(facts),
        "minReplicaCount": facts.least,
        "maxReplicaCount": replicas.max,
        "fallback": {
            "failureThreshold": 3,
            "replicas": max(1, replicas.min),
            "behavior": "currentReplicasIfHigher",
        },
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(facts)}},
        "triggers": list(_triggers(platform, facts)),
    }
    if facts.sleeps:
        spec["cooldownPeriod"] = 2 * facts.loading  # back to sleep no sooner than it could have served anybody
        spec["initialCooldownPeriod"] = facts.loading
    return thing("keda.sh/v1alpha1", "ScaledObject", facts.name, facts.namespace, labels=facts.labels, spec=spec)


def _target(facts: Facts) -> Obj:
    if facts.grouped:
        return {"apiVersion": LWS, "kind": "LeaderWorkerSet", "name": facts.name}
    return {"name": facts.name}


def _behavior(facts: Facts) -> Obj:
    """Up by at most what runs, in steps a start can answer; down one at a time, after the load has stayed away.

    Replicas that load do not help yet, and those that end take their answers along.
    """
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 30,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 60},
                {"type": "Pods", "value": 2, "periodSeconds": 60},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": min(_STABLE_MAX, max(_STABLE_DOWN, facts.drain)),
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": _STEP_DOWN}],
        },
    }


def _triggers(platform: Platform, facts: Facts) -> Iterator[Obj]:
    service = facts.service
    if service.scale_on == "schedule":
        yield from _windows(facts)
    if service.scale_on == "slo":
        for kind, bounds in (("ttft", service.slo.ttft), ("itl", service.slo.itl), ("e2e", service.slo.e2e)):
            yield from _latencies(platform, facts, kind, bounds)
    if service.scale_on == "kv-cache":
        cache = f"sum(avg by (instance) (vllm:{_cache(facts)}{_series(facts)}))"
        yield _trigger(platform, "kv-cache", _awake(facts, cache), _CACHE, "0.05")
    # always: the cache says nothing of a queue of long prompts, and latency nothing while nobody is answered
    busy = f"sum(vllm:num_requests_waiting{_series(facts)}) + sum(vllm:num_requests_running{_series(facts)})"
    yield _trigger(platform, "queue", _awake(facts, busy), str(_bearable(facts)), "0")


def _windows(facts: Facts) -> Iterator[Obj]:
    for index, window in enumerate(facts.service.schedule, 1):
        yield {
            "type": "cron",
            "name": f"window-{index}",
            "metadata": {
                "timezone": window.timezone,
                "start": window.start,
                "end": window.end,
                "desiredReplicas": str(window.replicas),
            },
        }


def _latencies(platform: Platform, facts: Facts, kind: str, bounds: Percentiles | None) -> Iterator[Obj]:
    """One trigger for every bound: how near the latency is to it, times the replicas that answer.

    Replicas that still load export nothing and are not multiplied, so a slow start does not ask for ever more.
    """
    for percent in (50, 90, 95, 99):
        bound = getattr(bounds, f"p{percent}") if bounds else None
        if not bound:
            continue
        buckets = f"sum by (le) (rate(vllm:{_histogram(facts, kind)}_bucket{_series(facts)}[{_WINDOW}]))"
        near = f"(histogram_quantile({percent / 100:g}, {buckets}) >= 0) / {bound / 1000:g}"
        there = f"count(count by (instance) (vllm:num_requests_running{_series(facts)}))"
        # no request in the window: no latency, and no need either, as long as there are servers to say so
        query = f"clamp_max({near}, {_RATIO_MAX}) * {there} or 0 * {there}"
        yield _trigger(platform, f"{kind}-p{percent}", query, _SLO, "0")


def _trigger(platform: Platform, name: str, query: str, threshold: str, activation: str) -> Obj:
    return {
        "type": "prometheus",
        "name": name,
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": platform.observability.prometheus.url,
            "query": query,
            "threshold": threshold,
            "activationThreshold": activation,
            "ignoreNullValues": "false",
        },
    }


def _series(facts: Facts) -> str:
    name = facts.served_name.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{namespace="{facts.namespace}",model_name="{name}"}}'


def _awake(facts: Facts, query: str) -> str:
    """A query that is 0 while a service that may sleep has no ready replica; else missing stays missing."""
    if not facts.sleeps or facts.grouped:  # kube-state-metrics knows nothing of groups
        return query
    own = f'kube_deployment_status_replicas_ready{{namespace="{facts.namespace}",deployment="{facts.name}"}}'
    return f"({query}) or (sum({own}) == 0)"


def _bearable(facts: Facts) -> int:
    cap = facts.args.get("max-num-seqs")
    return max(1, min(_QUEUE, int(_REACHABLE * cap))) if type(cap) is int else _QUEUE


def _cache(facts: Facts) -> str:
    return _since(facts, "kv_cache_usage_perc", "gpu_cache_usage_perc")


def _histogram(facts: Facts, kind: str) -> str:
    return _since(facts, _KINDS[kind], "time_per_output_token_seconds")


def _since(facts: Facts, name: str, before: str) -> str:
    """A metric's name in the declared version of the engine."""
    return name if version(facts.service.engine.version) >= SINCE.get(name, ()) else before
