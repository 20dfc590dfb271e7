"""Pillar observability: what GPUs do is measured, collected, and belongs to somebody."""

from __future__ import annotations

from plimsoll.check.model import checks_in
from plimsoll.pillars.observability import collection, exporter

CHECKS = checks_in(exporter, collection, pillar="observability")
