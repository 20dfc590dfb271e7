"""What devices did over a short time, on a grid: a value per device, field and cell, NaN where nobody looked.

A cell is the time from one point of the grid to the next, and its value the mean of what was scraped in it. Where
scrapes are too rare for that, it is the last one, for no more than twice the time between scrapes: Prometheus itself
would go on giving it for five minutes, whatever became of the exporter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from math import inf, isfinite, nan

import msgspec

from plimsoll.agents.meter.dcgm import METRICS, Metric
from plimsoll.backfill.ask import Source, Stretch, resolved
from plimsoll.backfill.devices import HOSTS, Device, Hosts, Name, device_of, holder_of

REACH = 2  # times the interval of scrapes that one may speak for
_MAY_BE_PERCENT = "DCGM_FI_DEV_GPU_UTIL_RATIO"  # DCGM 4.6 gives the new name the old unit
_OLD = frozenset({"DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"})  # an exporter that writes them is older than 4.9
_ZERO_FILL = 0.2  # a device this busy whose sharers all read 0: the exporter could not see their processes
_BESIDE = 3  # cells in which a device and a pod both have a value: more than a change of holders explains
_MOST = 1e15  # of bytes, millijoules, MiB, watts: more is no reading
_RATIOS = ("busy", "util", "sm", "tensor", "dram")

Cells = list[float]
NAMES: dict[str, Metric] = {name.decode(): metric for name, metric in METRICS.items()}


class Grid(msgspec.Struct, frozen=True):
    """Cells over [began, ended), milliseconds. Their ends are multiples of `step`."""

    began: int
    ended: int
    step: int

    @property
    def first(self) -> int:
        """Where the first cell ends."""
        return self.began - self.began % self.step + self.step

    @property
    def count(self) -> int:
        return -(-(self.ended - self.first) // self.step) + 1

    def cell(self, place: int) -> tuple[int, int]:
        end = self.first + place * self.step
        return max(end - self.step, self.began), min(end, self.ended)

    def place(self, moment: int) -> int:
        """The cell that a moment is in."""
        return (moment - self.first) // self.step + 1


class Values(msgspec.Struct):
    """A device's cells by field: ratios 0 to 1, watts, MiB; joules are of the whole GPU since its counter began.

    mine: the same by pod, where a device went from one to another: in the cell of the change either has its own.
    own: by pod, what each of several holders did, where the exporter can tell.
    before: of counters, the point before the first cell.
    """

    fields: dict[str, Cells] = {}
    mine: dict[Name, dict[str, Cells]] = {}
    own: dict[Name, dict[str, Cells]] = {}
    before: float = nan


Devices = dict[tuple[str, Device], Values]  # by the name of their node


def read(
    source: Source, grid: Grid, there: Set[str], hosts: Hosts, pods: Set[Name]
) -> dict[tuple[str, Device], Values]:
    """By node and device. pods: names of those that may hold one."""
    rows: dict[tuple[str, Device], dict[str, list[tuple[Name | None, Cells]]]] = defaultdict(lambda: defaultdict(list))
    first, step, count = grid.first, grid.step, grid.count
    for name in NAMES.keys() & there:
        counter = NAMES[name].field == "joules"
        start, end = (first - step * counter) / 1000, (first + (count - 1) * step) / 1000
        query = _query(source, name, grid, counter=counter)
        for labels, points in source.server.ranged(query, start, end, step / 1000):
            device, node = device_of(labels), hosts.node(resolved(labels, HOSTS))
            if device is None or not node:
                continue
            cells = [nan] * (count + 1)  # the last is that before the first, as place -1
            for at, value in points:
                if not isfinite(value):
                    continue
                cells[round((at * 1000 - first) / step)] = value
            holder = holder_of(labels)
            rows[node, device][name].append((holder if holder in pods else None, cells))
    return {key: _values(told) for key, told in rows.items()}


def _query(source: Source, name: str, grid: Grid, *, counter: bool) -> str:
    """One value per cell."""
    every = source.interval(name, Stretch(grid.began / 1000, grid.ended / 1000)) * 1000 or grid.step
    if not counter and grid.step >= REACH * every:
        return f"avg_over_time({source.select(name)}[{grid.step}ms])"
    return f"last_over_time({source.select(name)}[{max(round(REACH * every), grid.step)}ms])"


def _values(told: Mapping[str, list[tuple[Name | None, Cells]]]) -> Values:
    values = Values({}, defaultdict(dict), defaultdict(dict))
    for name, metric in NAMES.items():
        rows = told.get(name)
        if not rows:
            continue
        factor = 0.01 if name == _MAY_BE_PERCENT and _percent(told, rows) else metric.factor
        rows = [(pod, _scaled(cells, factor, ratio=metric.field in _RATIOS)) for pod, cells in rows]
        _put(values, metric, rows)
    values.before = values.fields.get("joules", [nan])[-1]
    for cells in (values.fields, *values.mine.values(), *values.own.values()):
        util = cells.pop("util", None)
        if util is not None:
            cells["busy"] = _either(cells["busy"], util) if "busy" in cells else util
    _unfilled(values)
    return values


def _put(values: Values, metric: Metric, rows: list[tuple[Name | None, Cells]]) -> None:
    """Note one metric: of the device as a whole, and of pods. Names may have changed within the hour."""
    whole = _highest([cells for pod, cells in rows if pod is None])
    held = _highest([cells for pod, cells in rows if pod is not None])
    _note(values.fields, metric.field, _either(whole, held) if whole and held else whole or held)
    if len(rows) == 1:
        return
    # A device that goes from pod to pod has one series after another; with shares they stand beside its own.
    beside = sum(one == one and other == other for one, other in zip(whole, held, strict=False))
    for pod, cells in rows:
        if pod is not None:
            _note((values.own if metric.own and beside >= _BESIDE else values.mine)[pod], metric.field, cells)


def _note(fields: dict[str, Cells], field: str, cells: Cells) -> None:
    fields[field] = _either(fields[field], cells) if field in fields else cells


def _scaled(cells: Cells, factor: float, *, ratio: bool) -> Cells:
    if not ratio:
        return [value * factor if 0 <= value < _MOST else nan for value in cells]
    return [min(value * factor, 1.0) if value >= 0 else nan for value in cells]


def _either(first: Cells, second: Cells) -> Cells:
    return [one if one == one else other for one, other in zip(first, second, strict=True)]


def _percent(told: Mapping[str, object], rows: list[tuple[Name | None, Cells]]) -> bool:
    return not _OLD.isdisjoint(told) or any(value > 1 for _, cells in rows for value in cells)


def _highest(rows: list[Cells]) -> Cells:
    """What several series say of one device. Every sharer may have a copy, each with the scrapes of its own time."""
    if len(rows) < 2:
        return rows[0] if rows else []
    best = [max((value for value in cells if value == value), default=-inf) for cells in zip(*rows, strict=True)]
    return [value if isfinite(value) else nan for value in best]


def _unfilled(values: Values) -> None:
    """Without hostPID an exporter fills in 0 for every sharer: that is not what they did."""
    used = [fields["busy"] for fields in values.own.values() if "busy" in fields]
    for place, whole in enumerate(values.fields.get("busy", ()) if used else ()):
        if whole > _ZERO_FILL and not any(cells[place] > 0 for cells in used):
            for cells in used:
                cells[place] = nan
