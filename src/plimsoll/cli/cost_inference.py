"""`plimsoll cost inference`: what requests and tokens cost."""

from __future__ import annotations

from pathlib import Path

import click

from plimsoll.cli import cost_options, options


@click.command("inference")
@cost_options.window
@cost_options.platform
@cost_options.ledger
@click.option(
    "--split", type=click.Choice(("measured", "requested", "even")),
    help="How sharers of a GPU divide its price. Default: as declared.",
)  # fmt: skip
@cost_options.output("table", "json", "csv", "markdown")
def command(
    since: str | None, between: str | None, platform: Path | None, at: str | None, split: str | None, output: str
) -> None:
    """Say what requests and tokens cost, by model and tenant.

    COST is the price of the engines for the work of these tokens; what they cost while they did nothing stands beside
    it as IDLE, divided as COST is. What a prompt and an output token weigh is fitted to how busy engines were, where
    that tells.

    \b
    plimsoll cost inference -f platform.yaml --since 30d
    """
    from plimsoll.cost.bill import Query
    from plimsoll.cost.served import inference
    from plimsoll.report.cost import inference as words

    declared = options.load_platform(platform)
    asked = cost_options.wanted(since, between)
    how = cost_options.divided(declared, split, None)["split"]
    query = Query(by="served", began=asked.began, ended=asked.ended, split=how)
    found = inference(cost_options.opened(at), cost_options.tariff(declared), query)
    cost_options.show("inference_", output, found, words.notes(found))
