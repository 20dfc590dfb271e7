"""Exceptions somebody answers for: an owner, a reason and an end date."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from plimsoll.kube.objects import Ref
from plimsoll.spec.waivers import Waiver

__all__ = ["Waiver", "covers", "matching"]


def covers(waiver: Waiver, ref: Ref) -> bool:
    """Whether a waiver's target means this object."""
    kind, _, rest = waiver.target.partition("/")
    if waiver.target == "*":
        return True
    if kind.lower() == "namespace" and rest and rest in (ref.namespace, ref.name if ref.kind == "Namespace" else ""):
        return True
    own = f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name
    return kind.lower() == ref.kind.lower() and rest in (own, ref.name)


def matching(waivers: Iterable[Waiver], check: str, ref: Ref, today: date | None) -> Waiver | None:
    """The waiver that covers a finding today, or None. Without a date no waiver can be said to hold."""
    for waiver in waivers:
        if waiver.check == check and covers(waiver, ref) and today is not None and today <= waiver.until:
            return waiver
    return None
