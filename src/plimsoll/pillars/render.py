"""What a whole declaration asks of a cluster, from each pillar that Plimsoll manages there."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module

from plimsoll.kube.objects import Ref
from plimsoll.pillars import PILLARS
from plimsoll.plan.model import Part, Wanted, marked
from plimsoll.spec.model import Platform
from plimsoll.spec.settle import settled


def render(platform: Platform, pillars: Collection[str] = PILLARS) -> Wanted:
    """The parts of `pillars`, as far as the declaration leaves them to Plimsoll.

    The same bytes for the same declaration: nothing here reads a clock, a file or a cluster. A pillar sees every MIG
    layout settled.
    """
    platform = settled(platform)
    name = platform.metadata.name
    chosen: list[str] = [pillar for pillar in PILLARS if pillar in pillars and pillar in platform.cluster.manage]
    parts: dict[str, Part] = {pillar: _part(platform, pillar, name) for pillar in chosen}
    _once(parts)
    return Wanted(platform=name, parts=parts)


def _part(platform: Platform, pillar: str, name: str) -> Part:
    part: Part = import_module(f"plimsoll.pillars.{pillar}.render").render(platform)
    objects = tuple(marked(each, name, pillar) for each in sorted(part.objects, key=Ref.of))
    return Part(objects=objects, charts=part.charts, nodes=part.nodes, notes=part.notes)


def _once(parts: dict[str, Part]) -> None:
    """Two renderings of one object are a mistake of ours: the last one applied would win."""
    seen: dict[Ref, str] = {}
    for pillar, part in parts.items():
        for ref in map(Ref.of, part.objects):
            if ref in seen:
                raise AssertionError(f"{ref} is rendered twice, by {seen[ref]} and {pillar}")
            seen[ref] = pillar
