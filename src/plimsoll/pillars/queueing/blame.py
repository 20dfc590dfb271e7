"""Who keeps an admitted workload from its GPUs: the flavor, or pods that no queue knows of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.nodes import accepts, allocatable, autoscaled, capacity, is_ready, selected
from plimsoll.kube.objects import Obj, condition, get, name, namespace, text
from plimsoll.kube.pods import controller, gpu_pods, gpu_requests, pods_by_node
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.queueing.facts import (
    Pot,
    at_least,
    flavor_nodes,
    gpu_promises,
    key_of,
    managed,
    waited,
)
from plimsoll.pillars.queueing.supply import Stuck, flavor_fault, free_gpus, hardware, lasting, short, stuck

SERVICES = ("Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "LeaderWorkerSet", "InferenceService")
SCALE_UP = timedelta(minutes=15)  # cluster-autoscaler's default --max-node-provision-time
SETTLING = timedelta(minutes=1)  # preempted pods end one by one: default grace 30 s, then the scheduler's next try
_OWN_NAMESPACES = ("kube-system", "gpu-operator", "nvidia-gpu-operator", "kueue-system")


class Bypass(NamedTuple):
    """A running GPU pod on a queue's nodes that Kueue does not know of."""

    pod: Obj
    owner: tuple[str, str, str]  # kind, namespace, name of its topmost controller
    node: str
    wanted: dict[str, int]
    pots: frozenset[Pot]  # the promises it takes from


class Outlook(NamedTuple):
    """What the nodes of its flavor look like to one shape of stuck pod."""

    free: int  # GPUs free on all nodes together
    most: int  # GPUs free on one node
    lost: tuple[str, ...]  # nodes it would fit on if they were well


class Harm(NamedTuple):
    """One stuck pod and the unqueued pods without which it would fit."""

    stuck: Stuck
    blamed: tuple[Bypass, ...]


@fact
def causes(snapshot: Snapshot) -> dict[tuple[str, str], str]:
    """Which check explains each stuck pod, by (namespace, pod name); Q40 where none does."""
    harmed = {key_of(each.stuck.pod) for each in harms(snapshot)}
    return {
        key_of(each.pod): "Q01" if key_of(each.pod) in harmed else (flavor_fault(snapshot, each) or "Q40")
        for each in stuck(snapshot)
    }


def stuck_by(snapshot: Snapshot, check: str) -> Iterator[Stuck]:
    """The stuck pods one check explains."""
    why = causes(snapshot)
    return (each for each in stuck(snapshot) if why[key_of(each.pod)] == check)


@fact
def bypasses(snapshot: Snapshot) -> tuple[Bypass, ...]:
    """Running GPU pods that hold what a ClusterQueue promises, outside every queue.

    Pods of the operator's, Kueue's and the cluster's own namespaces are left out: their
    validators hold a GPU for seconds. So are pods that are being deleted.
    """
    promises: dict[str, set[Pot]] = defaultdict(set)
    for pot in gpu_promises(snapshot):
        promises[pot[0]].add(pot)
    at: dict[str, set[Pot]] = defaultdict(set)
    for flavor, pots in promises.items():
        for node in flavor_nodes(snapshot).get(flavor, ()):
            at[name(node)] |= pots
    found = []
    for pod, wanted in gpu_pods(snapshot) if at else ():
        node_name = text(pod, "spec", "nodeName")
        taken = frozenset(pot for pot in at.get(node_name, ()) if pot[1] in wanted)
        if taken and not _leaves(pod) and namespace(pod) not in _OWN_NAMESPACES and not managed(snapshot, pod):
            found.append(Bypass(pod, controller(snapshot, pod), node_name, wanted, taken))
    return tuple(found)


def _leaves(pod: Obj) -> bool:
    return bool(get(pod, "metadata", "deletionTimestamp"))


def _blame(snapshot: Snapshot, each: Bypass) -> tuple[int, str, int, str]:
    """Sorts unqueued pods from the most tolerated to the first to blame.

    Services are deliberate and were there when the quota was cut, jobs less so, a bare pod not
    at all; of equals the one that came last tipped the scale, then the largest. A pod comes with
    its controller at the earliest; an old controller may have scaled up only now.
    """
    kind, space, title = each.owner
    rank = 2 if kind == "Pod" else 0 if kind in SERVICES else 1
    known = kinds.BY_NAME.get(kind)
    owner = snapshot.get(known, title, space) if known else None
    born = max(text(one, "metadata", "creationTimestamp") for one in (owner or each.pod, each.pod))
    return rank, born, sum(each.wanted.values()), title


