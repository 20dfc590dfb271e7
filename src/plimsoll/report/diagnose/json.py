"""The published JSON of a diagnosis: schema `plimsoll.dev/diagnosis/v1`, docs/reference/diagnosis.schema.json.

Money is a number with six decimals, exact: read it as a decimal, not as a float.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from plimsoll import __version__
from plimsoll.cost.window import text
from plimsoll.diagnose import waste
from plimsoll.diagnose.answer import Diagnosis
from plimsoll.diagnose.answer import Finding as Cause
from plimsoll.diagnose.signals import SIGNALS
from plimsoll.report.cost.json import encoded, numeric
from plimsoll.report.cost.words import exact
from plimsoll.report.diagnose import words

SCHEMA_VERSION = "plimsoll.dev/diagnosis/v1"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Who or what it is about. kind: workload | team | node | gpu | queue."""

    kind: str
    name: str
    team: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that was seen. coverage: 0 to 1 of the time it speaks of. source: ledger | prometheus | snapshot |
    declaration."""

    signal: str
    value: float
    unit: str
    samples: int
    coverage: float
    source: str


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A cause. wastedPerDay: null where it is not known, or no question of money. hiddenBehind: `ID subject` of the
    causes that explain it; none for a root cause."""

    id: str
    cause: str
    severity: str
    subject: Subject
    title: str
    why: str
    evidence: list[Evidence]
    wasted_per_day: Decimal | None
    confidence: str
    samples: int
    coverage: float
    fix: str
    root_cause: bool
    hidden_behind: list[str]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question that could not be answered. needs: signals that are missing, or were measured too little."""

    id: str
    cause: str
    subject: str
    needs: list[str]
    why: str


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A diagnosis. watchedShare, cost: of the window, null without a ledger. asked: questions."""

    schema_version: str = SCHEMA_VERSION
    plimsoll: str = __version__
    began: str = msgspec.field(name="from")
    until: str
    watched_share: float | None
    sources: list[str]
    currency: str
    cost: Decimal | None
    wasted_per_day: Decimal
    sentence: str
    asked: int
    findings: list[Finding]
    unknown: list[Question]
    notes: list[str]


def document(answer: Diagnosis) -> Document:
    return Document(
        began=text(answer.began),
        until=text(answer.ended),
        watched_share=round(answer.measured / (answer.ended - answer.began), 6) if answer.measured else None,
        sources=list(answer.sources),
        currency=answer.currency,
        cost=None if answer.cost is None else exact(answer.cost),
        wasted_per_day=exact(waste.per_day(answer)),
        sentence=words.sentence(answer),
        asked=answer.asked,
        findings=[_finding(answer, each) for each in answer.findings],
        unknown=[
            Question(id=each.rule.id, cause=each.rule.name, subject=str(each.subject), needs=list(each.needs),
                     why=each.why)
            for each in answer.unknown
        ],
        notes=list(answer.notes),
    )  # fmt: skip


def _finding(answer: Diagnosis, each: Cause) -> Finding:
    behind = [answer.findings[index] for index in each.hidden_behind]
    return Finding(
        id=each.rule.id, cause=each.rule.name, severity=str(each.severity), title=each.title, why=each.rule.title,
        subject=Subject(kind=each.subject.kind, name=each.subject.name, team=each.facts.team),
        evidence=[
            Evidence(signal=one.signal, value=round(one.value, 6), unit=SIGNALS[one.signal].unit, samples=one.samples,
                     coverage=round(one.coverage, 6), source=one.source)
            for one in each.evidence
        ],
        wasted_per_day=None if each.wasted_per_day is None else exact(each.wasted_per_day),
        confidence=each.confidence, samples=each.samples, coverage=round(each.coverage, 6), fix=words.fix(each),
        root_cause=not behind, hidden_behind=[f"{one.rule.id} {one.subject}" for one in behind],
    )  # fmt: skip


def render(answer: Diagnosis) -> str:
    return encoded(document(answer))


def schema() -> dict[str, object]:
    """The JSON Schema of the document."""
    found: dict[str, object] = numeric(msgspec.json.schema(Document))
    return found
