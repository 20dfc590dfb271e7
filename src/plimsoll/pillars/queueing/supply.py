"""Whether admitted workloads find the GPUs they were promised, and who took them if not.

Capacity is judged by the hardware a flavor's nodes have, not by what they offer this
minute: a broken node is another pillar's fault, not an over-promise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.nodes import accepts, allocatable, capacity, selected, untolerated
from plimsoll.kube.objects import Obj, condition, items, labels, mapping, name, namespace, text
from plimsoll.kube.pods import controller, gpu_pods, gpus_held
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.queueing.facts import (
    Pot,
    at_least,
    autoscaled,
    flavor_nodes,
    gpu_pods_of,
    gpu_promises,
    key_of,
    managed,
    state,
    waited,
)
from plimsoll.units import count

SERVICES = ("Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "LeaderWorkerSet", "InferenceService")
SCALE_UP = timedelta(minutes=15)  # cluster-autoscaler's default --max-node-provision-time
_OWN_NAMESPACES = ("kube-system", "gpu-operator", "nvidia-gpu-operator", "kueue-system")
# Taints that come and go by themselves.
_PASSING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "karpenter.sh/",
            "ToBeDeletedByClusterAutoscaler", "DeletionCandidateOfClusterAutoscaler")  # fmt: skip


class Stuck(NamedTuple):
    """A pod of an admitted workload that the scheduler cannot place."""

    workload: Obj
    pod: Obj
    flavor: str
    resource: str
    wanted: int
    message: str

    @property
    def tokens(self) -> set[str]:
        return {
            f"workload/{namespace(self.workload)}/{name(self.workload)}",
            f"pod/{namespace(self.pod)}/{name(self.pod)}",
        }


class Bypass(NamedTuple):
    """A running GPU pod on a queue's nodes that Kueue does not know of."""

    pod: Obj
    owner: tuple[str, str, str]  # kind, namespace, name of its topmost controller
    node: str
    wanted: dict[str, int]


class Harm(NamedTuple):
    """One stuck pod and the unqueued pods without which it would fit."""

    stuck: Stuck
    blamed: tuple[Bypass, ...]


def hardware(node: Obj, resource: str) -> int:
    """GPU devices of that name a node has when well.

    Where the plugin is away the capacity key may be gone: then GFD's count label still tells.
    """
    registered = capacity(node)
    if resource == "nvidia.com/gpu" and not any(registered.values()):
        return max(registered.get(resource, 0), count(labels(node).get("nvidia.com/gpu.count")))
    return registered.get(resource, 0)


def promised(snapshot: Snapshot, pot: Pot) -> int:
    return sum(gpu_promises(snapshot).get(pot, {}).values())


def has(snapshot: Snapshot, pot: Pot) -> int:
    """GPUs the nodes of a flavor have of one resource."""
    flavor, resource = pot
    return sum(hardware(node, resource) for node in flavor_nodes(snapshot).get(flavor, ()))


def passing(taint: Obj) -> bool:
    """Whether a taint belongs to a node's life cycle and ends by itself."""
    return text(taint, "key").startswith(_PASSING)


@fact
def stuck(snapshot: Snapshot) -> tuple[Stuck, ...]:
    """Every unschedulable GPU pod of an admitted workload."""
    found = []
    for workload in snapshot.list(kinds.WORKLOAD):
        if state(workload) != "admitted":
            continue
        for pod, wanted in gpu_pods_of(snapshot).get(key_of(workload), []):
            placed = condition(pod, "PodScheduled")
            if text(pod, "spec", "nodeName") or placed.get("status") != "False":
                continue
            if placed.get("reason") != "Unschedulable":
                continue  # gated: Kueue or another controller still holds it
            resource = next((each for each in wanted if _flavor(workload, pod, each)), next(iter(wanted)))
            flavor = _flavor(workload, pod, resource)
            found.append(Stuck(workload, pod, flavor, resource, wanted[resource], text(placed, "message")))
    return tuple(found)


def _flavor(workload: Obj, pod: Obj, resource: str) -> str:
    """The flavor a pod was given for a resource; "" if the admission does not say."""
    assignments = items(workload, "status", "admission", "podSetAssignments")
    own = [each for each in assignments if each.get("name") == labels(pod).get("kueue.x-k8s.io/podset")]
    for each in own or assignments:
        if flavor := text(each, "flavors", resource):
            return flavor
    return ""


@fact
def causes(snapshot: Snapshot) -> dict[tuple[str, str], str]:
    """Which check explains each stuck pod, by (namespace, pod name); Q40 where none does."""
    harmed = {key_of(each.stuck.pod) for each in harms(snapshot)}
    return {
        key_of(each.pod): "Q01" if key_of(each.pod) in harmed else (_flavor_fault(snapshot, each) or "Q40")
        for each in stuck(snapshot)
    }


def stuck_by(snapshot: Snapshot, check: str) -> Iterator[Stuck]:
    """The stuck pods one check explains."""
    why = causes(snapshot)
    return (each for each in stuck(snapshot) if why[key_of(each.pod)] == check)


def _flavor_fault(snapshot: Snapshot, each: Stuck) -> str:
    """The fault of the flavor itself that keeps a pod from its nodes; "" if there is none."""
    nodes = flavor_nodes(snapshot).get(each.flavor)
    if nodes is None or not snapshot.whole(kinds.NODE):
        return ""
    if not nodes:
        return "Q24"
    if mismatch(snapshot, (each.flavor, each.resource)):
        return "Q19"
    free = _free_gpus(snapshot)
    for node in nodes:
        kept_out = untolerated(node, items(each.pod, "spec", "tolerations"))
        lasting = [taint for taint in kept_out if not passing(taint)]
        if lasting and free.get((name(node), each.resource), 0) >= each.wanted and selected(node, each.pod):
            return "Q27"
    pot = each.flavor, each.resource
    short = not each.message or f"Insufficient {each.resource}" in each.message
    return "Q21" if short and not autoscaled(snapshot) and promised(snapshot, pot) > has(snapshot, pot) else ""


