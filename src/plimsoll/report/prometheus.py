"""Prometheus text exposition, for the node exporter's textfile collector or a push gateway."""

from __future__ import annotations

from collections import Counter

from plimsoll.check.model import Severity, Verdict
from plimsoll.check.run import Judgement, Review
from plimsoll.check.score import summarise
from plimsoll.report.view import is_risk


def render(review: Review, pillars: tuple[str, ...]) -> str:
    out: list[str] = []
    _family(out, "plimsoll_pillar_score", "Share of the weight of judged checks that passed, 0 to 100.")
    for one in summarise(review, pillars):
        if one.score is not None:
            _sample(out, "plimsoll_pillar_score", one.score, pillar=one.pillar)
    _family(out, "plimsoll_checks", "Checks by verdict.")
    verdicts = Counter((check.pillar, review.verdicts[check.id]) for check in review.asked)
    for pillar in pillars:
        for verdict in Verdict:
            _sample(out, "plimsoll_checks", verdicts[pillar, verdict], pillar=pillar, verdict=verdict.value)
    _family(out, "plimsoll_findings", "Failed findings by severity and role: root_cause, hidden behind one, or risk.")
    found = Counter((each.check.pillar, each.severity, _role(each)) for each in review.failures)
    for pillar in pillars:
        for severity in Severity:
            for role in ("root_cause", "hidden", "risk"):
                labels = {"pillar": pillar, "severity": str(severity), "role": role}
                _sample(out, "plimsoll_findings", found[pillar, severity, role], **labels)
    _family(out, "plimsoll_root_cause", "1 for every object that a root cause was found on.")
    for each in review.failures:
        if each.root_cause and not is_risk(each):
            ref = each.finding.object
            labels = {"check": each.check.id, "severity": str(each.severity), "pillar": each.check.pillar}
            _sample(out, "plimsoll_root_cause", 1, **labels, kind=ref.kind, namespace=ref.namespace, name=ref.name)
    if review.snapshot.taken_at:
        _family(out, "plimsoll_snapshot_timestamp_seconds", "When the judged snapshot was taken.")
        _sample(out, "plimsoll_snapshot_timestamp_seconds", review.snapshot.taken_at.timestamp())
    return "\n".join(dict.fromkeys(out)) + "\n"  # a series may stand only once


def _role(each: Judgement) -> str:
    return "risk" if is_risk(each) else "root_cause" if each.root_cause else "hidden"


def _family(out: list[str], name: str, help_: str) -> None:
    out += [f"# HELP {name} {help_}", f"# TYPE {name} gauge"]


def _sample(out: list[str], series: str, value: float, /, **labels: str) -> None:
    escaped = (f'{key}="{_escape(text)}"' for key, text in labels.items())
    body = ",".join(escaped)
    out.append(f"{series}{{{body}}} {value:g}" if body else f"{series} {value:.3f}")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
