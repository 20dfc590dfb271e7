"""Pillar spot: cheap nodes that may go at any moment, used only by what can stand it."""

from __future__ import annotations

from plimsoll.check.model import checks_in
from plimsoll.pillars.spot import choice, drain, jobs, serving

CHECKS = checks_in(serving, drain, jobs, choice, pillar="spot")
