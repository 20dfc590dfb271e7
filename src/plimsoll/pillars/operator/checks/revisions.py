"""Driver pods that are older than their DaemonSet asks for."""

from __future__ import annotations

from collections import defaultdict

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, get, labels, name, namespace, number, owner, text
from plimsoll.kube.operands import OperandState, operand_states
from plimsoll.kube.snapshot import Snapshot, fact

UPGRADE = "nvidia.com/gpu-driver-upgrade-state"


@fact
def _newest(snapshot: Snapshot) -> dict[tuple[str, str], Obj]:
    """The newest ControllerRevision of each DaemonSet, by (namespace, DaemonSet name)."""
    found: dict[tuple[str, str], list[Obj]] = defaultdict(list)
    for each in snapshot.list(kinds.CONTROLLER_REVISION):
        found[namespace(each), text(owner(each), "name")].append(each)
    return {key: max(each, key=lambda revision: number(revision, "revision")) for key, each in found.items()}


def revision_of(snapshot: Snapshot, daemonset: Obj) -> Obj | None:
    """The ControllerRevision a DaemonSet wants now; None where none was read."""
    return _newest(snapshot).get((namespace(daemonset), name(daemonset)))


@fact
def outdated(snapshot: Snapshot) -> tuple[OperandState, ...]:
    """The drivers of an older revision than their DaemonSet's, node by node.

    The driver's DaemonSet updates OnDelete: a pod stays until the upgrade controller, or
    somebody, deletes it. Told by the pod's revision hash, or by the template's generation.
    """
    found = []
    for states in operand_states(snapshot).values():
        state = states.get("driver")
        if state is not None and state.pod is not None and state.daemonset is not None and _older(snapshot, state):
            found.append(state)
    return tuple(found)


def _older(snapshot: Snapshot, state: OperandState) -> bool:
    daemonset, pod = state.daemonset or {}, state.pod or {}
    if text(owner(pod), "name") != name(daemonset):
        return False
    if number(daemonset, "status", "updatedNumberScheduled") >= number(daemonset, "status", "desiredNumberScheduled"):
        return False
    revision, have = revision_of(snapshot, daemonset), labels(pod)
    if revision is not None and have.get("controller-revision-hash"):
        wanted = labels(revision).get("controller-revision-hash") or name(revision).rpartition("-")[2]
        return have["controller-revision-hash"] != wanted
    asked = get(daemonset, "metadata", "annotations", "deprecated.daemonset.template.generation")
    mine = have.get("pod-template-generation")
    return bool(asked and mine) and asked != mine
