"""A month for finance and team leads: everything that its report says, each part of which adds up to the bill."""

from __future__ import annotations

from statistics import median

import msgspec

from plimsoll.cost.bill import Line, Query
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lost import lost
from plimsoll.cost.month import Budgets, Progress, budgets, limits
from plimsoll.cost.price import Tariff
from plimsoll.cost.saved import Saved, saved
from plimsoll.cost.served import Inference, inference
from plimsoll.cost.statement import Statement, statement
from plimsoll.cost.waits import Wait, waits
from plimsoll.cost.window import Window, month_of
from plimsoll.spec.model import Platform

_WORKLOADS = 500  # that are looked at for the biggest spenders and wastes


class Monthly(msgspec.Struct, frozen=True, kw_only=True):
    """A month. budgets: by team, with the bill of the month. before: by team, of the month before; None where the
    ledger does not hold all of it.

    pools, workloads: the same bill by pool, and by workload, with the dearest alone.
    lost: by team, what pods cost that were pushed out; since their last checkpoint where `checkpoint` is not 0.
    """

    platform: str
    budgets: Budgets
    before: Statement | None
    pools: Statement
    workloads: Statement
    inference: Inference
    waits: tuple[Wait, ...]
    spot: Saved
    lost: dict[str, int]
    checkpoint: int

    @property
    def found(self) -> Statement:
        return self.budgets.found

    @property
    def total(self) -> int:
        return self.found.bill.total

    def earlier(self, team: str) -> int | None:
        """What a team spent in the month before; None where that is not known."""
        if self.before is None:
            return None
        return next((line.cost for line in self.before.bill.lines if line.key == team), 0)

    @property
    def fleet_median(self) -> float | None:
        """Of the efficiency of the teams of which anything was measured, 0 to 1."""
        known = [line.used_ms / line.known_ms for line in self.found.bill.lines if line.key and line.known_ms]
        return min(median(known), 1.0) if known else None

    def line(self, team: str) -> Line:
        return next((line for line in self.found.bill.lines if line.key == team), Line(key=team, cost=0))


def monthly(
    ledger: Ledger, tariff: Tariff, query: Query, platform: Platform | None, progress: Progress | None = None
) -> Monthly:
    """The report of the calendar month that is the query's window. query: how prices are divided.

    Raises IncompleteError where no meter watched any of it.
    """
    teams = budgets(ledger, tariff, query, limits(platform), progress)
    window, reach = teams.found.window, teams.found.reach
    said = progress or (lambda _what, _done, _total: None)

    def of(part: Query, at: int) -> Statement:
        said(f"by {part.by}", at, 6)
        return statement(ledger, tariff, part, compare=False)

    inside = msgspec.structs.replace(query, began=window.began, ended=window.ended)
    last = month_of(teams.month.began - 1)
    before = msgspec.structs.replace(query, by="team", top=0, began=last.began, ended=last.ended)
    whole = reach.first <= last.began
    checkpoint = int(platform.spot.checkpoint.interval) if platform else 0
    return Monthly(
        platform=platform.metadata.name if platform else "",
        budgets=teams,
        before=of(before, 1) if whole else None,
        pools=of(msgspec.structs.replace(inside, by="pool", top=0), 2),
        workloads=of(msgspec.structs.replace(inside, by="workload", top=_WORKLOADS), 3),
        inference=_inference(ledger, tariff, inside, said),
        waits=tuple(waits(ledger, window)),
        spot=saved(ledger, tariff, window, platform),
        lost=lost(ledger, tariff, msgspec.structs.replace(inside, by="team", top=0), checkpoint=checkpoint),
        checkpoint=checkpoint,
    )


def _inference(ledger: Ledger, tariff: Tariff, query: Query, progress: Progress) -> Inference:
    progress("by model", 4, 6)
    return inference(ledger, tariff, query)


def weekly(micro: int, window: Window) -> int:
    """An amount of a window as one per week."""
    return round(micro * 7 * 86_400_000 / window.span)
