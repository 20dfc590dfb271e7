"""The meter: one loop that takes what watches and sources tell, and writes it.

Crash-only. What is written goes together with where the watches stood, so that who begins again goes on from there:
what happened in between is told by the API server, and everything that is told twice is written once.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Queue
from threading import Event

import msgspec

from plimsoll.agents.meter import metrics
from plimsoll.agents.meter.book import Book
from plimsoll.agents.meter.clock import Clock
from plimsoll.agents.meter.cluster import Cluster
from plimsoll.agents.meter.fold import Fold
from plimsoll.agents.meter.gateway import BATCH, Gateway
from plimsoll.agents.meter.rounds import Over, Read, Rounds, Served, Source
from plimsoll.agents.meter.scrape import Targets
from plimsoll.agents.meter.seats import Want
from plimsoll.agents.meter.tokens import Counting
from plimsoll.agents.meter.watches import Told, Watches
from plimsoll.cost.ledger import KeptError, Ledger
from plimsoll.cost.opened import Open, billed, opened
from plimsoll.cost.price import Tariff
from plimsoll.cost.sample import Record, Watch
from plimsoll.errors import InputError, PlimsollError
from plimsoll.kube import kinds
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, text
from plimsoll.spec import derive
from plimsoll.spec.model import Platform

_log = logging.getLogger(__name__)
_WRITE = 10.0  # seconds between writes while there is something
_MOST = 5000  # events taken before what they made is written
_PENDING_MAX = 1_000_000  # records that wait for a ledger that is away; then events wait, too
_TOKENS, _WANTING, _GATEWAY = "tokens", "wanting", "gateway"  # cursors that are no resourceVersion
_BATCHES = 5  # of a gateway's requests in a round


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a meter is run. Times in seconds.

    name: of this meter, by which it finds where it stood. round: between readings. costs: between
    looks at what things cost, for the page of metrics; 0: never. patience: how long a pod may wait to be named by a
    source. node, discovery: see rounds.Rounds. watch_only: others say who holds what.
    anew: the cluster has none of the nodes that the ledger has open, and is the same all the same.
    """

    name: str = "meter"
    round: float = 30.0  # as dcgm-exporter reads its GPUs
    costs: float = 300.0
    patience: float = 90.0
    node: str = ""
    discovery: str = ""
    watch_only: bool = False
    anew: bool = False


