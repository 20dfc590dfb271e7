"""Readings over time folded into usage: who did what on which device, from when to when.

A reading is a mean of the time before it, so it speaks for the time since the one before, but for no more than REACH
rounds: what nobody looked at is not seen, which is not the same as idle. Pieces are cut where holders change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from plimsoll.agents.meter.places import Device
from plimsoll.agents.meter.reading import Pod as Name
from plimsoll.agents.meter.reading import Reading, Share
from plimsoll.agents.meter.seats import Seats
from plimsoll.cost.sample import IDLE, LOW, RATE_MAX, Usage

LEAST = 0.001  # of its time, for which an instance that does nothing still takes part in its GPU's energy
REACH = 2  # rounds that one reading may speak for
_WATTS_MAX = 100_000.0  # of one device: more is no reading


class Span(msgspec.Struct, frozen=True):
    """A reading and the time it speaks for. energy: millijoules of this device. shares: by uid of the pod."""

    seats: Seats
    device: Device
    began: int
    ended: int
    reading: Reading
    energy: float
    shares: dict[str, Share]


class Sums(msgspec.Struct):
    """Usage without a gap that is not written yet. See sample.Usage for units."""

    began: int
    ended: int
    seen: int = 0
    idle: int = 0
    low: int = 0
    busy: float = 0
    sm: float = 0
    tensor: float = 0
    dram: float = 0
    energy: float = 0
    memory: float = 0


class Fold:
    """All devices of all nodes. round_ms: from one reading to the next."""

    def __init__(self, round_ms: int) -> None:
        self.round_ms = round_ms
        self._last: dict[Device, int] = {}  # until when each was read
        self._joules: dict[str, tuple[int, float]] = {}  # of each GPU: when, and what its counter said
        self._spans: list[Span] = []
        self._open: dict[tuple[Device, str], Sums] = {}
        self._done: list[Usage] = []

    def resume(self, device: Device, ended: int) -> None:
        """What is written already of a device, up to a moment."""
        self._last[device] = max(self._last.get(device, 0), ended)

    def take(self, seats: Seats, readings: Sequence[Reading], moment: int, uid: Callable[[Name], str]) -> None:
        """What a node's devices read at a moment. A page told twice, or late, speaks for nothing new."""
        held = [each for each in readings if not each.cut]
        parts = _parts(seats, held)
        joules = {each.gpu: self._spent(each, moment) for each in {each.gpu: each for each in held}.values()}
        for each in held:
            device = seats.ours(each.device)
            began = max(self._last.get(device, 0), moment - REACH * self.round_ms)
            if began >= moment:
                continue
            self._last[device] = moment
            span = moment - began
            spent = joules[each.gpu]
            energy = (spent if spent is not None else _sane(each.watts, _WATTS_MAX)) * span
            shares = {found: share for share in each.shares if (found := uid(share.pod))}
            self._spans.append(Span(seats, device, began, moment, each, energy * parts[each.device], shares))

    def settle(self, until: int) -> None:
        """Attribute what was read up to a moment: by then the holders of that time are known."""
        waiting = []
        for span in self._spans:
            if span.ended > until:
                waiting.append(span)
            else:
                self._attribute(span)
        self._spans = waiting

    def usage(self) -> list[Usage]:
        """What was attributed since the last call."""
        found = [*self._done, *(_usage(key, sums) for key, sums in self._open.items())]
        self._open, self._done = {}, []
        return found

    def _spent(self, reading: Reading, moment: int) -> float | None:
        """Millijoules a millisecond since the GPU's counter was read before; None where it does not tell.

        A counter that fell has begun anew: what was spent before that is not known. Nor is it where it grew by more
        than a device can spend.
        """
        if reading.joules is None:
            return None
        before = self._joules.get(reading.gpu)
        if before is not None and before[0] >= moment:  # told twice, or late
            return None
        self._joules[reading.gpu] = moment, reading.joules
        if before is None or before[1] > reading.joules:
            return None
        rate = (reading.joules - before[1]) * 1000 / (moment - before[0])
        return rate if rate <= _WATTS_MAX else None

    def _attribute(self, span: Span) -> None:
        held = span.seats.holders(span.device, span.began, span.ended)
        if len(held) == 1 and held[0].began <= span.began and (not held[0].ended or held[0].ended >= span.ended):
            self._add(span, held[0].uid, span.began, span.ended, None, 1.0)  # nearly always
            return
        edges = {span.began, span.ended}
        edges |= {edge for each in held for edge in (each.began, each.ended) if span.began < edge < span.ended}
        for began, ended in pairwise(sorted(edges)):
            here = sorted({each.uid for each in held if each.meets(began, ended)})
            if len(here) < 2:
                self._add(span, here[0] if here else "", began, ended, None, 1.0)
                continue
            told = {uid: span.shares[uid] for uid in here if uid in span.shares}
            busy = sum(share.busy or 0 for share in told.values())
            for uid, share in told.items():
                self._add(span, uid, began, ended, share, (share.busy or 0) / busy if busy else 1 / len(told))
            if not told:
                self._add(span, "", began, ended, None, 1.0)

    def _add(self, span: Span, uid: str, began: int, ended: int, share: Share | None, part: float) -> None:
        """Add a piece to who it is of. share: his own of a device with several holders; part: of its energy."""
        key = span.device, uid
        sums = self._open.get(key)
        if sums is None or sums.ended != began:
            if sums is not None:
                self._done.append(_usage(key, sums))
            sums = self._open[key] = Sums(began, began)
        sums.ended = ended
        time, reading = ended - began, span.reading
        busy = reading.busy if share is None else share.busy
        memory = reading.memory_mib if share is None else share.memory_mib
        sums.energy += span.energy * part * time / (span.ended - span.began)
        sums.memory += _sane(memory, RATE_MAX) * time
        if busy is None:
            return
        sums.seen += time
        sums.busy += busy * time
        if busy < IDLE:
            sums.idle += time
        elif (busy if share is not None or reading.sm is None else reading.sm) < LOW:
            sums.low += time
        if share is None:
            sums.sm += (reading.sm or 0) * time
            sums.tensor += (reading.tensor or 0) * time
            sums.dram += (reading.dram or 0) * time


def _sane(value: float | None, most: float) -> float:
    """A gauge as it goes into sums: 0 for what is not read, or cannot be."""
    return value if value is not None and 0 <= value <= most else 0.0


def _usage(key: tuple[Device, str], sums: Sums) -> Usage:
    (gpu, instance), uid = key
    return Usage(
        gpu=gpu, instance=instance, pod=uid, began=sums.began, ended=sums.ended, seen=sums.seen, idle=sums.idle,
        low=sums.low, busy=round(sums.busy), sm=round(sums.sm), tensor=round(sums.tensor), dram=round(sums.dram),
        energy=round(sums.energy), memory=round(sums.memory),
    )  # fmt: skip


def _parts(seats: Seats, held: Sequence[Reading]) -> dict[Device, float]:
    """Of its GPU's energy, each device's: all of it, or of several instances by their size and how busy they were."""
    works: dict[Device, float] = {}
    whole: dict[str, float] = {}
    for each in held:
        if not each.instance:
            works[each.device] = 1.0
        else:
            place = seats.places.get(seats.ours(each.device))
            works[each.device] = (place.parts if place else 1) * max(each.busy or 0.0, LEAST)
        whole[each.gpu] = whole.get(each.gpu, 0.0) + works[each.device]
    return {device: work / whole[device[0]] for device, work in works.items()}
