"""Bounds, waits and fallbacks of a scaler: V12, V14 to V16, V23, V26."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, get, items, name, namespace, number
from plimsoll.kube.pods import gpu_requests
from plimsoll.kube.served import find_target, template_of
from plimsoll.pillars.serving.metricnames import used
from plimsoll.pillars.serving.triggers import EDIT, Trigger, edit, prometheus_triggers, replica_range

_IN_FRONT = re.compile(r"router|gateway|epp|envoy")  # metrics that exist without the pods


@check("V12", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="KEDA docs (activation); vllm production-stack#1003")  # fmt: skip
def sleeping_services_can_wake(case: Case) -> Iterator[Finding]:
    """A service that may sleep at 0 replicas has a trigger that exists without its pods.

    At 0 there is no pod to export vLLM's metrics, so the query that should wake the service finds
    nothing. The metric has to come from in front: a gateway, a router, the HTTP add-on, a queue.
    """
    own: dict[tuple[str, str], list[Trigger]] = {}
    for each in prometheus_triggers(case.snapshot):
        own.setdefault((namespace(each.scaled), name(each.scaled)), []).append(each)
    for triggers in own.values():
        obj = triggers[0].scaled
        idle = get(obj, "spec", "idleReplicaCount")
        emitted = [each for each in triggers if used(each.query) and not _IN_FRONT.search(each.query)]
        sleeps = replica_range(obj)[0] == 0 or idle == 0
        if sleeps and len(emitted) == len(items(obj, "spec", "triggers")):
            yield case.finding(
                obj,
                f"ScaledObject {namespace(obj)}/{name(obj)} may sleep at 0, and only its own pods could wake it",
                "spec.minReplicaCount",
                "spec.idleReplicaCount",
                f"{triggers[0].at}.query",
                remedy=edit(
                    obj, "set minReplicaCount: 1, or add a trigger on the gateway's queue or the KEDA HTTP add-on"
                ),
            )


def _scaled_with_gpus(case: Case) -> Iterator[Obj]:
    for scaled in case.snapshot.list(kinds.SCALED_OBJECT):
        aim = find_target(case.snapshot, scaled)
        if aim is not None and gpu_requests(template_of(aim)[1]):
            yield scaled


@check("V14", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT, kinds.DEPLOYMENT), remedy=EDIT,
       source="vllm production-stack#1003; KEDA cooldownPeriod")  # fmt: skip
def cooldown_outlasts_the_cold_start(case: Case) -> Iterator[Finding]:
    """A service that may sleep at 0 is not put back to sleep while it loads.

    KEDA goes back to 0 when no trigger was active for `cooldownPeriod`. A model takes one to eleven
    minutes to load; with a shorter period the pod is removed before it has answered, over and over.
    """
    for scaled in _scaled_with_gpus(case):
        period = get(scaled, "spec", "cooldownPeriod")
        if replica_range(scaled)[0] == 0 and isinstance(period, int) and period < 120:
            yield case.finding(
                scaled,
                f"ScaledObject {namespace(scaled)}/{name(scaled)} goes back to 0 after {period} s, "
                "sooner than a model loads",
                "spec.cooldownPeriod",
                "spec.minReplicaCount",
                remedy=edit(scaled, "cooldownPeriod: at least twice the measured cold start; KEDA's default is 300"),
            )


@check("V15", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="keda pkg/scaling/executor (fallback.replicas 0)")  # fmt: skip
def fallback_keeps_a_replica(case: Case) -> Iterator[Finding]:
    """A fallback keeps at least one replica.

    With `fallback.replicas: 0` an outage of the metrics is treated as "nothing to do", and with a
    minimum of 0 the service is scaled away while its users are waiting.
    """
    for scaled in case.snapshot.list(kinds.SCALED_OBJECT):
        kept = get(scaled, "spec", "fallback", "replicas")
        if isinstance(kept, int) and kept == 0 and replica_range(scaled)[0] == 0:
            yield case.finding(
                scaled,
                f"The fallback of ScaledObject {namespace(scaled)}/{name(scaled)} scales to 0 when metrics fail",
                "spec.fallback.replicas",
                "spec.minReplicaCount",
                remedy=edit(scaled, "fallback.replicas: 1 or more"),
            )


@check("V16", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="keda pkg/fallback (Value needs ready pods; integer target)")  # fmt: skip
def fallback_can_be_computed(case: Case) -> Iterator[Finding]:
    """A fallback that is declared can fire.

    KEDA reports target × replicas in place of the metric. With metricType Value it divides by the ready
    pods, which fails at 0; with a formula the target must be a whole number. It says neither.
    """
    for scaled in case.snapshot.list(kinds.SCALED_OBJECT):
        if not get(scaled, "spec", "fallback"):
            continue
        low, goal = replica_range(scaled)[0], get(scaled, "spec", "advanced", "scalingModifiers", "target")
        for index, each in enumerate(items(scaled, "spec", "triggers")):
            if each.get("metricType") == "Value" and low == 0:
                yield case.finding(
                    scaled,
                    f"The fallback of ScaledObject {namespace(scaled)}/{name(scaled)} cannot work at 0 replicas "
                    f"with metricType Value",
                    f"spec.triggers[{index}].metricType",
                    "spec.fallback",
                    remedy=edit(scaled, "metricType: AverageValue"),
                )
                break
        else:
            if goal not in (None, "") and not str(goal).isdecimal():
                yield case.finding(
                    scaled,
                    f"The fallback of ScaledObject {namespace(scaled)}/{name(scaled)} is void: "
                    f"its formula's target {goal} is no whole number",
                    "spec.advanced.scalingModifiers.target",
                    "spec.fallback",
                    remedy=edit(scaled, "multiply the formula and the target until the target is whole"),
                )


@check("V23", Severity.INFO, Layer.RISK, reads=(kinds.SCALED_OBJECT,), remedy=EDIT,
       source="KEDA webhook (PollingInterval is configured but is not relevant)")  # fmt: skip
def polling_interval_matters(case: Case) -> Iterator[Finding]:
    """A polling interval that is set has an effect.

    KEDA polls only to wake a service from 0 or for cached metrics; above that the HPA asks every 15
    seconds. To react sooner, shorten the scrape interval and the query's window.
    """
    for scaled in _scaled_with_gpus(case):
        cached = any(each.get("useCachedMetrics") is True for each in items(scaled, "spec", "triggers"))
        if get(scaled, "spec", "pollingInterval") and replica_range(scaled)[0] > 0 and not cached:
            if get(scaled, "spec", "idleReplicaCount") is not None:
                continue
            yield case.finding(
                scaled,
                f"ScaledObject {namespace(scaled)}/{name(scaled)} sets pollingInterval "
                f"{number(scaled, 'spec', 'pollingInterval')}, which has no effect at 1 replica or more",
                "spec.pollingInterval",
                "spec.minReplicaCount",
                remedy=edit(scaled, "remove it; tune the scrape interval instead"),
            )


@check("V26", Severity.WARNING, Layer.RISK, reads=(kinds.SCALED_OBJECT, kinds.DEPLOYMENT), remedy=EDIT,
       source="KEDA ScaledObject defaults (maxReplicaCount 100)")  # fmt: skip
def services_have_a_maximum(case: Case) -> Iterator[Finding]:
    """Every scaled service that holds GPUs says how large it may become.

    KEDA's default maximum is 100 replicas. One bad query then asks for a hundred replicas' worth of
    GPUs, and an autoscaled node pool buys them.
    """
    for scaled in _scaled_with_gpus(case):
        if get(scaled, "spec", "maxReplicaCount") is None:
            yield case.finding(
                scaled,
                f"ScaledObject {namespace(scaled)}/{name(scaled)} has no maxReplicaCount: up to 100 replicas with GPUs",
                "spec.maxReplicaCount",
                remedy=edit(scaled, "maxReplicaCount: what the GPUs and the budget allow"),
            )