class Meter:
    """book: that nobody else keeps. local: what reads the devices of this node, where there is no exporter. gateway:
    the log that tells requests; it goes on where this meter stood in it."""

    def __init__(
        self,
        client: Client,
        platform: Platform | None,
        settings: Settings,
        book: Book,
        local: Source | None = None,
        gateway: Gateway | None = None,
    ) -> None:
        self.settings, self.platform = settings, platform
        self.ready = False
        self._costs = ""  # the part of the page of metrics that takes bills
        self._past: metrics.Past = {}
        self._client = client
        self._clock = Clock()
        self._events: Queue[object] = Queue(maxsize=100_000)
        self._book = book
        cursors, found, first = self._book.use(_standing(settings.name))
        self._cursors = {name: value for name, value in cursors.items() if name not in (_TOKENS, _WANTING, _GATEWAY)}
        self._stood = cursors
        self._watches = Watches(client, self._clock, self._events, self._cursors, settings.node)
        self._targets = Targets(derive.team_of_namespace(platform) if platform else ())
        self._rounds = Rounds(self._clock, self._events, self._targets, every=settings.round,
                              discovery=settings.discovery, node=settings.node, local=local,
                              devices=not settings.watch_only)  # fmt: skip
        self._opened, self._first = found, first
        self._tokens = Counting(msgspec.json.decode(cursors[_TOKENS]) if _TOKENS in cursors else None)
        self._gateway = gateway
        if gateway is not None and _GATEWAY in cursors:
            gateway.restore(msgspec.json.decode(cursors[_GATEWAY]))
        self._uids: dict[tuple[str, str, str], str] = {}
        self._waiting: list[Told] | None = []  # pods of the first list, None once it was taken
        self._counters: dict[str, float] = {}
        # uids of nodes of the first list, None once it was looked at, or where there is nothing to look for
        self._listed: set[str] | None = None if settings.node or settings.anew or not found.nodes else set()
        self._unasked = False  # the end came before the ledger said which pods it knows

    def run(self, stop: Event) -> None:
        """Until told to stop. Raises ClusterError where the API server does not answer at the beginning."""
        collect_rarely()
        self._stop = stop
        self._watches.start()
        began = self._clock.now()
        self._cluster = Cluster(
            self.platform, self._uid, Fold(round(self.settings.round * 1000)), started=began,
            patience_ms=round(self.settings.patience * 1000), seating=not self.settings.watch_only,
        )  # fmt: skip
        wanting = msgspec.json.decode(self._stood.get(_WANTING, "{}"), type=dict[str, list[Want]])
        self._cluster.restore(self._opened.of(self.settings.node), wanting)
        self._rounds.start()
        try:
            self._loop(stop, began)
        finally:
            self._watches.stop()
            self._rounds.stop()
            self._take_all(0.0)
            self._cluster.fold.settle(self._clock.now())
            self._cluster.records += self._cluster.fold.usage()
            with suppress(KeptError):  # whoever keeps it now is told the same
                self._write(began)
            self._book.close()

    def _loop(self, stop: Event, began: int) -> None:
        wrote, looked = time.monotonic(), 0.0
        while not stop.is_set():
            self._take_all(0.25)
            now = time.monotonic()
            if now - wrote >= _WRITE:
                wrote = now
                self._cluster.tick(self._clock.now())
                if self.settings.node:
                    self._rounds.names = self._cluster.names()
                if self._write(began):
                    self._book.keep(self._clock.now())
            if self.settings.costs and self.ready and now - looked >= self.settings.costs:
                looked = now
                self._look()

    # Taking

    def _take_all(self, patience: float) -> None:
        """What has come, at most _MOST events; wait for the first."""
        if len(self._book.pending) > _PENDING_MAX:
            time.sleep(patience)
            return
        try:
            event = self._events.get(timeout=patience) if patience else self._events.get_nowait()
            for _ in range(_MOST):
                self._take(event)
                event = self._events.get_nowait()
        except Empty:
            pass

    def _take(self, event: object) -> None:
        match event:
            case Told():
                self._told(event)
            case Read(node, readings, at):
                self._cluster.read(node, readings, at)
            case Served(pod, page, at):
                self._cluster.records += self._tokens.page(self._pod(pod), page, at)
            case Over():
                self._over(event)

    def _told(self, event: Told) -> None:
        if event.kind == kinds.NODE and event.change in ("ADDED", "SYNCED"):
            self._same(event)
        if event.kind == kinds.POD:
            if self._waiting is not None and event.change != "SYNCED":
                self._waiting.append(event)
                return
            if event.change == "SYNCED":
                waiting, self._waiting = self._waiting or [], None
                self._ask(waiting)
                for each in waiting:
                    self._object(each)
                self.ready = True
            elif event.change == "DELETED" and self._cluster.unknown(event.obj, gone=True):
                self._ask([event])
        if event.change == "SYNCED":
            self._cluster.synced(event.kind, event.listed, event.at)
        elif event.change == "BOOKMARK":
            pass
        elif event.kind != kinds.POD or self._waiting is None:
            self._object(event)
        if event.version:
            self._cursors[event.kind.plural] = event.version

    def _same(self, event: Told) -> None:
        """Raises InputError where the first list has none of the nodes that the ledger has open: that is of another
        cluster, whose nodes this meter would bring to an end."""
        opened = {each.uid for each in self._opened.nodes}
        if self._listed is None:
            return
        if event.change == "ADDED":
            self._listed.add(text(event.obj, "metadata", "uid"))
        elif self._listed and not self._listed & opened:
            raise InputError(
                f"this is another cluster's ledger: of the {len(opened)} nodes it has open none is here",
                where=self._client.place, hint="Each cluster needs its own. If all its nodes were replaced: --anew",
            )  # fmt: skip
        else:
            self._listed = None

    def _object(self, event: Told) -> None:
        gone = event.change == "DELETED"
        if event.kind == kinds.POD:
            self._targets.take(event.obj, gone=gone)
        self._cluster.take(event.kind, event.change, event.obj, event.at)

    def _ask(self, events: list[Told]) -> None:
        """Which of the pods that have ended already are in the ledger: they are not taken twice."""
        found = [text(each.obj, "metadata", "uid") for each in events
                 if self._cluster.unknown(each.obj, gone=each.change == "DELETED")]  # fmt: skip
        while found:
            try:
                self._cluster.billed |= self._book.use(lambda ledger: billed(ledger.store, found))
                return
            except PlimsollError as error:
                _log.warning("the ledger cannot be asked, and is asked again: %s", error)
                if self._stop.wait(1):
                    self._unasked = True  # told again to whoever goes on
                    return

    def _over(self, event: Over) -> None:
        """A round is over: what the one before read has its holders by now."""
        self._cluster.fold.settle(event.at - round(event.seconds * 1000) - 1000)
        self._cluster.records += self._cluster.fold.usage()
        self._tokens.done(event.at, {self._pod(each) for each in event.servers})
        self._counters |= {
            "last_round_seconds": event.seconds, "pages_failed": event.failed, "readings": event.devices,
            "holds_guessed": self._cluster.guessed,
        }  # fmt: skip
        if self._gateway is not None:
            self._requests(self._gateway)

    def _requests(self, gateway: Gateway) -> None:
        """What a gateway's log has had since the last round."""
        try:
            for _ in range(_BATCHES):
                found = gateway.read()
                self._cluster.records += found
                if len(found) < BATCH:
                    break
        except PlimsollError as error:
            _log.warning("requests cannot be read, and are tried again: %s", error)
        self._counters |= gateway.counters()

    def _pod(self, key: str) -> str:
        space, _, title = key.partition("/")
        return self._cluster.pod((space, title)) or key

    def _uid(self, kind: str, space: str, title: str) -> str:
        """The uid of a workload that pods name by a label alone."""
        key = kind, space, title
        if key not in self._uids:
            try:
                obj: Obj | None = self._client.get(kinds.BY_NAME[kind], title, space)
            except PlimsollError:
                obj = None
            if len(self._uids) > _MOST:
                self._uids.clear()
            self._uids[key] = text(obj or {}, "metadata", "uid")
        return self._uids[key]

    # Writing

    def _write(self, began: int) -> bool:
        """Write what is new, once it is sure that this ledger is ours and which pods it has."""
        if self._listed is not None or self._unasked:
            return False
        records: list[Record] = list(self._cluster.drain())
        seen = self._watches.seen
        if self.ready and seen > began:
            records.append(Watch(meter=self.settings.name, began=began, ended=seen))
        cursors = dict(self._cursors) if self._waiting is None else {}
        cursors[_TOKENS] = msgspec.json.encode(self._tokens.state()).decode()
        cursors[_WANTING] = msgspec.json.encode(self._cluster.wanting).decode()
        if self._gateway is not None:
            cursors[_GATEWAY] = msgspec.json.encode(self._gateway.state()).decode()
        self._counters["watching_seconds"] = 0 if self._watches.trouble else max(seen - began, 0) / 1000
        return self._book.write(records, cursors)

    def _look(self) -> None:
        """What things cost now, for the page of metrics."""
        tariff = Tariff.of(self.platform) if self.platform else Tariff()
        now = self._clock.now()
        try:
            self._costs = self._book.use(
                lambda ledger: metrics.costs(ledger, tariff, self.platform, now, past=self._past), reading=True
            )
        except PlimsollError as error:
            _log.warning("what things cost cannot be said now: %s", error)

    def health(self) -> str:
        """The page of metrics: what things cost as of the last look, and how the meter does now."""
        return self._costs + metrics.health(self._counters)

    @property
    def trouble(self) -> str:
        """Why the bill may fall behind, a line each; "" if all is well."""
        found = [f"{what}: {why}" for what, why in sorted(self._watches.trouble.items())]
        return "\n".join([*found, *([f"ledger: {self._book.trouble}"] if self._book.trouble else [])])


def collect_rarely() -> None:
    """Pods are many, live long and have no cycles: by default a seventh of all work would be to look through them."""
    gc.set_threshold(200_000, 20, 100)


def _standing(name: str) -> Callable[[Ledger], tuple[dict[str, str], Open, int]]:
    def read(ledger: Ledger) -> tuple[dict[str, str], Open, int]:
        return ledger.cursors(name), opened(ledger.store), ledger.first()

    return read
