"""Pillar spot: what the declaration asks of a cluster.

Nodes where Karpenter makes them, policies that keep services off capacity that may vanish, and what a job there is
told about checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.pillars.spot import render_nodes, render_policies
from plimsoll.plan.model import Part, thing
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.values import Duration

CONTRACT = "checkpoint-contract"
MOUNT = "/checkpoints"  # where a job mounts the claim that holds its checkpoints
# Mean time between reclaims where nobody has measured it: gangs of 16 H100 lasted 0.4 to 1.9 hours in five zones.
BETWEEN_RECLAIMS = 3600
_NOTICES = {"eks": 120}  # seconds; the other clouds give 30


def render(platform: Platform) -> Part:
    nodes, notes = render_nodes.render(platform)
    spotted = derive.spot_pools(platform)
    if not spotted:
        return Part(objects=tuple(nodes), notes=tuple(notes))
    contracts = [_contract(platform, space) for space in _spaces(platform)]
    objects = (*nodes, *render_policies.render(platform), *contracts)
    return Part(objects=objects, notes=(*notes, *_notes(platform)))


def _spaces(platform: Platform) -> list[str]:
    """Namespaces whose jobs may run on spot."""
    teams = (team for team in platform.teams if team.name not in platform.spot.never)
    return list(dict.fromkeys(space for team in teams for space in team.spaces))


def interval(platform: Platform) -> Duration:
    """Time between two checkpoints: declared, or Young's sqrt(2 x time to save x time between reclaims)."""
    rules = platform.spot.checkpoint
    if not rules.interval.auto:
        return rules.interval
    seconds = math.sqrt(2 * rules.grace.seconds * BETWEEN_RECLAIMS)
    return Duration(max(1, round(seconds / 60)) * 60_000)


def _contract(platform: Platform, space: str) -> Obj:
    """What a job on spot keeps to; it takes it over with `envFrom`."""
    rules = platform.spot.checkpoint
    data = {
        "CHECKPOINT_INTERVAL": str(interval(platform)),
        "CHECKPOINT_GRACE": str(rules.grace),
        "CHECKPOINT_SIGNAL": rules.signal,
    }
    if rules.storage.startswith("pvc://"):
        claim, _, path = rules.storage.removeprefix("pvc://").partition("/")
        data |= {"CHECKPOINT_CLAIM": claim, "CHECKPOINT_PATH": "/".join(filter(None, (MOUNT, path, space)))}
    elif rules.storage:
        data["CHECKPOINT_PATH"] = f"{rules.storage.rstrip('/')}/{space}"
    return thing("v1", "ConfigMap", CONTRACT, space, data=data)


def _notes(platform: Platform) -> Iterator[str]:
    rules = platform.spot.checkpoint
    yield (
        f"A job on spot takes over ConfigMap {CONTRACT} of its namespace with envFrom: "
        "where and how often to save, and how long it has once its node is about to go"
    )
    if rules.interval.auto:
        yield (
            f"spot.checkpoint.interval auto is {interval(platform)}: sqrt(2 x {rules.grace} to save x "
            f"{Duration(BETWEEN_RECLAIMS * 1000)} between reclaims); declare it once you have measured both"
        )
    if not rules.storage:
        yield "spot.checkpoint.storage is not declared: what a job on spot saves must still outlive its node"
    elif rules.storage.startswith("pvc://"):
        yield f"Jobs on spot mount the claim of {rules.storage} at {MOUNT}; each of their namespaces needs it"
    notice = _NOTICES.get(platform.cluster.provider, 30)
    if rules.grace.seconds > notice - 10:
        yield (
            f"spot.checkpoint.grace is {rules.grace} and a node may go {notice} s after the notice: a save that needs "
            "so long is cut off; rely on the interval"
        )