def mismatch(snapshot: Snapshot, pot: Pot) -> dict[str, int]:
    """What the nodes of a flavor offer instead, where none offers this GPU resource but they do offer others."""
    flavor, resource = pot
    offered: dict[str, int] = defaultdict(int)
    for node in flavor_nodes(snapshot).get(flavor, ()):
        if hardware(node, resource) and not any(capacity(node).values()):
            return {}  # nothing registered now; the GPUs are there
        for each, amount in capacity(node).items():
            offered[each] += amount
    return {} if offered.get(resource) else {each: amount for each, amount in sorted(offered.items()) if amount}


@fact
def _free_gpus(snapshot: Snapshot) -> dict[tuple[str, str], int]:
    """GPU devices no bound pod holds, by (node, resource)."""
    held = gpus_held(snapshot)
    return {
        (name(node), resource): amount - held.get(name(node), {}).get(resource, 0)
        for node in snapshot.list(kinds.NODE)
        for resource, amount in allocatable(node).items()
    }


def free_in(snapshot: Snapshot, node: Obj, resource: str) -> int:
    """GPU devices of a node that no bound pod holds; below zero where pods outlived a lost device."""
    return _free_gpus(snapshot).get((name(node), resource), 0)


@fact
def bypasses(snapshot: Snapshot) -> tuple[Bypass, ...]:
    """Running GPU pods that hold what a ClusterQueue promises, outside every queue.

    Pods of the operator's, Kueue's and the cluster's own namespaces are left out: their
    validators hold a GPU for seconds.
    """
    pots = set(gpu_promises(snapshot))
    if not pots:
        return ()
    at: dict[str, set[str]] = defaultdict(set)
    for flavor, nodes in flavor_nodes(snapshot).items():
        for node in nodes:
            at[name(node)] |= {resource for title, resource in pots if title == flavor}
    return tuple(
        Bypass(pod, controller(snapshot, pod), text(pod, "spec", "nodeName"), wanted)
        for pod, wanted in gpu_pods(snapshot)
        if at.get(text(pod, "spec", "nodeName"), set()) & set(wanted)
        and namespace(pod) not in _OWN_NAMESPACES
        and not managed(snapshot, pod)
    )


def _blame(snapshot: Snapshot, each: Bypass) -> tuple[int, str, int, str]:
    """Sorts unqueued pods from the most tolerated to the first to blame.

    Services are deliberate and were there when the quota was cut, jobs less so, a bare pod not
    at all; of equals the one whose controller came last tipped the scale, then the largest.
    """
    kind, space, title = each.owner
    rank = 2 if kind == "Pod" else 0 if kind in SERVICES else 1
    known = kinds.BY_NAME.get(kind)
    owner = snapshot.get(known, title, space) if known else None
    born = text(owner or each.pod, "metadata", "creationTimestamp")
    return rank, born, sum(each.wanted.values()), title


@fact
def harms(snapshot: Snapshot) -> tuple[Harm, ...]:
    """Stuck pods that would fit if unqueued pods were not there, each with the pods to blame.

    Only where the promise itself could be kept (the flavor's fault comes first). For each stuck
    pod unqueued pods are taken away one by one, the first to blame first, until it fits on one
    node, whole; of those taken from that node only the ones it really needs are blamed.
    """
    todo = [each for each in stuck(snapshot) if not _flavor_fault(snapshot, each) and _lacks_gpus(snapshot, each)]
    if not todo or not bypasses(snapshot):
        return ()
    order = sorted(bypasses(snapshot), key=lambda each: _blame(snapshot, each), reverse=True)
    nodes = {name(node): node for node in snapshot.list(kinds.NODE)}
    free = dict(_free_gpus(snapshot))
    gone: set[tuple[str, str]] = set()
    hopeless: set[tuple[tuple[str, str], str, int]] = set()
    found = []
    for each in sorted(todo, key=lambda one: (-one.wanted, key_of(one.pod))):
        shape = (key_of(each.workload), each.resource, each.wanted)
        if shape in hopeless:
            continue
        left = [b for b in order if key_of(b.pod) not in gone and b.wanted.get(each.resource) and b.node in nodes]
        place = _fits_already(snapshot, each, free) or _make_room(each, left, free, nodes)
        if place is None:
            hopeless.add(shape)
            continue
        node, blamed = place
        gone |= {key_of(one.pod) for one in blamed}
        freed = sum(one.wanted[each.resource] for one in blamed)
        free[node, each.resource] = free.get((node, each.resource), 0) + freed - each.wanted
        if blamed:
            found.append(Harm(each, blamed))
    return tuple(found)


def _lacks_gpus(snapshot: Snapshot, each: Stuck) -> bool:
    """Whether it is GPUs that are short, for longer than an autoscaler would need."""
    if each.message and f"Insufficient {each.resource}" not in each.message:
        return False
    since = mapping(condition(each.pod, "PodScheduled")).get("lastTransitionTime")
    return not autoscaled(snapshot) or at_least(waited(snapshot.taken_at, since), SCALE_UP)


def _fits_already(
    snapshot: Snapshot, each: Stuck, free: dict[tuple[str, str], int]
) -> tuple[str, tuple[Bypass, ...]] | None:
    """A node of the flavor with room for one stuck pod: then nobody keeps it from running."""
    for node in flavor_nodes(snapshot).get(each.flavor, ()):
        if free.get((name(node), each.resource), 0) >= each.wanted and accepts(node, each.pod):
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
