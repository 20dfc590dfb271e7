"""What the forms of a diagnosis say alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from plimsoll.cost.window import text
from plimsoll.diagnose import waste
from plimsoll.diagnose.answer import Diagnosis, Finding, Seen, Unknown
from plimsoll.diagnose.model import DAY
from plimsoll.diagnose.signals import SIGNALS, shown
from plimsoll.report.cost.words import money
from plimsoll.report.view import amount, as_shell


def span(answer: Diagnosis) -> str:
    """The window, and how much of it a meter watched."""
    watched = answer.measured / (answer.ended - answer.began)
    return f"{text(answer.began)} to {text(answer.ended)}" + (f", {watched:.0%} of it watched" if watched else "")


def per_day(finding: Finding) -> str:
    """Money a day; `-` where it is no question of money, or nobody knows."""
    return "-" if finding.wasted_per_day is None else money(finding.wasted_per_day)


def fix(finding: Finding) -> str:
    """Lines a shell takes: commands, and the rest as comments."""
    return as_shell(finding.fix)


def who(finding: Finding) -> str:
    """Whom it is about; most are about workloads, which need no word for it."""
    return finding.subject.name if finding.subject.kind == "workload" else str(finding.subject)


def evidence(one: Seen) -> str:
    """`busy.mean 12%`."""
    return f"{one.signal} {shown(one.signal, one.value)}"


def measured(one: Finding | Seen) -> str:
    """How well something was measured: `1,440 samples, 98%`."""
    return f"{one.samples:,} {'sample' if one.samples == 1 else 'samples'}, {one.coverage:.0%}"


def sentence(answer: Diagnosis) -> str:
    """The answer in one sentence."""
    roots, hidden = answer.roots, len(answer.findings) - len(answer.roots)
    if not roots:
        said = "Nothing was found" if answer.asked > len(answer.unknown) else "Nothing could be judged"
    elif answer.cost is not None and answer.measured > 0:
        of = answer.cost * DAY // answer.measured
        wasted = waste.per_day(answer)
        share = f", {wasted / of:.0%} of what the GPUs cost" if of else ""
        causes = amount(len(roots), "cause wastes", "causes waste")
        said = f"{causes} {money(wasted)} {answer.currency} a day{share}"
    else:
        said = f"{amount(len(roots), 'cause', 'causes')} of idle GPUs; what they cost is not known without a ledger"
    if hidden:
        said += f"; {amount(hidden, 'finding is', 'findings are')} hidden behind"
    if answer.unknown:
        said += f"; {amount(len(answer.unknown), 'question', 'questions')} could not be answered"
    return said


def lacking(unknown: Iterable[Unknown]) -> list[str]:
    """What is missing, with the number of questions that wait for it, the most first."""
    count: dict[str, int] = defaultdict(int)
    signals: dict[str, set[str]] = defaultdict(set)
    for each in unknown:
        names = [name for need in each.needs for name in need.split("|")]
        for source in {_THIN} if each.thin else {SIGNALS[name].from_ for name in names}:
            count[source] += 1
            signals[source] |= {name for name in names if each.thin or SIGNALS[name].from_ == source}
    order = sorted(count, key=lambda source: (-count[source], source))
    return [f"{count[source]} for want of {source}: {', '.join(sorted(signals[source]))}" for source in order]


_THIN = "measurements over more of the time"
