"""A month of the teams: spent, forecast, budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import date

import msgspec

from plimsoll.cost.bill import Query, bill
from plimsoll.cost.forecast import Basis, forecast, history
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.statement import Statement, statement
from plimsoll.cost.window import Window, day
from plimsoll.spec.model import Platform

Progress = Callable[[str, int, int], None]


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """A team's month, in micro-units. team: "" for GPUs that no team's pod held. budget: None where it has none.

    forecast: of the whole month; what was spent where it is over.
    """

    team: str
    spent: int
    forecast: int
    budget: int | None = None

    @property
    def left(self) -> int | None:
        """What may still be spent; negative where too much was."""
        return None if self.budget is None else self.budget - self.spent

    @property
    def over(self) -> bool:
        return self.budget is not None and self.spent > self.budget

    @property
    def will_be_over(self) -> bool:
        return self.budget is not None and self.forecast > self.budget


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """The teams of a month, the dearest first; they add up to the bill of the month, and so do their forecasts.

    month: the calendar month. found: the bill by team, of as much of it as was metered.
    basis, days: what the forecast rests on, and of how many days.
    """

    month: Window
    found: Statement
    teams: tuple[Team, ...]
    basis: Basis
    days: int

    @property
    def spent(self) -> int:
        return self.found.bill.total

    @property
    def forecast(self) -> int:
        return sum(each.forecast for each in self.teams)


def limits(platform: Platform | None) -> dict[str, int]:
    """The budget of each team that has one, micro-units for a calendar month."""
    teams = platform.teams if platform else ()
    return {team.name: int(team.budget.monthly) for team in teams if team.budget}


def budgets(
    ledger: Ledger, tariff: Tariff, query: Query, budget: Mapping[str, int], progress: Progress | None = None
) -> Budgets:
    """The month that is the query's window. query: how prices are divided; what it cuts by is of no matter.

    While the month is not over, days of the last four weeks are billed one by one: as many queries. Raises
    IncompleteError where no meter watched any of it.
    """
    month = Window(query.began, query.ended)
    query = msgspec.structs.replace(query, by="team", top=0)
    found = statement(ledger, tariff, query, compare=False)
    spent = {line.key: line.cost for line in found.bill.lines}
    seen = found.window
    days = history(seen.ended, found.reach.whole, month.ended)
    daily: dict[str, dict[date, int]] = defaultdict(lambda: dict.fromkeys((day(each.began) for each in days), 0))
    for done, each in enumerate(days):
        if progress:
            progress("days before", done, len(days))
        answer = bill(ledger, tariff, msgspec.structs.replace(query, began=each.began, ended=each.ended))
        for line in answer.lines:
            daily[line.key][day(each.began)] = line.cost
    teams: list[Team] = []
    basis: Basis = "over"
    for name in {*spent, *daily, *budget}:
        expected = forecast(spent.get(name, 0), daily[name], seen, month.ended)
        basis = expected.basis
        team = Team(team=name, spent=spent.get(name, 0), forecast=expected.amount, budget=budget.get(name))
        teams.append(team)
    teams.sort(key=lambda each: (-each.spent, -each.forecast, each.team))
    return Budgets(month=month, found=found, teams=tuple(teams), basis=basis, days=len(days))
