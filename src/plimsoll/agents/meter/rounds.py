"""Rounds of readings: every so often all sources are asked, in a thread of its own."""

from __future__ import annotations

import http.client
import logging
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from queue import Queue
from threading import Event, Thread
from typing import NamedTuple, Protocol

from plimsoll.agents.meter import vllm
from plimsoll.agents.meter.clock import Clock
from plimsoll.agents.meter.dcgm import Pages
from plimsoll.agents.meter.reading import Pod, Reading
from plimsoll.agents.meter.scrape import PAGE_MAX, Page, Scraper, Target, Targets, discovered
from plimsoll.errors import ClusterError, PlimsollError

_log = logging.getLogger(__name__)
_DISCOVERY_TIMEOUT = 10.0
_PARTING = 6.0  # seconds; a page takes 5 at most


class Read(NamedTuple):
    """What a node's devices read at a moment."""

    node: str
    readings: list[Reading]
    at: int


class Served(NamedTuple):
    """What a model server counted up to a moment. pod: namespace/name."""

    pod: str
    page: vllm.Page
    at: int


class Over(NamedTuple):
    """A round is over. servers: pods of all model servers that were asked. failed: pages that could not be read."""

    at: int
    servers: tuple[str, ...]
    failed: int
    devices: int
    seconds: float


class Source(Protocol):
    """Readings of this node."""

    def read(self, names: Callable[[str], Pod | None]) -> list[Reading]:
        """Of all devices. names: of pods by uid. Raises PlimsollError where none can be read."""


class Rounds:
    """Feeds a queue. every: seconds. targets: of the cluster. discovery: URL that names targets instead.

    local: what reads the devices of this node, `node`, instead of exporters' pages. devices: whether any are read.
    """

    def __init__(
        self, clock: Clock, events: Queue[object], targets: Targets, *, every: float, discovery: str = "",
        node: str = "", local: Source | None = None, devices: bool = True,
    ) -> None:  # fmt: skip
        self._clock, self._events, self._targets = clock, events, targets
        self._every, self._discovery, self._node, self._local = every, discovery, node, local
        self._reads = devices
        self._pages, self._scraper = Pages(), Scraper()
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self.names: Mapping[str, Pod] = {}  # of pods by uid, for `local`
        self._told: set[tuple[str, str]] = set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(_PARTING)
        self._scraper.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            due = max(due + self._every, time.monotonic())
            try:
                self._round()
            except Exception:  # a source may fail in any way; the watches must go on
                _log.exception("a round of readings failed")

    def _round(self) -> None:
        began, failed, devices, servers = time.monotonic(), 0, 0, []
        for page in self._scraper.round(self._wanted()):
            at, pod = self._clock.now(), page.target.pod
            trouble = page.trouble
            if not trouble:
                try:
                    if b"vllm:" in page.body:
                        servers.append(pod)
                        self._events.put(Served(pod, vllm.read(page.body), at))
                    elif self._local is None and self._reads:
                        devices += self._exporter(page, at)
                except (ValueError, PlimsollError) as error:
                    trouble = str(error)
            if trouble:
                failed += 1
            self._tell(f"{page.target.host}:{page.target.port}{page.target.path}", trouble)
        if self._local is not None:
            devices += self._read(self._local)
        self._events.put(Over(self._clock.now(), tuple(servers), failed, devices, time.monotonic() - began))

    def _wanted(self) -> Iterable[Target]:
        if not self._discovery:
            return self._targets.all()
        try:
            with urllib.request.urlopen(self._discovery, timeout=_DISCOVERY_TIMEOUT) as answer:  # noqa: S310 checked by cli
                found = discovered(answer.read(PAGE_MAX))
        except (OSError, http.client.HTTPException, ValueError, ClusterError) as error:
            self._tell(self._discovery, str(error) or type(error).__name__)
            return ()
        self._tell(self._discovery, "")
        return [each for each in found if not each.path.endswith("/ksm")]

    def _exporter(self, page: Page, at: int) -> int:
        if not page.target.node:
            raise ValueError("nobody says which node this page is about")
        readings = self._pages.read(page.target.node, page.body)
        self._events.put(Read(page.target.node, readings, at))
        return len(readings)

    def _read(self, source: Source) -> int:
        try:
            readings = source.read(self.names.get)
        except PlimsollError as error:
            self._tell(self._node, str(error))
            return 0
        self._tell(self._node, "")
        self._events.put(Read(self._node, readings, self._clock.now()))
        return len(readings)

    def _tell(self, who: str, trouble: str) -> None:
        """Say once what is wrong with a source, and once that it is well again."""
        before = next((each for each in self._told if each[0] == who), None)
        if trouble and before is None:
            _log.warning("%s: %s", who, trouble)
            self._told.add((who, trouble))
        elif not trouble and before is not None:
            _log.info("%s: read again", who)
            self._told.discard(before)
