"""For people at a terminal."""

from __future__ import annotations

from typing import Any

from plimsoll.check.model import Severity
from plimsoll.check.run import Judgement, Review
from plimsoll.check.score import PillarSummary, summarise
from plimsoll.report.terminal import drawn, line
from plimsoll.report.view import Group, amount, clean, not_read, remedy, sentence, shown, view

_STYLE = {Severity.CRITICAL: "bold red", Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_KINDS_NAMED = 8
_OTHERS_MAX = 12  # more objects than this are counted, not listed


def render(review: Review, pillars: tuple[str, ...], *, color: bool = False, width: int = 110) -> str:
    """Text with a table per part. `color`: ANSI codes; without them the words carry the meaning alone."""
    return drawn(lambda console: _review(console, review, pillars), color=color, width=width)


def _review(console: Any, review: Review, pillars: tuple[str, ...]) -> None:
    seen = view(review)
    _head(console, review)
    for group in seen.faults:
        _fault(console, group)
    if seen.risks:
        _risks(console, seen.risks)
    if seen.unknown:
        _unknown(console, review, seen.unknown)
    for each in seen.waived:
        waiver = each.waiver
        until = f" until {waiver.until} by {waiver.owner}: {waiver.reason}" if waiver else ""
        line(console, f"waived   {each.check.id}  {each.finding.object}{until}", "dim")
    _pillars(console, summarise(review, pillars))
    line(console, sentence(review), "bold")


def _head(console: Any, review: Review) -> None:
    snapshot = review.snapshot
    taken = (
        f"{snapshot.taken_at:%Y-%m-%d %H:%M:%S} UTC ({snapshot.source.taken_at_is})" if snapshot.taken_at else "unknown"
    )
    objects = amount(len(snapshot), "object", "objects")
    line(console, f"{snapshot.source.form} {snapshot.source.place}, taken {taken}, {objects}", "dim")
    if review.platform:
        line(console, f"judged against platform {review.platform.metadata.name}", "dim")
    console.print()


def _fault(console: Any, group: Group) -> None:
    first = group.evidence_of
    others = f" and {len(group.members) - 1} more" if len(group.members) > 1 else ""
    line(
        console,
        f"{str(group.severity).upper()}  {group.check.id}  {first.finding.object}{others}",
        _STYLE[group.severity],
    )
    line(console, first.finding.title, "bold", indent=2)
    for item in first.finding.evidence:
        line(console, f"saw   {item.path} = {shown(item.value)}", indent=2)
    _also(console, group)
    if group.hidden:
        line(console, f"hides {_hidden(group.hidden)}", "dim", indent=2)
    for index, words in enumerate(remedy(first).splitlines()):
        _command(console, f"  {'do    ' if index == 0 else '      '}{words}")
    console.print()


def _command(console: Any, words: str) -> None:
    """A line to be copied: never wrapped."""
    from rich.text import Text

    console.print(Text(clean(words), style="green"), soft_wrap=True)


def _also(console: Any, group: Group) -> None:
    """The other objects with the same trouble: by name where they say the same, with their sentence where not."""
    others = group.members[1:]
    same = {each.finding.title.replace(each.finding.object.name, "") for each in group.members}
    if others and len(same) == 1:
        names = ", ".join(str(each.finding.object) for each in others[:_OTHERS_MAX])
        line(console, f"also  {names}", indent=2)
    else:
        for each in others[:_OTHERS_MAX]:
            line(console, f"also  {each.finding.object}: {each.finding.title}", indent=2)
    if len(others) > _OTHERS_MAX:
        line(console, f"      and {len(others) - _OTHERS_MAX} more", indent=2)


def _hidden(hidden: tuple[Judgement, ...]) -> str:
    by_check: dict[str, list[Judgement]] = {}
    for each in hidden:
        by_check.setdefault(each.check.id, []).append(each)
    parts = [
        f"{id_} {found[0].finding.title}" + (f" (and {len(found) - 1} like it)" if found[1:] else "")
        for id_, found in by_check.items()
    ]
    return "; ".join(parts)


def _risks(console: Any, groups: tuple[Group, ...]) -> None:
    """One row a check. What is only worth knowing is named below the table; every other format holds it whole."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title="Risks: nothing is broken by these yet", title_justify="left"
    )
    table.add_column("severity")
    table.add_column("check", no_wrap=True)
    table.add_column("object", overflow="fold", ratio=2)
    table.add_column("what", overflow="fold", ratio=5)
    for group in (group for group in groups if group.severity > Severity.INFO):
        first, more = group.evidence_of.finding, len(group.members) - 1
        table.add_row(
            Text(str(group.severity), _STYLE[group.severity]),
            group.check.id,
            Text(clean(str(first.object)) + (f" and {more} more" if more else "")),
            Text(clean(first.title)),
        )
    if table.row_count:
        console.print(table)
    line(console, "plimsoll explain ID says why a risk matters and what to do about it", "dim")
    notes = [group.check.id for group in groups if group.severity is Severity.INFO]
    if notes:
        line(console, f"Worth knowing: {', '.join(notes)} (-o html and -o json show them)", "dim")


def _unknown(console: Any, review: Review, unknown: tuple[Judgement, ...]) -> None:
    """What could not be judged, in one line, and the kinds somebody refused, with the reason."""
    refused = {str(entry.kind): entry.reason for entry in review.snapshot.unread}
    kinds = [kind for kind, _ in not_read(review) if kind not in refused]
    named = ", ".join(kinds[:_KINDS_NAMED]) + (f" and {len(kinds) - _KINDS_NAMED} more" if kinds[_KINDS_NAMED:] else "")
    missing = f"; not whole: {named}" if named else ""
    line(console, f"Unknown: {amount(len(unknown), 'question', 'questions')} could not be answered{missing}", "bold")
    for kind, why in refused.items():
        line(console, f"{kind}: {why}", indent=2)
    console.print()


def _pillars(console: Any, summaries: tuple[PillarSummary, ...]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("pillar", "score", "passed", "failed", "unknown", "waived", "worst"):
        table.add_column(name, justify="left" if name in ("pillar", "worst") else "right")
    for one in summaries:
        figures = (one.passed, one.failed, one.unknown, one.waived)
        worst = "" if one.worst is None else str(one.worst)
        table.add_row(one.pillar, "?" if one.score is None else str(one.score), *map(str, figures), worst)
    console.print(table)
