"""A diagnosis in Markdown, for tickets."""

from __future__ import annotations

from plimsoll.diagnose.answer import Diagnosis, Finding
from plimsoll.report.diagnose import words
from plimsoll.report.escape import code, text
from plimsoll.report.view import amount


def render(answer: Diagnosis) -> str:
    lines = ["# Why GPUs sit idle", "", f"**{text(words.sentence(answer))}.**", ""]
    sources = ", ".join(map(text, answer.sources))
    lines += [f"{words.span(answer)}; from {sources}.", ""]
    roots = answer.roots
    if roots:
        unit = text(answer.currency) or "cost"
        lines += [
            f"| severity | cause | who | what was seen | {unit} a day | confidence |",
            "|---|---|---|---|--:|---|",
        ]
        lines += [_row(each) for each in roots]
    for each in roots:
        lines += ["", f"## {each.rule.id} {text(str(each.subject))}", "", f"{text(each.title)}.", ""]
        lines += [
            f"- {code(words.evidence(one))} ({one.source}, {words.measured(one)})" for one in each.evidence
        ]  # fmt: skip
        fence = "```"
        while fence in words.fix(each):
            fence += "`"
        lines += ["", f"{fence}sh", words.fix(each), fence]
    lacking = words.lacking(answer.unknown)
    if lacking:
        lines += [
            "",
            "## Unknown",
            "",
            f"{amount(len(answer.unknown), 'question', 'questions')} could not be answered.",
        ]
        lines += ["", *(f"- {text(what)}" for what in lacking)]
    lines += ["", *(f"- {text(note)}" for note in answer.notes)] if answer.notes else []
    return "\n".join(lines) + "\n"


def _row(each: Finding) -> str:
    who, what = code(str(each.subject), cell=True), text(each.title)
    return (
        f"| {each.severity} | {each.rule.id} {each.rule.name} | {who} | {what} | {words.per_day(each)} "
        f"| {each.confidence} |"
    )
