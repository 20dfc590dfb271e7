"""Markdown, for pull requests and tickets."""

from __future__ import annotations

from plimsoll.check.run import Judgement, Review
from plimsoll.check.score import summarise
from plimsoll.report.escape import code, text
from plimsoll.report.view import Group, amount, not_read, remedy, sentence, shown, view

_NOBODY_ASKED = ("not in the snapshot",)  # what the file never held is one number; what was refused has a reason


def render(review: Review, pillars: tuple[str, ...]) -> str:
    seen = view(review)
    lines = ["# Production review", "", f"**{text(sentence(review))}.**", "", _source(review), ""]
    lines += ["| pillar | score | passed | failed | unknown | waived |", "|---|--:|--:|--:|--:|--:|"]
    for one in summarise(review, pillars):
        score = "?" if one.score is None else one.score
        lines.append(f"| {one.pillar} | {score} | {one.passed} | {one.failed} | {one.unknown} | {one.waived} |")
    if seen.faults:
        lines += ["", "## Root causes"]
        for group in seen.faults:
            lines += _fault(group)
    if seen.risks:
        lines += ["", "## Risks", "", "| severity | check | object | what |", "|---|---|---|---|"]
        lines += [_row(each) for group in seen.risks for each in group.members]
    if seen.unknown:
        lines += ["", "## Unknown", "", f"{amount(len(seen.unknown), 'question', 'questions')} could not be answered."]
        lines += ["", *(f"- {kind}: {text(why)}" for kind, why in not_read(review) if why not in _NOBODY_ASKED)]
    if seen.waived:
        lines += [
            "",
            "## Waived",
            "",
            *(f"- {each.check.id} {code(str(each.finding.object))}" for each in seen.waived),
        ]
    return "\n".join(lines) + "\n"


def _source(review: Review) -> str:
    snapshot = review.snapshot
    taken = f"{snapshot.taken_at:%Y-%m-%d %H:%M:%S} UTC" if snapshot.taken_at else "at an unknown time"
    return f"Read {len(snapshot)} objects from {code(snapshot.source.place)}, taken {taken}."


def _fault(group: Group) -> list[str]:
    first = group.evidence_of
    lines = ["", f"### {group.check.id} {text(first.finding.title)} ({group.severity})", ""]
    lines += [f"- {code(str(each.finding.object))}" for each in group.members[:50]]
    if len(group.members) > 50:
        lines.append(f"- and {len(group.members) - 50} more")
    lines += ["", *(f"- saw {code(f'{item.path} = {shown(item.value)}')}" for item in first.finding.evidence)]
    if group.hidden:
        lines.append(
            f"- hides {len(group.hidden)} findings: {', '.join(sorted({each.check.id for each in group.hidden}))}"
        )
    fence = "```"
    while fence in remedy(first):
        fence += "`"
    return [*lines, "", group.check.why, "", f"{fence}sh", remedy(first).strip(), fence]


def _waived(each: Judgement) -> str:
    waiver = each.waiver
    terms = f" until {waiver.until}, {text(waiver.owner)}: {text(waiver.reason)}" if waiver else ""
    return f"- {each.check.id} {code(str(each.finding.object))}{terms}"


def _row(each: Judgement) -> str:
    what = code(str(each.finding.object), cell=True)
    return f"| {each.severity} | {each.check.id} | {what} | {text(each.finding.title)} |"
