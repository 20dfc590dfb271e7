"""Exceptions somebody answers for: an owner, a reason and an end date."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec

from plimsoll.kube.objects import Ref


class Waiver(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted finding.

    target: `kind/name`, `kind/namespace/name`, `namespace/NAME` (everything in it) or `*`.
    until: the last day on which it holds.
    """

    check: str
    target: str
    owner: str
    reason: str
    until: date

    def covers(self, ref: Ref) -> bool:
        kind, _, rest = self.target.partition("/")
        if self.target == "*":
            return True
        if (
            kind.lower() == "namespace"
            and rest
            and rest in (ref.namespace, ref.name if ref.kind == "Namespace" else "")
        ):
            return True
        own = f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name
        return kind.lower() == ref.kind.lower() and rest in (own, ref.name)


def matching(waivers: Iterable[Waiver], check: str, ref: Ref, today: date | None) -> Waiver | None:
    """The waiver that covers a finding today, or None. Without a date no waiver can be said to hold."""
    for waiver in waivers:
        if waiver.check == check and waiver.covers(ref) and today is not None and today <= waiver.until:
            return waiver
    return None
