"""Pillar operator: the GPU Operator is installed, and every GPU node really offers its GPUs."""

from __future__ import annotations

from plimsoll.check.model import Check, checks_in
from plimsoll.pillars.operator.checks import (
    capacity,
    cuda,
    discovery,
    dra,
    driver,
    expected,
    features,
    hygiene,
    monitoring,
    node,
    operator,
    pending,
    placement,
    plugin,
    policy,
    release,
    runtime,
    toolkit,
    upgrade,
    validator,
    workloads,
)

CHECKS: tuple[Check, ...] = checks_in(
    operator,
    policy,
    discovery,
    features,
    placement,
    driver,
    upgrade,
    cuda,
    toolkit,
    runtime,
    plugin,
    capacity,
    expected,
    pending,
    workloads,
    hygiene,
    validator,
    dra,
    monitoring,
    node,
    release,
    pillar="operator",
)
