"""Budgets for spreadsheets."""

from __future__ import annotations

from plimsoll.cost.month import Budgets
from plimsoll.cost.window import text
from plimsoll.report.cost import budget
from plimsoll.report.cost.csv import sheet
from plimsoll.report.cost.json import money

HEADS = ("team", "from", "until", "metered_until", "currency", "spent", "forecast", "budget", "left", "state")


def render(found: Budgets) -> str:
    month, bill = found.month, found.found.bill
    when = (text(month.began), text(month.ended), text(found.found.window.ended))
    rows = [
        (each.team, *when, bill.currency, *map(money, (each.spent, each.forecast, each.budget, each.left)),
         budget.state(each))
        for each in found.teams
    ]  # fmt: skip
    return sheet(HEADS, rows)
