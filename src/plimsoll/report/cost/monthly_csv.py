"""A month for spreadsheets: one row per team, with its budget and every class of money; they add up to the bill."""

from __future__ import annotations

from plimsoll.cost.lines import COST
from plimsoll.cost.monthly import Monthly
from plimsoll.cost.window import text
from plimsoll.report.cost import budget, words
from plimsoll.report.cost.csv import sheet
from plimsoll.report.cost.json import money

HEADS = (
    "team", "from", "until", "metered_until", "currency", "spent", *COST, "starting", "waste", "lost", "last_month",
    "forecast", "budget", "left", "state", "gpu_hours", "held_hours", "measured_hours", "used_hours", "efficiency",
)  # fmt: skip


def render(found: Monthly) -> str:
    month = found.budgets.month
    when = (text(month.began), text(month.ended), text(found.found.window.ended), found.found.bill.currency)
    rows = []
    for team in found.budgets.teams:
        line = found.line(team.team)
        classes = (*(getattr(line, name) for name in COST), line.starting, words.waste(line))
        given = (found.earlier(team.team), team.forecast, team.budget, team.left)
        rows.append((
            team.team, *when, *map(words.exact, (team.spent, *classes, found.lost.get(team.team, 0))),
            *map(money, given), budget.state(team),
            *(f"{words.in_hours(each):.6f}" for each in (line.gpu_ms, line.held_ms, line.known_ms, line.used_ms)),
            words.ratio(words.efficiency(line)),
        ))  # fmt: skip
    return sheet(HEADS, rows)
