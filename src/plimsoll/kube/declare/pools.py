"""From GPU nodes to pools: nodes that are alike, under labels that tell them from all others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from plimsoll.gpus.catalogue import from_instance_type
from plimsoll.kube import kinds
from plimsoll.kube.declare.machines import INSTANCE_TYPE, Machine, machines, usable
from plimsoll.kube.declare.sharing import GKE_SLICE, PRODUCT, partition_of
from plimsoll.kube.declare.words import Notes, Say, listed, unique, usual, valid
from plimsoll.kube.nodes import SPOT_LABELS
from plimsoll.kube.objects import items, labels, mapping, name, selects, text
from plimsoll.kube.snapshot import Snapshot
from plimsoll.spec.pools import POOL_LABEL, Nodes, Partition, Pool, Taint, Topology
from plimsoll.spec.values import as_name

# Labels that may tell apart nodes of one pool label, the most lasting first.
_TELLING = (
    INSTANCE_TYPE, *dict.fromkeys(SPOT_LABELS), "cloud.google.com/reservation-name", PRODUCT, "nvidia.com/gpu.count",
    GKE_SLICE, "nvidia.com/mig.config", "nvidia.com/device-plugin.config", "nvidia.com/gpu.sharing-strategy",
    "nvidia.com/gpu.replicas",
)  # fmt: skip
POOLS_MAX = 500  # of the pools a declaration may have
HOSTNAME = "kubernetes.io/hostname"
# Taints that come and go with the state of a node, and so are none of a pool's.
_PASSING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "karpenter.sh/", "ToBeDeleted",
            "DeletionCandidate", "cloud.google.com/impending", "remediator.kubernetes.azure.com/")  # fmt: skip


class Group(NamedTuple):
    """Nodes of one pool to be."""

    machines: list[Machine]
    partition: Partition

    @property
    def first(self) -> Machine:
        return self.machines[0]


class Found(NamedTuple):
    """The pools of a cluster, largest first, and which pool each GPU node is of."""

    pools: tuple[Pool, ...]
    of_node: dict[str, Pool]


def find_pools(snapshot: Snapshot, say: Say) -> Found:
    """Every pool of GPU nodes; none where no node's GPUs are known."""
    groups = sorted(_groups(snapshot, say), key=lambda each: (-each.first.gpus * len(each.machines), _label(each)))
    if len(groups) > POOLS_MAX:
        say(f"there are {len(groups)} kinds of GPU nodes; declared the {POOLS_MAX} largest")
        del groups[POOLS_MAX:]
    pools: list[Pool] = []
    of_node: dict[str, Pool] = {}
    for group, title in zip(groups, _names(groups), strict=True):
        pool = _pool(snapshot, group, title, say)
        pools.append(pool)
        of_node |= {name(each.node): pool for each in group.machines}
    return Found(tuple(pools), of_node)


def _groups(snapshot: Snapshot, say: Say) -> list[Group]:
    alike: dict[tuple[object, ...], list[Machine]] = defaultdict(list)
    for each in machines(snapshot, say):
        alike[each.place, each.sku.name, each.gpus, each.capacity, each.instance_type].append(each)
    groups: list[Group] = []
    notes = Notes()
    for members in alike.values():
        shared = [partition_of(snapshot, each.node, each.sku, each.gpus, notes.note) for each in members]
        keys = [msgspec.json.encode(each) if each is not None else b"" for each in shared]
        most = usual(key for key in keys if key) or b""
        if not most:
            whose = listed(name(each.node) for each in members)
            say(f"nothing says how the GPUs of {whose} are shared; declared as whole GPUs")
        split: dict[bytes, Group] = {}
        for each, partition, key in zip(members, shared, keys, strict=True):
            known = shared[keys.index(most)] if partition is None else partition
            split.setdefault(key or most, Group([], known or Partition())).machines.append(each)
        groups += split.values()
    notes.tell(say)
    return groups


def _label(group: Group) -> str:
    """What a pool is called where nothing else has its name: its pool label, else its GPU."""
    place = group.first.place
    gpu = as_name(group.first.sku.name, "gpu")
    return gpu if place is None or place[0] == INSTANCE_TYPE else as_name(place[1], gpu)


def _kind(partition: Partition) -> str:
    if partition.mig:
        return "mig-shared" if partition.time_slicing else "mig"
    return "mps" if partition.mps else "shared" if partition.time_slicing else ""


