"""The ledger as a meter keeps it: written again and again until it is written, merged and forgotten in time."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event
from typing import TypeVar

from plimsoll.cost.ledger import Keeper, KeptError, Ledger
from plimsoll.cost.sample import HOUR, Record
from plimsoll.cost.store import Store, is_shared, open_store
from plimsoll.errors import PlimsollError

_log = logging.getLogger(__name__)
T = TypeVar("T")
_DAY = 24 * HOUR
_LATE = HOUR // 6  # records of an hour may come so long after it before it is merged
_KEPT = 45.0  # seconds after its last write that a meter is thought to be there
_LOOK = 2.0  # seconds between looks whether it still is
_PATIENCE = 20.0  # seconds that another process may keep the file before that is worth a warning


class Book:
    """place: of the ledger. meter: this meter's name. retention: milliseconds that records are kept. role: what only
    one meter at a time may do with this ledger; "" for what several may.

    A file is opened for each write and closed again, so that `plimsoll cost` can read it in between.
    """

    def __init__(self, place: str, meter: str, retention: int, role: str = "") -> None:
        self._place, self.meter, self._retention = place, meter, retention
        self._role, self._holder = role, f"{socket.gethostname()}/{os.getpid()}"
        self._store: Store | None = None
        self._sealed = self._forgot = 0
        self._failing = 0.0
        self.pending: list[Record] = []
        self.trouble = ""

    def wait(self, stop: Event) -> bool:
        """Wait until nobody else keeps the ledger; False where we are told to stop before. Raises as `use` does."""
        told, after = False, ""
        while not stop.is_set():
            try:
                self.use(partial(Ledger.write, records=(), keeper=self._keeper(after=after)))
                return True
            except KeptError as error:
                after = error.holder if _gone(error.holder) else ""
                if not told and not after:
                    _log.warning("%s; this one waits until it has ended", error)
                    told = True
                if not after:
                    stop.wait(_LOOK)
        return False

    def use(self, work: Callable[[Ledger], T], *, reading: bool = False) -> T:
        """Do something with the ledger. Raises InputError or ClusterError where it cannot be had now.

        reading: nothing is written; then others may read a file meanwhile.
        """
        store = self._store or open_store(self._place, read_only=reading and not is_shared(self._place))
        try:
            found = work(Ledger(store))
        except BaseException:
            self._store = None
            store.close()
            raise
        if is_shared(self._place):
            self._store = store
        else:
            store.close()
        return found

    def write(self, records: list[Record], cursors: dict[str, str]) -> bool:
        """Write what is new and what could not be written before; whether it is written."""
        self.pending += records
        if not self._try(lambda ledger: ledger.write(self.pending, self.meter, cursors, self._keeper())):
            return False
        self.pending = []
        return True

    def keep(self, now: int) -> None:
        """Merge full hours, and forget what is too old."""
        hour = now - _LATE - (now - _LATE) % HOUR
        if hour > self._sealed and self._try(lambda ledger: ledger.seal(hour)):
            self._sealed = hour
        day = now - now % _DAY
        if day > self._forgot and self._try(lambda ledger: ledger.forget(now - self._retention)):
            self._forgot = day

    def _keeper(self, *, kept: float = _KEPT, after: str = "") -> Keeper | None:
        now = time.time()
        if not self._role:
            return None
        return Keeper(role=self._role, holder=self._holder, now=round(now * 1000), until=round((now + kept) * 1000),
                      after=after)  # fmt: skip

    def close(self) -> None:
        """Let somebody else keep it."""
        with suppress(KeptError):
            if self._role:
                self._try(partial(Ledger.write, records=(), keeper=self._keeper(kept=0)))
        if self._store is not None:
            self._store.close()
            self._store = None

    def _try(self, work: Callable[[Ledger], None]) -> bool:
        try:
            self.use(work)
        except KeptError:  # we were away for so long that another one took over: it knows what we do not
            raise
        except PlimsollError as error:
            self._failing = self._failing or time.monotonic()
            if time.monotonic() - self._failing > _PATIENCE and not self.trouble:
                _log.warning("the ledger cannot be written, and is tried again: %s", error)
                self.trouble = str(error)
            return False
        if self.trouble:
            _log.info("the ledger is written again")
        self._failing, self.trouble = 0.0, ""
        return True


def _gone(holder: str) -> bool:
    """Whether a meter of this machine has ended without a word. Of another machine nobody can tell."""
    host, _, pid = holder.rpartition("/")
    if host != socket.gethostname() or not pid.isdecimal() or int(pid) == os.getpid():
        return False
    with suppress(PermissionError):
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return True
    return False
