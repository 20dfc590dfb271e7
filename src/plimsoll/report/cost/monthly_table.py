"""A month for people at a terminal."""

from __future__ import annotations

from typing import Any

from plimsoll.cost.monthly import Monthly
from plimsoll.report.cost import monthly
from plimsoll.report.cost.table import table
from plimsoll.report.terminal import drawn, line


def render(found: Monthly, *, color: bool = False, width: int = 110) -> str:
    def draw(console: Any) -> None:
        line(console, monthly.title(found), "bold")
        line(console, f"{monthly.sentence(found)}.")
        for each in monthly.sections(found):
            console.print()
            line(console, each.title, "bold")
            table(console, each.heads, each.rows, texts=each.texts, total=each.total)
            for said in each.said:
                line(console, said, "dim")

    return drawn(draw, color=color, width=max(width, 150))
