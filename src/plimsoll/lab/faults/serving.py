"""Faults of services: KEDA, its triggers, autoscalers, the servers themselves, and services on spot nodes."""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.kube.nodes import is_spot
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, number, selects, text
from plimsoll.kube.pods import finished
from plimsoll.lab.faults import operands, work
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.work import DUE, state

_SCALED, _HPA = "keda.sh/v1alpha1/ScaledObject", "autoscaling/v2/HorizontalPodAutoscaler"
_DEPLOYMENT = work.DEPLOYMENT
_KEDA = "keda"
_API = ("apiregistration.k8s.io/v1/APIService", "v1beta1.external.metrics.k8s.io")
_OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 9.69 GiB. GPU 0 has a total capacity of 79.11 GiB"
_UNKNOWN = "vllm: error: unrecognized arguments: --max-model-length=32768"
_SPOT = "eks.amazonaws.com/capacityType"


def _scaler(hands: Hands) -> Obj:
    """The first ScaledObject of a Deployment."""
    found = sorted(hands.client.list(_SCALED), key=work.key)
    return operands.first(hands, found, "a ScaledObject")


def _server(hands: Hands) -> Obj:
    """The Deployment that it scales, healthy or not."""
    scaler = _scaler(hands)
    return hands.get(_DEPLOYMENT, text(scaler, "spec", "scaleTargetRef", "name"), namespace(scaler))


def _pods(hands: Hands) -> list[Obj]:
    """Its pods."""
    server = _server(hands)
    here = hands.client.list("v1/Pod", namespace(server))
    return [each for each in here if selects(get(server, "spec", "selector"), labels(each)) and not finished(each)]


def _edit(hands: Hands, spec: Obj) -> None:
    """Change the ScaledObject's spec."""
    scaler = _scaler(hands)
    hands.change(_SCALED, name(scaler), {"spec": spec}, namespace(scaler))


def _ready(hands: Hands) -> tuple[str, str]:
    return state(_scaler(hands), "Ready")


def _part(id_: str, title: str, program: str, deployment: str) -> Fault:
    """A part of KEDA that is scaled to 0."""

    def inject(hands: Hands) -> None:
        hands.stop(program)
        hands.change(_DEPLOYMENT, deployment, {"spec": {"replicas": 0}}, _KEDA)

    def shown(hands: Hands) -> bool:
        return not number(hands.get(_DEPLOYMENT, deployment, _KEDA), "status", "replicas")

    return Fault(id=id_, title=title, where="cluster", inject=inject, shown=shown)


def _no_prometheus(hands: Hands, **spec: object) -> None:
    """The address of Prometheus is that of another cluster."""
    triggers = items(_scaler(hands), "spec", "triggers")
    for each in triggers:
        each["metadata"]["serverAddress"] = "http://prometheus.observability.svc:9090"
    _edit(hands, {"triggers": triggers, **spec})


def _no_target(hands: Hands) -> None:
    _edit(hands, {"scaleTargetRef": {"name": text(_server(hands), "metadata", "name") + "-v2"}})


def _pause(hands: Hands) -> None:
    scaler = _scaler(hands)
    notes = {"autoscaling.keda.sh/paused": "true"}
    hands.change(_SCALED, name(scaler), {"metadata": {"annotations": notes}}, namespace(scaler))


def _by_cpu(hands: Hands, target: Obj) -> None:
    """Somebody scales a Deployment by its processors."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name(target)}
    aim = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    spec = {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 4,
            "metrics": [{"type": "Resource", "resource": aim}]}  # fmt: skip
    meta = {"name": f"{name(target)}-cpu", "namespace": namespace(target)}
    kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    hands.create({**kind, "metadata": meta, "spec": spec})


def _unscaled(hands: Hands) -> Obj:
    """The first Deployment with GPUs that nothing scales."""
    mine = work.key(_server(hands))
    found = [each for each in hands.client.list(_DEPLOYMENT) if number(each, "status", "readyReplicas")]
    fit = [each for each in found if "nvidia.com/" in str(mapping(each, "spec")) and work.key(each) != mine]
    own = [each for each in fit if namespace(each) not in (_KEDA, operands.NAMESPACE)]
    return operands.first(hands, sorted(own, key=work.key), "a Deployment with GPUs that nothing scales")


def _mute(hands: Hands) -> bool:
    found = hands.client.list(_HPA)
    return any(state(each, "ScalingActive")[0] == "False" for each in found if name(each).endswith("-cpu"))


def _crash(hands: Hands) -> None:
    """Every replica of the server runs out of the GPU's memory."""
    for pod in _pods(hands):
        operands.spoil(hands, pod, text(pod, "spec", "containers", 0, "name"), _OOM)


def _nobody_answers(hands: Hands) -> bool:
    return operands.spoiled(_pods(hands)) and not number(_server(hands), "status", "readyReplicas")


def _template(hands: Hands, change: Callable[[Obj], None], **spec: object) -> None:
    """Change the server's pod template, which rolls it out anew."""

    def how(server: Obj) -> None:
        change(server["spec"]["template"])
        server["spec"] |= spec

    server = _server(hands)
    hands.change(_DEPLOYMENT, name(server), how, namespace(server))


