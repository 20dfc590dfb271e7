"""A month as one self-contained HTML page: readable without JavaScript, prints well, follows light and dark."""

from __future__ import annotations

from typing import NamedTuple

from plimsoll.cost.lines import COST
from plimsoll.cost.monthly import Monthly
from plimsoll.cost.statement import added
from plimsoll.report.cost import budget, monthly, words
from plimsoll.report.templating import filled


class Slice(NamedTuple):
    """A class of money as a part of the bar. percent: of the bill."""

    name: str
    cost: str
    percent: float


class Gauge(NamedTuple):
    """A team's budget as a bar. spent, forecast: per cent of the budget, at most 100."""

    team: str
    spent: float
    forecast: float
    said: str
    state: str


def render(found: Monthly) -> str:
    return filled(
        "month.html",
        alarm=any(each.over for each in found.budgets.teams),
        title=monthly.title(found),
        sentence=monthly.sentence(found),
        period=words.period(found.found.window),
        slices=_slices(found),
        gauges=_gauges(found),
        sections=monthly.sections(found),
        notes=monthly.notes(found),
    )


def _slices(found: Monthly) -> list[Slice]:
    whole = added(found.found.lines, "")
    money = {name: int(getattr(whole, name)) for name in COST}
    return [
        Slice(name, words.money(cost), round(100 * cost / found.total, 2))
        for name, cost in money.items()
        if cost and found.total
    ]


def _gauges(found: Monthly) -> list[Gauge]:
    made = []
    for team in found.budgets.teams:
        if team.budget is None:
            continue
        spent, whole = (
            round(min(100.0, 100 * part / team.budget), 2) if team.budget else 100.0
            for part in (team.spent, team.forecast)
        )
        said = f"{words.money(team.spent)} of {words.money(team.budget)}"
        tone = "error" if team.over else "warning" if team.will_be_over else "ok"
        made.append(Gauge(budget.name(team), spent, whole, said, tone))
    return made
