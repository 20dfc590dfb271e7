"""The nouns of an answer: Finding, Unknown, Diagnosis."""

from __future__ import annotations

import msgspec

from plimsoll.check.model import Severity
from plimsoll.diagnose.model import Confidence, Facts, Rule, Subject


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One value of the evidence."""

    signal: str
    value: float
    source: str
    samples: int
    coverage: float


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A cause with its evidence. wasted_per_day: micro-units; None where it is not known or no question of money.

    hidden_behind: indices of the findings that explain it; () for a root cause. coverage: the lowest of its evidence.
    """

    rule: Rule
    subject: Subject
    facts: Facts
    severity: Severity
    title: str
    fix: str
    evidence: tuple[Seen, ...]
    wasted_per_day: int | None
    confidence: Confidence
    samples: int
    coverage: float
    tokens: frozenset[str]
    hidden_behind: tuple[int, ...] = ()


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """A question that could not be answered. needs: the signals that are missing or, where it is `thin`, were
    measured for too little of the time. why: one clause."""

    rule: Rule
    subject: Subject
    needs: tuple[str, ...]
    why: str
    thin: bool = False


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. began, ended: the window; measured: milliseconds of it that a meter watched; 0 without one.

    asked: pairs of rule and subject that a verdict was wanted of. cost: of the window, micro-units, None without a
    bill. sources: what was read. skipped: workloads that held too little to be looked at.
    """

    began: int
    ended: int
    measured: int
    currency: str
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]
    asked: int
    cost: int | None
    sources: tuple[str, ...]
    skipped: int = 0
    notes: tuple[str, ...] = ()

    @property
    def roots(self) -> list[Finding]:
        return [each for each in self.findings if not each.hidden_behind]
