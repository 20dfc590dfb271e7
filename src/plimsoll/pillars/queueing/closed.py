"""Which ClusterQueues and LocalQueues admit nothing, and the one reason for each.

A queue can be shut for several reasons at once; Kueue reports the first, and so
do we: every check takes the queues whose first reason is its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, condition, get, labels, mapping, name, namespace, selects, text
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.queueing.facts import (
    admission_checks,
    cohort_of,
    flavor_names,
    key_of,
    local_queues_of,
    stopped,
    waiting_by_cluster_queue,
)

# Condition reasons (kueue ClusterQueueActiveReason…) and the check each belongs to.
_BY_REASON = {
    "Terminating": "Q53", "Stopped": "Q15", "FlavorNotFound": "Q11", "AdmissionCheckNotFound": "Q12",
    "AdmissionCheckInactive": "Q12", "TopologyNotFound": "Q14",
}  # fmt: skip


class Closed(NamedTuple):
    """Why a ClusterQueue admits nothing."""

    check: str
    what: str  # the missing or inactive thing; "" where there is none to name
    message: str  # what Kueue says of it


@fact
def closed(snapshot: Snapshot) -> dict[str, Closed]:
    """ClusterQueues that admit nothing, by name."""
    cycles = cycle_members(snapshot)
    found = {}
    for queue in snapshot.list(kinds.CLUSTER_QUEUE):
        why = _why(snapshot, queue)
        if why is None and cohort_of(queue) in cycles:
            why = Closed("Q16", cohort_of(queue), "its cohort is its own ancestor")
        if why is None:
            why = _refuses_everybody(snapshot, queue)
        if why is not None:
            found[name(queue)] = why
    return found


def _why(snapshot: Snapshot, queue: Obj) -> Closed | None:
    """The first reason in Kueue's order, from the specs where they are all here, else from the condition."""
    active = condition(queue, "Active")
    message = text(active, "message")
    reason = text(active, "reason") if active.get("status") == "False" else ""
    if get(queue, "metadata", "deletionTimestamp") or reason == "Terminating":
        return Closed("Q53", "", message)
    if stopped(queue) or reason == "Stopped":
        return Closed("Q15", stopped(queue), message)
    absent = _missing(snapshot, kinds.RESOURCE_FLAVOR, flavor_names(queue))
    if absent or (reason == "FlavorNotFound" and not snapshot.whole(kinds.RESOURCE_FLAVOR)):
        return Closed("Q11", absent or _named(message), message)
    absent = _missing(snapshot, kinds.ADMISSION_CHECK, admission_checks(queue))
    if absent or reason == "AdmissionCheckNotFound":
        return Closed("Q12", absent or _named(message), message)
    inactive = [
        each
        for each in admission_checks(queue)
        if condition(snapshot.get(kinds.ADMISSION_CHECK, each) or {}, "Active").get("status") == "False"
    ]
    if inactive or reason == "AdmissionCheckInactive":
        return Closed("Q12", ", ".join(inactive) or _named(message), message)
    if not reason or reason in ("Ready", "FlavorNotFound"):
        return None
    return Closed(_BY_REASON.get(reason, "Q13"), _named(message), message)


def _missing(snapshot: Snapshot, kind: kinds.Kind, wanted: list[str]) -> str:
    """Names among `wanted` that do not exist; "" where the kind is not whole."""
    if not snapshot.whole(kind):
        return ""
    return ", ".join(dict.fromkeys(each for each in wanted if snapshot.get(kind, each) is None))


def _named(message: str) -> str:
    """The names Kueue puts behind `…(s):` in its message, with or without brackets."""
    match = re.search(r"\(s\): \[?([^\]\s]+(?:,? [^\]\s]+)*?)\]?\.?(?:, |$)", message)
    return match.group(1).strip() if match else ""


@fact
def cohort_cycles(snapshot: Snapshot) -> tuple[tuple[str, ...], ...]:
    """Every cycle of Cohort parents, each from its alphabetically first member."""
    parents = {name(each): _parent(each) for each in snapshot.list(kinds.COHORT)}
    found = set()
    for start in parents:
        path: list[str] = []
        here = start
        while here and here not in path:
            path.append(here)
            here = parents.get(here, "")
        if here:
            cycle = path[path.index(here) :]
            first = cycle.index(min(cycle))
            found.add((*cycle[first:], *cycle[:first]))
    return tuple(sorted(found))