def _typo(hands: Hands) -> None:
    """A new revision with an option that the engine does not know."""

    def how(template: Obj) -> None:
        container = template["spec"]["containers"][0]
        notes = template["metadata"].setdefault("annotations", {})
        notes["lab.plimsoll.dev/crash"] = container["name"]
        notes["lab.plimsoll.dev/crash-message"] = _UNKNOWN
        container["args"] = [*_words(container, "args"), "--max-model-length=32768"]

    _template(hands, how, progressDeadlineSeconds=5)


def _words(container: Obj, field: str) -> list[str]:
    """A list of words of a container."""
    found = get(container, field)
    return [str(each) for each in found] if isinstance(found, list) else []


def _stuck(hands: Hands) -> bool:
    return state(_server(hands), "Progressing") == ("False", "ProgressDeadlineExceeded")


def _foreign(hands: Hands) -> None:
    """Another adapter takes the API that KEDA serves."""
    service = {"name": "datadog-cluster-agent-metrics-api", "namespace": "datadog", "port": 8443}
    hands.change(*_API, {"spec": {"service": service}, "metadata": {"labels": {"app.kubernetes.io/name": "datadog",
        "app.kubernetes.io/part-of": None, "app.kubernetes.io/instance": None}}})  # fmt: skip


def _onto_spot(hands: Hands) -> None:
    """The service is let on to spot nodes, to save money."""

    def how(template: Obj) -> None:
        own = items(template, "spec", "tolerations")
        spot = {"key": _SPOT, "operator": "Equal", "value": "SPOT", "effect": "NoSchedule"}
        template["spec"]["tolerations"] = [*own, spot]

    _template(hands, how)


def _rolled_out(hands: Hands) -> bool:
    status, wanted = mapping(_server(hands), "status"), number(_server(hands), "spec", "replicas")
    known = number(status, "observedGeneration") == number(_server(hands), "metadata", "generation")
    return known and wanted == number(status, "updatedReplicas") == number(status, "replicas") == number(
        status, "readyReplicas"
    )


def _bare(hands: Hands) -> None:
    """A new version of the spot pool's group came without its taint."""
    for machine in _spot_nodes(hands):

        def how(node: Obj) -> None:
            node["spec"]["taints"] = [each for each in items(node, "spec", "taints") if each.get("key") != _SPOT]

        hands.change("v1/Node", name(machine), how)


def _spot_nodes(hands: Hands) -> list[Obj]:
    found = [each for each in hands.client.list("v1/Node") if is_spot(each)]
    operands.first(hands, found, "spot nodes")
    return found


FAULTS: tuple[Fault, ...] = (
    _part("V00", "KEDA's operator is scaled to 0", "keda-operator", "keda-operator"),
    _part("V00+metrics", "KEDA's metrics server is scaled to 0", "keda-adapter", "keda-metrics-apiserver"),
    _part("V56", "KEDA's admission webhook is scaled to 0", "keda-webhooks", "keda-admission"),
    Fault(
        id="V21",
        title="a service that KEDA scales is also scaled by its processors",
        where="service",
        inject=lambda hands: _by_cpu(hands, _server(hands)),
        shown=_mute,
    ),
    Fault(
        id="V45",
        title="another adapter has taken the API by which autoscalers read KEDA's metrics",
        where="cluster",
        inject=_foreign,
        shown=lambda hands: state(hands.get(*_API), "Available")[0] == "False",
    ),
    Fault(
        id="V51",
        title="a trigger names a Prometheus that does not exist",
        where="service",
        inject=lambda hands: _no_prometheus(hands, fallback=None),
        shown=lambda hands: _ready(hands)[0] == "False",
    ),
    Fault(
        id="V53",
        title="a trigger names a Prometheus that does not exist, and the service lives on its fallback",
        where="service",
        inject=lambda hands: _no_prometheus(hands, fallback={"failureThreshold": 3, "replicas": 2}),
        shown=lambda hands: state(_scaler(hands), "Fallback")[0] == "True",
    ),
    Fault(
        id="V51+target",
        title="a ScaledObject names a Deployment that does not exist",
        where="service",
        inject=_no_target,
        shown=lambda hands: _ready(hands)[0] == "False",
    ),
    Fault(
        id="V52",
        title="every replica of a service crashes",
        where="service",
        inject=_crash,
        shown=_nobody_answers,
    ),
    Fault(
        id="V54",
        title="an autoscaler asks for processor use, which nothing in the cluster serves",
        where="service",
        inject=lambda hands: _by_cpu(hands, _unscaled(hands)),
        shown=_mute,
        later=DUE,
    ),
    Fault(
        id="V55",
        title="a service's autoscaling is still paused after an incident",
        where="service",
        inject=_pause,
        shown=lambda hands: state(_scaler(hands), "Paused")[0] == "True",
    ),
    Fault(
        id="V58",
        title="a new revision of a service crashes, and its rollout does not end",
        where="service",
        inject=_typo,
        shown=_stuck,
    ),
    Fault(
        id="S01",
        title="a service is let on to spot nodes",
        where="service",
        inject=_onto_spot,
        shown=_rolled_out,
    ),
    Fault(
        id="S02",
        title="spot nodes have lost their taint",
        where="cluster",
        inject=_bare,
        shown=lambda hands: _SPOT not in str([items(each, "spec", "taints") for each in _spot_nodes(hands)]),
    ),
)
