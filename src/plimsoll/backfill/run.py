"""The past day by day: read, made records, written. Stopped anywhere and begun again it writes the same once more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from plimsoll.agents.meter.tokens import Counting
from plimsoll.backfill import coverage, devices, engines, gauges, ksm, names, usage
from plimsoll.backfill.ask import Source, Stretch
from plimsoll.backfill.book import Book
from plimsoll.backfill.devices import Device, Hosts
from plimsoll.backfill.gauges import Grid, Values
from plimsoll.backfill.holding import Holding
from plimsoll.backfill.piece import Piece
from plimsoll.backfill.state import Mark, State, Summary
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import HOUR, Node, Record, Usage, Watch, parts_or_named
from plimsoll.errors import IncompleteError, InputError
from plimsoll.kube.objects import Obj
from plimsoll.kube.prometheus import Prometheus, printable
from plimsoll.spec.model import Platform

DAY = 24 * HOUR
METER = "prometheus"
_NAME = "backfill"  # of the cursor
_BEFORE = 600  # seconds before a piece that are looked at, too: what ended about its beginning is seen to end
_GAP = 5 * 60_000  # milliseconds without a scrape of kube-state-metrics, that nobody watched
_CLUSTERS = "cluster"  # the label by which most tell clusters apart

Progress = Callable[[str, int, int], None]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. began, ended: milliseconds. step: of the grid. cluster: `label=value`. nodes: of the cluster
    itself, if it could be asked. again: also what an earlier run wrote already."""

    began: int
    ended: int
    step: int = 30_000
    cluster: str = ""
    platform: Platform | None = None
    nodes: Sequence[Obj] = ()
    again: bool = False


def run(server: Prometheus, ledger: Ledger, job: Job, progress: Progress = lambda *_: None) -> Summary:
    """Write the past. Raises IncompleteError where kube-state-metrics said nothing, InputError for what was asked."""
    if job.ended <= job.began:
        raise InputError("the window ends before it begins", hint="Give the earlier moment first.")
    source = Source(server, job.cluster)
    whole = Stretch(job.began / 1000, job.ended / 1000)
    there = source.names(coverage.WANTED, whole)
    summary = Summary(missing=coverage.missing(there))
    if ksm.NODES not in there:
        raise IncompleteError("no kube_node_info in this time: nobody says which nodes there were", where=server.place,
                              hint="Does it scrape kube-state-metrics, and keep that for so long?")  # fmt: skip
    _one_cluster(source, whole)
    past = _Past(source, ledger, job, there, summary)
    summary.resumed = past.resume(ledger.cursors(METER).get(_NAME, "")) if not job.again else 0
    pieces = list(_pieces(summary.resumed or job.began, job.ended))
    for place, (began, ended) in enumerate(pieces):
        progress(_day(began), place, len(pieces))
        records = list(past.piece(began, ended, last=place == len(pieces) - 1))
        ledger.write(records, METER, {_NAME: past.mark(ended)})
    progress("", len(pieces), len(pieces))
    summary.warnings = list(server.warnings)
    summary.counts["nodes without a uid"] = len(past.book.derived)
    summary.notes = coverage.notes(summary, past.hosts.lost, job.platform)
    return summary


def _pieces(began: int, ended: int) -> Iterator[tuple[int, int]]:
    """Days of UTC."""
    while began < ended:
        until = min(ended, began - began % DAY + DAY)
        yield began, until
        began = until


def _day(moment: int) -> str:
    return ksm.rfc3339(moment)[:10]


def _one_cluster(source: Source, at: Stretch) -> None:
    """Several clusters in one Prometheus would be billed as one."""
    found = {value for (value,) in source.glance(source.select(ksm.NODES), (_CLUSTERS,), at) if value}
    if len(found) > 1:
        raise InputError(f"{len(found)} clusters are in this Prometheus: {printable(', '.join(sorted(found)[:5]))}",
                         where=source.server.place, hint=f"Choose one: --cluster-label {_CLUSTERS}=NAME")  # fmt: skip


