"""One rule as a page: what it says, what it needs and from where, its limits, and where it was found."""

from __future__ import annotations

from collections.abc import Iterable

from plimsoll.diagnose.answer import Diagnosis
from plimsoll.diagnose.model import Rule
from plimsoll.diagnose.queries import asked
from plimsoll.diagnose.signals import SIGNALS, shown
from plimsoll.report.diagnose import words
from plimsoll.report.view import clean

_SOURCES = {
    "J": "job_defense_shield's example configuration",
    "N": "NVIDIA on SM activity",
    "D": "Datadog",
    "S": "dstack",
    "R": "our own reasoning: calibrate it",
}


def page(rule: Rule) -> str:
    """What a rule asks; without a cluster."""
    lines = [f"{rule.id} {rule.name} ({rule.severity}, about a {rule.about})", "", f"{rule.title}.", "", rule.why, ""]
    lines.append("Needs")
    for need in rule.needs:
        lines += _signals(need.split("|"))
    if rule.may:
        lines.append("Also looks at")
        lines += _signals(rule.may)
    if rule.limits:
        lines.append("Limits")
        lines += [f"  {limit:g}  {limit.says} ({_SOURCES[limit.source]})" for limit in rule.limits]
    if rule.explains:
        every = "every other cause of the same subject" if "*" in rule.explains else ", ".join(sorted(rule.explains))
        lines.append(f"Explains {every}")
    return "\n".join(lines) + "\n"


def _signals(names: Iterable[str]) -> list[str]:
    lines = []
    for place, name in enumerate(names):
        signal = SIGNALS[name]
        lines.append(f"  {'or ' if place else ''}{name}: {signal.says} ({signal.from_})")
        if query := asked(name):
            lines.append(f"      {query}")
    return lines


def render(answer: Diagnosis, rule: Rule) -> str:
    """The page of a rule, with what was found of it."""
    lines = [page(rule)]
    found = [each for each in answer.findings if each.rule.id == rule.id]
    for each in found:
        lines.append(f"{str(each.severity).upper()} {each.subject}, {words.per_day(each)} {answer.currency} a day")
        lines.append(f"  {each.title}")
        for one in each.evidence:
            value = shown(one.signal, one.value)
            lines.append(f"  saw   {one.signal} = {value} ({one.source}, {words.measured(one)})")
        behind = [answer.findings[index] for index in each.hidden_behind]
        lines += [f"  behind {one.rule.id} {one.subject}" for one in behind]
        lines += [f"  {'do    ' if not at else '      '}{step}" for at, step in enumerate(words.fix(each).splitlines())]
        lines.append("")
    if not found:
        lines.append("Not found.")
    for question in answer.unknown:
        if question.rule.id == rule.id:
            lines.append(f"unknown {question.subject}: {question.why}")
    return clean("\n".join(lines).rstrip("\n")) + "\n"
