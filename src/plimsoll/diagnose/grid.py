"""Series on a grid of equal steps, and what stands in a part of one."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from math import ceil, isfinite, isnan, nan
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, NamedTuple

from plimsoll.cost.window import Window
from plimsoll.kube.prometheus import Prometheus

POINTS = 288  # of a window: every five minutes of a day
STEP_MIN = 30.0  # seconds; exporters are asked no more often
if TYPE_CHECKING:
    Values = array[float]  # one for each moment of the grid; NaN where nothing was said
else:
    Values = array  # which Python 3.11 does not subscript


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


def ask(
    prometheus: Prometheus, query: str, grid: Grid, key: Callable[[dict[str, str]], tuple[str, ...] | None]
) -> dict[tuple[str, ...], tuple[dict[str, str], Values]]:
    """The series of an expression by what `key` makes of their labels; those of which it makes None are left out.

    Of two series with one key the larger values count.
    """
    found: dict[tuple[str, ...], tuple[dict[str, str], Values]] = {}
    for labels, points in prometheus.ranged(query, grid.began, grid.ended, grid.step):
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
