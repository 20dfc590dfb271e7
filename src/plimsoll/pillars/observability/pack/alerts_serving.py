"""Alerts on services: their objectives, their load, and what makes them grow."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.model import Alert, Group
from plimsoll.pillars.observability.pack.serving import SERVICE

_AT = "{{ $labels.namespace }}/{{ $labels.service }}"
_LOOK = "Dashboard Serving: is it waiting requests (add replicas), a full KV cache, or long prompts?"
_SCALED = "kubectl -n {{ $labels.namespace }} describe scaledobject,hpa {{ $labels.service }}"
_WORDS = {
    "ttft": ("ServiceFirstTokenLate", "first tokens", "the first token"),
    "itl": ("ServiceTokensSlow", "tokens", "each further token"),
    "e2e": ("ServiceAnswersLate", "whole answers", "the whole answer"),
}


def _late(of: str) -> Alert:
    name, plural, single = _WORDS[of]
    return Alert(
        name=name,
        severity="warning",
        expr=f"plimsoll:service_{of}:seconds > on ({SERVICE}, quantile) group_left (team) "
        f"max by ({SERVICE}, team, quantile) (plimsoll:service_{of}_objective:seconds)",
        lasts="10m",
        summary=f"{_AT} is late with {plural}: {{{{ $labels.quantile }}}} is {{{{ $value | humanizeDuration }}}}",
        means=f"Callers wait longer for {single} than the service's objective allows (services[].slo.{of}).",
        runbook=(_LOOK, _SCALED + "   # does it grow, and up to where?", "Raise replicas.max, or lower the load"),
    )


SERVICES = (
    *(_late(of) for of in _WORDS),
    Alert(
        name="ServiceDoesNotAnswer",
        severity="critical",
        expr=f"max by ({SERVICE}, team) (plimsoll:service_least:replicas) > 0 "
        f"unless on ({SERVICE}) plimsoll:service_answering:replicas",
        lasts="10m",
        summary=f"No replica of {_AT} shows any metric",
        means="Every replica is down or still loading, or nobody collects its metrics; then it does not scale either.",
        runbook=(
            "kubectl -n {{ $labels.namespace }} get pods -l app.kubernetes.io/name={{ $labels.service }}",
            "Pending: quota or nodes; crashing: its logs; running: does a monitor select it?",
        ),
    ),
    Alert(
        name="ServiceBelowItsLeast",
        severity="warning",
        expr=f"plimsoll:service_answering:replicas < on ({SERVICE}) group_left (team) "
        f"max by ({SERVICE}, team) (plimsoll:service_least:replicas)",
        lasts="30m",
        summary=f"{_AT} runs {{{{ $value }}}} replicas, fewer than it always should",
        means="One more failure may leave nobody to answer.",
        runbook=(
            "kubectl -n {{ $labels.namespace }} get pods -l app.kubernetes.io/name={{ $labels.service }}",
            "Pending pods: the team's quota, or no free GPU in the pool",
        ),
    ),
    Alert(
        name="ServiceCannotGrow",
        severity="warning",
        expr=f"plimsoll:service_waiting:requests > 0 and on ({SERVICE}) "
        f"(plimsoll:service_answering:replicas >= on ({SERVICE}) max by ({SERVICE}) (plimsoll:service_most:replicas))",
        lasts="10m",
        summary=f"{{{{ $value }}}} requests wait for {_AT}, which has all the replicas it may have",
        means="It is at replicas.max and still has a queue, so callers wait longer and longer.",
        runbook=("Raise replicas.max and the team's quota", "Bound the queue: max-num-queued-reqs in engine.args"),
    ),
    Alert(
        name="ServiceDoesNotGrow",
        severity="warning",
        expr=f"plimsoll:service_waiting:requests > 0 and on ({SERVICE}) "
        f"(plimsoll:service_answering:replicas < on ({SERVICE}) max by ({SERVICE}) (plimsoll:service_most:replicas)) "
        f"unless on ({SERVICE}) (plimsoll:service_answering:replicas offset 20m < plimsoll:service_answering:replicas)",
        lasts="20m",
        summary=f"{{{{ $value }}}} requests wait for {_AT}, and it does not grow",
        means="There was a queue for twenty minutes, more replicas are allowed, and none came: KEDA gets no answer, "
        "the "
        "quota is used up, or no node has a free GPU.",
        runbook=(
            _SCALED,
            "kubectl -n {{ $labels.namespace }} get pods,workloads   # pending?",
            "kubectl -n keda logs deploy/keda-operator | grep {{ $labels.service }}",
        ),
    ),
    Alert(
        name="ServiceCacheFull",
        severity="warning",
        expr=f"plimsoll:service_kv_cache:ratio > 0.9 and on ({SERVICE}) plimsoll:service_waiting:requests > 0",
        lasts="10m",
        summary=f"The KV cache of {_AT} is full and requests wait",
        means="Memory for the context of running requests bounds it, not compute: more requests at a time do not fit.",
        runbook=("A shorter max-model-len, an fp8 KV cache, or GPUs with more memory", "More replicas"),
    ),
    Alert(
        name="ServicePutsRequestsBack",
        severity="warning",
        expr="plimsoll:service_num_preemptions:rate5m > 0.1",
        lasts="15m",
        summary=f"{_AT} puts running requests back, {{{{ $value | humanize }}}} a second",
        means="Their cache was needed for others; they are computed again from the start. Work is done twice.",
        runbook=("Lower max-num-seqs", "See ServiceCacheFull"),
    ),
    Alert(
        name="ServiceFails",
        severity="critical",
        expr=f"""
            sum by ({SERVICE}) (rate(vllm:request_success_total{{finished_reason="error"}}[10m]))
            / (plimsoll:service_request_success:rate5m > 0) > 0.02""",
        lasts="10m",
        summary=f"{{{{ $value | humanizePercentage }}}} of the requests to {_AT} end with an error",
        means="The engine itself ends them; what clients break off is not counted.",
        runbook=(
            "kubectl -n {{ $labels.namespace }} logs -l app.kubernetes.io/name={{ $labels.service }} --tail=100",
            "One replica only: delete its pod, and look at its GPU (GpuFailed)",
        ),
    ),
    Alert(
        name="ServiceTurnsAway",
        severity="warning",
        expr="plimsoll:service_admission_rejections:rate5m > 0",
        lasts="10m",
        summary=f"{_AT} turns requests away, {{{{ $value | humanize }}}} a second",
        means="Its queue is as long as it may be. That protects those who wait; the rest must try again elsewhere.",
        runbook=(_LOOK, "Raise replicas.max, or the bound on the queue in engine.args"),
    ),
    Alert(
        name="ServiceLargerThanItsLoad",
        severity="info",
        expr=f"""
            max_over_time(plimsoll:service_waiting:requests[6h]) == 0
            and on ({SERVICE}) max_over_time(plimsoll:service_kv_cache:ratio[6h]) < 0.3
            and on ({SERVICE}) min_over_time(plimsoll:service_answering:replicas[6h]) > 1
            and on ({SERVICE}) (count_over_time(plimsoll:service_waiting:requests[6h]) > 0)""",
        lasts="30m",
        summary=f"{_AT} could do its work with fewer replicas",
        means="For six hours nothing waited, and its caches were never a third full.",
        runbook=("Lower replicas.min", "Rehearse the smaller number before"),
    ),
    Alert(
        name="ServiceRestarts",
        severity="warning",
        expr="""sum by (namespace, pod) (increase(kube_pod_container_status_restarts_total[1h])
            and on (namespace, pod) group by (namespace, pod) (vllm:num_requests_running)) > 2""",
        lasts="5m",
        summary="{{ $labels.namespace }}/{{ $labels.pod }} restarted {{ $value | humanize }} times in an hour",
        means="Every restart loads the model anew; while it does, the others carry its load.",
        runbook=(
            "kubectl -n {{ $labels.namespace }} logs {{ $labels.pod }} --previous",
            "Killed by its liveness probe under load: a longer timeout. Out of memory: host memory, not the GPU's",
        ),
    ),
    Alert(
        name="ScalerBlind",
        severity="warning",
        expr="sum by (namespace, scaledObject) (increase(keda_scaler_detail_errors_total[10m])) > 0",
        lasts="10m",
        summary="KEDA gets no numbers for {{ $labels.namespace }}/{{ $labels.scaledObject }}",
        means="Its triggers fail, so the service keeps the replicas it has, or those of its fallback, whatever is "
        "asked.",
        runbook=(
            "kubectl -n {{ $labels.namespace }} describe scaledobject {{ $labels.scaledObject }}",
            "Does the trigger's serverAddress answer? plimsoll check names what is wrong with a query",
        ),
    ),
    Alert(
        name="ScalerPaused",
        severity="info",
        expr="max by (namespace, scaledObject) (keda_scaled_object_paused) == 1",
        lasts="4h",
        summary="Scaling of {{ $labels.namespace }}/{{ $labels.scaledObject }} has been paused for four hours",
        means="Somebody stopped it by annotation, and it does not follow its load.",
        runbook=(
            "kubectl -n {{ $labels.namespace }} annotate scaledobject {{ $labels.scaledObject }} "
            "autoscaling.keda.sh/paused- autoscaling.keda.sh/paused-replicas-",
        ),
    ),
)

SERVING_ALERTS = (Group(name="plimsoll-serving-alerts", rules=SERVICES),)