@fact
def harms(snapshot: Snapshot) -> tuple[Harm, ...]:
    """Stuck pods that would fit if unqueued pods were not there, each with the pods to blame.

    Only where the promise itself could be kept (the flavor's fault comes first). For each stuck
    pod unqueued pods are taken away one by one, the first to blame first, until it fits on one
    node, whole; of those taken from that node only the ones it really needs are blamed.
    """
    todo = [each for each in stuck(snapshot) if not flavor_fault(snapshot, each) and _lacks_gpus(snapshot, each)]
    if not todo or not bypasses(snapshot):
        return ()
    order = sorted(bypasses(snapshot), key=lambda each: _blame(snapshot, each), reverse=True)
    nodes = {name(node): node for node in snapshot.list(kinds.NODE)}
    free = dict(free_when_well(snapshot))
    gone: set[tuple[str, str]] = set()
    hopeless: set[bytes] = set()
    found = []
    for each in sorted(todo, key=lambda one: (-one.wanted, key_of(one.pod))):
        if each.shape in hopeless:
            continue
        left = [b for b in order if key_of(b.pod) not in gone and b.wanted.get(each.resource) and b.node in nodes]
        place = _fits_already(snapshot, each, free) or _make_room(each, left, free, nodes)
        if place is None:
            hopeless.add(each.shape)
            continue
        node, blamed = place
        gone |= {key_of(one.pod) for one in blamed}
        freed = sum(one.wanted[each.resource] for one in blamed)
        free[node, each.resource] = free.get((node, each.resource), 0) + freed - each.wanted
        if blamed:
            found.append(Harm(each, blamed))
    return tuple(found)


def _lacks_gpus(snapshot: Snapshot, each: Stuck) -> bool:
    """Whether it is GPUs that are short, for longer than an autoscaler or a preemption would need."""
    if not short(each):
        return False
    age = waited(snapshot.taken_at, condition(each.pod, "PodScheduled").get("lastTransitionTime"))
    if not at_least(age, SETTLING) and any(name(node) in _emptying(snapshot) for node in _homes(snapshot, each)):
        return False
    return not autoscaled(snapshot) or at_least(age, SCALE_UP)


def _homes(snapshot: Snapshot, each: Stuck) -> tuple[Obj, ...]:
    return flavor_nodes(snapshot).get(each.flavor, ())


@fact
def _emptying(snapshot: Snapshot) -> frozenset[str]:
    """Nodes on which a GPU pod is being deleted."""
    return frozenset(text(pod, "spec", "nodeName") for pod, _ in gpu_pods(snapshot) if _leaves(pod))


@fact
def free_when_well(snapshot: Snapshot) -> dict[tuple[str, str], int]:
    """Free GPUs by (node, resource) as they would be if every node were well.

    A pod that waits for a lost, cordoned or half-broken node is harmed by that node, not by
    whoever runs elsewhere. What pods that are being deleted hold counts as free: on a lost node
    they leave with it, on any other they are the room a preemption makes.
    """
    free = dict(free_gpus(snapshot))
    for pod, wanted in gpu_pods(snapshot):
        for resource, amount in wanted.items() if _leaves(pod) else ():
            if (spot := (text(pod, "spec", "nodeName"), resource)) in free:
                free[spot] += amount
    for node in snapshot.list(kinds.NODE):
        offered = {resource: hardware(node, resource) for resource in {*capacity(node), "nvidia.com/gpu"}}
        cordoned = get(node, "spec", "unschedulable") is True or is_ready(node) is False
        if not cordoned and all(allocatable(node).get(each, 0) >= amount for each, amount in offered.items()):
            continue
        held: dict[str, int] = defaultdict(int)
        for pod in pods_by_node(snapshot).get(name(node), []):
            if not _leaves(pod):
                for resource, amount in gpu_requests(pod).items():
                    held[resource] += amount
        free |= {(name(node), each): amount - held[each] for each, amount in offered.items()}
    return free


def _fits_already(
    snapshot: Snapshot, each: Stuck, free: dict[tuple[str, str], int]
) -> tuple[str, tuple[Bypass, ...]] | None:
    """A node of the flavor with room for one stuck pod, when well: then no other pod keeps it from running."""
    for node in _homes(snapshot, each):
        roomy = free.get((name(node), each.resource), 0) >= each.wanted
        if roomy and selected(node, each.pod) and not lasting(node, each.pod):
            return name(node), ()
    return None


def _make_room(
    each: Stuck, candidates: list[Bypass], free: dict[tuple[str, str], int], nodes: dict[str, Obj]
) -> tuple[str, tuple[Bypass, ...]] | None:
    """(node, pods to take away there) for one stuck pod; no pods where it fits already; None if hopeless."""
    resource = each.resource
    willing = {title: accepts(nodes[title], each.pod) for title in {one.node for one in candidates}}
    taken: dict[str, list[Bypass]] = defaultdict(list)
    for one in candidates:
        if not willing[one.node]:
            continue
        own = taken[one.node]
        own.append(one)
        room = free.get((one.node, resource), 0) + sum(other.wanted[resource] for other in own)
        if room < each.wanted:
            continue
        needed = list(own)
        for other in reversed(own):  # give back the most tolerated first
            if room - other.wanted[resource] >= each.wanted:
                room -= other.wanted[resource]
                needed.remove(other)
        return one.node, tuple(needed)
    return None


@fact
def outlooks(snapshot: Snapshot) -> dict[bytes, Outlook]:
    """For each shape of stuck pod what it finds on the nodes it may run on."""
    found = {}
    for shape, each in {each.shape: each for each in stuck(snapshot)}.items():
        nodes = flavor_nodes(snapshot).get(each.flavor) or snapshot.list(kinds.NODE)
        fit = [node for node in nodes if selected(node, each.pod) and not lasting(node, each.pod)]
        free = [max(0, free_gpus(snapshot).get((name(node), each.resource), 0)) for node in fit]
        well = free_when_well(snapshot)
        lost = tuple(name(node) for node in fit if well.get((name(node), each.resource), 0) >= each.wanted)
        found[shape] = Outlook(sum(free), max(free, default=0), lost)
    return found
