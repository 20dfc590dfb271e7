"""Who held which device in the window and what it did there, and what that says of workloads and teams.

A ledger gives these rows, or a Prometheus (metrics.py): what follows from them is worked out here, once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from plimsoll.cost.sample import WHOLE
from plimsoll.diagnose.model import HOUR, MINUTE, MINUTES_MIN, Facts, Value
from plimsoll.gpus import catalogue, mig


class Held(NamedTuple):
    """A pod holds a device, in the window. Moments in milliseconds; sums as in cost.sample.Usage.

    workload, job: `namespace/name`; a pod that belongs to nothing is its own workload, job is "" where it is none.
    node: its name. uuid: of the whole GPU. instance: its number on it. gpus: of the node. open: it is held still.
    before: it was busy before the window. active: until when it was last used, 0 for never in the window.
    quiet_seen: of `seen`, what lies after that. samples: how often it was looked at. owner: kind of the workload,
    where that is told.
    """

    workload: str
    job: str
    pod: str
    team: str
    model: str
    node: str
    sku: str
    gpus: int
    uuid: str
    instance: str
    profile: str
    parts: int
    shared: bool
    began: int
    ended: int
    open: bool
    before: bool = False
    seen: int = 0
    idle: int = 0
    busy: int = 0
    sm: int = 0
    tensor: int = 0
    dram: int = 0
    energy: int = 0
    memory: int = 0
    active: int = 0
    quiet_seen: int = 0
    samples: int = 0
    owner: str = ""

    @property
    def span(self) -> int:
        return self.ended - self.began

    @property
    def gpu_ms(self) -> float:
        """GPU time, in milliseconds of a whole GPU. Sharers are counted whole: what they pay, the bill knows."""
        return self.span * self.parts / WHOLE

    @property
    def unused(self) -> bool:
        return self.seen > 0 and self.busy == 0 and not self.before

    @property
    def quiet(self) -> int:
        """How long it has done nothing, where it did before and is held still."""
        if not self.open or not self.seen or not (self.before or self.busy):
            return 0
        return self.ended - max(self.active, self.began)


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of one workload say."""

    facts: Facts
    values: dict[str, Value]


def use_of(rows: Sequence[Held], source: str, coverage_min: float) -> Use:
    """What a workload did. Rows of less than MINUTES_MIN count for its GPU time only."""
    judged = [row for row in rows if row.span >= MINUTES_MIN * MINUTE]
    values = {
        "held.minutes": Value(max(row.span for row in rows) / MINUTE, source),
        "held.gpu_hours": Value(sum(row.gpu_ms for row in rows) / HOUR, source),
    }
    if any(row.seen for row in judged):
        values |= _means(judged, source) | _idleness(judged, source, coverage_min)
    return Use(facts=_facts(rows, judged), values=values | _job(judged, source, coverage_min))


def _means(rows: Iterable[Held], source: str) -> dict[str, Value]:
    """Means over the time that was measured. What reads 0 beside a GPU that works was not measured."""
    rows = list(rows)
    seen, span = sum(row.seen for row in rows), sum(row.span for row in rows)
    total = {name: sum(getattr(row, name) for row in rows) for name in _SUMS}
    profiled = total["dram"] or total["tensor"] or total["sm"]
    there = {
        "busy.mean": total["busy"] / seen,
        "sm.mean": total["sm"] / seen if total["sm"] else None,
        "tensor.mean": total["tensor"] / seen if profiled else None,
        "dram.mean": total["dram"] / seen if total["dram"] else None,
        "watts.mean": total["energy"] / seen if total["energy"] else None,
    }
    count, coverage = sum(row.samples for row in rows), min(seen / span, 1.0)
    return {name: Value(value, source, count, coverage) for name, value in there.items() if value is not None}


_SUMS = ("busy", "sm", "tensor", "dram", "energy")


def _idleness(rows: Sequence[Held], source: str, coverage_min: float) -> dict[str, Value]:
    """Devices on which nothing ever ran, and those on which nothing runs any more."""
    unused = [row for row in rows if row.unused and row.seen >= coverage_min * row.span]
    quiet = [(row, row.quiet) for row in rows if not row.unused and row.quiet >= MINUTES_MIN * MINUTE
             and row.quiet_seen >= coverage_min * row.quiet]  # fmt: skip
    seen, span = sum(row.seen for row in rows), sum(row.span for row in rows)
    samples, coverage = sum(row.samples for row in rows), min(seen / span, 1.0)

    def value(number: float) -> Value:
        return Value(number, source, samples, coverage)

    found = {
        "held.gpus": value(len({(row.uuid, row.instance, row.pod) for row in rows})),
        "held.pods": value(len({row.pod for row in rows})),
        "unused.gpus": value(len(unused)),
        "unused.minutes": value(max((row.span for row in unused), default=0) / MINUTE),
        "unused.gpu_hours": value(sum(row.gpu_ms for row in unused) / HOUR),
        "quiet.gpus": value(len(quiet)),
        "quiet.minutes": value(max((for_ for _, for_ in quiet), default=0) / MINUTE),
        "quiet.gpu_hours": value(sum(for_ * row.parts / WHOLE for row, for_ in quiet) / HOUR),
    }
    for name, which in (("unused", unused), ("quiet", [row for row, _ in quiet])):
        for signal, sum_ in (("memory", "memory"), ("watts", "energy")):
            if total := sum(getattr(row, sum_) for row in which):
                found[f"{name}.{signal}"] = value(total / sum(row.seen for row in which))
    return found


