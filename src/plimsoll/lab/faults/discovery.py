"""Faults of discovery: who sees the GPUs, and who adopts their nodes. GPU001 to GPU006."""

from __future__ import annotations

from plimsoll.kube.objects import Obj, get, items, labels, name, number, text
from plimsoll.lab.faults import operands
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.operands import NAMESPACE, NFD, POLICY
from plimsoll.lab.hardware.conditions import Condition
from plimsoll.lab.nodes import GPU

_FEATURES = "feature.node.kubernetes.io/"
_WORKER, _MASTER, _GC = f"{NFD}-worker", f"{NFD}-master", f"{NFD}-gc"
_SETTINGS = f"{NFD}-worker-conf"
NEW = "gpu-new-0"
_ADDRESSES = [{"type": "InternalIP", "address": "10.47.255.1"}, {"type": "Hostname", "address": NEW}]
_TAINT = {"key": "example.com/burn-in", "value": "true", "effect": "NoSchedule"}
_SECOND = "node-feature-discovery"
_AGE = 12  # minutes: a node that has just become ready is given ten before its missing GPUs count


def _without_nfd(hands: Hands) -> None:
    """What `helm upgrade --set nfd.enabled=false` does: the chart's hook prunes the labels too."""
    hands.remove("apps/v1/DaemonSet", _WORKER, NAMESPACE)
    for each in (_MASTER, _GC):
        hands.remove("apps/v1/Deployment", each, NAMESPACE)
    hands.condition(Condition(id=hands.fault, hold=("nfd",)))
    for machine in hands.client.list("v1/Node"):
        found = {key: None for key in labels(machine) if key.startswith(_FEATURES)}
        if found:
            operands.label(hands, name(machine), dict(found))


def _undiscovered(hands: Hands) -> bool:
    """Nobody is adopted any more, no operand is left, and the operator says so."""
    quiet = operands.policy_state(hands) == ("ready", "NFDLabelsMissing")
    return quiet and not operands.gpu_nodes(hands) and not operands.pods(hands) and not _offering(hands)


def _offering(hands: Hands) -> list[Obj]:
    return [each for each in hands.client.list("v1/Node") if operands.offers(each)]


def _narrow(hands: Hands) -> None:
    """NFD's worker is told of device classes that GPUs are not in."""
    config = "sources:\n  pci:\n    deviceClassWhitelist: ['0200', '0207']\n    deviceLabelFields: [vendor]\n"
    hands.change("v1/ConfigMap", _SETTINGS, {"data": {"nfd-worker.conf": config}}, NAMESPACE)
    hands.condition(Condition(id=hands.fault, pci_hidden=True))


def _hide(hands: Hands) -> None:
    hands.condition(Condition(id=hands.fault, node=hands.node, pci_hidden=True))


def _hidden(hands: Hands) -> bool:
    """The operator has let go of the node, and nothing of it runs there."""
    machine = operands.node(hands)
    return labels(machine).get("nvidia.com/gpu.present") == "false" and not (
        operands.offers(machine) or operands.pods(hands)
    )


def join(hands: Hands, taints: list[Obj], *, gpu: str = "", machine_type: str = "") -> None:
    """A machine joins the cluster: of the same kind as the last GPU node, or of another, which is of no pool.

    gpu: as in the annotation of a fake node.
    """
    model = operands.gpu_nodes(hands)[-1]
    kept = {key: value for key, value in labels(model).items() if not _by_software(key)}
    if gpu:
        known = {key: value for key, value in kept.items() if "kubernetes.io/" in key}
        kept = {**known, "node.kubernetes.io/instance-type": machine_type}
    status = model["status"]
    size = {key: value for key, value in status["capacity"].items() if not key.startswith("nvidia.com/")}
    machine = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NEW,
            "labels": {**kept, "kubernetes.io/hostname": NEW},
            "annotations": {"kwok.x-k8s.io/node": "fake", GPU: gpu or get(model, "metadata", "annotations", GPU)},
        },
        "spec": {"taints": [*(each for each in items(model, "spec", "taints") if not _by_kubernetes(each)), *taints]},
        "status": {"addresses": _ADDRESSES, "capacity": size, "allocatable": size, "nodeInfo": status["nodeInfo"]},
    }
    hands.create(machine)
    hands.client.patch("v1/Node", NEW, {"status": machine["status"]}, subresource="status")


