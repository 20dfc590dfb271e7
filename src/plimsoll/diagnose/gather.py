"""Everything that is known of each subject, from the sources at hand.

A ledger knows best who held what and for how long, and what it cost; Prometheus how it went in detail; a cluster's
objects what was asked for. Where two of them say the same, the first in that order counts; what none says is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from plimsoll.cost.bill import Query
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.window import Window, millis, reach, text
from plimsoll.diagnose import cluster, held, ledger, pods
from plimsoll.diagnose import queues as kueue
from plimsoll.diagnose.answer import Diagnosis
from plimsoll.diagnose.devices import SOURCE, Devices, Gpu
from plimsoll.diagnose.grid import Asker, Progress
from plimsoll.diagnose.held import Held
from plimsoll.diagnose.ledger import Costs, Read
from plimsoll.diagnose.model import HOUR, MINUTES_MIN, Facts, Money, Signals, Subject, Value
from plimsoll.errors import IncompleteError
from plimsoll.kube import kinds
from plimsoll.kube.objects import labels, name
from plimsoll.kube.prometheus import Prometheus
from plimsoll.kube.snapshot import Snapshot
from plimsoll.spec import derive
from plimsoll.spec.model import Platform

Values = dict[str, Value]


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """What may be asked. split: how prices are divided, as a query of the bill; its window and cut do not count."""

    ledger: Ledger | None = None
    prometheus: Prometheus | None = None
    snapshot: Snapshot | None = None
    platform: Platform | None = None
    tariff: Tariff = Tariff()
    split: Query = Query(by="node", began=0, ended=1)


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """The subjects, and an answer without findings that knows window, money and sources."""

    subjects: list[Signals]
    answer: Diagnosis


def _quiet(_what: str, _done: int, _all: int) -> None:
    """Tells nobody."""


def gather(sources: Sources, window: Window, *, coverage_min: float, told: Progress = _quiet) -> Gathered:
    """Raises IncompleteError where no source says anything of the window.

    told: is called with what is being asked, how many queries were, and how many there are.
    """
    snapshot, notes = sources.snapshot, []
    read = costs = None
    measured = 0
    if sources.ledger is not None:
        reached = reach(sources.ledger, window)
        if reached.watched:
            told("who held what", 0, 0)
            read = ledger.read(sources.ledger, window, checkpoint=_checkpoint(sources.platform))
            told("what it cost", 0, 0)
            costs = ledger.costs(sources.ledger, sources.tariff, window, sources.split)
            measured = reached.watched
            if costs.unpriced:
                notes.append(f"no price is known of {', '.join(costs.unpriced[:8])}: waste there counts as nothing")
        else:
            notes.append("no meter watched in this window: nothing is known from the ledger")
    if read is None and sources.prometheus is None and snapshot is None:
        raise IncompleteError(notes[0] if notes else "nothing to look at", hint="--window names an earlier time.")
    names = _names(read.rows if read else [])
    asker = Asker(sources.prometheus, told) if sources.prometheus else None
    devices = Devices(asker, window) if asker else None
    rows = read.rows if read else devices.rows(_pods(snapshot)) if devices else []
    if devices and not read and not rows:
        notes.append("no series of dcgm-exporter names a pod that uses a GPU: nobody's use is known")
    if read and read.skipped:
        notes.append(f"only the {ledger.WORKLOADS_MAX:,} largest workloads were looked at, not {read.skipped:,} more")
    if brief := held.brief(rows):
        said = "workload was" if brief == 1 else "workloads were"
        notes.append(f"{brief:,} {said} not judged: GPUs held for less than {MINUTES_MIN} minutes")
    subjects = [
        *_workloads(sources, window, rows, read, devices, asker, coverage_min, names),
        *_teams(sources, window, rows, read),
        *(_nodes(snapshot) if snapshot else ()),
        *(_gpus(devices.gpus(rows), rows, costs) if devices else ()),
        *_queues(snapshot, asker, window),
    ]
    if asker and sources.prometheus:
        notes += [*asker.notes, *(f"Prometheus says: {each}" for each in sources.prometheus.warnings)]
    if snapshot and snapshot.taken_at and not _near(millis(snapshot.taken_at), window):
        notes.append(f"the objects are of {text(millis(snapshot.taken_at))}, which is not in the window")
    answer = Diagnosis(
        began=window.began, ended=window.ended, measured=measured, currency=costs.currency if costs else "",
        findings=(), unknown=(), asked=0, cost=costs.total if costs else None, sources=tuple(_said(sources, read)),
        skipped=read.skipped if read else 0, notes=tuple(notes),
    )  # fmt: skip
    priced = [_priced(each, costs) for each in subjects] if costs else subjects
    return Gathered(subjects=priced, answer=answer)


def _near(moment: int, window: Window) -> bool:
    return window.began <= moment <= window.ended + HOUR


def _checkpoint(platform: Platform | None) -> int:
    return int(platform.spot.checkpoint.interval) if platform else 0


def _said(sources: Sources, read: Read | None) -> Iterator[str]:
    if read is not None:
        yield "ledger"
    if sources.prometheus is not None:
        yield "prometheus"
    if sources.snapshot is not None:
        yield f"{sources.snapshot.source.form} {sources.snapshot.source.place}"


def _names(rows: Iterable[Held]) -> dict[tuple[str, str], str]:
    """Workloads by namespace and name of their pods."""
    return {(row.workload.partition("/")[0], row.pod): row.workload for row in rows}


def _pods(snapshot: Snapshot | None) -> dict[tuple[str, str], str]:
    """The same from a cluster's objects."""
    if snapshot is None:
        return {}
    found = {}
    for pod in snapshot.list(kinds.POD):
        key = cluster.workload_of(snapshot, pod, {})
        found[key.partition("/")[0], name(pod)] = key
    return found


