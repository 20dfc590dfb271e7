"""Series on a grid of equal steps, and what stands in a part of one."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import ceil, isfinite, isnan, nan
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, NamedTuple

from plimsoll.cost.window import Window
from plimsoll.diagnose.queries import DEVICE, DEVICE_RATES, ENGINE, POD, QUEUE
from plimsoll.errors import ClusterError
from plimsoll.kube.prometheus import Prometheus, Sample

POINTS = 288  # of a window: every five minutes of a day
STEP_MIN = 30.0  # seconds; exporters are asked no more often
if TYPE_CHECKING:
    Values = array[float]  # one for each moment of the grid; NaN where nothing was said
else:
    Values = array  # which Python 3.11 does not subscript

Found = dict[tuple[str, ...], tuple[dict[str, str], Values]]  # labels and values, by what tells series apart
Progress = Callable[[str, int, int], None]
QUERIES = len(DEVICE) + len(DEVICE_RATES) + len(POD) + len(ENGINE) + len(QUEUE) + 3
_FAILURES_MAX = 3  # one after the other; then nobody answers
_METRIC = re.compile(r"\b(?:DCGM|container|kube|kueue|vllm)[a-zA-Z0-9_:]*_[a-zA-Z0-9_]+")


class Grid(NamedTuple):
    """Moments began, began + step, … of a window, in seconds since 1970."""

    began: float
    step: float
    points: int

    @classmethod
    def of(cls, window: Window) -> Grid:
        seconds = window.span / 1000
        step = float(max(STEP_MIN, ceil(seconds / POINTS)))
        return cls(window.began / 1000, step, max(int(seconds // step), 1))

    @property
    def ended(self) -> float:
        return self.began + (self.points - 1) * self.step

    def place(self, moment: float) -> int:
        return round((moment - self.began) / self.step)

    def part(self, began: int, ended: int) -> slice:
        """The moments within an interval of milliseconds."""
        first = ceil((began / 1000 - self.began) / self.step - 1e-9)
        last = ceil((ended / 1000 - self.began) / self.step - 1e-9)
        return slice(max(first, 0), max(min(last, self.points), 0))

    def empty(self) -> Values:
        return array("d", [nan]) * self.points


class Asker:
    """A Prometheus that is asked one query after the other. What one of them cannot tell is missing, and noted; a
    server that is not there, or goes away, ends it: ClusterError.

    told: is called with what is asked next, how many were, and how many there are.
    """

    def __init__(self, prometheus: Prometheus, told: Progress = lambda _what, _done, _all: None) -> None:
        self._prometheus = prometheus
        self._told = told
        self._done = self._failed = 0
        self.notes: dict[str, None] = {}
        prometheus.instant("vector(1)")

    def ranged(self, query: str, grid: Grid, key: Callable[[dict[str, str]], tuple[str, ...] | None]) -> Found:
        """The series of an expression by what `key` makes of their labels; those of which it makes None are left out.

        Of two series with one key the larger values count.
        """
        found: Found = {}
        with self._asking(query):
            for labels, points in self._prometheus.ranged(query, grid.began, grid.ended, grid.step):
                name = key(labels)
                if name is None:
                    continue
                if name not in found:
                    found[name] = labels, grid.empty()
                values = found[name][1]
                for moment, value in points:
                    place = grid.place(moment)
                    if 0 <= place < grid.points and isfinite(value) and not values[place] >= value:
                        values[place] = value
            return found
        return {}

    def instant(self, query: str, at: float) -> list[Sample]:
        with self._asking(query):
            return [each for each in self._prometheus.instant(query, at=at) if isfinite(each.value)]
        return []

    @contextmanager
    def _asking(self, query: str) -> Iterator[None]:
        self._told(" ".join(_METRIC.findall(query)[:1]), self._done, QUERIES)
        self._done += 1
        try:
            yield
            self._failed = 0
        except ClusterError as error:
            self._failed += 1
            if self._failed > _FAILURES_MAX:
                raise
            name = next(iter(_METRIC.findall(query)), query[:60])
            self.notes[f"what asks for {name} was not answered: {error.what[:200]}"] = None


def known(values: Iterable[float]) -> list[float]:
    return [each for each in values if not isnan(each)]


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    order = sorted(values)
    return order[max(ceil(share * len(order)) - 1, 0)]


def unevenness(values: list[float]) -> float:
    """Standard deviation by mean; 0 where all are 0."""
    mean = fmean(values)
    return pstdev(values, mean) / mean if mean else 0.0
