"""The cells of devices as usage: whose they were, summed up over an hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import nan

import msgspec

from plimsoll.agents.meter.fold import LEAST
from plimsoll.backfill.devices import Device, Name
from plimsoll.backfill.gauges import Cells, Grid, Values
from plimsoll.backfill.seats import Seat
from plimsoll.cost.sample import IDLE, LOW, Usage

_POWER_MAX = 1e6  # millijoules a millisecond: a counter that jumps is no reading
_MEMORY_MAX = 1e9  # MiB


class _Sums(msgspec.Struct):
    seen: int = 0
    idle: int = 0
    low: int = 0
    busy: float = 0.0
    sm: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    energy: float = 0.0
    memory: float = 0.0


class _Own(msgspec.Struct):
    """Cells of a holder, or of the device. energy: millijoules a millisecond."""

    busy: Cells
    sm: Cells
    tensor: Cells
    dram: Cells
    memory: Cells
    energy: Cells


def fold(
    device: Device, seats: Sequence[Seat], grid: Grid, values: Values, energy: Cells, name: Callable[[str], Name]
) -> Iterator[Usage]:
    """The usage of one device over a grid; pod "" where nobody held it, or several that cannot be told apart.

    energy: millijoules a millisecond, by cell, of this device. name: of a pod, by its uid.
    """
    whole = _own(values.fields, energy)
    here = [each for each in seats if each.began < grid.ended and grid.began < each.ended]
    edges = {grid.began, grid.ended}
    edges |= {edge for each in here for edge in (each.began, each.ended) if grid.began < edge < grid.ended}
    for began, ended in pairwise(sorted(edges)):
        uids = sorted({each.uid for each in here if each.began < ended and began < each.ended})
        told = _shares(uids, values, energy, name) if len(uids) > 1 else {}
        alone = uids[0] if len(uids) == 1 else ""
        mine = values.mine.get(name(alone)) if alone else None
        for uid, own in (told or {alone: _own(values.fields | mine, energy, whole) if mine else whole}).items():
            sums = _Sums()
            _add(sums, grid, began, ended, own, share=bool(told))
            if sums.seen or sums.energy or sums.memory:
                yield Usage(gpu=device.gpu, instance=device.instance, pod=uid, began=began, ended=ended, seen=sums.seen,
                            idle=sums.idle, low=sums.low, busy=round(sums.busy), sm=round(sums.sm),
                            tensor=round(sums.tensor), dram=round(sums.dram), energy=round(sums.energy),
                            memory=round(sums.memory))  # fmt: skip


def power(
    grid: Grid, devices: Mapping[Device, Values], above: Values | None, parts: Callable[[Device], int]
) -> dict[Device, Cells]:
    """What each of the devices of one GPU draws: by its counter, else by its power; of several instances by their size
    and how busy they are. Every instance tells of the whole GPU; so does `above`, the GPU that was cut into them."""
    rate = _rate(grid, [*devices.values(), *([above] if above else [])])
    if len(devices) == 1:
        return dict.fromkeys(devices, rate)
    found = {device: [nan] * grid.count for device in devices}
    for place in range(grid.count):
        works = {}
        for device, values in devices.items():
            busy = values.fields["busy"][place] if "busy" in values.fields else nan
            works[device] = parts(device) * (max(busy, LEAST) if busy == busy else LEAST)
        total = sum(works.values())
        for device, work in works.items():
            found[device][place] = rate[place] * work / total
    return found


def _rate(grid: Grid, told: Iterable[Values]) -> Cells:
    """Millijoules a millisecond of a GPU. A counter that fell has begun anew: that cell's is not known by it."""
    found = [nan] * grid.count
    for values in told:
        joules, watts = values.fields.get("joules"), values.fields.get("watts")
        before, at = values.before, -1
        for place in range(grid.count):
            now = joules[place] if joules else nan
            if now == now:
                if before == before and now >= before and found[place] != found[place]:
                    found[place] = (now - before) * 1000 / ((place - at) * grid.step)
                before, at = now, place
            if found[place] != found[place] and watts:
                found[place] = watts[place]
    return found


def _own(fields: Mapping[str, Cells], energy: Cells, other: _Own | None = None) -> _Own:
    """Cells by field; those that are not known are of `other`, if they are there."""
    none = [nan] * len(energy)

    def cells(name: str) -> Cells:
        first: Cells = fields.get(name, none)
        if other is None:
            return first
        second: Cells = getattr(other, name)
        return [one if one == one else two for one, two in zip(first, second, strict=False)]

    return _Own(busy=cells("busy"), sm=cells("sm"), tensor=cells("tensor"), dram=cells("dram"), memory=cells("memory"),
                energy=energy)  # fmt: skip


def _shares(uids: Sequence[str], values: Values, energy: Cells, name: Callable[[str], Name]) -> dict[str, _Own]:
    """What each of several holders did, if the exporter told of any. Energy goes by their time, else in equal parts."""
    told = {uid: values.own[name(uid)] for uid in uids if name(uid) in values.own}
    used = [fields["busy"] for fields in told.values() if "busy" in fields]
    total = [sum(value for value in cells if value == value) for cells in zip(*used, strict=True)]
    found = {}
    for uid, fields in told.items():
        mine = fields.get("busy")
        parts = [  # max gives 0 for NaN: its first, where the other is not larger
            max(0.0, mine[place]) / total[place] if mine and total[place] else 1 / len(told)
            for place in range(len(energy))
        ]
        found[uid] = _own(fields, [rate * part for rate, part in zip(energy, parts, strict=True)])
    return found


def _add(sums: _Sums, grid: Grid, began: int, ended: int, own: _Own, *, share: bool) -> None:
    """Sum cells up over a time. share: without a reading of SMs, which are of the whole device."""
    for place in range(grid.place(began), grid.place(ended - 1) + 1):
        first, last = grid.cell(place)
        time = min(last, ended) - max(first, began)
        busy, sm, energy, memory = own.busy[place], own.sm[place], own.energy[place], own.memory[place]
        if energy < _POWER_MAX:
            sums.energy += energy * time
        if memory < _MEMORY_MAX:
            sums.memory += memory * time
        if busy != busy:
            continue
        sums.seen += time
        sums.busy += busy * time
        if busy < IDLE:
            sums.idle += time
        elif (busy if share or sm != sm else sm) < LOW:
            sums.low += time
        tensor, dram = own.tensor[place], own.dram[place]
        sums.sm += sm * time if sm == sm else 0.0
        sums.tensor += tensor * time if tensor == tensor else 0.0
        sums.dram += dram * time if dram == dram else 0.0
