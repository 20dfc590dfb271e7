"""Ask every rule about every subject it is made for; keep unknown apart; explain findings by deeper ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from plimsoll.diagnose import depths
from plimsoll.diagnose.answer import Diagnosis, Finding, Seen, Unknown
from plimsoll.diagnose.model import DAY, MINUTES_MIN, Confidence, Found, Rule, Signals
from plimsoll.diagnose.signals import SIGNALS

COVERAGE_MIN = 0.8  # of the time a subject held its devices: less and a verdict would be a guess
THIN = 0.95  # below it, a verdict stands with less confidence
FEW = 30  # samples below which it does, too
_LOWER: dict[Confidence, Confidence] = {"high": "medium", "medium": "low", "low": "low"}
_ONCE = ("snapshot", "declaration")  # sources that are read once: one sample is all there is
_SUMMED = 0.5  # of the waste of a sum that its parts must explain


def diagnose(
    subjects: Iterable[Signals], rules: Sequence[Rule], answer: Diagnosis, *, coverage_min: float = COVERAGE_MIN
) -> Diagnosis:
    """The findings and open questions of all subjects, put into `answer`, which knows the window and the sources."""
    findings: list[Finding] = []
    unknown: list[Unknown] = []
    asked = 0
    for signals in subjects:
        for rule in rules:
            if rule.about != signals.subject.kind or not rule.applies(signals.facts):
                continue
            asked += 1
            said = ask(rule, signals, answer.measured, coverage_min)
            if isinstance(said, Unknown):
                unknown.append(said)
            elif said is not None:
                findings.append(said)
    findings.sort(key=lambda each: (-each.severity, -(each.wasted_per_day or 0), each.rule.id, each.subject))
    unknown.sort(key=lambda each: (each.rule.id, each.subject))
    return msgspec.structs.replace(answer, findings=explained(findings), unknown=tuple(unknown), asked=asked)


def ask(rule: Rule, signals: Signals, measured: int, coverage_min: float) -> Finding | Unknown | None:
    """One rule about one subject. measured: milliseconds of the window that were watched, to reckon waste per day."""
    held = signals.get("held.minutes")
    if (
        signals.subject.kind == "workload"
        and held is not None
        and held < MINUTES_MIN
        and "start.pods" not in rule.needs
    ):
        return None  # too young to say anything of
    missing = tuple(need for need in rule.needs if not any(name in signals.values for name in need.split("|")))
    if missing:
        return Unknown(rule=rule, subject=signals.subject, needs=missing, why=f"needs {_sources(missing)}")
    # A thin signal is as good as none: it is not shown to the rule.
    enough = signals.only(name for name in rule.signals if _covered(signals, name, coverage_min))
    thin = tuple(need for need in rule.needs if not any(name in enough.values for name in need.split("|")))
    if thin:
        least = min(
            signals.values[name].coverage for need in thin for name in need.split("|") if name in signals.values
        )
        why = f"{', '.join(thin)} measured for {least:.0%} of the time; {coverage_min:.0%} are needed"
        return Unknown(rule=rule, subject=signals.subject, needs=thin, why=why, thin=True)
    found = rule.ask(enough)
    return None if found is None else _finding(rule, enough, found, measured)


def _covered(signals: Signals, name: str, least: float) -> bool:
    return name in signals.values and signals.values[name].coverage >= least


def _finding(rule: Rule, signals: Signals, found: Found, measured: int) -> Finding:
    evidence = tuple(
        Seen(signal=name, value=value.value, source=value.source, samples=value.samples, coverage=value.coverage)
        for name in rule.signals
        if (value := signals.values.get(name)) is not None
    )
    coverage = min((each.coverage for each in evidence), default=1.0)
    samples = min((each.samples for each in evidence if each.source not in _ONCE), default=1)
    few = samples < FEW and any(each.source not in _ONCE for each in evidence)
    confidence = _LOWER[found.confidence] if coverage < THIN or few else found.confidence
    wasted = None if found.wasted is None or measured <= 0 else found.wasted * DAY // measured
    return Finding(
        rule=rule, subject=signals.subject, facts=signals.facts, title=found.title, fix=found.fix, evidence=evidence,
        severity=rule.severity if found.severity is None else found.severity, wasted_per_day=wasted,
        confidence=confidence, samples=samples, coverage=coverage, tokens=signals.tokens | {str(signals.subject)},
    )  # fmt: skip


def _sources(missing: Iterable[str]) -> str:
    """What would have to be given to know these signals, each once."""
    said: dict[str, list[str]] = defaultdict(list)
    for need in missing:
        name = need.split("|")[0]
        said[SIGNALS[name].from_].append(need.replace("|", " or "))
    return "; ".join(f"{', '.join(names)} ({source})" for source, names in said.items())


def explained(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings with what hides each.

    One is hidden behind another from which it follows, that is at least as severe and about the same subject, or
    about one of its GPUs. A finding about a team, which sums up its workloads, is hidden only where these explain half
    of its waste. What is hidden behind a hidden one is hidden behind the same root causes.
    """
    hidden: dict[int, tuple[int, ...]] = {}
    by_token: dict[str, list[int]] = defaultdict(list)
    for index in sorted(range(len(findings)), key=lambda at: (findings[at].rule.depth, at)):
        each = findings[index]
        behind = {other for other in by_token[str(each.subject)] if _explains(findings[other], each)}
        if each.rule.depth == depths.SUM and not _sums(findings, behind, each):
            behind = set()
        hidden[index] = tuple(sorted({root for other in behind for root in (hidden[other] or (other,))}))
        for token in each.tokens:
            by_token[token].append(index)
    return tuple(
        msgspec.structs.replace(each, hidden_behind=hidden[index]) if hidden[index] else each
        for index, each in enumerate(findings)
    )


def _explains(cause: Finding, effect: Finding) -> bool:
    follows = effect.rule.id in cause.rule.explains or "*" in cause.rule.explains or effect.rule.depth == depths.SUM
    return follows and cause.rule.depth < effect.rule.depth and cause.severity >= effect.severity


def _sums(findings: Sequence[Finding], behind: Iterable[int], whole: Finding) -> bool:
    """Whether the waste of these findings is half of that of a whole."""
    dearest: dict[object, int] = {}
    for index in behind:
        each = findings[index]
        dearest[each.subject] = max(dearest.get(each.subject, 0), each.wasted_per_day or 0)
    return whole.wasted_per_day is not None and sum(dearest.values()) >= _SUMMED * whole.wasted_per_day
