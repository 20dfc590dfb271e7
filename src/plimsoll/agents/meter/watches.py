"""What the API server tells, as a stream of events: one thread for each kind of object."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Set
from email.utils import parsedate_to_datetime
from queue import Queue
from threading import Event, Thread
from typing import NamedTuple

from plimsoll.agents.meter.clock import Clock
from plimsoll.errors import PlimsollError
from plimsoll.kube import kinds
from plimsoll.kube.answers import AnswerError, NotFound
from plimsoll.kube.client import Client
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, text

_log = logging.getLogger(__name__)
NEEDED = (kinds.NODE, kinds.POD)
OPTIONAL = (kinds.RESOURCE_SLICE, kinds.RESOURCE_CLAIM)
_PAUSE = 5.0  # seconds before a watch that ended in an error is begun anew
_ABSENT = 300.0  # seconds before a kind that the cluster does not serve, or not to us, is looked for again
_ASKED_EVERY = 5.0  # seconds between questions for the time
_PARTING = 1.0  # seconds that threads are waited for in the end
_STATUS_FORBIDDEN = 403


class Told(NamedTuple):
    """One event. change: ADDED, MODIFIED, DELETED, SYNCED or BOOKMARK. at: when it came, the cluster's time.

    version: where to go on from after it, "" where that does not move: versions of what is listed are in no order.
    listed: with SYNCED, uids of all there is. A watch that gave up begins with a list anew.
    """

    kind: Kind
    change: str
    obj: Obj
    at: int
    version: str = ""
    listed: Set[str] = frozenset()


class Watches:
    """Feeds a queue until told to stop. since: by plural, where an earlier meter stood. node: only this one."""

    def __init__(
        self, client: Client, clock: Clock, events: Queue[object], since: Mapping[str, str], node: str = ""
    ) -> None:
        self._client, self._clock, self._events = client, clock, events
        self._since, self._node = dict(since), node
        self._stop = Event()
        self.trouble: dict[str, str] = {}  # by what cannot be done now: why
        self.seen = 0  # the last moment at which the API server answered
        self._threads = [Thread(target=self._follow, args=(kind,), daemon=True) for kind in (*NEEDED, *OPTIONAL)]
        self._threads.append(Thread(target=self._ask, daemon=True))

    def start(self) -> None:
        """Ask for the time, then watch. Raises ClusterError where the server does not answer at first."""
        self._hear()
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        """End them; a thread that waits for a server that does not answer is left behind."""
        self._stop.set()
        until = time.monotonic() + _PARTING
        for each in self._threads:
            each.join(max(until - time.monotonic(), 0.0))

    def _follow(self, kind: Kind) -> None:
        title, pause = kind.plural, _PAUSE
        while not self._stop.is_set():
            listed: set[str] = set()
            synced = False
            try:
                for change, obj in self._client.follow(
                    kind, fields=self._fields(kind), since=self._since.get(title, ""), stop=self._stop
                ):
                    self.trouble.pop(title, None)
                    version = text(obj, "metadata", "resourceVersion")
                    if change == "SYNCED":
                        version = "" if self._since.get(title) else version  # what was since then is told now
                        self._events.put(Told(kind, change, obj, self._clock.now(), version, listed))
                        synced = True
                    elif synced:
                        self._events.put(Told(kind, change, obj, self._clock.now(), version))
                    else:
                        version = ""
                        listed.add(text(obj, "metadata", "uid"))
                        self._events.put(Told(kind, change, obj, self._clock.now()))
                    if version:
                        self._since[title] = version
                pause = _PAUSE
            except PlimsollError as error:
                if self._stop.is_set():
                    return
                absent = isinstance(error, NotFound)
                refused = isinstance(error, AnswerError) and error.status == _STATUS_FORBIDDEN
                if kind in OPTIONAL and (absent or refused):
                    pause = _ABSENT
                else:
                    _log.warning("%s: %s", title, error)
                    self.trouble[title] = str(error)
            self._stop.wait(pause)

    def _fields(self, kind: Kind) -> str:
        if not self._node:
            return ""
        return {kinds.POD: f"spec.nodeName={self._node}", kinds.NODE: f"metadata.name={self._node}"}.get(kind, "")

    def _ask(self) -> None:
        """What is open is billed until the last moment at which the server answered: then watches tell of its end."""
        while not self._stop.wait(_ASKED_EVERY):
            try:
                self._hear()
                self.trouble.pop("time", None)
            except PlimsollError as error:
                self.trouble["time"] = str(error)

    def _hear(self) -> None:
        sent = time.monotonic()
        said = self._client.date()
        got = time.monotonic()
        try:
            self._clock.heard(parsedate_to_datetime(said).timestamp(), sent, got)
        except ValueError:
            _log.debug("the API server told no time: %r", said)
        if not any(each.plural in self.trouble for each in NEEDED):
            self.seen = self._clock.now()
