"""What inference cost, for people at a terminal."""

from __future__ import annotations

from typing import Any

from plimsoll.cost.served import Inference
from plimsoll.report.cost import inference
from plimsoll.report.cost.table import table
from plimsoll.report.terminal import drawn, line


def render(found: Inference, *, color: bool = False, width: int = 110) -> str:
    def draw(console: Any) -> None:
        table(console, inference.HEADS, inference.rows(found), texts=inference.TEXTS, total=True)
        line(console, inference.sentence(found), "bold")

    return drawn(draw, color=color, width=max(width, 140))
