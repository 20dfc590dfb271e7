"""Pillar operator: what the declaration asks of a cluster."""

from __future__ import annotations

from plimsoll.plan.model import Part
from plimsoll.spec.model import Platform


def render(platform: Platform) -> Part:  # noqa: ARG001
    """Nothing yet."""
    return Part()
