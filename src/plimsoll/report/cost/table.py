"""A bill for people at a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from plimsoll.cost.statement import Statement
from plimsoll.report.cost import words
from plimsoll.report.cost.columns import NARROW, WIDE, rows, shown
from plimsoll.report.terminal import drawn, line
from plimsoll.report.view import clean


def render(found: Statement, *, color: bool = False, width: int = 110, wide: bool = False) -> str:
    """`wide`: every class of money, however wide that is."""
    columns = shown(found, WIDE if wide else NARROW)
    heads = (found.bill.query.by.upper(), *(each.head for each in columns))
    cells = rows(found, columns)
    if wide:
        width = max(width, 40 + 13 * len(columns))

    def draw(console: Any) -> None:
        table(console, heads, cells, total=True)
        line(console, words.balance(found), "bold")

    return drawn(draw, color=color, width=width)


def table(
    console: Any,
    heads: Sequence[str],
    cells: Iterable[Sequence[str]],
    *,
    texts: Sequence[int] = (0,),
    total: bool = False,
) -> None:
    """Cells under heads. texts: the columns that are not figures. total: the last row is one."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    drawing = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(heads):
        if place in texts:
            drawing.add_column(head, overflow="fold")
        else:
            drawing.add_column(head, justify="right", no_wrap=True)
    body = list(cells)
    for row in body:
        if total and row is body[-1]:
            drawing.add_section()
        drawing.add_row(*(Text(clean(cell)) for cell in row))
    console.print(drawing)
