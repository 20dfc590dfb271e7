"""Exceptions and those who answer for them: CP-13."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj


@check("CP-13", Severity.WARNING, Layer.RISK, reads=(kinds.NAMESPACE,), needs_platform=True,
       remedy="look at the waivers of platform.yaml",
       source="platform.yaml security.review, waivers")  # fmt: skip
def exceptions_are_reviewed(case: Case) -> Iterator[Finding]:
    """No exception has outlived its date, or is longer than the review it waits for.

    A waiver that has ended no longer hides its finding, and somebody said they would have mended it by now. One
    that runs longer than the time between two reviews is a decision nobody will look at again: worth
    knowing.
    """
    platform: Obj = {
        "apiVersion": "plimsoll.dev/v1",
        "kind": "Platform",
        "metadata": {"name": case.platform.metadata.name},
    }
    if case.now is None:
        yield case.unknown(platform, "the snapshot does not say when it was taken, so no date can be judged")
        return
    today, every = case.now.date(), timedelta(seconds=case.platform.security.review.every.seconds)
    owner = case.platform.security.review.owner
    for waiver in case.platform.waivers:
        seen = {
            "check": waiver.check,
            "target": waiver.target,
            "owner": waiver.owner,
            "until": waiver.until.isoformat(),
        }
        if waiver.until < today:
            yield case.finding(
                platform,
                f"The waiver of {waiver.check} for {waiver.target} ended on {waiver.until.isoformat()}",
                seen=seen,
                remedy=f"ask {waiver.owner}: mend it and drop the waiver, or {owner} renews it with a new date",
            )
        elif waiver.until > today + every:
            yield case.finding(
                platform,
                f"The waiver of {waiver.check} for {waiver.target} runs until {waiver.until.isoformat()}, "
                f"past the next review by {owner}",
                seen={**seen, "review every": str(case.platform.security.review.every)},
                severity=Severity.INFO,
                remedy=f"end it within {case.platform.security.review.every} and renew it at the review",
            )
