"""A diagnosis in Markdown, for tickets."""

from __future__ import annotations

from plimsoll.diagnose.answer import Diagnosis, Finding
from plimsoll.report.cost.markdown import text as plain
from plimsoll.report.diagnose import words
from plimsoll.report.view import amount, clean


def render(answer: Diagnosis) -> str:
    lines = ["# Why GPUs sit idle", "", f"**{plain(words.sentence(answer))}.**", ""]
    sources = ", ".join(map(plain, answer.sources))
    lines += [f"{words.span(answer)}; from {sources}.", ""]
    roots = answer.roots
    if roots:
        unit = plain(answer.currency) or "cost"
        lines += [
            f"| severity | cause | who | what was seen | {unit} a day | confidence |",
            "|---|---|---|---|--:|---|",
        ]
        lines += [_row(each) for each in roots]
    for each in roots:
        lines += ["", f"## {each.rule.id} {plain(str(each.subject))}", "", f"{plain(each.title)}.", ""]
        lines += [
            f"- {_code(words.evidence(one))} ({one.source}, {words.measured(one)})" for one in each.evidence
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
        lines += ["", *(f"- {plain(what)}" for what in lacking)]
    lines += ["", *(f"- {plain(note)}" for note in answer.notes)] if answer.notes else []
    return "\n".join(lines) + "\n"


def _row(each: Finding) -> str:
    who, what = _code(str(each.subject)), plain(each.title)
    return (
        f"| {each.severity} | {each.rule.id} {each.rule.name} | {who} | {what} | {words.per_day(each)} "
        f"| {each.confidence} |"
    )


def _code(raw: str) -> str:
    """A name as a code span. A backtick, which no Kubernetes name holds, turns into a quote."""
    words_ = " ".join(clean(raw).split()).replace("`", "'")
    return f"`{words_}`".replace("|", "\\|")
