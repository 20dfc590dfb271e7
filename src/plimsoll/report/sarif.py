"""SARIF 2.1.0, for code-scanning dashboards.

A failed finding is a result of kind `fail`, one that could not be judged of kind `open`,
a waived one carries an accepted suppression.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import msgspec

from plimsoll import __version__
from plimsoll.check.model import Check, Severity, Verdict
from plimsoll.check.run import Judgement, Review
from plimsoll.report.view import as_shell, remedy, shown

_LEVEL = {Severity.CRITICAL: "error", Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
# What GitHub-style viewers sort by; the bands are theirs (over 9 critical, 7 high, 4 medium).
_SECURITY_SEVERITY = {Severity.CRITICAL: "9.5", Severity.ERROR: "8.0", Severity.WARNING: "5.0", Severity.INFO: "2.0"}


def render(review: Review, _pillars: tuple[str, ...]) -> str:
    checks = list(review.asked)
    place = {check.id: index for index, check in enumerate(checks)}
    run = {
        "tool": {"driver": {"name": "plimsoll", "version": __version__, "rules": [_rule(check) for check in checks]}},
        "results": [_result(review, each, place[each.check.id]) for each in review.judgements],
        "columnKind": "unicodeCodePoints",
    }
    document = {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _rule(check: Check) -> dict[str, Any]:
    return {
        "id": check.id,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": check.why},
        "help": {"text": as_shell(check.remedy)},
        "defaultConfiguration": {"level": _LEVEL[check.severity]},
        "properties": {"tags": [check.pillar], "security-severity": _SECURITY_SEVERITY[check.severity]},
    }


def _result(review: Review, each: Judgement, rule: int) -> dict[str, Any]:
    finding = each.finding
    seen = "; ".join(f"{item.path} = {shown(item.value)}" for item in finding.evidence)
    known = each.verdict is not Verdict.UNKNOWN
    behind = [review.judgements[index].check.id for index in each.hidden_behind]
    result: dict[str, Any] = {
        "ruleId": each.check.id,
        "ruleIndex": rule,
        "kind": "fail" if known else "open",
        "level": _LEVEL[each.severity] if known else "none",
        "message": {"text": f"{finding.title}. Seen: {seen or finding.unknown}. Do: {remedy(each)}"},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": _uri(review.snapshot.source.place)}},
                "logicalLocations": [{"fullyQualifiedName": str(finding.object), "kind": "resource"}],
            }
        ],
        "partialFingerprints": {"plimsoll/v1": f"{each.check.id}:{finding.object}"},
        "properties": {"rootCause": each.root_cause, "hiddenBehind": behind, "pillar": each.check.pillar},
    }
    if each.waiver:
        reason = f"{each.waiver.reason} (owner {each.waiver.owner}, until {each.waiver.until})"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reason}]
    return result


def _uri(place: str) -> str:
    return quote(place) or "cluster"