class _Past:
    def __init__(self, source: Source, ledger: Ledger, job: Job, there: set[str], summary: Summary) -> None:
        self.source, self.job, self.there, self.summary = source, job, there, summary
        self.book = Book(ledger, job.nodes)
        self.known = names.keys(job.platform)
        self.state, self.counting = State(job.began), Counting()
        whole = Stretch(job.began / 1000, job.ended / 1000)
        self.hosts = Hosts(name for (name,) in source.glance(source.select(ksm.NODES), ("node",), whole))
        self.looks: list[str] = []  # metrics that tell what devices there are
        self.roster = self._roster(whole)

    def mark(self, ended: int) -> str:
        """Where the next run goes on, of the same questions."""
        found = Mark(self._asked, ended, self.state, self.counting.state())
        return msgspec.json.encode(found).decode()

    def resume(self, said: str) -> int:
        """Go on where an earlier run stood, if it began no later; until when it came, 0 where there was none."""
        try:
            mark = msgspec.json.decode(said or b"{}", type=Mark)
        except msgspec.DecodeError:  # none, or of another version
            return 0
        early = mark.state.began <= self.job.began < mark.ended
        if mark.asked != self._asked or not early or mark.ended > self.job.ended:
            return 0
        self.state, self.counting = mark.state, Counting(mark.tokens)
        return mark.ended

    @property
    def _asked(self) -> list[str]:
        return [self.source.server.place, self.job.cluster, str(self.job.step)]

    def _roster(self, whole: Stretch) -> dict[str, list[tuple[str, str]]]:
        """Every GPU that was seen at all on each node: UUID and model."""
        found: dict[str, dict[str, str]] = defaultdict(dict)
        by = ("UUID", "uuid", *devices.HOSTS, "modelName")
        for kind in devices.kinds(self.there):
            more = False
            for metric in kind:
                told = self.source.glance(self.source.select(metric), by, whole)
                self.hosts.learn(self.source, whole, (labels[2:-1] for labels in told))
                for labels in sorted(told):
                    node, gpu = self.hosts.node(labels[2:-1]), labels[0] or labels[1]
                    if node and gpu:
                        more = more or gpu not in found[node]
                        found[node][gpu] = labels[-1] or found[node].get(gpu, "")
            if more:  # else nobody has this kind who has not a better one
                self.looks += kind
        return {node: sorted(gpus.items()) for node, gpus in found.items()}

    def piece(self, began: int, ended: int, *, last: bool) -> Iterator[Record]:
        at = Stretch(began / 1000, ended / 1000)
        wider = Stretch(at.began - _BEFORE, at.ended)
        cluster = ksm.read(self.source, wider, self.known, self.there)
        self.hosts.known |= {node.name for node in cluster.nodes}
        seen = devices.read(self.source, wider, self.looks, self.hosts)
        models = engines.models(self.source, at, self.there)
        made = Piece(cluster, seen, began, ended, last=last, state=self.state, book=self.book,
                     platform=self.job.platform, roster=self.roster, summary=self.summary)  # fmt: skip
        yield from self._counted(made.make(models, ksm.jobs(self.source, wider, self.there)))
        held = Holding(made, lambda pods: devices.moments(self.source, wider, self.looks, pods))
        yield from self._counted(held.make())
        for start in range(began - began % HOUR, ended, HOUR):
            grid = Grid(max(start, began), min(start + HOUR, ended), self.job.step)
            yield from self._counted(self._usage(grid, held))
        yield from self._counted(engines.tokens(self.source, at, self.there, self.counting, held.lives))
        yield from self._watched(cluster.alive, began, ended)

    def _usage(self, grid: Grid, held: Holding) -> Iterator[Usage]:
        pods = {life.uid: life.name for life in held.lives}
        found = gauges.read(self.source, grid, self.there, self.hosts, set(pods.values()))
        gpus: dict[tuple[str, str], dict[Device, Values]] = defaultdict(dict)
        for (host, device), values in sorted(found.items(), key=lambda each: each[0]):
            gpus[host, device.gpu][device] = values
        for (host, gpu), parted in gpus.items():
            node = held.piece.node_of(host, grid.began)
            if node is None:
                continue
            above = parted.pop(Device(gpu)) if len(parted) > 1 and Device(gpu) in parted else None
            power = usage.power(grid, parted, above, self._parts(node, held))
            for device, values in parted.items():
                seats = held.seats.get((node.uid, device), ())
                yield from usage.fold(device, seats, grid, values, power[device], lambda uid: pods.get(uid, ("", "")))

    def _parts(self, node: Node, held: Holding) -> Callable[[Device], int]:
        profiles = {each.device: each.profile for each in held.piece.seen if each.node == node.name}
        return lambda device: parts_or_named(node.sku, profiles.get(device, ""))

    def _watched(self, alive: Sequence[int], began: int, ended: int) -> Iterator[Watch]:
        """When kube-state-metrics was scraped, without its gaps."""
        every = round(self.source.interval(ksm.NODES, Stretch(began / 1000, ended / 1000)) * 1000)
        gap = max(_GAP, 3 * every)
        runs: list[list[int]] = []
        for moment in alive:
            if runs and moment - runs[-1][1] <= gap:
                runs[-1][1] = moment
            else:
                runs.append([moment, moment])
        watched = 0
        for first, until in runs:
            start, stop = max(first, began), min(until + every, ended)
            if first - began <= every:
                start = began
            if start < stop:
                watched += stop - start
                yield Watch(meter=METER, began=start, ended=stop)
        self.summary.gaps += ended - began - watched

    def _counted(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            self.summary.counts[type(record).__name__] += 1
            yield record
