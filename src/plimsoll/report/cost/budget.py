"""Budgets of a month: the figures that its forms share."""

from __future__ import annotations

from plimsoll.cost.forecast import SAID
from plimsoll.cost.month import Budgets, Team
from plimsoll.cost.window import text
from plimsoll.report.cost import words

HEADS = ("TEAM", "SPENT", "FORECAST", "BUDGET", "LEFT", "USED", "STATE")
TEXTS = (0, 6)


def state(team: Team) -> str:
    if team.over:
        return "over"
    return "will be over" if team.will_be_over else ""


def name(team: Team) -> str:
    return words.plain(team.team) or "(unused, or no team)"


def rows(found: Budgets) -> list[tuple[str, ...]]:
    """The cells under HEADS, the total last."""
    said = [_row(name(team), team) for team in found.teams]
    known = [each.budget for each in found.teams if each.budget is not None]
    whole = Team(team="", spent=found.spent, forecast=found.forecast)
    total = list(_row("TOTAL", whole))
    if known:
        total[3] = words.money(sum(known))
    return [*said, tuple(total)]


def _row(title: str, team: Team) -> tuple[str, ...]:
    money = (words.money(team.spent), words.money(team.forecast))
    if team.budget is None or team.left is None:
        return (title, *money, "", "", "", state(team))
    used = words.percent(team.spent / team.budget if team.budget else None)
    return (title, *money, words.money(team.budget), words.money(team.left), used, state(team))


def sentence(found: Budgets) -> str:
    """What the month is, and what the platform costs in it."""
    until = "" if found.basis == "over" else f", spent until {text(found.found.window.ended)}"
    return f"{words.period(found.month)}{until}: {words.exact(found.spent):,f} {found.found.bill.currency}"


def notes(found: Budgets) -> list[str]:
    """How the forecast is made, then what has to be known beside every bill."""
    said = [] if found.basis == "over" else [f"forecast: spent so far, and {SAID[found.basis]}"]
    if all(each.budget is None for each in found.teams):
        said.append("no team has a budget: teams[].budget.monthly declares one")
    # That the month is not over is said already.
    return said + [each for each in words.notes(found.found) if not each.startswith("meters watched until")]
