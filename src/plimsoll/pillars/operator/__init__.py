"""Pillar operator."""

from __future__ import annotations

from plimsoll.check.model import Check

CHECKS: tuple[Check, ...] = ()
