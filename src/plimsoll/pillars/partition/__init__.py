"""Pillar partition: MIG, time-slicing and MPS.

change       where a node stands in a change of its MIG layout
layouts      the layout its label asks for: does it exist, does it fit, what does it give
declared     nodes that differ from platform.yaml
pluginconfig the device plugin's configuration file; sharestate: nodes that do not follow it
workloads    who asks for shared GPUs and how
"""

from __future__ import annotations

from plimsoll.check.model import Check, checks_in
from plimsoll.pillars.partition.checks import clients, declaration, layout, mig, reach, sharing, tenants

CHECKS: tuple[Check, ...] = checks_in(mig, layout, declaration, clients, sharing, reach, tenants, pillar="partition")
