"""Pillar security: who may use which GPU, with what code, and what that code can reach."""

from __future__ import annotations

from plimsoll.check.model import checks_in
from plimsoll.pillars.security import access, images, namespaces, pods, review, versions

CHECKS = checks_in(namespaces, access, pods, images, versions, review, pillar="security")
