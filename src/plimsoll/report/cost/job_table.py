"""One job for people at a terminal."""

from __future__ import annotations

from typing import Any

from plimsoll.cost.job import Job
from plimsoll.report.cost import job
from plimsoll.report.cost.table import table
from plimsoll.report.terminal import drawn, line


def render(found: Job, *, color: bool = False, width: int = 110) -> str:
    """Pods have many columns: what does not fit is as wide as it must be."""

    def draw(console: Any) -> None:
        line(console, job.title(found), "bold")
        line(console, job.about(found))
        table(console, job.PHASES, job.phases(found), texts=(0, 1, 2))
        table(console, job.HEADS, job.rows(found), texts=job.TEXTS, total=True)
        for each in job.sums(found):
            line(console, each, "bold")

    return drawn(draw, color=color, width=max(width, 160))
