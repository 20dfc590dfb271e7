"""Whether admitted workloads find the GPUs they were promised, and who took them if not.

Capacity is judged by the hardware a flavor's nodes have, not by what they offer this
minute: a broken node is another pillar's fault, not an over-promise.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import msgspec

from plimsoll.gpus.catalogue import from_instance_type
from plimsoll.kube import kinds
from plimsoll.kube.nodes import allocatable, autoscaled, capacity, selected, untolerated
from plimsoll.kube.objects import Obj, condition, get, items, labels, name, namespace, text
from plimsoll.kube.pods import gpus_held
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.queueing.facts import (
    Pot,
    flavor_nodes,
    gpu_pods_of,
    gpu_promises,
    key_of,
    state,
)
from plimsoll.units import count

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
    def shape(self) -> bytes:
        """What decides where the pod may run: pods of one shape share every answer about nodes."""
        rules = [get(self.pod, "spec", each) for each in ("nodeSelector", "affinity", "tolerations")]
        return msgspec.json.encode((self.flavor, self.resource, self.wanted, rules))

    @property
    def tokens(self) -> set[str]:
        return {
            f"workload/{namespace(self.workload)}/{name(self.workload)}",
            f"pod/{namespace(self.pod)}/{name(self.pod)}",
        }


def hardware(node: Obj, resource: str) -> int:
    """GPU devices of that name a node has when well.

    Where the plugin is away the capacity key may be gone: then GFD's count label still tells. Where a GPU of whole
    ones has not come up with its machine, the machine type does.
    """
    registered = capacity(node)
    found = registered.get(resource, 0)
    if not found and resource.startswith("nvidia.com/mig-"):
        return count(labels(node).get(f"{resource}.count"))
    if resource != "nvidia.com/gpu" or any(total for key, total in registered.items() if key != resource):
        return found
    if not found:
        return count(labels(node).get("nvidia.com/gpu.count"))
    known = from_instance_type(labels(node).get("node.kubernetes.io/instance-type", ""))
    return max(found, known[1]) if known else found


def promised(snapshot: Snapshot, pot: Pot) -> int:
    return sum(gpu_promises(snapshot).get(pot, {}).values())


@fact
def _hardware(snapshot: Snapshot) -> dict[Pot, int]:
    return {
        (flavor, resource): sum(hardware(node, resource) for node in flavor_nodes(snapshot).get(flavor, ()))
        for flavor, resource in gpu_promises(snapshot)
    }


def has(snapshot: Snapshot, pot: Pot) -> int:
    """GPUs the nodes of a flavor have of a resource that somebody promises."""
    return _hardware(snapshot).get(pot, 0)


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
            if text(pod, "spec", "nodeName"):
                continue
            placed = condition(pod, "PodScheduled")
            if placed.get("status") != "False" or placed.get("reason") != "Unschedulable":
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


def flavor_fault(snapshot: Snapshot, each: Stuck) -> str:
    """The fault of the flavor itself that keeps a pod from its nodes; "" if there is none."""
    found = _flavor_faults(snapshot)[each.shape]
    return "" if found == "Q21" and not short(each) else found


def short(each: Stuck) -> bool:
    """Whether the scheduler says that it is GPUs that are short; taken for granted where it says nothing."""
    return not each.message or f"Insufficient {each.resource}" in each.message


@fact
def _flavor_faults(snapshot: Snapshot) -> dict[bytes, str]:
    """The flavor's fault for each shape of stuck pod."""
    return {
        shape: _judge_flavor(snapshot, each) for shape, each in {each.shape: each for each in stuck(snapshot)}.items()
    }


def _judge_flavor(snapshot: Snapshot, each: Stuck) -> str:
    nodes = flavor_nodes(snapshot).get(each.flavor)
    if nodes is None or not snapshot.whole(kinds.NODE):
        return ""
    if not nodes:
        return "Q24"
    pot = each.flavor, each.resource
    if mismatch(snapshot, pot):
        return "Q19"
    for node in nodes:
        roomy = free_in(snapshot, node, each.resource) >= each.wanted
        if roomy and lasting(node, each.pod) and selected(node, each.pod):
            return "Q27"
    return "Q21" if not autoscaled(snapshot) and promised(snapshot, pot) > has(snapshot, pot) else ""


def lasting(node: Obj, pod: Obj) -> list[Obj]:
    """Taints that keep a pod off a node and do not end by themselves."""
    return [taint for taint in untolerated(node, items(pod, "spec", "tolerations")) if not passing(taint)]


@fact
def _mismatches(snapshot: Snapshot) -> dict[Pot, dict[str, int]]:
    found = {}
    for flavor, resource in gpu_promises(snapshot):
        offered: dict[str, int] = defaultdict(int)
        for node in flavor_nodes(snapshot).get(flavor, ()):
            registered = capacity(node)
            if not any(registered.values()) and hardware(node, resource):
                offered[resource] += 1  # nothing is registered now, but the GPUs are there
            for each, amount in registered.items():
                offered[each] += amount
        if not offered.get(resource):
            found[flavor, resource] = {each: amount for each, amount in sorted(offered.items()) if amount}
    return found


def mismatch(snapshot: Snapshot, pot: Pot) -> dict[str, int]:
    """What the nodes of a flavor offer instead, where none offers this GPU resource but they do offer others."""
    return _mismatches(snapshot).get(pot, {})


@fact
def free_gpus(snapshot: Snapshot) -> dict[tuple[str, str], int]:
    """GPU devices no bound pod holds, by (node, resource)."""
    held = gpus_held(snapshot)
    return {
        (name(node), resource): amount - held.get(name(node), {}).get(resource, 0)
        for node in snapshot.list(kinds.NODE)
        for resource, amount in allocatable(node).items()
    }


def free_in(snapshot: Snapshot, node: Obj, resource: str) -> int:
    """GPU devices of a node that no bound pod holds; below zero where pods outlived a lost device."""
    return free_gpus(snapshot).get((name(node), resource), 0)