def _parent(cohort: Obj) -> str:
    """v1beta1/v1beta2 say `parentName`, v1alpha1 said `parent`."""
    return text(cohort, "spec", "parentName") or text(cohort, "spec", "parent")


@fact
def cycle_members(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Cohorts that are in a cycle or hang below one, each with its cycle."""
    found = {member: cycle for cycle in cohort_cycles(snapshot) for member in cycle}
    parents = {name(each): _parent(each) for each in snapshot.list(kinds.COHORT)}
    for start in parents:
        path = [start]
        while path[-1] not in found and parents.get(path[-1]) and parents[path[-1]] not in path:
            path.append(parents[path[-1]])
        if path[-1] in found:
            found |= dict.fromkeys(path, found[path[-1]])
    return found


def accepts_namespace(snapshot: Snapshot, queue: Obj, space: str) -> bool | None:
    """Whether a ClusterQueue's namespaceSelector takes a namespace; None where that cannot be known."""
    selector = get(queue, "spec", "namespaceSelector")
    if selector is None and not _complete(queue):
        return None
    if selector is None:
        return False  # nil selects nothing
    there = snapshot.get(kinds.NAMESPACE, space)
    if there is None:
        return True if selector == {} else None
    return selects(selector, {"kubernetes.io/metadata.name": space, **labels(there)})


def _complete(queue: Obj) -> bool:
    """Whether this is an object as the API returns it, so that an absent field means unset."""
    return bool(mapping(queue, "status")) and bool(get(queue, "metadata", "creationTimestamp"))


def _refuses_everybody(snapshot: Snapshot, queue: Obj) -> Closed | None:
    """A selector that is unset (Q10) or takes none of the namespaces that use the queue (Q09)."""
    users = local_queues_of(snapshot).get(name(queue), [])
    if get(queue, "spec", "namespaceSelector") is None:
        return Closed("Q10", "", "namespaceSelector is unset") if _complete(queue) else None
    if not users or not snapshot.whole(kinds.LOCAL_QUEUE):
        return None
    if any(accepts_namespace(snapshot, queue, namespace(each)) is not False for each in users):
        return None
    spaces = ", ".join(sorted({namespace(each) for each in users}))
    return Closed("Q09", spaces, f"selector {mapping(queue, 'spec', 'namespaceSelector')}")


def closed_as(snapshot: Snapshot, check: str) -> Iterator[tuple[Obj, Closed]]:
    """ClusterQueues whose first reason for admitting nothing belongs to this check, by name."""
    for title, why in sorted(closed(snapshot).items()):
        queue = snapshot.get(kinds.CLUSTER_QUEUE, title)
        if queue is not None and why.check == check:
            yield queue, why


def is_wanted(snapshot: Snapshot, queue: Obj) -> bool:
    """Whether somebody waits in a ClusterQueue: by its own count, or by the Workloads that are here."""
    pending = get(queue, "status", "pendingWorkloads")
    return bool(waiting_by_cluster_queue(snapshot).get(name(queue))) or (isinstance(pending, int) and pending > 0)


@fact
def closed_local(snapshot: Snapshot) -> dict[tuple[str, str], str]:
    """LocalQueues that cannot lead to an admission, with a clause that says why."""
    shut = closed(snapshot)
    found = {}
    for queue in snapshot.list(kinds.LOCAL_QUEUE):
        target = text(queue, "spec", "clusterQueue")
        active = condition(queue, "Active")
        parent = snapshot.get(kinds.CLUSTER_QUEUE, target)
        if stopped(queue):
            found[key_of(queue)] = f"it is stopped ({stopped(queue)})"
        elif parent is None and (
            snapshot.whole(kinds.CLUSTER_QUEUE) or active.get("reason") == "ClusterQueueDoesNotExist"
        ):
            found[key_of(queue)] = f"its ClusterQueue {target} does not exist"
        elif target in shut:
            found[key_of(queue)] = f"its ClusterQueue {target} admits nothing"
        elif parent is not None and accepts_namespace(snapshot, parent, namespace(queue)) is False:
            found[key_of(queue)] = f"ClusterQueue {target} does not take namespace {namespace(queue)}"
        elif active.get("status") == "False" and active.get("reason") != "ClusterQueueDoesNotExist":
            found[key_of(queue)] = f"Kueue says {text(active, 'reason')}: {text(active, 'message')}"
    return found
