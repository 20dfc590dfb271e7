"""A diagnosis for people at a terminal."""

from __future__ import annotations

from typing import Any

from plimsoll.check.model import Severity
from plimsoll.cost.window import text
from plimsoll.diagnose.model import Diagnosis, Finding
from plimsoll.report.diagnose import words
from plimsoll.report.terminal import drawn, line
from plimsoll.report.view import amount, clean

_STYLE = {Severity.CRITICAL: "bold red", Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_ROWS_MAX = 50
_LACKING_MAX = 6


def render(answer: Diagnosis, *, color: bool = False, width: int = 110) -> str:
    """`color`: ANSI codes; without them the words carry the meaning alone."""
    return drawn(lambda console: _answer(console, answer), color=color, width=width)


def _answer(console: Any, answer: Diagnosis) -> None:
    from rich import box
    from rich.table import Table

    watched = answer.measured / (answer.ended - answer.began)
    line(console, f"{text(answer.began)} to {text(answer.ended)}, {watched:.0%} of it watched; from "
                  f"{', '.join(answer.sources)}", "dim")  # fmt: skip
    console.print()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("SEV")
    table.add_column("CAUSE")
    table.add_column("WHO", overflow="fold", ratio=3)
    table.add_column("EVIDENCE", overflow="fold", ratio=6)
    table.add_column(f"{answer.currency or '$'}/DAY", justify="right", no_wrap=True)
    table.add_column("FIX", overflow="fold", ratio=6)
    table.add_column("CONF")
    behind: dict[int, list[Finding]] = {}
    for each in answer.findings:
        for root in each.hidden_behind:
            behind.setdefault(root, []).append(each)
    shown = [index for index, each in enumerate(answer.findings) if not each.hidden_behind]
    for index in shown[:_ROWS_MAX]:
        _row(table, answer.findings[index], behind.get(index, []))
    if shown:
        console.print(table)
    if len(shown) > _ROWS_MAX:
        line(console, f"and {len(shown) - _ROWS_MAX} more (-o json shows them)", "dim")
    if shown:
        line(
            console, "plimsoll diagnose --explain ID shows a cause's evidence, limits, queries and the whole fix", "dim"
        )
    lacking = words.lacking(answer.unknown)
    if lacking:
        line(console, f"Unknown: {amount(len(answer.unknown), 'question', 'questions')} could not be answered", "bold")
    for what, count in lacking[:_LACKING_MAX]:
        line(console, f"{count} need {what}" if count > 1 else f"1 needs {what}", indent=2)
    if len(lacking) > _LACKING_MAX:
        line(console, f"and {len(lacking) - _LACKING_MAX} other reasons (-o json shows them)", indent=2)
    line(console, f"{words.sentence(answer)}.", "bold")


def _row(table: Any, each: Finding, hidden: list[Finding]) -> None:
    from rich.text import Text

    said = each.title + (f"; hides {', '.join(sorted({one.rule.id for one in hidden}))}" if hidden else "")
    table.add_row(
        Text(str(each.severity), _STYLE[each.severity]),
        Text(f"{each.rule.id} {each.rule.name}"),
        Text(clean(str(each.subject))),
        Text(clean(f"{said} ({words.measured(each)})")),
        words.per_day(each),
        Text(clean(words.first_step(each)), "green"),
        each.confidence,
    )
