"""Windows of time: as people ask for them, the one before, and how much of one meters watched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from plimsoll import units
from plimsoll.cost.ledger import Ledger
from plimsoll.errors import InputError
from plimsoll.spec.values import Duration

DAY = 86_400_000
_LAST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()) * 1000


class Window(NamedTuple):
    """From `began` until before `ended`, in milliseconds since 1970, UTC."""

    began: int
    ended: int

    @property
    def span(self) -> int:
        return self.ended - self.began

    def before(self) -> Window:
        """The window as long that ends where this one begins."""
        return Window(self.began - self.span, self.began)

    def within(self, other: Window) -> Window:
        """What of it lies in another; empty (`ended` not after `began`) where nothing does."""
        return Window(max(self.began, other.began), min(self.ended, other.ended))

    def days(self) -> Iterator[Window]:
        """The whole UTC days in it."""
        at = -(-self.began // DAY) * DAY
        while at + DAY <= self.ended:
            yield Window(at, at + DAY)
            at += DAY


def millis(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def day(moment: int) -> date:
    """The UTC day of a moment."""
    return datetime.fromtimestamp(moment / 1000, UTC).date()


def text(moment: int) -> str:
    """A moment as people write it, in UTC, as exact as it is."""
    seconds, thousandths = divmod(moment, 1000)
    found = datetime.fromtimestamp(seconds, UTC)
    if thousandths:
        return f"{found:%Y-%m-%dT%H:%M:%S}.{thousandths:03}Z"
    return f"{found:%Y-%m-%dT%H:%M:%SZ}"


def since(span: str, now: int) -> Window:
    """The window of a duration (`7d`, `12h`) that ends now. Raises InputError."""
    if not re.search(Duration.schema["pattern"], span):
        raise InputError(f"--since {span[:60]!r} is no duration", hint="Write 90m, 12h, 7d or 1d12h.")
    length = int(Duration.read(span))
    if not length:
        raise InputError("--since must be longer than nothing", hint="Write 90m, 12h, 7d or 1d12h.")
    return Window(max(0, now - length), now)


def between(given: str, now: int) -> Window:
    """The window from A until before B of `A,B`, days or moments in UTC; without B until now. Raises InputError.

    A day as B ends where that day begins, so that `2026-11-01,2026-12-01` is November.
    """
    first, comma, last = (part.strip() for part in given.partition(","))
    if not comma:
        raise InputError(f"--window {given[:60]!r} is not A,B", hint="Write 2026-11-01,2026-12-01 or, until now, A,")
    window = Window(_moment(first), _moment(last) if last else now)
    if window.span <= 0:
        raise InputError("the window ends before it begins", hint="Give the earlier moment first.")
    return window


def _moment(given: str) -> int:
    try:
        found = units.moment(given)
    except OverflowError:  # the first hours of year 1, east of Greenwich
        found = None
    if found is None:
        raise InputError(f"{given[:60]!r} is no moment", hint="Write 2026-11-01 or 2026-11-01T08:00:00Z.")
    moment = millis(found)
    if not 0 <= moment < _LAST:
        raise InputError(f"{given[:60]!r} is not between the years 1970 and 9998")
    return moment


def month(given: str) -> Window:
    """The calendar month `2026-11`, in UTC. Raises InputError."""
    match = re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])", given)
    if not match or not 1970 <= int(match[1]) <= 9998:
        raise InputError(f"{given[:60]!r} is no month", hint="Write 2026-11.")
    began = date(int(match[1]), int(match[2]), 1)
    return Window(_midnight(began), _midnight((began + timedelta(days=31)).replace(day=1)))


def month_of(moment: int) -> Window:
    """The calendar month that a moment lies in."""
    return month(f"{day(moment):%Y-%m}")


def _midnight(of: date) -> int:
    return millis(datetime(of.year, of.month, of.day, tzinfo=UTC))


class Reach(NamedTuple):
    """What meters watched. first, last: of all time; both 0 where none ever did.

    watched: milliseconds of the window that was asked for; gap: the longest time in it, between `first` and `last`,
    in which none did.
    """

    first: int
    last: int
    watched: int
    gap: int

    @property
    def whole(self) -> Window:
        return Window(self.first, self.last)


def reach(ledger: Ledger, window: Window) -> Reach:
    """How far a ledger reaches, and how much of a window meters watched, however many did at once."""
    store = ledger.store
    first, last = store.rows("SELECT COALESCE(MIN(began), 0), COALESCE(MAX(ended), 0) FROM watches")[0]
    inside = window.within(Window(first, last))
    rows = store.rows(
        "SELECT began, ended FROM watches WHERE ended > ? AND began < ? ORDER BY began, ended", list(window)
    )
    watched, gap, upto = 0, 0, inside.began
    for began, ended in rows:
        start, stop = max(began, upto), min(ended, inside.ended)
        if stop > start:
            gap = max(gap, start - upto)
            watched += stop - start
            upto = stop
    return Reach(first, last, watched, max(gap, inside.ended - upto if inside.span > 0 else 0))
