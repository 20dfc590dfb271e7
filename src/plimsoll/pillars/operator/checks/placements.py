"""The first thing that keeps an operand off a node, judged once so that only one check reports it."""

from __future__ import annotations

import re
from typing import NamedTuple

from plimsoll.check.model import Severity
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes, is_ready, refusing
from plimsoll.kube.objects import Obj, get, items, labels, name, namespace, number, pod_template, text
from plimsoll.kube.operands import SUPPORTING, OperandState, cluster_policy, operand_daemonsets, operand_states
from plimsoll.kube.pods import Trouble, events_of, troubled_pods
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.operator.checks.hints import GOING, fresh

_LEAVING = (*GOING, "DeletionCandidateOfClusterAutoscaler")
_STARTING = re.compile(r"startup|uninitialized|unregistered|agent-not-ready|not-ready", re.I)


class Placement(NamedTuple):
    """What keeps operands off one node."""

    kind: str  # taint | runtime-class | refused | image | unschedulable | missing
    state: OperandState  # the first operand concerned, in the order they need each other
    operands: tuple[str, ...]  # every operand concerned that is not running
    taints: tuple[Obj, ...] = ()  # those the operand's DaemonSet does not tolerate
    says: str = ""  # what Kubernetes said of it; "" if nothing

    @property
    def severity(self) -> Severity:
        """An operand that runs only until its next restart, or that only observes, stops no GPU today."""
        if not self.operands or all(each in SUPPORTING for each in self.operands):
            return Severity.WARNING
        return Severity.ERROR


@fact
def troubled(snapshot: Snapshot) -> tuple[tuple[Obj, Trouble], ...]:
    """Every bound pod of the cluster that is not ready and has not ended, with its trouble."""
    return tuple((pod, why) for pod, why in troubled_pods(snapshot) if text(pod, "spec", "nodeName"))


@fact
def placements(snapshot: Snapshot) -> dict[str, Placement]:
    """The placement trouble of every GPU node that has one, by node name."""
    found = {}
    for node in gpu_nodes(snapshot):
        taints = _lasting(snapshot, node)
        troubles = [wrong for state in operand_states(snapshot)[name(node)].values()
                    if (taints or state.state != "ready")
                    and (wrong := _trouble(snapshot, node, taints, state))]  # fmt: skip
        if troubles:
            away = [each for each in troubles if each.operands]
            first = (away or troubles)[0]
            found[name(node)] = first._replace(operands=tuple(op for each in away for op in each.operands))
    return found


def _trouble(snapshot: Snapshot, node: Obj, lasting: list[Obj], state: OperandState) -> Placement | None:
    """What keeps one operand off a node with these lasting taints.

    A taint under a pod that still runs there counts, with no operand.
    """
    if not state.expected:
        return None
    away = state.state in ("absent", "unschedulable")
    mine = (state.operand,)
    if lasting and state.daemonset is not None and (taints := _refusing(snapshot, state.daemonset, lasting)):
        return Placement("taint", state, mine if away else (), taints)
    if state.state == "image":
        return Placement("image", state, mine, says=state.trouble.message if state.trouble else "")
    if state.state == "unschedulable":
        return Placement("unschedulable", state, mine, says=state.trouble.message if state.trouble else "")
    if state.state != "absent":
        return None
    if state.daemonset is None:
        return _unselected(snapshot, node, state)
    if says := refusal(snapshot, state.daemonset):
        return Placement("runtime-class" if "RuntimeClass" in says else "refused", state, mine, says=says)
    if fresh(node, snapshot.taken_at) or is_ready(node) is False:
        return None
    return Placement("missing", state, mine)


def _refusing(snapshot: Snapshot, daemonset: Obj, lasting: list[Obj]) -> tuple[Obj, ...]:
    """Those of a node's lasting taints that keep the pods of a DaemonSet away."""
    known, key = _known_refusals(snapshot), (id(daemonset), *map(id, lasting))
    if key not in known:
        known[key] = tuple(refusing(lasting, items(pod_template(daemonset), "spec", "tolerations"), daemon=True))
    return known[key]


@fact
def _known_refusals(_: Snapshot) -> dict[tuple[int, ...], tuple[Obj, ...]]:
    """Filled by `_refusing`: the nodes of a pool carry the same taints, which a snapshot holds once."""
    return {}


def _unselected(snapshot: Snapshot, node: Obj, state: OperandState) -> Placement | None:
    """An operand whose DaemonSets pass a node by: drivers made for other kernels or systems than the node's.

    Where drivers are declared as NVIDIADrivers, which of them selects the node is another check's.
    """
    if state.operand not in operand_daemonsets(snapshot) or fresh(node, snapshot.taken_at):
        return None
    policy = cluster_policy(snapshot)
    if state.operand == "driver" and policy and get(policy, "spec", "driver", "useNvidiaDriverCRD") is True:
        return None
    return Placement("missing", state, (state.operand,), says="none of its DaemonSets selects the node")


def _lasting(snapshot: Snapshot, node: Obj) -> list[Obj]:
    """The taints of a node, less those that come and go with its life."""
    taints = items(node, "spec", "taints")
    young = bool(taints) and fresh(node, snapshot.taken_at)
    return [
        taint
        for taint in taints
        if (key := text(taint, "key")) not in _LEAVING
        and not key.startswith(("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"))
        and not (young and _STARTING.search(key))
    ]


def refusal(snapshot: Snapshot, daemonset: Obj) -> str:
    """Why the API server refuses the pods a DaemonSet wants to create; "" if it does not.

    The event is the proof; without one (they live an hour) a namespace that enforces a Pod
    Security level below privileged is the likely reason for pods that never come to be.
    """
    wanted = number(daemonset, "status", "desiredNumberScheduled")
    if number(daemonset, "status", "currentNumberScheduled") >= wanted:
        return ""
    events = [each for each in events_of(snapshot, daemonset) if each.get("reason") == "FailedCreate"]
    if events:
        newest = max(events, key=lambda each: text(each, "lastTimestamp") or text(each, "eventTime"))
        return text(newest, "message") or text(newest, "note") or "FailedCreate"
    home = snapshot.get(kinds.NAMESPACE, namespace(daemonset))
    level = labels(home).get("pod-security.kubernetes.io/enforce", "") if home else ""
    strict = level in ("baseline", "restricted")
    return f"namespace {namespace(daemonset)} enforces Pod Security level {level}" if strict else ""
