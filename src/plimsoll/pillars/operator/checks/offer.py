"""What a node offers in GPUs, judged once: the one thing that is wrong with its numbers.

Kubelet semantics: capacity counts every device a plugin has registered, allocatable only
the healthy ones. A plugin that goes leaves allocatable 0 at once and capacity 0 after five
minutes; the key itself stays. So *key absent* is never registered, *capacity without
allocatable* a plugin that just died, *0 of 0* one that is long gone, *some missing* a sick GPU.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple

from plimsoll.check.model import Severity
from plimsoll.kube.nodes import allocatable, capacity, dra_nodes, gpu_nodes
from plimsoll.kube.objects import Obj, annotations_of, condition, labels, mapping, name, text
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.operator.checks.plugins import plugin_pods
from plimsoll.pillars.operator.checks.starting import replaced, starting_drivers, younger
from plimsoll.units import count, moment

STARTING = timedelta(minutes=10)  # driver, toolkit and plugin need minutes on a fresh node
GRACE = timedelta(minutes=5)  # for which a kubelet keeps the capacity of a resource that nobody serves any more
_FORGETS = "the kubelet forgets it within five minutes"
_MIG_COUNT = re.compile(r"(nvidia\.com/mig-.+)\.count\Z")
_PASSED_THROUGH = re.compile(r"nvidia\.com/(pgpu\Z|[A-Z])")  # the sandbox plugin names resources after the model
_SETTLED = ("", "upgrade-done", "upgrade-failed", "upgrade-required")  # upgrade states in which GPUs are on offer


class Shortfall(NamedTuple):
    """What is wrong with the GPU numbers of one node."""

    kind: str  # absent | gone | dead | unhealthy | stale | short
    resource: str  # the resource it is about; nvidia.com/gpu where there is none
    offered: int  # devices pods can be given
    wanted: int  # devices there should be; 0 where unknown
    excuse: str  # why the numbers are expected to be off for now; "" if they are not
    severity: Severity | None  # milder than the check's where there is an excuse


@fact
def shortfalls(snapshot: Snapshot) -> dict[str, Shortfall]:
    """The capacity trouble of every GPU node that has one, by node name."""
    dra = dra_nodes(snapshot)
    found = {}
    for node in gpu_nodes(snapshot):
        if readable(node) and (wrong := _judge(snapshot, node, name(node) in dra)):
            found[name(node)] = wrong
    return found


def readable(node: Obj) -> bool:
    """Whether a node carries the numbers at all; an excerpt of one may not."""
    return bool(mapping(node, "status", "capacity")) and bool(mapping(node, "status", "allocatable"))


def _judge(snapshot: Snapshot, node: Obj, dra: bool) -> Shortfall | None:
    have, free = capacity(node), allocatable(node)

    def wrong(kind: str, resource: str, offered: int = 0, wanted: int = 0) -> Shortfall:
        return Shortfall(kind, resource, offered, wanted, *_excuse(snapshot, node))

    if not any(have.values()):
        if dra or _offers_otherwise(node):
            return None
        return wrong("gone", max(have, key=len)) if have else wrong("absent", "nvidia.com/gpu")
    if not any(free.values()):
        resource = max(have, key=lambda each: have[each])
        return wrong("dead", resource, 0, have[resource])
    for resource, total in have.items():
        offered = free.get(resource, 0)
        if offered < total:
            if not _left_over(labels(node), have, free, resource, offered):
                return wrong("unhealthy", resource, offered, total)
            left = wrong("stale", resource, offered, total)
            forgets = not offered and not left.excuse and _serves_newly(snapshot, name(node))
            return left._replace(excuse=_FORGETS, severity=Severity.INFO) if forgets else left
    for resource, total in have.items():
        if total and _left_over(labels(node), have, free, resource, 0):
            return wrong("stale", resource, total)
    for resource, promised in _promised(node, have).items():
        offered = have.get(resource, 0) + have.get(f"{resource}.shared", 0)
        if offered < promised:
            return wrong("short", resource, offered, promised)
    return None


def _serves_newly(snapshot: Snapshot, node: str) -> bool:
    """Whether the device plugin of a node was made within the grace in which an earlier one is not yet forgotten."""
    made = [moment(text(pod, "metadata", "creationTimestamp")) for pod in plugin_pods(snapshot).get(node, [])]
    return any(younger(each, GRACE, snapshot.taken_at) for each in made)


def _offers_otherwise(node: Obj) -> bool:
    """Whether GPUs reach pods in another form: passed through to virtual machines."""
    if text(labels(node), "nvidia.com/gpu.workload.config").startswith("vm-"):
        return True
    return any(_PASSED_THROUGH.match(each) for each in mapping(node, "status", "capacity"))


def _left_over(tags: dict[str, str], have: dict[str, int], free: dict[str, int], resource: str, offered: int) -> bool:
    """Whether a resource that is (partly) off is one of an earlier layout, while the present one is whole.

    A node's labels, capacity and allocatable; `offered`: how many of the resource count as allocatable.
    """
    if resource.startswith("nvidia.com/mig-"):
        if tags.get("nvidia.com/mig.strategy") in ("none", "single") and free.get("nvidia.com/gpu"):
            return True
        base = resource.removesuffix(".shared")
        others = [each for each in have if each.startswith("nvidia.com/mig-") and each != resource]
        described = bool(_counted(tuple(tags)))
        whole = any(free.get(each) for each in others) and all(free.get(each, 0) == have[each] for each in others)
        return offered == 0 and free.get(resource, 0) == 0 and described and f"{base}.count" not in tags and whole
    twin = f"{resource}.shared"
    if have.get(twin) and free.get(twin, 0) == have[twin]:
        return True  # one plugin configuration names a resource either way, never both
    if resource == "nvidia.com/gpu" and _counted(tuple(tags)):
        sliced = any(amount for each, amount in free.items() if each.startswith("nvidia.com/mig-"))
        everything = count(tags.get("nvidia.com/gpu.count"))
        return sliced and (free.get(resource, 0) == 0 or (have[resource] == everything and everything > 0))
    return False


@lru_cache(maxsize=1024)  # every node of a pool has the same labels
def _counted(tags: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The labels of GPU feature discovery that count MIG devices, with the resource each counts."""
    return tuple((tag, match.group(1)) for tag in tags if (match := _MIG_COUNT.match(tag)))


