"""Pillar operator: the GPU Operator and the driver it keeps."""

from __future__ import annotations

from typing import Literal

import msgspec

from plimsoll.spec.section import Section
from plimsoll.spec.values import Date, Duration, Name, Portion, Version, default


class Driver(Section, frozen=True, kw_only=True):
    """The NVIDIA driver of every node.

    version: the driver branch and patch. kernel_module: which of its kernel modules; `auto` lets the driver choose.
    managed_by: who installs it: the operator, the node image (host) or the cloud's own installer (cloud).
    """

    version: Version = "595.91.07"
    managed_by: Literal["operator", "host", "cloud"] = "operator"
    kernel_module: Literal["auto", "open", "proprietary"] = "auto"


class Drain(Section, frozen=True, kw_only=True):
    """How a node is emptied before its driver changes.

    timeout: how long pods may take to leave; then the upgrade of that node stops.
    """

    timeout: Duration = default(Duration.read("15m"))


class Freeze(Section, frozen=True, kw_only=True):
    """Days on which nothing is upgraded, both included."""

    from_: Date = msgspec.field(name="from")
    until: Date


class Upgrades(Section, frozen=True, kw_only=True):
    """How driver upgrades roll through the nodes.

    max_unavailable: nodes that may be out at a time. freeze: when none may be.
    """

    max_unavailable: Portion = default(Portion("10%"))
    drain: Drain = msgspec.field(default_factory=Drain)
    freeze: tuple[Freeze, ...] = ()


class Operator(Section, frozen=True, kw_only=True):
    """The GPU Operator.

    version: of its chart. namespace: where it is installed.
    """

    version: Version = "v26.7.0"
    namespace: Name = "gpu-operator"
    driver: Driver = Driver()
    upgrades: Upgrades = msgspec.field(default_factory=Upgrades)
