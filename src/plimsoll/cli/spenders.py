"""`plimsoll spenders`: where to look first."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from plimsoll.cli import cost_options, options
from plimsoll.cost.cuts import By


@click.command("spenders")
@click.option("-n", "--top", type=click.IntRange(1, 10**9), default=10, show_default=True, help="As many ranks.")
@click.option("--by", type=click.Choice(get_args(By)), default="team", show_default=True, help="Who spends.")
@cost_options.window
@cost_options.platform
@cost_options.ledger
@cost_options.dividing
@cost_options.output("table", "json", "csv", "markdown")
def command(
    top: int,
    by: By,
    since: str | None,
    between: str | None,
    platform: Path | None,
    at: str | None,
    split: str | None,
    idle: str | None,
    output: str,
) -> None:
    """Rank the biggest spenders, and say what most of their unused money is.

    TREND compares with the time before. JSON and CSV are those of `plimsoll cost`.

    \b
    plimsoll spenders -f platform.yaml
    plimsoll spenders --by workload --since 30d -n 20
    """
    from plimsoll.cost.bill import Query
    from plimsoll.cost.statement import statement
    from plimsoll.report.cost import words

    declared = options.load_platform(platform)
    asked = cost_options.wanted(since, between)
    query = Query(by=by, began=asked.began, ended=asked.ended, top=top, **cost_options.divided(declared, split, idle))
    found = statement(cost_options.opened(at), cost_options.tariff(declared), query)
    cost_options.show("spenders_" if output in ("table", "markdown") else "", output, found, words.notes(found))
