"""Budgets for people at a terminal."""

from __future__ import annotations

from typing import Any

from plimsoll.cost.month import Budgets
from plimsoll.report.cost import budget
from plimsoll.report.cost.table import table
from plimsoll.report.terminal import drawn, line


def render(found: Budgets, *, color: bool = False, width: int = 110) -> str:
    def draw(console: Any) -> None:
        table(console, budget.HEADS, budget.rows(found), texts=budget.TEXTS, total=True)
        line(console, budget.sentence(found), "bold")

    return drawn(draw, color=color, width=width)
