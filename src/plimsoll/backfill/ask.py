"""Questions about a stretch of time whose answers are one number per series, however long the stretch.

What kube-state-metrics states (a moment, an amount) is asked for as the highest or lowest value in the stretch: a pod
that it was scraped for once is in the answer, whatever the grid. When something was seen first and last is asked for
as moments of samples, not of the grid.

Stretches are [began, ended) in seconds since 1970. Where the server finds one too long it is halved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf, isfinite

import msgspec

from plimsoll.errors import InputError
from plimsoll.kube.prometheus import Prometheus, Sample, TooMuch

LEAST = 60.0  # seconds; what is too much for a minute is too much
# A server looks at every series of a piece in every step of a subquery, also before and after its life: in hours, it
# is done with a day of short pods in a tenth of the time.
_HOUR = 3600.0
_DAYS = 48 * _HOUR
_STEPS = (5.0, 60.0)  # seconds between looks for the first and the last sample: no finer, no coarser
_PREFIX = "exported_"  # of a label that the target of a scrape has, too
SPAN = "<span>"  # in a query: the length of the stretch, or of a piece of it
KEYS = ("namespace", "pod", "uid", "exported_namespace", "exported_pod", "exported_uid")  # what tells pods apart

Labels = tuple[str, ...]


class Stretch(msgspec.Struct, frozen=True):
    """A time: after `began`, up to and with `ended`; seconds."""

    began: float
    ended: float

    @property
    def span(self) -> float:
        return self.ended - self.began


class Source:
    """A server, and what tells our cluster's series from others'. cluster: `label=value`, or "" where it has one."""

    def __init__(self, server: Prometheus, cluster: str = "") -> None:
        label, found, value = cluster.partition("=")
        if cluster and not (found and label.isidentifier() and value):
            raise InputError("a cluster is named as LABEL=VALUE", where=cluster)
        self.server = server
        self._own = f"{label}={quoted(value)}" if cluster else ""
        self._intervals: dict[str, float] = {}

    def select(self, metric: str, matchers: str = "") -> str:
        """A selector of a metric, of our cluster."""
        inside = ",".join(filter(None, (matchers, self._own)))
        return f"{metric}{{{inside}}}" if inside else metric

    def names(self, pattern: str, at: Stretch) -> set[str]:
        return self.server.names(pattern, at.began, at.ended, self._own)

    def interval(self, metric: str, at: Stretch) -> float:
        """Seconds from one sample of a metric to the next; 0 where it has none. Asked once: scrapes do not change."""
        if metric not in self._intervals:
            counted = f"max(count_over_time({self.select(metric)}[1h]))"
            for moment in (at.ended, (at.began + at.ended) / 2, at.began + 3600):
                found = self.server.instant(counted, moment)
                if found and found[0].value > 1:
                    self._intervals[metric] = 3600 / found[0].value
                    break
        return self._intervals.get(metric, 0.0)

    def highest(self, series: str, by: Sequence[str], at: Stretch, among: str = "") -> dict[Labels, float]:
        """The highest value of each series, by labels; see `resolved`. among: only of pods that it is about."""
        return self._fold("max", f"{series}[{SPAN}]", by, at, among)

    def lowest(self, series: str, by: Sequence[str], at: Stretch, among: str = "") -> dict[Labels, float]:
        return self._fold("min", f"{series}[{SPAN}]", by, at, among)

    def glance(self, series: str, by: Sequence[str], at: Stretch) -> set[Labels]:
        """What there is in a long time, but for what lasts less than an hour of days, or five minutes of hours.

        What came last is there in any case: of exporters that were just installed it is all there is.
        """
        step = 300 if at.span <= _DAYS else 3600
        late = Stretch(max(at.ended - step, at.began), at.ended)
        found = self._fold("max", f"{series}[{SPAN}:{step}s]", by, at, "")
        return {*found, *self._fold("max", f"{series}[{SPAN}:{step // 60}s]", by, late, "")}

    def first(self, metric: str, matchers: str, by: Sequence[str], at: Stretch) -> dict[Labels, float]:
        """When each series was seen first: the moment of a sample."""
        return self._fold("min", self._moments(metric, matchers, at), by, at, "", _HOUR)

    def last(self, metric: str, matchers: str, by: Sequence[str], at: Stretch) -> dict[Labels, float]:
        return self._fold("max", self._moments(metric, matchers, at), by, at, "", _HOUR)

    def first_true(self, metric: str, matchers: str, by: Sequence[str], at: Stretch) -> dict[Labels, float]:
        """When each series was seen first with a value above 0."""
        series, step = self.select(metric, matchers), round(self.step(metric, at) * 1000)
        return self._fold("min", f"(timestamp({series}) and {series} > 0)[{SPAN}:{step}ms]", by, at, "", _HOUR)

    def scrapes(self, metric: str, at: Stretch) -> list[float]:
        """The moments, in order, at which a metric was scraped, of whatever series."""
        step = self.step(metric, at)
        found: set[float] = set()
        for _, points in self.server.ranged(f"max(timestamp({self.select(metric)}))", at.began, at.ended, step):
            found |= {value for _, value in points if at.began < value <= at.ended}
        return sorted(found)

    def step(self, metric: str, at: Stretch) -> float:
        """Seconds between looks that miss no sample of a metric."""
        lowest, highest = _STEPS
        return min(max(self.interval(metric, at), lowest), highest)

    def _moments(self, metric: str, matchers: str, at: Stretch) -> str:
        step = round(self.step(metric, at) * 1000)
        return f"timestamp({self.select(metric, matchers)})[{SPAN}:{step}ms]"

    def _fold(
        self, how: str, series: str, by: Sequence[str], at: Stretch, among: str, longest: float = inf
    ) -> dict[Labels, float]:
        """series: a range, with SPAN for its length. longest: seconds of a piece."""
        names = [*by, *(f"{_PREFIX}{name}" for name in by)]
        kept = f" and on ({', '.join(KEYS)}) ({among})" if among else ""
        query = f"{how} by ({', '.join(names)}) ({how}_over_time({series}){kept})"
        better = max if how == "max" else min
        found: dict[Labels, float] = {}
        for sample in self.pieces(query, at, longest):
            labels = resolved(sample.labels, by)
            if isfinite(sample.value):
                found[labels] = better(found[labels], sample.value) if labels in found else sample.value
        return found

    def pieces(self, query: str, at: Stretch, longest: float) -> Iterator[Sample]:
        """Answers to a query in which SPAN stands for the length of a piece. longest: seconds a piece may have."""
        count = max(int(-(-at.span // longest)), 1)
        ends = [at.began + at.span * place / count for place in range(count + 1)]
        todo = [Stretch(first, last) for first, last in pairwise(ends)][::-1]
        while todo:
            piece = todo.pop()
            try:
                found = self.server.instant(query.replace(SPAN, f"{max(round(piece.span * 1000), 1)}ms"), piece.ended)
            except TooMuch:
                if piece.span <= LEAST:
                    raise
                half = (piece.began + piece.ended) / 2
                todo += [Stretch(half, piece.ended), Stretch(piece.began, half)]
            else:
                yield from found


def resolved(labels: Mapping[str, str], by: Sequence[str]) -> Labels:
    """The values of labels. Where the scraped target has one of the same name, the series' own is `exported_…`."""
    return tuple(labels.get(f"{_PREFIX}{name}") or labels.get(name, "") for name in by)


def quoted(text: str) -> str:
    """A text as PromQL writes it."""
    inside = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{inside}"'


def one_of(texts: Iterable[str]) -> str:
    """A regular expression, as PromQL writes it, that matches exactly these."""
    return quoted("|".join(re.escape(text) for text in texts))
