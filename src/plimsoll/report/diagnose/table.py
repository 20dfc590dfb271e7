"""A diagnosis for people at a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from plimsoll.check.model import Severity
from plimsoll.diagnose.answer import Diagnosis, Finding
from plimsoll.diagnose.waste import total
from plimsoll.report.cost.words import money
from plimsoll.report.diagnose import words
from plimsoll.report.terminal import drawn, line
from plimsoll.report.view import amount, clean

_STYLE = {Severity.CRITICAL: "bold red", Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_ROWS_MAX = 50
_FIXES_MAX = 8
_LACKING_MAX = 6
_MANY = 3  # findings of one kind from which one row stands for all


def render(answer: Diagnosis, *, color: bool = False, width: int = 110) -> str:
    """`color`: ANSI codes; without them the words carry the meaning alone."""
    return drawn(lambda console: _answer(console, answer), color=color, width=width)


def _answer(console: Any, answer: Diagnosis) -> None:
    line(console, f"{words.span(answer)}; from {', '.join(answer.sources)}", "dim")
    groups = grouped(answer.findings)
    if groups:
        _table(console, answer, groups)
    for group in groups[:_FIXES_MAX]:
        first = group[0]
        line(console, f"{first.rule.id} {words.who(first)}", "bold")
        for step in words.fix(first).splitlines():
            _command(console, step)
    if groups:
        said = "plimsoll diagnose --explain ID shows all of a cause: its evidence, limits, queries and fixes"
        line(console, said, "dim")
        console.print()
    _unknown(console, answer)
    line(console, f"{words.sentence(answer)}.", "bold")


def grouped(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Root causes, those of one rule, severity and team together where they are many; the dearest first."""
    found: dict[tuple[str, int, str, str], list[Finding]] = defaultdict(list)
    for each in findings:
        if not each.hidden_behind:
            team = "" if each.subject.kind == "team" else each.facts.team
            found[each.rule.id, -each.severity, each.subject.kind, team].append(each)
    groups = []
    for members in found.values():
        groups += [members] if len(members) >= _MANY else [[each] for each in members]
    return sorted(groups, key=lambda group: (-group[0].severity, -total(group), group[0].rule.id, group[0].subject))


def _table(console: Any, answer: Diagnosis, groups: Sequence[Sequence[Finding]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    hidden: dict[int, set[str]] = defaultdict(set)
    for each in answer.findings:
        for root in each.hidden_behind:
            hidden[id(answer.findings[root])].add(each.rule.id)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head, share in (("SEV", 0), ("CAUSE", 0), ("WHO", 3), ("EVIDENCE", 7)):
        table.add_column(head, overflow="fold", ratio=share or None)
    table.add_column(f"{answer.currency or 'COST'}/DAY", justify="right", no_wrap=True)
    table.add_column("FIX", overflow="fold", ratio=3)
    table.add_column("CONF", no_wrap=True)
    for group in groups[:_ROWS_MAX]:
        first = group[0]
        behind = sorted({id_ for each in group for id_ in hidden[id(each)]})
        said = f"{first.title} ({words.measured(first)})" + (f"; hides {', '.join(behind)}" if behind else "")
        who = words.who(first) + (f" and {len(group) - 1} more" if len(group) > 1 else "")
        priced = any(each.wasted_per_day is not None for each in group)
        table.add_row(
            Text(str(first.severity), _STYLE[first.severity]), f"{first.rule.id} {first.rule.name}", Text(clean(who)),
            Text(clean(said)), money(total(group)) if priced else "-", first.rule.do, first.confidence,
        )  # fmt: skip
    console.print(table)
    if len(groups) > _ROWS_MAX:
        line(console, f"and {len(groups) - _ROWS_MAX} more (-o json shows them)", "dim")


def _command(console: Any, words_: str) -> None:
    """A line to be copied: never wrapped."""
    from rich.text import Text

    console.print(Text(clean(f"  {words_}"), style="green"), soft_wrap=True)


def _unknown(console: Any, answer: Diagnosis) -> None:
    lacking = words.lacking(answer.unknown)
    if lacking:
        many = amount(len(answer.unknown), "question", "questions")
        line(console, f"Unknown: {many} of {answer.asked} could not be answered", "bold")
    for what in lacking[:_LACKING_MAX]:
        line(console, what, indent=2)
    if len(lacking) > _LACKING_MAX:
        more = amount(len(lacking) - _LACKING_MAX, "other reason", "other reasons")
        line(console, f"and {more} (-o json shows them)", indent=2)
