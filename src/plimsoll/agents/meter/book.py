"""The ledger as a meter keeps it: written again and again until it is written, merged and forgotten in time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import HOUR, Record
from plimsoll.cost.store import Store, is_shared, open_store
from plimsoll.errors import PlimsollError

_log = logging.getLogger(__name__)
T = TypeVar("T")
_DAY = 24 * HOUR
_LATE = HOUR // 6  # records of an hour may come so long after it before it is merged
_PATIENCE = 20.0  # seconds that another process may keep the file before that is worth a warning


class Book:
    """place: of the ledger. meter: this meter's name. retention: milliseconds that records are kept.

    A file is opened for each write and closed again, so that `plimsoll cost` can read it in between.
    """

    def __init__(self, place: str, meter: str, retention: int) -> None:
        self._place, self.meter, self._retention = place, meter, retention
        self._store: Store | None = None
        self._sealed = self._forgot = 0
        self._failing = 0.0
        self.pending: list[Record] = []
        self.trouble = ""

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
        if not self._try(lambda ledger: ledger.write(self.pending, self.meter, cursors)):
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

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _try(self, work: Callable[[Ledger], None]) -> bool:
        try:
            self.use(work)
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
