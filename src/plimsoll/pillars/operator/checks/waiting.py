"""Why a pod that asks for GPUs has no node: one reason for each kind of pod that waits.

A pod that waits because every GPU it could use is in use is healthy, as is one the
autoscaler is buying a node for: neither appears here. Nodes are judged as they would be
when well, so that a pod waiting for a broken node carries that node's token.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from plimsoll.check.words import brief
from plimsoll.kube import kinds
from plimsoll.kube.nodes import allocatable, autoscaled, capacity, gpu_nodes, is_ready, selected, untolerated
from plimsoll.kube.objects import Obj, condition, get, items, labels, mapping, name, namespace, owner, text
from plimsoll.kube.operands import blocking
from plimsoll.kube.pods import controller, events_of, gpu_pods, gpus_held
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.operator.checks.age import PATIENCE
from plimsoll.pillars.operator.checks.offer import shortfalls
from plimsoll.units import moment

_LAYOUT = "nvidia.com/mig.config"
_FIELDS = ("matchExpressions", "matchFields")
_MANY = 64  # above this only nodes with a sign of trouble are named as what a pod waits for
_SETTLING = timedelta(minutes=2)
_HOPELESS = ("nobody", "taint", "selector", "size")  # more time cannot help, where the nodes are what they are
_BUYING = ("TriggeredScaleUp", "Nominated", "NominatedNode")  # cluster autoscaler, Karpenter


class Wait(NamedTuple):
    """Pods of one owner and one shape that wait for the same reason."""

    reason: str  # nobody | taint | selector | size | free | scattered | lost
    pods: tuple[Obj, ...]  # by name
    wants: dict[str, int]
    says: str  # the reason as a clause
    nodes: frozenset[str]  # where it would run if they were well

    @property
    def affects(self) -> set[str]:
        return {f"node/{node}" for node in self.nodes} | {f"pod/{namespace(pod)}/{name(pod)}" for pod in self.pods}


class _Room(NamedTuple):
    """GPU nodes that are alike in everything a waiting pod looks at, as places for pods."""

    node: Obj  # one of them
    names: list[str]
    total: dict[str, int]  # of one node
    free: dict[str, int]
    usable: bool  # Ready, not cordoned, and its numbers are right
    excused: bool  # not usable, but on purpose and for now
    well: bool  # nothing at all seems to be wrong with it


@fact
def waits(snapshot: Snapshot) -> tuple[Wait, ...]:
    """Every kind of GPU pod that waits for another reason than use, in order of its first pod."""
    groups: dict[bytes, list[tuple[Obj, dict[str, int]]]] = defaultdict(list)
    for pod, wants in gpu_pods(snapshot):
        if _is_waiting(snapshot, pod):
            groups[_shape(snapshot, pod, wants)].append((pod, wants))
    if not groups:
        return ()
    rooms, fixed = _rooms(snapshot, [members[0][0] for members in groups.values()]), not autoscaled(snapshot)
    claimed = {text(each, "spec", "extendedResourceName") for each in snapshot.list(kinds.DEVICE_CLASS)}
    found = []
    for members in groups.values():
        pods, wants = tuple(sorted((pod for pod, _ in members), key=name)), members[0][1]
        wait = None if claimed & set(wants) else _judge(pods, wants, rooms)
        hopeless = wait is not None and fixed and wait.reason in _HOPELESS
        if wait and (hopeless or any(_long(pod, snapshot.taken_at, PATIENCE) for pod in pods)):
            found.append(wait)
    return tuple(sorted(found, key=lambda wait: (namespace(wait.pods[0]), name(wait.pods[0]))))


def _is_waiting(snapshot: Snapshot, pod: Obj) -> bool:
    if text(pod, "spec", "nodeName"):
        return False
    placed = condition(pod, "PodScheduled")
    if placed.get("status") != "False" or placed.get("reason") == "SchedulingGated":
        return False
    if text(pod, "metadata", "deletionTimestamp") or items(pod, "spec", "schedulingGates"):
        return False
    if not _long(pod, snapshot.taken_at, _SETTLING):
        return False
    return not any(event.get("reason") in _BUYING for event in events_of(snapshot, pod))


def _long(pod: Obj, now: datetime | None, least: timedelta) -> bool:
    """Whether a pod has waited that long; one of unknown age has."""
    began = moment(text(pod, "metadata", "creationTimestamp"))
    return began is None or now is None or now - began >= least


def _shape(snapshot: Snapshot, pod: Obj, wants: dict[str, int]) -> bytes:
    """What makes two pods wait for the same reason. Owners with one template spare us reading each pod's rules."""
    own, amounts = owner(pod), sorted(wants.items())
    if own.get("kind") in ("ReplicaSet", "Job"):
        return msgspec.json.encode((namespace(pod), text(own, "kind"), text(own, "name"), amounts))
    affinity = mapping(pod, "spec", "affinity", "nodeAffinity")
    rules = (mapping(pod, "spec", "nodeSelector"), affinity, items(pod, "spec", "tolerations"))
    return msgspec.json.encode((controller(snapshot, pod), amounts, rules))


