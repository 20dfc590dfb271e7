"""How long something has been so, on the snapshot's own clock."""

from __future__ import annotations

from datetime import timedelta

from plimsoll.check.model import Case
from plimsoll.units import moment

PATIENCE = timedelta(minutes=10)  # schedulers, autoscalers and operators need minutes; sooner is no fault


def lasting(case: Case, since: object, least: timedelta = PATIENCE) -> bool:
    """Whether something that began at `since` (RFC 3339) has lasted that long; an unknown age counts as long."""
    began = moment(since)
    return case.now is None or began is None or case.now - began >= least


def recent(case: Case, when: object, most: timedelta) -> bool:
    """Whether something happened within that time before the snapshot; an unknown age counts as recent."""
    at = moment(when)
    return case.now is None or at is None or case.now - at <= most