def _promised(node: Obj, have: dict[str, int]) -> dict[str, int]:
    """Devices the labels of GPU feature discovery promise, by resource without `.shared`.

    `gpu.replicas` is per GPU; it is 0 or meaningless where the GPUs are partitioned.
    """
    tags = labels(node)
    promised = {
        resource: count(tags[tag]) * max(1, count(tags.get(f"{resource}.replicas")))
        for tag, resource in _counted(tuple(tags))
    }
    if any(amount for each, amount in have.items() if each.startswith("nvidia.com/mig-")) or promised:
        return promised
    if any(key.startswith("hami.io/") for key in annotations_of(node)):
        return {}  # HAMi advertises its own multiple of the GPUs
    return {"nvidia.com/gpu": count(tags.get("nvidia.com/gpu.count")) * count(tags.get("nvidia.com/gpu.replicas", "1"))}


def _excuse(snapshot: Snapshot, node: Obj) -> tuple[str, Severity | None]:
    """Why a node's numbers may be off without a fault, and how much they matter then."""
    tags, now = labels(node), snapshot.taken_at
    for operand in ("operands", "device-plugin"):
        if tags.get(f"nvidia.com/gpu.deploy.{operand}") == "false":
            return f"nvidia.com/gpu.deploy.{operand}=false keeps the device plugin off this node", Severity.WARNING
    if (paused := text(tags, "nvidia.com/gpu.deploy.device-plugin")).startswith("paused-"):
        return f"the device plugin is {paused}", Severity.INFO
    if (state := text(tags, "nvidia.com/mig.config.state")) in ("pending", "rebooting"):
        return f"a MIG change is {state}", Severity.INFO
    if (state := text(tags, "nvidia.com/gpu-driver-upgrade-state")) not in _SETTLED:
        return f"a driver upgrade is in state {state}", Severity.INFO
    if name(node) in starting_drivers(snapshot):
        return "the driver is starting", Severity.INFO
    plugins = plugin_pods(snapshot).get(name(node), [])
    if plugins and all(replaced(snapshot, pod) for pod in plugins):
        return "the device plugin is being replaced", Severity.INFO
    began = max(
        (each for each in (moment(text(node, "metadata", "creationTimestamp")),
                           moment(condition(node, "Ready").get("lastTransitionTime"))) if each),
        default=None,
    )  # fmt: skip
    if now and began and timedelta() <= now - began < STARTING:
        return "the node became ready less than ten minutes ago", Severity.INFO
    return "", None
