"""Following a list of objects as it changes, through everything that ends a watch."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from time import monotonic
from typing import Any

import httpx2
import msgspec

from plimsoll.kube import connect
from plimsoll.kube.answers import AnswerError, Unreachable, decoded, error
from plimsoll.kube.objects import Obj, mapping, name, namespace, number, text
from plimsoll.kube.transport import Transport, wake

Listed = tuple[list[Obj], str]  # objects and the resourceVersion they are of
SYNCED = "SYNCED"  # not of the API: the first list has been told whole
BOOKMARK = "BOOKMARK"  # nothing changed up to its resourceVersion

_SILENCE = (
    120.0  # seconds; a server that sends bookmarks sends one a minute, so longer means that the connection is dead
)
_SERVED = 290.0  # seconds that one connection is asked to live
_PATIENCE = 120.0  # seconds without a server before a watch gives up
_BACK_OFF = (0.1, 0.5, 1.0, 2.0, 5.0)  # seconds between tries to go on; the last one repeats
_TICK = 0.1  # seconds that a stop may take


class _ExpiredError(Exception):
    """The server no longer knows the version we stand at."""


class Watch:
    """One watch.

    `path`, `params`: of the list. `listing` reads it whole. `ends` tells whether the caller wants no more.
    `since`: a resourceVersion up to which the caller knows everything. After the first list what happened since then
    is told, too, so that it learns of what is gone; where the server has forgotten that version, it is not.
    """

    def __init__(
        self,
        transport: Transport,
        path: str,
        params: dict[str, str],
        listing: Callable[[], Listed],
        ends: Callable[[], bool],
        since: str = "",
    ) -> None:
        self._transport = transport
        self._path = path
        self._params = params
        self._listing = listing
        self._ends = ends
        self._version = ""
        self._since = since
        self._listed = ""  # what to go on from if the server has forgotten `since`
        self._known: dict[tuple[str, str], Obj] = {}  # what we told of and did not take back, without spec and status
        self._failures = 0  # in a row
        self._failing = 0.0  # since when
        self._pause = threading.Event()  # never set: waiting for it is a sleep

    def events(self) -> Iterator[tuple[str, Obj]]:
        """ADDED for all there is, one SYNCED, then each change and BOOKMARK, until the caller ends it.

        SYNCED and BOOKMARK have nothing but a resourceVersion. DELETED carries the last state; where an object went
        unseen, only apiVersion, kind and metadata.
        Raises Unreachable when the server stays away for two minutes, AnswerError where it refuses.
        """
        yield from self._relisted()
        yield SYNCED, {"metadata": {"resourceVersion": self._version}}
        like = self._since.isdecimal() == self._version.isdecimal()
        if self._since and like and _number(self._since) <= _number(self._version):  # a later one is of another cluster
            self._listed, self._version = self._version, self._since
        expired = False
        while not self._ends():
            try:
                if expired:
                    yield from self._relisted()
                    expired = False
                yield from self._connection()
            except _ExpiredError:
                if self._listed:
                    self._version, self._listed = self._listed, ""
                else:
                    expired = True
                    self._failed("")
            except AnswerError as refusal:
                if refusal.status not in connect.BUSY:
                    raise
                self._failed(refusal.what)
            except Unreachable as failure:
                self._failed(failure.what)
            except httpx2.TransportError as failure:
                self._failed(f"lost the cluster while watching: {connect.why(failure)}")
            except msgspec.DecodeError:
                self._failed("what the cluster sends is no stream of events")
            except (RuntimeError, ValueError):  # the HTTP client and TLS do not like to be closed while they are used
                if not self._transport.closed:
                    raise
            else:
                # Every watch ends now and then; a server that ends each at once is not pressed.
                self._failures = 0
                self._sleep(_BACK_OFF[1])

    def _failed(self, why: str) -> None:
        """Wait before the next try. Raises Unreachable if nothing has come for long, and it is not the caller's end."""
        if self._failures == 0:
            self._failing = monotonic()
        elif why and monotonic() - self._failing > _PATIENCE and not self._ends():
            raise Unreachable(why, where=self._transport.place, hint=connect.LOGIN)
        self._failures += 1
        self._sleep(_BACK_OFF[min(self._failures, len(_BACK_OFF)) - 1])

    def _sleep(self, seconds: float) -> None:
        until = monotonic() + seconds
        while not self._ends() and monotonic() < until:
            self._pause.wait(_TICK)

    def _relisted(self) -> Iterator[tuple[str, Obj]]:
        """What changed between the state we told of and the list as it is now."""
        found, self._version = self._listing()
        now = {_key(obj): obj for obj in found}
        for key, old in list(self._known.items()):
            if key not in now or text(now[key], "metadata", "uid") != text(old, "metadata", "uid"):
                del self._known[key]
                yield "DELETED", old
        for key, obj in now.items():
            old = self._known.get(key, {})
            self._known[key] = _trace(obj)
            if not old:
                yield "ADDED", obj
            elif text(old, "metadata", "resourceVersion") != text(obj, "metadata", "resourceVersion"):
                yield "MODIFIED", obj

    def _connection(self) -> Iterator[tuple[str, Obj]]:
        """The events of one connection. Raises _ExpiredError, AnswerError, TransportError, DecodeError."""
        params = self._params | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(_SERVED)),
        }
        with self._transport.stream(self._path, params, _SILENCE) as (answer, connection):
            if answer.status_code == HTTPStatus.GONE:
                raise _ExpiredError
            if answer.status_code != HTTPStatus.OK:
                answer.read()
                decoded(answer, self._path)
            with (
                self._guarded(connection),
                suppress(httpx2.ReadTimeout),
            ):  # dead, or without bookmarks: the next try tells
                for line in _lines(answer.iter_bytes()):
                    if self._ends():
                        return
                    if line and (event := self._event(msgspec.json.decode(line))):
                        yield event

    def _event(self, event: Any) -> tuple[str, Obj] | None:
        """What to tell of a line; nothing for what we do not know."""
        kind, obj = text(event, "type"), mapping(event, "object")
        if kind == "ERROR":
            code = number(obj, "code")
            if code == HTTPStatus.GONE:
                raise _ExpiredError
            raise error(code, obj, self._path)
        self._failures = 0
        if version := text(obj, "metadata", "resourceVersion"):
            self._version = version
        if kind == "DELETED":
            self._known.pop(_key(obj), None)
        elif kind in ("ADDED", "MODIFIED"):
            self._known[_key(obj)] = _trace(obj)
        elif kind != BOOKMARK:
            return None
        return kind, obj

    @contextmanager
    def _guarded(self, connection: socket.socket) -> Iterator[None]:
        """Meanwhile a thread wakes the reader, which sleeps in the socket, once the caller wants no more."""
        done = threading.Event()

        def guard() -> None:
            while not done.wait(_TICK):
                if self._ends():
                    wake(connection)
                    return

        thread = threading.Thread(target=guard, name="watch-guard", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines. (As text they would also end at characters that JSON may hold as they are, such as U+0085.)"""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else 0


def _key(obj: Obj) -> tuple[str, str]:
    return namespace(obj), name(obj)


def _trace(obj: Obj) -> Obj:
    """What is kept of an object, to tell of its end: thousands of whole pods would be a lot of memory."""
    meta = {key: value for key, value in mapping(obj, "metadata").items() if key != "managedFields"}
    return {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "metadata": meta}
