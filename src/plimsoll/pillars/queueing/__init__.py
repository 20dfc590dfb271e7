"""Pillar queueing: does quota mean something, and does it reach the people it was promised to?"""

from __future__ import annotations

from plimsoll.check.model import checks_in
from plimsoll.pillars.queueing import (
    admitted,
    bypass,
    capacity,
    cohorts,
    controller,
    doors,
    policy,
    queues,
    workloads,
)

CHECKS = checks_in(controller, queues, doors, cohorts, bypass, capacity, workloads, admitted, policy, pillar="queueing")