_NO_LIFE = {
    name: Value(0.0, ledger.SOURCE) for name in ("start.pods", "start.minutes", "evictions", "evictions.gpu_hours")
}
"""Of a workload of which no pod started or was pushed out."""


def _workloads(
    sources: Sources,
    window: Window,
    rows: list[Held],
    read: Read | None,
    devices: Devices | None,
    asker: Asker | None,
    coverage_min: float,
    names: Mapping[tuple[str, str], str],
) -> Iterator[Signals]:
    objects = cluster.workloads(sources.snapshot, names, window) if sources.snapshot else {}
    hosts = pods.Pods(asker, window, rows) if asker and rows else None
    spaces = _team_of(sources)
    own = held.by_workload(rows)
    for key in sorted({*own, *objects}):
        mine = own.get(key, [])
        values: Values = {}
        facts = Facts()
        if key in objects:
            values |= objects[key].values
            facts = objects[key].facts
        if hosts:
            values |= hosts.workload(mine)
        if devices:
            values |= devices.workload(mine)
        if mine:
            used = held.use_of(mine, ledger.SOURCE if read else SOURCE, coverage_min)
            values |= used.values
            facts = _both(used.facts, facts, serves="serve.running" in values)
        if read:
            values |= _NO_LIFE | read.lives.get(key, {})
        team = facts.team or spaces.get(key.partition("/")[0], "")
        tokens = {f"team/{team}"} if team else set()
        yield Signals(subject=Subject("workload", key), facts=msgspec.structs.replace(facts, team=team), values=values,
                      tokens=frozenset(tokens))  # fmt: skip


def _both(used: Facts, told: Facts, *, serves: bool) -> Facts:
    """Facts of what held GPUs, with what only objects tell."""
    sku = used.sku or told.sku
    return msgspec.structs.replace(
        used, sku=sku, memory_mib=held.memory_mib(sku, used.profile, cut=used.cut), owner=told.owner or used.owner,
        interactive=told.interactive, serves=used.serves or told.serves or serves, batch=used.batch or told.batch,
    )  # fmt: skip


def _team_of(sources: Sources) -> dict[str, str]:
    """Teams by namespace: as declared, else by the label of the namespace."""
    found = {}
    if sources.snapshot is not None:
        for space in sources.snapshot.list(kinds.NAMESPACE):
            if team := labels(space).get(derive.TEAM_LABEL):
                found[name(space)] = team
    return found | (derive.team_of_namespace(sources.platform) if sources.platform else {})


def _teams(sources: Sources, window: Window, rows: list[Held], read: Read | None) -> Iterator[Signals]:
    spaces = _team_of(sources)
    if read is not None:
        found = dict(read.teams)
        spaces = {row.workload.partition("/")[0]: row.team for row in rows if row.team} | spaces
    else:
        found = held.teams((row._replace(team=spaces.get(row.workload.partition("/")[0], "")) for row in rows), SOURCE)
    if sources.snapshot is not None:
        limited = cluster.limits(sources.snapshot, spaces, window)
        for team in {*found, *limited}:
            found[team] = {**found.get(team, {}), **limited.get(team, cluster.no_limits(sources.snapshot))}
    for team in sorted(found):
        yield Signals(subject=Subject("team", team), facts=Facts(team=team), values=found[team])


def _nodes(snapshot: Snapshot) -> Iterator[Signals]:
    for node, values in cluster.nodes(snapshot).items():
        yield Signals(
            subject=Subject("node", node), facts=Facts(nodes=(node,), cut="free.unwanted" in values), values=values
        )


def _gpus(found: Mapping[str, Gpu], rows: Iterable[Held], costs: Costs | None) -> Iterator[Signals]:
    gpus = {row.node: row.gpus for row in rows}
    for title, gpu in found.items():
        node = title.partition("/")[0]
        money = costs.by["node"].get(node) if costs else None
        many = max(gpus.get(node, 1), 1)
        share = Money(cost=money.cost // many, gpu_ms=money.gpu_ms // many) if money else None
        facts = Facts(nodes=(node,), batch=gpu.alike)
        yield Signals(subject=Subject("gpu", title), facts=facts, values=gpu.values, money=share,
                      tokens=frozenset({f"workload/{gpu.workload}"}))  # fmt: skip


def _queues(snapshot: Snapshot | None, asker: Asker | None, window: Window) -> Iterator[Signals]:
    """Objects tell which workloads would fit; metrics only how many wait."""
    found = kueue.queues(snapshot, window) if snapshot else {}
    if not found and asker:
        found = pods.queues(asker, window)
    for queue in sorted(found):
        yield Signals(subject=Subject("queue", queue), values=found[queue])


def _priced(of: Signals, costs: Costs) -> Signals:
    if of.subject.kind == "queue":
        return msgspec.structs.replace(of, money=costs.whole)
    if of.subject.kind == "gpu":
        return of
    money = costs.by[of.subject.kind].get(of.subject.name)
    return msgspec.structs.replace(of, money=money) if money else of
