"""Pillar serving: models answer, and grow and shrink with their load."""

from __future__ import annotations

from plimsoll.check.model import checks_in
from plimsoll.pillars.serving import bounds, placement, queries, rollout, scaling, servers

CHECKS = checks_in(scaling, rollout, queries, bounds, servers, placement, pillar="serving")
