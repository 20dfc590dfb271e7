"""The columns of a bill, for terminals and Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from plimsoll.cost.bill import Line
from plimsoll.cost.statement import Statement, added
from plimsoll.report.cost import words


class Column(NamedTuple):
    """A column of figures: its head, and the cell of a line. of: the class of money that it shows, if it is one."""

    head: str
    cell: Callable[[Statement, Line], str]
    of: str = ""


def _money(head: str, of: Callable[[Line], int]) -> Column:
    return Column(head, lambda _, line: words.money(of(line)))


def _class(name: str) -> Column:
    return Column(name.upper(), lambda _, line: words.money(getattr(line, name)), name)


GPU_H = Column("GPU-H", lambda _, line: words.hours(line.gpu_ms))
USED_H = Column("USED-H", lambda _, line: words.hours(line.used_ms))
EFF = Column("EFF", lambda _, line: words.percent(words.efficiency(line)))
COST = _money("COST", lambda line: line.cost)
CHANGE = Column("CHANGE", lambda found, line: words.change(line.cost, found.before(line)))
NARROW = (GPU_H, USED_H, EFF, COST, _money("IDLE", words.idle), _money("WASTE", words.waste), CHANGE)
WIDE = (
    GPU_H, USED_H, EFF,
    Column("SM", lambda _, line: words.percent(line.sm_ms / line.seen_ms if line.seen_ms else None)),
    Column("SEEN", lambda _, line: words.percent(words.coverage(line))),
    Column("KWH", lambda _, line: f"{words.energy(line):,.1f}"),
    COST, *(_class(name) for name in ("productive", *words.UNUSED, "unmeasured", "host", "spread", "starting")), CHANGE,
)  # fmt: skip


def shown(found: Statement, columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Of these columns those that say something: no class that is 0 all over, and no CHANGE without a time before."""
    whole = total(found)
    none = {each for each in columns if each.of and not getattr(whole, each.of)}
    if found.previous is None and found.earlier is None:
        none.add(CHANGE)
    return tuple(each for each in columns if each not in none)


def total(found: Statement) -> Line:
    """All lines as one."""
    return added(found.lines, "TOTAL")


def rows(found: Statement, columns: tuple[Column, ...]) -> list[tuple[str, ...]]:
    """The lines as cells, the name first; the sum of what is beyond the top, then the total, last."""
    by = found.bill.query.by
    said = [(words.name(line, by), *(each.cell(found, line) for each in columns)) for line in found.bill.lines]
    if found.bill.others is not None:
        rest = found.bill.others
        cells = ("" if each is CHANGE else each.cell(found, rest) for each in columns)
        said.append((f"({found.bill.rest} others)", *cells))
    whole = total(found)
    cells = (words.change(whole.cost, found.earlier) if each is CHANGE else each.cell(found, whole) for each in columns)
    return [*said, ("TOTAL", *cells)]
