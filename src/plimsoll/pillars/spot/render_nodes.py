"""Nodes of the pools where Karpenter makes them, and elsewhere what whoever makes them has to give them.

No startup taint: nothing here would take it away. A pod with GPUs waits for the device plugin anyhow, and Karpenter
counts a node as ready only once it advertises what pods asked for.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from plimsoll.kube.objects import Obj
from plimsoll.plan.model import thing
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool, Taint

NODE_CLASS = "gpu"
DISCOVERY = "karpenter.sh/discovery"
_ROLE_MAX = 64  # characters of the name of an IAM role
_NOTICE = 119  # seconds; EC2 tells two minutes before
_EMPTY_FOR = "10m"  # a node is kept for the next job so long
_REQUIRED = (  # labels that Karpenter chooses nodes by: a requirement, no label of ours
    "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
    "kubernetes.io/arch", "kubernetes.io/os", "karpenter.sh/capacity-type",
)  # fmt: skip
_NODE_POOL = "karpenter.sh/nodepool"
_OTHERS = ("karpenter.sh", "karpenter.k8s.aws", "eks.amazonaws.com")  # labels that are not ours to give
_MACHINE = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class _Place(NamedTuple):
    """How a NodePool brings about a pool's selector."""

    name: str
    labels: dict[str, str]
    requirements: dict[str, str]


def render(platform: Platform) -> tuple[list[Obj], list[str]]:
    made: dict[str, _Place] = {}
    for pool in platform.pools:
        place = _place(platform, pool)
        if place and place.name not in {each.name for each in made.values()}:
            made[pool.name] = place
    objects = [_node_pool(platform, pool, made[pool.name]) for pool in platform.pools if pool.name in made]
    reserved = [pool.capacity == "reserved" for pool in platform.pools if pool.name in made]
    if not all(reserved):
        objects.append(_node_class(platform, reserved=False))
    if any(reserved):
        objects.append(_node_class(platform, reserved=True))
    notes = [_wanted(platform, pool) for pool in platform.pools if pool.name not in made]
    return objects, [*notes, *(_karpenter(platform, made) if made else [])]


def _place(platform: Platform, pool: Pool) -> _Place | None:
    """None where Karpenter does not make the pool's nodes."""
    cluster = platform.cluster
    if cluster.provider != "eks" or cluster.autoscaler != "karpenter" or not _MACHINE.fullmatch(pool.instance_type):
        return None
    name, labels, required = pool.name, {}, {}
    for key, value in pool.selector.items():
        domain = key.rpartition("/")[0]
        if key == _NODE_POOL:
            name = value
        elif key in _REQUIRED or key.startswith("karpenter.k8s.aws/instance-"):
            required[key] = value
        elif key == "kubernetes.io/hostname" or domain.endswith(_OTHERS):
            return None
        else:
            labels[key] = value
    return _Place(name, labels, required) if _NAME.fullmatch(name) else None


def _node_pool(platform: Platform, pool: Pool, place: _Place) -> Obj:
    required = place.requirements | {
        "karpenter.sh/capacity-type": pool.capacity,
        "node.kubernetes.io/instance-type": pool.instance_type,
    }
    spec: Obj = {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": _class_of(pool)},
        "requirements": [{"key": key, "operator": "In", "values": [value]} for key, value in required.items()],
        "taints": [_taint(each) for each in derive.taints(platform, pool)],
        "expireAfter": "Never",  # age is no reason to end a job; a new image replaces nodes within the budget
    }
    if pool.capacity == "spot":
        # past this nothing holds a pod on a node that is going: no budget, no do-not-disrupt
        grace = int(platform.spot.checkpoint.grace.seconds)
        spec["terminationGracePeriod"] = f"{min(_NOTICE, max(110, grace + 20))}s"
    return thing(
        "karpenter.sh/v1",
        "NodePool",
        place.name,
        spec={
            "template": {**({"metadata": {"labels": place.labels}} if place.labels else {}), "spec": spec},
            "disruption": {
                "consolidationPolicy": "WhenEmpty",  # never a node with a job on it
                "consolidateAfter": "Never" if pool.nodes.min == pool.nodes.max else _EMPTY_FOR,
                "budgets": [{"nodes": str(platform.operator.upgrades.max_unavailable)}],
            },
            "limits": {derive.GPU: str(pool.nodes.max * pool.gpus_per_node)},
        },
    )


def _class_of(pool: Pool) -> str:
    return f"{NODE_CLASS}-reserved" if pool.capacity == "reserved" else NODE_CLASS


def _taint(taint: Taint) -> Obj:
    return {"key": taint.key, **({"value": taint.value} if taint.value else {}), "effect": taint.effect}


def _node_class(platform: Platform, *, reserved: bool) -> Obj:
    """Images, networks and reservations are found by a tag: their ids are nobody's to guess."""

    def ours() -> list[Obj]:
        return [{"tags": {DISCOVERY: platform.metadata.name}}]

    volume = {"volumeSize": "200Gi", "volumeType": "gp3", "encrypted": True}  # images of engines take 20 GiB and more
    return thing(
        "karpenter.k8s.aws/v1",
        "EC2NodeClass",
        f"{NODE_CLASS}-reserved" if reserved else NODE_CLASS,
        spec={
            "role": role(platform),
            "amiFamily": "AL2023",
            "amiSelectorTerms": ours(),
            "subnetSelectorTerms": ours(),
            "securityGroupSelectorTerms": ours(),
            **({"capacityReservationSelectorTerms": ours()} if reserved else {}),
            "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": volume}],
            "instanceStorePolicy": "RAID0",  # local disks, where the machine has any, hold images and caches
        },
    )


def role(platform: Platform) -> str:
    return f"KarpenterNodeRole-{platform.metadata.name}"[:_ROLE_MAX].rstrip("-")


def _wanted(platform: Platform, pool: Pool) -> str:
    """What whoever makes a pool's nodes has to give them."""
    labels = ", ".join(f"{key}={value}" for key, value in pool.selector.items())
    taints = ", ".join(
        f"{each.key}={each.value}:{each.effect}".replace("=:", ":") for each in derive.taints(platform, pool)
    )
    return f"Nodes of pool {pool.name} come from elsewhere: they need the labels {labels}" + (
        f" and the taints {taints}" if taints else ""
    )


def _karpenter(platform: Platform, made: dict[str, _Place]) -> list[str]:
    name = platform.metadata.name
    notes = [
        "Karpenter makes the nodes of "
        + ", ".join(made)
        + f": it must be installed with an interruption queue, the IAM role {role(platform)} must exist, and the node "
        f"image, the subnets, the security groups and reservations must carry the tag {DISCOVERY}={name}"
    ]
    for pool in platform.pools:
        if pool.name not in made:
            continue
        if 0 < pool.nodes.min < pool.nodes.max:
            notes.append(
                f"Karpenter keeps no least number of nodes: the {pool.nodes.min} of pool {pool.name} stay while pods "
                f"use them and {_EMPTY_FOR} longer"
            )
        if pool.partition.mig or pool.partition.time_slicing or pool.partition.mps:
            notes.append(
                f"Nodes that Karpenter makes for pool {pool.name} share their GPUs once plimsoll apply runs again"
            )
        unknown = [each for each in derive.resources(pool) if each != derive.GPU]
        if (unknown or derive.open_layout(pool)) and pool.nodes.min < pool.nodes.max:
            notes.append(
                f"Karpenter does not know that nodes of pool {pool.name} advertise "
                f"{' and '.join(unknown) or 'MIG instances'}, so it makes none for pods that ask for it"
            )
    return notes
