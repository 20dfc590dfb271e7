"""What one piece of the past hands on to the next, and what was found in all of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from plimsoll.backfill.devices import Device, Name
from plimsoll.backfill.seats import NEVER


class Life(msgspec.Struct):
    """A pod that is followed. node: uid. gone: when it was missed first, 0 if it was not; ended: when it ended."""

    uid: str
    name: Name
    node: str
    began: int
    seen: int
    wants: dict[str, int]
    gone: int = 0
    ended: int = 0
    seats: list[tuple[Device, str, int, bool]] | None = None  # device, unit, weight, whether it was named

    @property
    def until(self) -> int:
        return self.ended or self.gone or NEVER


class State(msgspec.Struct):
    """began: of the whole past. pods, nodes: by uid. gpus, instances: of a node's uid, those whose end was not told."""

    began: int
    pods: dict[str, Life] = {}
    nodes: dict[str, tuple[int, int]] = {}  # seen last, missed first
    gpus: set[tuple[str, str]] = set()
    instances: set[tuple[str, str, str, str]] = set()  # with its profile


class Mark(msgspec.Struct):
    """How far a backfill came. asked: what else decides what is written. tokens: of agents/meter/tokens.py."""

    asked: list[str]
    ended: int
    state: State
    tokens: dict[str, Any]


class Summary(msgspec.Struct):
    """What was found. missing: what of the metrics is absent, and what cannot be told without it. gaps: milliseconds
    of which kube-state-metrics told nothing. resumed: until when all was there already, 0 where nothing was."""

    counts: Counter[str] = msgspec.field(default_factory=Counter)
    missing: list[str] = []
    notes: list[str] = []
    gaps: int = 0
    resumed: int = 0
    warnings: list[str] = []
