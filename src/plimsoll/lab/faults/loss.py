"""Faults of whole machines: a node that is silent, that holds on to pods, or whose kubelet says that it is not well."""

from __future__ import annotations

from plimsoll.kube.objects import get, name
from plimsoll.lab.faults import operands, work
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.work import DUE, GPU, NAME, state

_FAKE = "kwok.x-k8s.io/node"
_GRACE = 120.0  # seconds: a node is taken for lost after 50 without a word; Kubernetes looks every few
_SAYS = "PLEG is not healthy: pleg was last seen active 4m12.345s ago; threshold is 3m0s"


def _silence(hands: Hands) -> None:
    """The machine is gone: nobody plays its kubelet any more, and its lease runs out."""
    hands.change("v1/Node", hands.node, {"metadata": {"annotations": {_FAKE: None}}})
    hands.restart("kwok")  # one that runs goes on renewing the lease of a node it knows
    hands.aside("kwok")  # and does not look again at a node it has passed by
    operands.until(lambda: _lost(hands), f"{hands.node} is lost", patience=_GRACE)


def _lost(hands: Hands) -> bool:
    return state(operands.node(hands), "Ready") == ("Unknown", "NodeStatusUnknown")


def _hold(hands: Hands) -> None:
    """A server runs there; the machine goes, and somebody deletes the pod so that it may start elsewhere."""
    here = work.space(hands)
    work.deploy(hands, here, work.template({GPU: "1"}, nodeSelector=work.pool(operands.node(hands)), tolerations=_ALL))
    operands.until(lambda: work.running(hands, here), "a server on it")
    _silence(hands)
    for pod in work.pods_of(hands, here):
        hands.client.delete("v1/Pod", name(pod), here)


_ALL = [{"operator": "Exists", "effect": "NoSchedule"}]


def _held(hands: Hands) -> bool:
    found = hands.client.list("v1/Pod", fields=f"spec.nodeName={hands.node}", labels=f"app={NAME}")
    return any(get(each, "metadata", "deletionTimestamp") for each in found) and _lost(hands)


def _unwell(hands: Hands) -> None:
    hands.change("v1/Node", hands.node, {"metadata": {"annotations": {"lab.plimsoll.dev/not-ready": _SAYS}}})


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="GPU111+kubelet",
        title="a node's kubelet says that it is not ready",
        where="node",
        on="gpu",
        inject=_unwell,
        shown=lambda hands: state(operands.node(hands), "Ready")[0] == "False",
    ),
    Fault(
        id="GPU111+lost",
        title="a GPU node has gone silent",
        where="node",
        on="gpu",
        inject=_silence,
        shown=_lost,
    ),
    Fault(
        id="GPU114",
        title="a lost node holds on to a pod that was told to end",
        where="node",
        on="gpu",
        inject=_hold,
        shown=_held,
        later=DUE,
    ),
)
