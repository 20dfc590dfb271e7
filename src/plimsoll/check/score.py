"""From verdicts to one line per pillar."""

from __future__ import annotations

from collections import Counter

import msgspec

from plimsoll.check.model import Severity, Verdict
from plimsoll.check.run import Review

WEIGHT = {Severity.CRITICAL: 8, Severity.ERROR: 4, Severity.WARNING: 2, Severity.INFO: 0}


class PillarSummary(msgspec.Struct, frozen=True, kw_only=True):
    """How one pillar stands.

    score: 0 to 100, the weight of passed and waived checks among those with a verdict;
    None where no check of the pillar has one. `unknown` checks are left out of the score
    and shown beside it: unknown is not pass.
    """

    pillar: str
    score: int | None
    passed: int
    failed: int
    unknown: int
    waived: int
    root_causes: int
    worst: Severity | None


def summarise(review: Review, pillars: tuple[str, ...]) -> tuple[PillarSummary, ...]:
    """One summary per pillar, in the given order."""
    return tuple(_one(review, pillar) for pillar in pillars)


def _one(review: Review, pillar: str) -> PillarSummary:
    checks = [each for each in review.asked if each.pillar == pillar]
    count = Counter(review.verdicts[each.id] for each in checks)
    judged = [each for each in checks if review.verdicts[each.id] is not Verdict.UNKNOWN]
    total = sum(WEIGHT[each.severity] or 1 for each in judged)
    good = sum(WEIGHT[each.severity] or 1 for each in judged if review.verdicts[each.id] is not Verdict.FAIL)
    own = [each for each in review.failures if each.check.pillar == pillar]
    return PillarSummary(
        pillar=pillar,
        score=int(100 * good / total) if total else None,
        passed=count[Verdict.PASS],
        failed=count[Verdict.FAIL],
        unknown=count[Verdict.UNKNOWN],
        waived=count[Verdict.WAIVED],
        root_causes=sum(each.root_cause for each in own),
        worst=max((each.severity for each in own), default=None),
    )
