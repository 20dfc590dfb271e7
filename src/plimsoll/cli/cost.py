"""`plimsoll cost`: what GPUs cost, and whom."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import click
from click.core import ParameterSource

from plimsoll.cli import cost_options, options
from plimsoll.cli.verbs import Verbs
from plimsoll.cost.cuts import By
from plimsoll.errors import Exit

VERBS = {
    "job": "What one job cost: its phases, its pods, the work it lost.",
    "inference": "What requests and tokens cost, by model and tenant.",
    "budget": "What teams spent this month, will have spent, and may spend.",
    "backfill": "Write into the ledger what a Prometheus knows of the past.",
    "export": "Write a month as FOCUS data, or the whole ledger as Parquet.",
}
TOP = 30  # lines that people still read
MANY = 10_000  # that programs may be given unasked: a month may have a million jobs


@click.group(
    "cost", cls=Verbs, verbs=VERBS, where="plimsoll.cli.cost_{}:command".format, invoke_without_command=True,
    subcommand_metavar="[VERB [ARGS]...]",
)  # fmt: skip
@click.option(
    "--by", type=click.Choice(get_args(By)), default="team", show_default=True, help="What a line is of."
)  # fmt: skip
@cost_options.window
@cost_options.platform
@cost_options.ledger
@cost_options.dividing
@click.option(
    "-n", "--top", type=click.IntRange(0, 10**9), metavar="COUNT",
    help=f"The dearest lines only, the rest as one; 0 for all. Default: {TOP}; in JSON and CSV {MANY:,}.",
)  # fmt: skip
@click.option(
    "--min-coverage", type=click.FloatRange(0, 1), default=0.0, metavar="RATIO",
    help="Exit 3 where less than this part, 0 to 1, of the held GPU time was measured.",
)  # fmt: skip
@click.option("--compare/--no-compare", default=True, help="With the time before; it takes a second bill.")
@cost_options.output(*cost_options.FORMATS)
@click.pass_context
def command(
    context: click.Context,
    by: By,
    since: str | None,
    between: str | None,
    platform: Path | None,
    at: str | None,
    split: str | None,
    idle: str | None,
    top: int | None,
    min_coverage: float,
    compare: bool,
    output: str,
) -> None:
    """Say what GPUs cost, and whom: lines that add up to the price of the nodes.

    GPU-H are GPU-hours, of which USED-H were busy; EFF is that part of the measured time. IDLE is money for GPUs that
    did nothing, held or not; WASTE adds those that did little or were not there. CHANGE compares with the time before.

    \b
    plimsoll cost -f platform.yaml
    plimsoll cost --by job --since 24h -n 10 -o wide
    plimsoll cost --by node --window 2026-11-01,2026-12-01 -o csv
    """
    if context.invoked_subcommand is not None:
        typed = [context.get_parameter_source(name) for name in context.params]
        if ParameterSource.COMMANDLINE in typed:
            raise click.UsageError(f"options of a verb stand behind it: plimsoll cost {context.invoked_subcommand} …")
        return
    from plimsoll.cost.bill import Query
    from plimsoll.cost.statement import statement
    from plimsoll.report.cost import words

    declared = options.load_platform(platform)
    asked = cost_options.wanted(since, between)
    most = top if top is not None else (MANY if output in ("json", "csv") else TOP)
    query = Query(
        by=by, began=asked.began, ended=asked.ended, top=most, **cost_options.divided(declared, split, idle)
    )  # fmt: skip
    found = statement(cost_options.opened(at), cost_options.tariff(declared), query, compare=compare)
    cost_options.show("", output, found, words.notes(found))
    if found.coverage is not None and found.coverage < min_coverage:
        click.echo(f"error: {found.coverage:.1%} of the held GPU time was measured, not {min_coverage:.1%}", err=True)
        sys.exit(Exit.INCOMPLETE)
