"""A bill in Markdown, for tickets and wikis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from plimsoll.cost.statement import Statement
from plimsoll.report.cost import words
from plimsoll.report.cost.columns import NARROW, rows, shown
from plimsoll.report.escape import text


def render(found: Statement) -> str:
    columns = shown(found, NARROW)
    heads = (found.bill.query.by, *(each.head for each in columns))
    lines = [f"# GPU cost by {found.bill.query.by}", "", f"**{words.balance(found)}.**", ""]
    lines += table(heads, rows(found, columns))
    return "\n".join([*lines, "", *(f"- {text(each)}" for each in words.notes(found))]) + "\n"


def table(heads: Sequence[str], cells: Iterable[Sequence[str]], *, texts: Sequence[int] = (0,)) -> list[str]:
    """texts: the columns that are not figures."""
    rule = "|".join("---" if place in texts else "--:" for place in range(len(heads)))
    return [
        f"| {' | '.join(text(head) for head in heads)} |",
        f"|{rule}|",
        *(f"| {' | '.join(text(cell) for cell in row)} |" for row in cells),
    ]
