"""Rules as Prometheus takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Severity = Literal["critical", "warning", "info"]
"""critical: somebody is called; warning: somebody looks today; info: somebody knows, and may save money."""
_SPACE = re.compile(r"\s+")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A recording rule."""

    record: str
    expr: str
    labels: Mapping[str, str] = {}

    def plain(self) -> dict[str, Any]:
        labels = {"labels": dict(self.labels)} if self.labels else {}
        return {"record": self.record, "expr": one_line(self.expr), **labels}


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert.

    lasts: how long it must hold, such as 10m. summary: one line, for whoever is called. means: what it says and why it
    matters. runbook: what to do, a step a line.
    """

    name: str
    severity: Severity
    expr: str
    lasts: str = ""
    summary: str
    means: str
    runbook: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        lasting = {"for": self.lasts} if self.lasts else {}
        steps = "\n".join(f"{number}. {step}" for number, step in enumerate(self.runbook, 1))
        return {
            "alert": self.name,
            "expr": one_line(self.expr),
            **lasting,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.means, "runbook": steps},
        }


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Rules that are worked out one after the other, so that a later one may ask for what an earlier one recorded."""

    name: str
    rules: tuple[Record | Alert, ...]

    def plain(self) -> dict[str, Any]:
        return {"name": self.name, "rules": [rule.plain() for rule in self.rules]}


def one_line(expr: str) -> str:
    """An expression without the line breaks it has for whoever reads its source."""
    return _SPACE.sub(" ", expr).strip()
