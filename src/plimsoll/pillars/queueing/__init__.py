"""Pillar queueing: does quota mean something, and does it reach the people it was promised to?"""

from __future__ import annotations

from plimsoll.check.model import checks_in
from plimsoll.pillars.queueing import bypass, cohorts, doors, queues

CHECKS = checks_in(bypass, queues, doors, cohorts, pillar="queueing")
