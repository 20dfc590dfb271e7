"""The biggest spenders for people at a terminal."""

from __future__ import annotations

from typing import Any

from plimsoll.cost.statement import Statement
from plimsoll.report.cost import words
from plimsoll.report.cost.spenders import HEADS, TEXTS, rows
from plimsoll.report.cost.table import table
from plimsoll.report.terminal import drawn, line


def render(found: Statement, *, color: bool = False, width: int = 110) -> str:
    def draw(console: Any) -> None:
        table(console, HEADS, rows(found), texts=TEXTS, total=True)
        line(console, words.balance(found), "bold")

    return drawn(draw, color=color, width=width)
