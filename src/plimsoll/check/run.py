"""Ask every check, keep unknown apart from pass, explain faults by deeper ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import msgspec

from plimsoll.check.cause import explain
from plimsoll.check.model import Case, Check, Evidence, Finding, Severity, Verdict
from plimsoll.check.waive import Waiver, matching
from plimsoll.kube.objects import Ref
from plimsoll.kube.snapshot import Coverage, Snapshot

Answer = tuple[Check, Finding]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One finding with its verdict and its place among the others."""

    check: Check
    finding: Finding
    verdict: Verdict
    severity: Severity
    root_cause: bool = False
    hidden_behind: tuple[int, ...] = ()  # indices into Review.judgements
    waiver: Waiver | None = None


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: every judgement worth reading, and the verdict of every check that was asked."""

    snapshot: Snapshot
    platform: Any
    judgements: tuple[Judgement, ...]
    verdicts: dict[str, Verdict]  # check id to its verdict
    asked: tuple[Check, ...]
    not_asked: tuple[Check, ...]  # needs a platform.yaml and none was given
    broken: tuple[str, ...] = ()  # ids of checks that failed themselves: our bug

    @property
    def failures(self) -> list[Judgement]:
        return [each for each in self.judgements if each.verdict is Verdict.FAIL]

    @property
    def worst(self) -> Severity | None:
        return max((each.severity for each in self.failures), default=None)


def review(
    snapshot: Snapshot,
    checks: Sequence[Check],
    *,
    platform: Any = None,
    waivers: Iterable[Waiver] = (),
    today: date | None = None,
) -> Review:
    """Judge a snapshot.

    `today` decides whether a waiver has ended; default: the day the snapshot was taken.
    """
    case = Case(snapshot, platform, snapshot.taken_at)
    asked = [each for each in checks if platform is not None or not each.needs_platform]
    found: list[Answer] = []
    verdicts: dict[str, Verdict] = {}
    broken: list[str] = []
    for each in asked:
        answers = _ask(each, case, broken)
        faults = [answer for answer in answers if not answer.unknown]
        verdicts[each.id] = Verdict.FAIL if faults else Verdict.UNKNOWN if answers else Verdict.PASS
        found += [(each, answer) for answer in answers]
    today = today or (snapshot.taken_at.date() if snapshot.taken_at else None)
    judgements = _judge(found, tuple(waivers), today)
    for id_ in {each.check.id for each in judgements}:
        own = {each.verdict for each in judgements if each.check.id == id_}
        if Verdict.FAIL not in own and Verdict.WAIVED in own:
            verdicts[id_] = Verdict.WAIVED
    return Review(
        snapshot=snapshot,
        platform=platform,
        judgements=judgements,
        verdicts=verdicts,
        asked=tuple(asked),
        not_asked=tuple(each for each in checks if each not in asked),
        broken=tuple(broken),
    )


def _ask(each: Check, case: Case, broken: list[str]) -> list[Finding]:
    """A check's answers; one unknown finding where it may not be asked or saw only a part."""
    snapshot = case.snapshot
    for kind in each.whole:
        if snapshot.coverage(kind) is not Coverage.WHOLE:
            return [_unknown(each, kind, f"needs every {kind.kind}: {snapshot.why_unread(kind)}")]
    for kind in each.reads:
        if snapshot.coverage(kind) is Coverage.UNREAD:
            return [_unknown(each, kind, f"needs {kind.kind} objects: {snapshot.why_unread(kind)}")]
    try:
        answers = list(each.ask(case))
    except Exception as error:  # one broken check must not end the review; the rim turns `broken` into exit 5
        broken.append(each.id)
        kind = (each.reads + each.whole)[0]
        return [_unknown(each, kind, f"the check itself failed ({type(error).__name__}: {error}); please report this")]
    partial = [kind for kind in each.reads if snapshot.coverage(kind) is Coverage.PARTIAL]
    if not answers and partial:
        return [
            _unknown(each, partial[0], f"nothing found, but {snapshot.why_unread(partial[0])} of {partial[0].kind}")
        ]
    return answers


def _unknown(each: Check, kind: Any, why: str) -> Finding:
    version = f"{kind.group}/{kind.versions[0]}" if kind.group else kind.versions[0]
    return Finding(
        object=Ref(version, kind.kind, "", ""), title=each.title, evidence=(Evidence("coverage", why),), unknown=why
    )


def _judge(
    found: list[tuple[Check, Finding]], waivers: tuple[Waiver, ...], today: date | None
) -> tuple[Judgement, ...]:
    def severity(pair: tuple[Check, Finding]) -> Severity:
        return pair[1].severity if pair[1].severity is not None else pair[0].severity

    found = sorted(found, key=lambda pair: (bool(pair[1].unknown), -severity(pair), pair[0].id, str(pair[1].object)))
    faults = [index for index, (_, finding) in enumerate(found) if not finding.unknown]
    roots = explain(
        [
            (finding.layer if finding.layer is not None else check.layer, severity((check, finding)), finding.affects)
            for check, finding in (found[index] for index in faults)
        ]
    )
    behind = {index: tuple(faults[root] for root in roots[place]) for place, index in enumerate(faults)}
    waived = {index: matching(waivers, found[index][0].id, found[index][1].object, today) for index in faults}
    judged = []
    for index, (check, finding) in enumerate(found):
        causes = behind.get(index, ())
        waiver = waived.get(index)
        if waiver is None and causes and all(waived[cause] for cause in causes):
            waiver = waived[causes[0]]  # who accepts a cause accepts what follows from it
        judged.append(
            Judgement(
                check=check,
                finding=finding,
                verdict=Verdict.UNKNOWN if finding.unknown else Verdict.WAIVED if waiver else Verdict.FAIL,
                severity=severity((check, finding)),
                root_cause=not finding.unknown and not causes,
                hidden_behind=causes,
                waiver=waiver,
            )
        )
    return tuple(judged)