def _job(rows: Sequence[Held], source: str, coverage_min: float) -> dict[str, Value]:
    """Where the largest job of a workload ran when the last of its pods had come, and how equally its pods worked."""
    jobs: dict[str, list[Held]] = defaultdict(list)
    for row in rows:
        if row.job:
            jobs[row.job].append(row)
    if not jobs:
        return {}
    largest = max(jobs.values(), key=lambda each: sum(row.gpu_ms for row in each))
    since = max(row.began for row in largest)
    together = [row for row in largest if row.ended > since]
    until = min(row.ended for row in together)
    found = {
        "job.gpus": Value(len({(row.uuid, row.instance) for row in together}), source),
        "job.nodes": Value(len({row.node for row in together}), source),
        "job.minutes": Value((until - since) / MINUTE, source),
    }
    if gpus := min(row.gpus for row in together):
        found["node.gpus"] = Value(gpus, source)
    pods: dict[str, list[Held]] = defaultdict(list)
    for row in together:
        pods[row.pod].append(row)
    measured = [row for row in together if row.seen >= coverage_min * row.span]
    if len(measured) == len(together):
        means = [sum(row.busy for row in each) / sum(row.seen for row in each) for each in pods.values()]
        seen, span = sum(row.seen for row in together), sum(row.span for row in together)
        of = (source, sum(row.samples for row in together), min(seen / span, 1.0))
        found["ranks.lowest"] = Value(min(means), *of)
        # Where nothing runs at all nothing is unequal.
        found["ranks.spread"] = Value(max(means) / max(min(means), 0.001) if max(means) else 1.0, *of)
    return found


def _facts(rows: Sequence[Held], judged: Sequence[Held]) -> Facts:
    def one(name: str) -> str:
        found = {getattr(row, name) for row in rows}
        return found.pop() if len(found) == 1 else ""

    order = sorted(judged or rows, key=lambda row: (not row.open, not row.unused, -row.quiet, -row.span, row.pod))
    cut = any(row.instance for row in rows)
    sku, profile = one("sku"), one("profile") if cut else ""
    return Facts(
        team=rows[0].team, owner=one("owner"), sku=sku, profile=profile, cut=cut,
        shared=any(row.shared for row in rows), serves=any(row.model for row in rows),
        batch=any(row.job for row in rows), pod=order[0].pod if order[0].open else "",
        nodes=tuple(sorted({row.node for row in rows})), memory_mib=memory_mib(sku, profile, cut=cut),
    )  # fmt: skip


def memory_mib(sku: str, profile: str, *, cut: bool) -> int:
    """MiB of one device; 0 where it is not known."""
    known = catalogue.find(sku)
    if known is None or not cut:
        return known.memory_mib if known else 0
    found = mig.profile(known, profile)
    return known.memory_mib * found.memory_slices // known.mig.memory if found and known.mig else 0


def brief(rows: list[Held]) -> int:
    """How many workloads held no device for long enough to be judged."""
    return sum(all(row.span < MINUTES_MIN * MINUTE for row in mine) for name, mine in by_workload(rows).items() if name)


def by_workload(rows: Iterable[Held]) -> dict[str, list[Held]]:
    found: dict[str, list[Held]] = defaultdict(list)
    for row in rows:
        found[row.workload].append(row)
    return dict(found)


def teams(rows: Iterable[Held], source: str) -> dict[str, dict[str, Value]]:
    """What each team did with its GPU time, where rows are all there is (a ledger sums up more than it lists)."""
    sums: Mapping[str, list[Held]] = defaultdict(list)
    for row in rows:
        sums[row.team].append(row)
    everything = sum(row.gpu_ms for each in sums.values() for row in each)
    found = {}
    for team, own in sums.items():
        seen, time = sum(row.seen * row.parts for row in own), sum(row.gpu_ms for row in own)
        if not team or not seen or not everything:
            continue
        values = {"busy.mean": sum(row.busy * row.parts for row in own) / seen}
        if sm := sum(row.sm * row.parts for row in own):
            values["sm.mean"] = sm / seen
        values |= {"held.gpu_hours": time / HOUR, "held.share": time / everything}
        coverage, count = min(seen / WHOLE / time, 1.0), sum(row.samples for row in own)
        found[team] = {name: Value(value, source, count, coverage) for name, value in values.items()}
    return found
