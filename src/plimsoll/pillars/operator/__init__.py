"""Pillar operator: the GPU Operator is installed, and every GPU node really offers its GPUs."""

from __future__ import annotations

from plimsoll.check.model import Check, checks_in
from plimsoll.pillars.operator.checks import (
    capacity,
    dra,
    expected,
    hygiene,
    monitoring,
    node,
    pending,
    plugin,
    validator,
    workloads,
)

CHECKS: tuple[Check, ...] = checks_in(
    plugin, capacity, expected, pending, workloads, hygiene, validator, dra, monitoring, node, pillar="operator"
)
