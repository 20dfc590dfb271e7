"""What all causes together waste a day: money that several of them are about counts once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from plimsoll.diagnose.answer import Diagnosis, Finding


def per_day(answer: Diagnosis) -> int:
    """Micro-units a day of the root causes.

    Of several causes of one workload and its GPUs the dearest counts; of a team what its workloads do not explain; of
    nodes and queues, which have the same free GPUs, the larger sum.
    """
    held: dict[str, int] = defaultdict(int)  # by workload
    free: dict[str, dict[str, int]] = {"node": defaultdict(int), "queue": defaultdict(int)}
    teams: dict[str, int] = defaultdict(int)
    team_of: dict[str, str] = {}
    for each in answer.roots:
        wasted, own = each.wasted_per_day or 0, str(each.subject)
        kind = each.subject.kind
        if kind in free:
            free[kind][own] = max(free[kind][own], wasted)
        elif kind == "team":
            teams[own] = max(teams[own], wasted)
        else:
            own = _token(each, "workload/") or own
            held[own] = max(held[own], wasted)
            team_of.setdefault(own, _token(each, "team/"))
    for own, team in team_of.items():
        teams[team] -= held[own]
    unexplained = sum(max(wasted, 0) for wasted in teams.values())
    return sum(held.values()) + unexplained + max(sum(each.values()) for each in free.values())


def _token(of: Finding, kind: str) -> str:
    """What else a finding is about; "" where it is about none of that kind."""
    return min((token for token in of.tokens if token.startswith(kind)), default="")


def total(findings: Iterable[Finding]) -> int:
    """The sum of findings that are about different things."""
    return sum(each.wasted_per_day or 0 for each in findings)