def _names(groups: Sequence[Group]) -> list[str]:
    """A name per group: its label, and what sets it apart where others have that label too."""
    together: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        together[_label(group)].append(group)
    found, taken = [], set[str]()
    for group in groups:
        others = [_traits(each) for each in together[_label(group)]]
        differ = [trait for at, trait in enumerate(_traits(group)) if len({other[at] for other in others}) > 1]
        found.append(unique(as_name("-".join(filter(None, [_label(group), *differ])), "gpu"), taken))
    return found


def _traits(group: Group) -> tuple[str, ...]:
    one = group.first
    how = "" if one.capacity == "on-demand" else one.capacity
    return as_name(one.sku.name, ""), str(one.gpus), how, as_name(one.instance_type, ""), _kind(group.partition)


def _pool(snapshot: Snapshot, group: Group, title: str, say: Say) -> Pool:
    selector = _selector(snapshot, group)
    if not selector:
        names = [name(each.node) for each in group.machines]
        say(f"no label tells the nodes of pool {title} ({listed(names)}) from others: "
            f"give them {POOL_LABEL}={title}, or the pool a nodeSelector")  # fmt: skip
    return Pool(
        name=title,
        gpu=group.first.sku.name,
        gpus_per_node=group.first.gpus,
        nodes=Nodes(min=len(group.machines), max=len(group.machines)),
        capacity=group.first.capacity,
        node_selector={} if selector == {POOL_LABEL: title} else selector,
        instance_type=_instance_type(group, title, say),
        partition=group.partition,
        topology=_topology(snapshot, group),
        taints=_taints(group),
    )


def _instance_type(group: Group, title: str, say: Say) -> str:
    one = group.first
    typed = from_instance_type(one.instance_type)
    if typed and typed != (one.sku, one.gpus):
        say(f"pool {title}: instance type {one.instance_type} should have {typed[1]} × {typed[0].name} a node, "
            f"and its nodes show {one.gpus} × {one.sku.name}; declared what they show, without the type")  # fmt: skip
        return ""
    return one.instance_type if one.instance_type.isprintable() else ""


def _selector(snapshot: Snapshot, group: Group) -> dict[str, str]:
    """The fewest labels that all nodes of a group have and no other node has; {} where there are none such."""
    place = group.first.place
    keys = [*([place[0]] if place else []), *_TELLING]
    own = [labels(each.node) for each in group.machines]
    common = {
        key: own[0][key]
        for key in dict.fromkeys(keys)
        if key in own[0] and usable(key, own[0][key]) and all(have.get(key) == own[0][key] for have in own)
    }
    inside = {name(each.node) for each in group.machines}
    others = [labels(node) for node in snapshot.list(kinds.NODE) if name(node) not in inside]
    chosen: dict[str, str] = {}
    for key, value in common.items():
        left = [have for have in others if have.get(key) == value]
        if len(left) < len(others) or not chosen:
            chosen[key] = value
            others = left
        if not others:
            return chosen
    return {}


def _taints(group: Group) -> tuple[Taint, ...]:
    """The lasting taints that all nodes of a group carry."""
    found = []
    for taint in items(group.first.node, "spec", "taints"):
        plain = {"key": text(taint, "key"), "value": text(taint, "value"), "effect": text(taint, "effect")}
        lasting = all(_has(each, plain) for each in group.machines) and not plain["key"].startswith(_PASSING)
        if lasting and valid(plain, Taint):
            found.append(msgspec.convert(plain, Taint))
    return tuple(sorted(found, key=lambda taint: taint.key))


def _has(machine: Machine, taint: dict[str, str]) -> bool:
    theirs = items(machine.node, "spec", "taints")
    return any(all(text(each, field) == taint[field] for field in taint) for each in theirs)


def _topology(snapshot: Snapshot, group: Group) -> Topology | None:
    """The topology of the Kueue flavor that selects these nodes, where it has one."""
    for flavor in snapshot.list(kinds.RESOURCE_FLAVOR):
        named = text(flavor, "spec", "topologyName")
        wanted = {"matchLabels": mapping(flavor, "spec", "nodeLabels")}
        if named and all(selects(wanted, labels(each.node)) for each in group.machines):
            found = items(snapshot.get(kinds.TOPOLOGY, named), "spec", "levels")
            levels = tuple(dict.fromkeys(text(level, "nodeLabel") for level in found))
            if valid({"levels": levels}, Topology) and HOSTNAME not in levels[:-1]:
                return Topology(levels=levels)
    return None
