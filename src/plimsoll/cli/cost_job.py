"""`plimsoll cost job NAME`: one job, from its queue to its end."""

from __future__ import annotations

from pathlib import Path

import click

from plimsoll.cli import cost_options, options


@click.command("job")
@click.argument("name")
@click.option("--uid", default="", help="Of the job, where several had this name; default: the newest.")
@cost_options.platform
@cost_options.ledger
@click.option(
    "--split", type=click.Choice(("measured", "requested", "even")),
    help="How sharers of a GPU divide its price. Default: as declared.",
)  # fmt: skip
@cost_options.output("table", "json", "markdown")
def command(name: str, uid: str, platform: Path | None, at: str | None, split: str | None, output: str) -> None:
    """Say what one job cost: its phases, its pods, the work it lost.

    NAME is namespace/name, or a name that only one namespace has; a pod that belongs to no job counts as one. A pod
    that was pushed out lost what it did since its last checkpoint, where the declaration says how often those are.

    \b
    plimsoll cost job research/train-7 -f platform.yaml
    """
    from plimsoll.cost.job import find, job
    from plimsoll.report.cost import job as words

    declared = options.load_platform(platform)
    ledger = cost_options.opened(at)
    how = cost_options.divided(declared, split, None)["split"]
    checkpoint = int(declared.spot.checkpoint.interval) if declared else 0
    found = job(ledger, cost_options.tariff(declared), find(ledger, name, uid), split=how, checkpoint=checkpoint)
    cost_options.show("job_", output, found, words.notes(found))
