"""A bill with what it is compared with, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from plimsoll.cost.bill import Bill, Line, Query, bill, price
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.schema import TABLES
from plimsoll.cost.store import Store, open_store, shown
from plimsoll.cost.window import Reach, Window, reach, text
from plimsoll.errors import IncompleteError, InputError

_ONCE = ("job", "request")  # every line is new: there is nothing to compare it with
_MOST = 5000  # lines of the window before that are looked at; workloads may be a million
START = "A meter writes the ledger: plimsoll agent meter; a Prometheus fills in the past: plimsoll cost backfill"


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A bill and what it is worth.

    asked: the window that was asked for; the bill is of the part of it that meters reach.
    previous: what each key and id cost in the window of the same length before it; None where the ledger does not reach
    back so far, or nothing can be compared line by line. whole: whether it names every key. earlier: its total.
    compared: whether that was asked for.
    """

    bill: Bill
    asked: Window
    reach: Reach
    previous: dict[tuple[str, str], int] | None = None
    whole: bool = True
    earlier: int | None = None
    compared: bool = True

    @property
    def window(self) -> Window:
        return Window(self.bill.query.began, self.bill.query.ended)

    @property
    def lines(self) -> list[Line]:
        """All lines, what is beyond `top` as one."""
        return [*self.bill.lines, *([self.bill.others] if self.bill.others else [])]

    @property
    def coverage(self) -> float | None:
        """Of the GPU time that was held, the part that was measured, 0 to 1; None where nothing was held."""
        held = sum(line.held_ms for line in self.lines)
        return min(sum(line.known_ms for line in self.lines) / held, 1.0) if held else None

    @property
    def watched(self) -> float:
        """Of the window of the bill, the part that meters watched, 0 to 1."""
        return self.reach.watched / self.window.span

    def before(self, line: Line) -> int | None:
        """What this line cost in the window before; None where that is not known."""
        if self.previous is None:
            return None
        return self.previous.get((line.key, line.id), 0 if self.whole else None)


def shortened(found: Statement, top: int) -> Statement:
    """The same bill with its dearest lines alone, the rest as one."""
    bill = found.bill
    beyond = [*bill.lines[top:], *([bill.others] if bill.others else [])]
    if len(bill.lines) <= top:
        return found
    others = added(beyond, "")
    short = msgspec.structs.replace(
        bill, lines=bill.lines[:top], others=others, rest=bill.rest + len(bill.lines) - top,
        query=msgspec.structs.replace(bill.query, top=top),
    )  # fmt: skip
    return msgspec.structs.replace(found, bill=short)


def added(lines: Iterable[Line], key: str) -> Line:
    """Lines as one."""
    every = list(lines)
    names = (name for name in Line.__struct_fields__ if name not in ("key", "id"))
    return Line(key=key, **{name: sum(getattr(line, name) for line in every) for name in names})


def read(place: str) -> Ledger:
    """The ledger at a path or address, to be read only. Raises InputError where what is there is none."""
    store = open_store(place, read_only=True)
    try:
        return _checked(store, shown(place))
    except BaseException:
        store.close()
        raise


def _checked(store: Store, where: str) -> Ledger:
    there = {name for (name,) in store.rows("SELECT table_name FROM information_schema.tables")}
    if "plimsoll_ledger" not in there:
        raise InputError("this database holds no ledger", where=where, hint=START)
    found = Ledger(store)  # refuses one that is newer
    if missing := sorted({table.name for table in TABLES} - there):
        raise InputError(
            f"the ledger is of an older Plimsoll, without {', '.join(missing)}", where=where,
            hint="A meter of this version that writes to it adds what is missing.",
        )  # fmt: skip
    return found


def reached(ledger: Ledger, asked: Window) -> tuple[Window, Reach]:
    """The part of a window that meters reach. Raises IncompleteError where there is none."""
    found = reach(ledger, asked)
    if not found.last:
        raise IncompleteError("the ledger is empty: no meter has written to it", hint=START)
    window = asked.within(found.whole)
    if window.span <= 0:
        raise IncompleteError(
            f"no meter watched between {text(asked.began)} and {text(asked.ended)}",
            hint=f"The ledger reaches from {text(found.first)} to {text(found.last)}.",
        )
    return window, found


def statement(ledger: Ledger, tariff: Tariff, query: Query, *, compare: bool = True) -> Statement:
    """The answer to a query, of as much of its window as meters reach. Raises IncompleteError where that is nothing."""
    asked = Window(query.began, query.ended)
    window, found = reached(ledger, asked)
    query = msgspec.structs.replace(query, began=window.began, ended=window.ended)
    answer = bill(ledger, tariff, query)
    earlier = window.before()
    if not compare or earlier.began < found.first:
        return Statement(bill=answer, asked=asked, reach=found, compared=compare)
    before = msgspec.structs.replace(query, began=earlier.began, ended=earlier.ended)
    if query.by in _ONCE:
        return Statement(bill=answer, asked=asked, reach=found, earlier=price(ledger, tariff, before))
    top = _MOST if query.by == "workload" else 0
    old = bill(ledger, tariff, msgspec.structs.replace(before, top=top))
    previous = {(line.key, line.id): line.cost for line in old.lines}
    return Statement(bill=answer, asked=asked, reach=found, previous=previous, whole=not old.rest, earlier=old.total)
