"""The knowledge: what each pillar of the production checklist asks of a cluster."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from plimsoll.check.model import Check

PILLARS = ("operator", "partition", "queueing", "spot", "serving", "observability", "security")


@cache
def all_checks() -> tuple[Check, ...]:
    """Every check of every pillar, in pillar order. Each pillar's package lists its own as CHECKS."""
    return tuple(check for pillar in PILLARS for check in import_module(f"plimsoll.pillars.{pillar}").CHECKS)
