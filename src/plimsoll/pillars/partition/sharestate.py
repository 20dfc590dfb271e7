"""Nodes that do not share the way their configuration says, and why that may be."""

from __future__ import annotations

from typing import NamedTuple

from plimsoll.check.model import Case
from plimsoll.kube.nodes import allocatable, capacity
from plimsoll.kube.objects import Obj, labels, name, text
from plimsoll.kube.pods import ready
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.partition.nodes import PLUGIN, SETTLE, changed_at, daemonset, minutes, operand, plugin_started
from plimsoll.pillars.partition.pluginconfig import Config, Setup, Shared, config_map, configs, nodes_by_key, setup
from plimsoll.units import count

_NOTHING = Config("none", (), False, "", (), ())


class Gap(NamedTuple):
    """A node whose plugin runs and offers something else than its configuration says."""

    node: Obj
    wanted: str
    offers: str
    started: str  # when the plugin's container started; "" if not told
    edited: bool  # the text changed after the plugin read it
    short: bool  # GFD's labels already promise more than there is: pods that count on them find nothing


def gaps(case: Case, *, edited: bool) -> dict[str, list[Gap]]:
    """Nodes that lag behind their key, by key: those behind an edit, or the others."""
    found = {key: [gap for gap in behind if gap.edited is edited] for key, behind in _gaps(case.snapshot).items()}
    return {key: behind for key, behind in found.items() if behind}


@fact
def _gaps(snapshot: Snapshot) -> dict[str, list[Gap]]:
    source = config_map(snapshot)
    found: dict[str, list[Gap]] = {}
    if source is None or setup(snapshot) is None:
        return found
    for key, nodes in sorted(nodes_by_key(snapshot).items()):
        config = configs(snapshot).get(key) if key else _NOTHING
        if config is None or config.errors or config.refused:
            continue
        found[key] = [gap for node in nodes if (gap := _gap(snapshot, source, config, node))]
    return found


def _gap(snapshot: Snapshot, source: Obj, config: Config, node: Obj) -> Gap | None:
    plugin = operand(snapshot, PLUGIN, name(node))
    if plugin is None or not ready(plugin):
        return None
    started = plugin_started(plugin)
    age = minutes(started, snapshot.taken_at)
    if age is not None and age < SETTLE:
        return None
    told = _differs(config, node)
    if told is None:
        return None
    written = changed_at(source)
    newer = bool(written and started and written > started) or _revision(source) > _revision(plugin) > 0
    shared_now = labels(node).get("nvidia.com/gpu.sharing-strategy", "none") != "none"
    return Gap(
        node, told[0], told[1], started.isoformat() if started else "", newer or shared_now, _short(config, node)
    )


def _revision(obj: Obj) -> int:
    """The revision of the last write; 0 if there is none. One etcd counts for all kinds, so a larger one is later."""
    return count(text(obj, "metadata", "resourceVersion"))


def _differs(config: Config, node: Obj) -> tuple[str, str] | None:
    """What the node should offer and what it does; None where they agree or cannot be compared."""
    offers = {resource: amount for resource, amount in capacity(node).items() if amount}
    if not offers:
        return None  # it offers nothing at all: a fault of the plugin or the GPUs, not of this text
    here = ", ".join(f"{amount} × {resource}" for resource, amount in offers.items())
    if config.method == "none":
        still = [resource for resource in offers if resource.endswith(".shared")]
        return ("nothing shared", here) if still or _replicas(node, "nvidia.com/gpu") > 1 else None
    for each in config.shared:
        base = _base(node, each.resource)
        resource = f"{each.resource}.shared" if config.rename else each.resource
        if base and not _agrees(node, each, base, offers.get(resource, 0)):
            return f"{base * each.replicas} × {resource}", here
    return None


def _agrees(node: Obj, each: Shared, base: int, got: int) -> bool:
    """Whether a number of devices is what these replicas give, allowing for GPUs that were lost."""
    if got == base * each.replicas:
        return True
    if not 0 < got < base * each.replicas:
        return False
    return got % each.replicas == 0 and _replicas(node, each.resource) in (0, each.replicas)


def _short(config: Config, node: Obj) -> bool:
    return any(
        0
        < capacity(node).get(f"{each.resource}.shared" if config.rename else each.resource, 0)
        < _base(node, each.resource) * _replicas(node, each.resource)
        for each in config.shared
    )


def _base(node: Obj, resource: str) -> int:
    """Devices of a resource before sharing, by GFD's labels; 0 where they do not tell."""
    have = labels(node)
    if resource == "nvidia.com/gpu":
        mixed = any(amount for each, amount in capacity(node).items() if each.startswith("nvidia.com/mig-"))
        return 0 if mixed else count(have.get("nvidia.com/gpu.count"))
    return count(have.get(f"{resource}.count"))


def _replicas(node: Obj, resource: str) -> int:
    label = "nvidia.com/gpu.replicas" if resource == "nvidia.com/gpu" else f"{resource}.replicas"
    return count(labels(node).get(label))


def restart(found: Setup) -> str:
    """The command that makes plugin and GFD read their configuration again."""
    if found.owner.get("kind") == "DaemonSet":
        return f"kubectl -n {found.namespace} rollout restart ds/{name(found.owner)}   # and GFD's DaemonSet"
    return f"kubectl -n {found.namespace} rollout restart ds/{daemonset(PLUGIN)} ds/gpu-feature-discovery"


def shared_resources(node: Obj) -> dict[str, int]:
    """Allocatable of the resources that a node shares: renamed ones, and plain ones where GFD tells of replicas."""
    return {
        resource: amount
        for resource, amount in allocatable(node).items()
        if resource.endswith(".shared") or _replicas(node, resource) > 1
    }