def _rooms(snapshot: Snapshot, pods: list[Obj]) -> tuple[_Room, ...]:
    """The GPU nodes, those together that these pods cannot tell apart: thousands of nodes make a dozen rooms."""
    held, wrong, looked_at = gpus_held(snapshot), shortfalls(snapshot), _labels_read(pods)
    found: dict[bytes, _Room] = {}
    for node in gpu_nodes(snapshot):
        title, lacking, total = name(node), wrong.get(name(node)), capacity(node)
        used = held.get(title, {})
        free = {resource: amount - used.get(resource, 0) for resource, amount in allocatable(node).items()}
        up = is_ready(node) is not False and not get(node, "spec", "unschedulable")
        usable = up and (lacking is None or lacking.kind not in ("absent", "gone", "dead"))
        excused = up and lacking is not None and bool(lacking.excuse)
        tags = labels(node)
        settled = text(tags, "nvidia.com/mig.config.state") in ("", "success")
        well = up and lacking is None and settled and blocking(snapshot, title) is None
        seen = [title if key == "metadata.name" else get(tags, key) for key in looked_at]
        alike = (seen, items(node, "spec", "taints"), get(tags, _LAYOUT), total, free, usable, excused, well)
        room = _Room(node, [], total, free, usable, excused, well)
        found.setdefault(msgspec.json.encode(alike), room).names.append(title)
    return tuple(found.values())


def _labels_read(pods: list[Obj]) -> list[str]:
    """The node labels that selectors and affinities of pods name; `metadata.name` where they name nodes."""
    found: set[str] = set()
    for pod in pods:
        found.update(mapping(pod, "spec", "nodeSelector"))
        required = get(pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
        for term in items(required, "nodeSelectorTerms"):
            found.update(text(entry, "key") for field in _FIELDS for entry in items(term, field))
    return sorted(found)


def _judge(pods: tuple[Obj, ...], wants: dict[str, int], rooms: tuple[_Room, ...]) -> Wait | None:
    pod, what = pods[0], _amounts(wants)
    chosen = [room for room in rooms if selected(room.node, pod)]
    tolerations = items(pod, "spec", "tolerations")
    refused = {room.names[0]: untolerated(room.node, tolerations, daemon=True) for room in chosen}
    homes = [room for room in chosen if not refused[room.names[0]] and _might_offer(room, wants)]
    nobody = [resource for resource in wants if not any(room.total.get(resource) for room in rooms)]
    if nobody:
        offered = sorted({resource for room in rooms for resource, amount in room.total.items() if amount})
        says = f"asks for {nobody[0]}, which no node has; nodes have {', '.join(offered) or 'no GPU resource'}"
        return _wait("nobody", pods, wants, says, homes)
    if homes:
        return _judge_room(pods, wants, homes)
    tainted = [room for room in chosen if _might_offer(room, wants)]
    if not tainted:
        return _wait("selector", pods, wants, _elsewhere(what, chosen), chosen)
    taint = refused[tainted[0].names[0]][0]
    says = f"does not tolerate the taint {taint.get('key')}={taint.get('value', '')}:{taint.get('effect')}"
    return _wait("taint", pods, wants, f"{says} of {_names(tainted)}", tainted)


def _judge_room(pods: tuple[Obj, ...], wants: dict[str, int], homes: list[_Room]) -> Wait | None:
    """The reason among nodes that would take the pod: too small, broken, free yet refused, scattered; or just full."""
    what = _amounts(wants)
    if not any(any(room.total.get(each) for each in wants) or not any(room.total.values()) for room in homes):
        return _wait("selector", pods, wants, _elsewhere(what, homes), homes)
    if all(any(room.total.values()) and not _fits(room.total, wants) for room in homes):
        return _wait("size", pods, wants, f"asks for {what}, more than any node it may use has", homes)
    usable = [room for room in homes if room.usable]
    fits = [room for room in usable if _fits(room.free, wants)]
    gang = text(pods[0], "spec", "schedulerName") not in ("", "default-scheduler")
    if fits and not (
        gang and len(pods) > sum(len(room.names) for room in fits)
    ):  # a gang starts only when all of it fits
        said = text(condition(pods[0], "PodScheduled"), "message")
        return _wait(
            "free", pods, wants, f"waits although {_names(fits)} could give it {what}: {brief(said, 160)}", homes
        )
    lost = [room for room in homes if not room.usable and not room.excused]
    if lost and any(not any(room.total.values()) or _fits(room.total, wants) for room in lost):
        return _wait("lost", pods, wants, f"waits for {what}: {_names(lost)} cannot be used", homes)
    pooled = {
        resource: sum(max(0, room.free.get(resource, 0)) * len(room.names) for room in usable) for resource in wants
    }
    if _fits(pooled, wants) and not gang:
        scattered = ", ".join(f"{amount} {resource}" for resource, amount in pooled.items())
        return _wait("scattered", pods, wants, f"asks for {what}; {scattered} are free, but on no one node", homes)
    return None


def _wait(reason: str, pods: tuple[Obj, ...], wants: dict[str, int], says: str, where: list[_Room]) -> Wait:
    few = sum(len(room.names) for room in where) <= _MANY
    return Wait(
        reason, pods, wants, says, frozenset(title for room in where if few or not room.well for title in room.names)
    )


def _elsewhere(what: str, chosen: list[_Room]) -> str:
    offered = sorted({resource for room in chosen for resource, amount in room.total.items() if amount})
    they = f"they have {', '.join(offered)}" if offered else "none has a GPU resource"
    return f"asks for {what}, which the nodes its selectors allow do not have: {they}"


def _amounts(wants: dict[str, int]) -> str:
    return ", ".join(f"{amount} {resource}" for resource, amount in wants.items())


def _might_offer(room: _Room, wants: dict[str, int]) -> bool:
    """Whether a node has the resources, or might: it has none at all for now, or is to be cut into MIG devices."""
    if not any(room.total.values()) or all(room.total.get(resource) for resource in wants):
        return True
    layout = text(labels(room.node), _LAYOUT)
    return layout not in ("", "all-disabled") and all(resource.startswith("nvidia.com/mig-") for resource in wants)


def _fits(have: dict[str, int], wants: dict[str, int]) -> bool:
    return all(have.get(resource, 0) >= amount for resource, amount in wants.items())


def _names(rooms: list[_Room]) -> str:
    names = sorted(title for room in rooms for title in room.names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more nodes" if len(names) > 3 else "")
