"""Faults of services beside those of `serving`: what a ScaledObject asks for, and how a server starts and stops."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from plimsoll.kube.objects import Obj, condition, get, items, mapping, name, namespace, number, text
from plimsoll.lab.faults import operands, work
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.work import state
from plimsoll.units import moment

_SCALED, _BUDGET = "keda.sh/v1alpha1/ScaledObject", "policy/v1/PodDisruptionBudget"
_HPA = "autoscaling/v2/HorizontalPodAutoscaler"
_DEPLOYMENT = work.DEPLOYMENT
_SCRAPED = timedelta(seconds=15)  # some rounds of Prometheus and of the autoscaler
_LOAD = "vllm:num_requests_running"
_GONE = "vllm:gpu_cache_usage_perc"  # vLLM 0.12 took it away
_BUSY = "avg(DCGM_FI_DEV_GPU_UTIL)"

Change = Callable[[Obj], None]


def _scaler(hands: Hands) -> Obj:
    """The first ScaledObject, by namespace and name."""
    return operands.first(hands, sorted(hands.client.list(_SCALED), key=work.key), "a ScaledObject")


def _server(hands: Hands) -> Obj:
    """The Deployment that it scales."""
    scaler = _scaler(hands)
    return hands.get(_DEPLOYMENT, text(scaler, "spec", "scaleTargetRef", "name"), namespace(scaler))


def _scaling(id_: str, title: str, how: Change, shown: Callable[[Hands], bool]) -> Fault:
    """A ScaledObject whose spec is changed."""

    def inject(hands: Hands) -> None:
        scaler = _scaler(hands)
        hands.change(_SCALED, name(scaler), lambda each: how(each["spec"]), namespace(scaler))

    return Fault(id=id_, title=title, where="service", inject=inject, shown=shown)


def _query(query: str, **more: str) -> Change:
    """Another query, without the fallback that would hide for minutes that nothing is measured."""

    def how(spec: Obj) -> None:
        spec.pop("fallback", None)
        spec["triggers"][0]["metadata"] |= {"query": query, **more}

    return how


def _trusting(spec: Obj) -> None:
    """A missing metric is no load, and nothing falls back."""
    spec.pop("fallback", None)
    spec["triggers"][0]["metadata"]["ignoreNullValues"] = "true"


def _multiplying(spec: Obj) -> None:
    spec["triggers"][0]["metricType"] = "Value"


def _boundless(spec: Obj) -> None:
    spec["maxReplicaCount"] = 64


def _silent(hands: Hands) -> bool:
    """Whether KEDA says that it cannot read the trigger."""
    return state(_scaler(hands), "Ready")[0] == "False"


def _accepted(field: str, value: object) -> Callable[[Hands], bool]:
    """Whether KEDA has taken the change: it is ready, and its autoscaler says so too where the field reaches it."""

    def shown(hands: Hands) -> bool:
        scaler = _scaler(hands)
        here, title = namespace(scaler), text(scaler, "status", "hpaName")
        hpa = hands.get(_HPA, title, here)
        have = {
            "maxReplicas": get(hpa, "spec", "maxReplicas"),
            "target": get(hpa, "spec", "metrics", 0, "external", "target", "type"),
            "ignoreNullValues": get(scaler, "spec", "triggers", 0, "metadata", "ignoreNullValues"),
            "query": get(scaler, "spec", "triggers", 0, "metadata", "query"),
        }
        return have[field] == value and state(scaler, "Ready")[0] == "True"

    return shown


def _strict(hands: Hands) -> None:
    """The service's disruption budget is tightened for a launch."""
    server = _server(hands)
    here = namespace(server)
    own = mapping(server, "spec", "template", "metadata", "labels").items()
    found = [
        each for each in hands.client.list(_BUDGET, here)
        if mapping(each, "spec", "selector", "matchLabels").items() <= own
    ]  # fmt: skip
    budget = operands.first(hands, found, "a PodDisruptionBudget of the service")
    hands.change(_BUDGET, name(budget), {"spec": {"maxUnavailable": 0}}, here)


def _undrainable(hands: Hands) -> bool:
    """Whether a budget in the service's namespace needs every pod it counts."""
    found = hands.client.list(_BUDGET, namespace(_server(hands)))
    counts = [(number(each, "status", "desiredHealthy"), number(each, "status", "expectedPods")) for each in found]
    return any(wanted and wanted == there for wanted, there in counts)


def _serving(id_: str, title: str, how: Change) -> Fault:
    """A server's container is changed, and the new version is rolled out."""

    def inject(hands: Hands) -> None:
        server = _server(hands)
        hands.change(
            _DEPLOYMENT,
            name(server),
            lambda each: how(each["spec"]["template"]["spec"]["containers"][0]),
            namespace(server),
        )

    return Fault(id=id_, title=title, where="service", inject=inject, shown=_rolled_out)


def _rolled_out(hands: Hands) -> bool:
    """Whether the new version serves alone, and its autoscaler reads it: here it takes over before it is measured."""
    server, scaler = _server(hands), _scaler(hands)
    status, wanted = mapping(server, "status"), number(server, "spec", "replicas")
    known = number(status, "observedGeneration") == number(server, "metadata", "generation")
    counts = [number(status, each) for each in ("updatedReplicas", "replicas", "readyReplicas")]
    hpa = hands.get(_HPA, text(scaler, "status", "hpaName"), namespace(scaler))
    active = state(hpa, "ScalingActive")[0] == "True"
    since = moment(text(condition(server, "Progressing"), "lastUpdateTime"))
    return known and counts == [wanted] * 3 and active and since is not None and datetime.now(UTC) - since > _SCRAPED


def _impatient(container: Obj) -> None:
    """No startup probe any more, and the liveness probe begins after a minute."""
    container.pop("startupProbe", None)
    container["livenessProbe"] |= {"initialDelaySeconds": 60, "failureThreshold": 3}


def _abrupt(container: Obj) -> None:
    container.pop("lifecycle", None)


def _open(container: Obj) -> None:
    container["env"] = [*items(container, "env"), {"name": "VLLM_SERVER_DEV_MODE", "value": "1"}]


FAULTS: tuple[Fault, ...] = (
    _scaling("V01", "a trigger asks for a metric that the running engine no longer has",
             _query(f"max({_GONE})", threshold="0.8"), _silent),
    _scaling("V05", "a trigger takes a missing metric for no load", _trusting, _accepted("ignoreNullValues", "true")),
    _scaling("V07", "a service is scaled by how busy its GPUs are", _query(_BUSY, threshold="70"),
             _accepted("query", _BUSY)),
    _scaling("V18", "a trigger compares a total with what one replica can bear", _multiplying,
             _accepted("target", "Value")),
    _scaling("V25", "a service may grow beyond the GPUs there are for it", _boundless, _accepted("maxReplicas", 64)),
    _scaling("V51+query", "a trigger's query has lost a bracket", _query(f"sum({_LOAD}"), _silent),
    _scaling("V51+series", "a trigger's query gives one series per pod, and KEDA takes one", _query(_LOAD), _silent),
    Fault(
        id="V57",
        title="a service's disruption budget lets none of its pods go",
        where="service",
        inject=_strict,
        shown=_undrainable,
    ),
    _serving("V28", "a model server is killed while it still loads its model", _impatient),
    _serving("V29", "a model server stops while requests are still sent to it", _abrupt),
    _serving("V39", "a model server runs with the engine's development endpoints", _open),
)  # fmt: skip
