"""`plimsoll cost budget`: what teams spent, will have spent, and may spend."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from plimsoll.cli import cost_options, options
from plimsoll.errors import Exit


@click.command("budget")
@click.option("--month", metavar="YYYY-MM", help="Default: the one that is now, UTC.")
@cost_options.platform
@cost_options.ledger
@cost_options.dividing
@click.option(
    "--fail-on", type=click.Choice(("over", "forecast", "never")), default="never", show_default=True,
    help="Exit 1 where a team spent more than its budget, or is forecast to.",
)  # fmt: skip
@cost_options.output("table", "json", "csv", "markdown")
def command(
    month: str | None,
    platform: Path | None,
    at: str | None,
    split: str | None,
    idle: str | None,
    fail_on: str,
    output: str,
) -> None:
    """Say what teams spent this month, will have spent when it ends, and may spend.

    Budgets are `teams[].budget.monthly` of the declaration. The forecast takes each day that is left as the mean of
    that weekday in the last four weeks.

    \b
    plimsoll cost budget -f platform.yaml
    plimsoll cost budget -f platform.yaml --fail-on forecast
    """
    from plimsoll.cli.progress import bar
    from plimsoll.cost.bill import Query
    from plimsoll.cost.month import budgets, limits
    from plimsoll.report.cost import budget

    declared = options.load_platform(platform)
    asked = cost_options.month(month)
    query = Query(by="team", began=asked.began, ended=asked.ended, **cost_options.divided(declared, split, idle))
    ledger = cost_options.opened(at)
    with bar("billing") as progress:
        found = budgets(ledger, cost_options.tariff(declared), query, limits(declared), progress)
    cost_options.show("budget_", output, found, budget.notes(found))
    failed = any(each.over or (each.will_be_over and fail_on == "forecast") for each in found.teams)
    if failed and fail_on != "never":
        sys.exit(Exit.FINDINGS)
