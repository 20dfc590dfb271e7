"""The published JSON: schema `plimsoll.dev/report/v1`, described in docs/reference/report.schema.json."""

from __future__ import annotations

from datetime import datetime

import msgspec

from plimsoll import __version__
from plimsoll.check.model import Evidence, Verdict
from plimsoll.check.run import Judgement, Review
from plimsoll.check.score import summarise
from plimsoll.kube.objects import Ref
from plimsoll.report.view import affected, is_risk, not_read, remedy, sentence

SCHEMA_VERSION = "plimsoll.dev/report/v1"


class NotRead(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A kind that checks wanted and the source did not give whole."""

    kind: str
    reason: str


class WasRead(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the review is based on."""

    source: str  # live | snapshot | list | cluster-info dump | must-gather | manifest
    place: str  # path or context name
    taken_at: datetime | None
    taken_at_is: str  # recorded | inferred | unknown
    objects: int
    counts: dict[str, int]  # objects per `Kind.group`
    not_read: list[NotRead]


class Pillar(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One pillar of the checklist. score 0-100, null where nothing could be judged."""

    pillar: str
    score: int | None
    passed: int
    failed: int
    unknown: int
    waived: int
    root_causes: int
    worst: str | None


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer.

    verdict: fail where any finding failed, else unknown where any check could not be judged, else pass.
    """

    verdict: str
    sentence: str
    findings: dict[str, int]  # failed findings by severity
    root_causes: int  # of what does not work now
    risks: int  # what works now and will not keep working
    hidden: int
    unknown: int
    waived: int
    pillars: list[Pillar]


class Cause(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The root cause a finding is hidden behind."""

    id: str
    object: Ref


class Affected(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A node, queue or service that does not work, and why."""

    subject: str  # node/NAME | queue/CLUSTERQUEUE | service/NAMESPACE/NAME
    root_causes: list[Cause]


class Acceptance(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who accepted a finding, why and until when (last day)."""

    owner: str
    reason: str
    until: str


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One finding. rootCause: it failed and nothing else explains it. hiddenBehind: what explains it."""

    id: str
    pillar: str
    severity: str  # critical | error | warning | info
    verdict: str  # fail | unknown | waived
    title: str
    object: Ref
    evidence: list[Evidence]
    why: str
    remedy: str
    root_cause: bool
    risk: bool  # nothing is broken by it yet
    hidden_behind: list[Cause]
    affects: list[str]  # what stops working or is short of something: node/NAME, queue/NAME, service/NS/NAME, …
    waiver: Acceptance | None = None


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A production review."""

    schema_version: str
    tool: str
    platform: str | None
    read: WasRead
    summary: Summary
    affected: list[Affected]
    findings: list[Finding]
    checks: dict[str, str]  # id to verdict, of every check that was asked
    not_asked: list[str]  # checks that need a platform.yaml


def document(review: Review, pillars: tuple[str, ...]) -> Document:
    """The review as its published document."""
    snapshot = review.snapshot
    return Document(
        schema_version=SCHEMA_VERSION,
        tool=f"plimsoll {__version__}",
        platform=review.platform.metadata.name if review.platform else None,
        read=WasRead(
            source=snapshot.source.form,
            place=snapshot.source.place,
            taken_at=snapshot.taken_at,
            taken_at_is=snapshot.source.taken_at_is,
            objects=len(snapshot),
            counts=snapshot.counts(),
            not_read=[NotRead(kind=kind, reason=why) for kind, why in not_read(review)],
        ),
        summary=_summary(review, pillars),
        affected=[
            Affected(subject=token, root_causes=[_cause(root) for root in roots])
            for token, roots in affected(review).items()
        ],
        findings=[_finding(review, each) for each in review.judgements],
        checks={id_: verdict.value for id_, verdict in review.verdicts.items()},
        not_asked=[check.id for check in review.not_asked],
    )


def _summary(review: Review, pillars: tuple[str, ...]) -> Summary:
    failures = review.failures
    unknown = sum(each.verdict is Verdict.UNKNOWN for each in review.judgements)
    by_severity = dict.fromkeys(("critical", "error", "warning", "info"), 0)
    for each in failures:
        by_severity[str(each.severity)] += 1
    return Summary(
        verdict="fail" if failures else "unknown" if unknown else "pass",
        sentence=sentence(review),
        findings=by_severity,
        root_causes=sum(each.root_cause and not is_risk(each) for each in failures),
        risks=sum(is_risk(each) for each in failures),
        hidden=sum(not each.root_cause for each in failures),
        unknown=unknown,
        waived=sum(each.verdict is Verdict.WAIVED for each in review.judgements),
        pillars=[
            Pillar(
                pillar=one.pillar,
                score=one.score,
                passed=one.passed,
                failed=one.failed,
                unknown=one.unknown,
                waived=one.waived,
                root_causes=one.root_causes,
                worst=None if one.worst is None else str(one.worst),
            )
            for one in summarise(review, pillars)
        ],
    )


def _finding(review: Review, each: Judgement) -> Finding:
    causes = [review.judgements[index] for index in each.hidden_behind]
    waiver = None
    if each.waiver:
        waiver = Acceptance(owner=each.waiver.owner, reason=each.waiver.reason, until=each.waiver.until.isoformat())
    return Finding(
        id=each.check.id,
        pillar=each.check.pillar,
        severity=str(each.severity),
        verdict=each.verdict.value,
        title=each.finding.title,
        object=each.finding.object,
        evidence=list(each.finding.evidence),
        why=each.finding.unknown or each.check.why,
        remedy=remedy(each),
        root_cause=each.root_cause,
        risk=is_risk(each),
        hidden_behind=[_cause(cause) for cause in causes],
        affects=sorted(each.finding.affects),
        waiver=waiver,
    )


def _cause(each: Judgement) -> Cause:
    return Cause(id=each.check.id, object=each.finding.object)


def render(review: Review, pillars: tuple[str, ...]) -> str:
    encoded = msgspec.json.encode(document(review, pillars))
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def schema() -> dict[str, object]:
    """The JSON Schema of the document."""
    return msgspec.json.schema(Document)
