"""A declaration that changes nothing in the cluster it was made from: which pillars are already as it says.

What Plimsoll applied, it recorded; that record, corrected by what has changed since, says more than any cluster shows.
Pillars that would change something are left to whoever keeps them now: `cluster.manage` does not name them, until
somebody adds them and sees by `plimsoll plan` what that would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec.structs import replace

from plimsoll.kube import kinds
from plimsoll.kube.objects import MANAGER, labels, text
from plimsoll.kube.snapshot import Snapshot
from plimsoll.pillars import PILLARS
from plimsoll.pillars.render import render
from plimsoll.plan import record
from plimsoll.plan.charts import Charts
from plimsoll.plan.make import Source, plan
from plimsoll.plan.model import MANAGED_BY, PILLAR
from plimsoll.plan.result import Action, Plan
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform
from plimsoll.spec.problems import SpecError

Progress = Callable[[str, int, int], None]


class Adopted(msgspec.Struct, frozen=True):
    """platform: with `cluster.manage` set. recorded: whether it is what was last applied. left: by pillar, why."""

    platform: Platform
    recorded: bool
    left: dict[str, str]


def recorded(snapshot: Snapshot, name: str = "") -> Platform | None:
    """The declaration last applied to the cluster; None if there is none, or several and none of that name."""
    found = []
    for each in snapshot.list(kinds.CONFIG_MAP):
        marks = labels(each)
        if marks.get(MANAGED_BY) == MANAGER and marks.get(PILLAR) == record.PILLAR_VALUE:
            try:
                found.append(load(record.read(each).declaration, text(each, "metadata", "name")))
            except SpecError:
                continue
    named = [each for each in found if name in ("", each.metadata.name)]
    return named[0] if len(named) == 1 else None


def adopt(
    found: Platform, last: Platform | None, source: Source, charts: Charts, progress: Progress | None = None
) -> Adopted:
    """The declaration that leaves the most pillars to Plimsoll without a change.

    found: read off the cluster. last: recorded there.
    """
    declared = last or found
    managed, left = _managed(declared, source, charts, progress)
    for other in (_corrected(last, found), found) if last is not None and left else ():
        tried, others = _managed(other, source, charts, progress)
        if len(others) < len(left):
            declared, managed, left = other, tried, others
    return Adopted(managed, declared is last, left)


def _managed(
    platform: Platform, source: Source, charts: Charts, progress: Progress | None
) -> tuple[Platform, dict[str, str]]:
    """The declaration with the pillars that would change nothing, and by each other pillar what it would first.

    What a pillar asks for depends on whom it finds beside it: it is asked again until all that stay change nothing.
    """
    left: dict[str, str] = {}
    while True:
        kept = tuple(pillar for pillar in PILLARS if pillar not in left)
        managed = replace(platform, cluster=replace(platform.cluster, manage=kept))
        more = dict(_left(managed, source, charts, progress))
        if not more:
            return managed, left
        left |= more


def _left(managed: Platform, source: Source, charts: Charts, progress: Progress | None) -> Iterable[tuple[str, str]]:
    """Pillars that would change something, and what first."""
    pillars = managed.cluster.manage
    for number, pillar in enumerate(pillars):
        if progress:
            progress(pillar, number, len(pillars))
        would = plan(managed, render(managed, (pillar,)), source, charts)
        if would.changes:
            yield pillar, _said(would)


def _said(would: Plan) -> str:
    first = would.changes[0]
    more = f" and {len(would.changes) - 1} more" if len(would.changes) > 1 else ""
    if first.action is Action.UNKNOWN:
        return f"perhaps change {first.ref}{more}"
    return f"{first.action} {first.ref}{more}"


def _corrected(last: Platform, found: Platform) -> Platform:
    """What was last applied, with what the cluster's queues say now."""
    now = {team.name: team for team in found.teams}
    teams = tuple(
        replace(team, quota=now[team.name].quota, borrow=now[team.name].borrow, lend=now[team.name].lend,
                weight=now[team.name].weight)
        if team.name in now
        else team
        for team in last.teams
    )  # fmt: skip
    return replace(last, teams=teams)