def _by_software(key: str) -> bool:
    """Whether a node's label is written by what runs in the cluster."""
    return key.startswith((_FEATURES, "nvidia.com/"))


def _by_kubernetes(taint: Obj) -> bool:
    return text(taint, "key").startswith("node.kubernetes.io/")


def _new_node(hands: Hands) -> Obj:
    machine = hands.get("v1/Node", NEW)
    ready = any(each.get("type") == "Ready" and each.get("status") == "True"
                for each in items(machine, "status", "conditions"))  # fmt: skip
    return machine if ready else {}


def _shut_out(hands: Hands) -> bool:
    machine = _new_node(hands)
    return bool(machine) and not any(map(_by_software, labels(machine)))


def _no_policy(hands: Hands) -> None:
    """The ClusterPolicy goes, its operands go with it, and a new machine finds nobody who adopts it."""
    hands.remove(*POLICY)
    operands.until(lambda: not operands.pods(hands), "operands gone")
    join(hands, [])


def _unadopted(hands: Hands) -> bool:
    machine = _new_node(hands)
    return f"{_FEATURES}pci-10de.present" in labels(machine) and "nvidia.com/gpu.present" not in labels(machine)


def _twice(hands: Hands) -> None:
    """Node feature discovery of its own release, beside that of the operator's chart."""
    hands.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _SECOND}})
    for kind, of in (("Deployment", "master"), ("DaemonSet", "worker")):
        own = hands.get(f"apps/v1/{kind}", f"{NFD}-{of}", NAMESPACE)
        tags = {"app.kubernetes.io/name": _SECOND, "app.kubernetes.io/instance": "nfd", "role": of}
        spec = {key: value for key, value in own["spec"].items() if key in ("template", "replicas")}
        spec["selector"] = {"matchLabels": tags}
        inner = {key: value for key, value in spec["template"]["spec"].items() if not key.startswith("serviceAccount")}
        spec["template"] = {"metadata": {"labels": tags}, "spec": inner}
        meta = {"name": f"nfd-{of}", "namespace": _SECOND, "labels": tags}
        hands.create({"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec})


def _both_run(hands: Hands) -> bool:
    second = hands.get("apps/v1/Deployment", "nfd-master", _SECOND)
    workers = hands.get("apps/v1/DaemonSet", "nfd-worker", _SECOND)
    return number(second, "status", "availableReplicas") > 0 and number(workers, "status", "numberReady") > 0


def _no_master(hands: Hands) -> None:
    hands.change("apps/v1/Deployment", _MASTER, {"spec": {"replicas": 0}}, NAMESPACE)


def _master_gone(hands: Hands) -> bool:
    found = hands.get("apps/v1/Deployment", _MASTER, NAMESPACE)
    return not number(found, "status", "availableReplicas") and not number(found, "status", "replicas")


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="GPU001",
        title="node feature discovery was switched off, and its labels are gone",
        where="cluster",
        inject=_without_nfd,
        shown=_undiscovered,
        later=_AGE,
    ),
    Fault(
        id="GPU002",
        title="a machine with GPUs shows none on its PCI bus",
        where="node",
        on="gpu",
        inject=_hide,
        shown=_hidden,
        later=_AGE,
    ),
    Fault(
        id="GPU002+whitelist",
        title="node feature discovery looks for the wrong classes of PCI devices",
        where="cluster",
        inject=_narrow,
        shown=lambda hands: not operands.gpu_nodes(hands) and not operands.pods(hands) and not _offering(hands),
        later=_AGE,
    ),
    Fault(
        id="GPU003",
        title="a new GPU node has a taint that node feature discovery does not tolerate",
        where="cluster",
        inject=lambda hands: join(hands, [_TAINT]),
        shown=_shut_out,
        later=_AGE,
    ),
    Fault(
        id="GPU004",
        title="the ClusterPolicy is gone, and a new GPU node is adopted by nobody",
        where="cluster",
        inject=_no_policy,
        shown=_unadopted,
        later=_AGE,
    ),
    Fault(
        id="GPU005",
        title="node feature discovery is installed a second time",
        where="cluster",
        inject=_twice,
        shown=_both_run,
    ),
    Fault(
        id="GPU006",
        title="the master of node feature discovery is scaled to 0",
        where="cluster",
        inject=_no_master,
        shown=_master_gone,
    ),
)
