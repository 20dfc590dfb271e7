"""`plimsoll plan`: what would change, whom it meets, what it costs."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

import click

from plimsoll.cli import options
from plimsoll.errors import Exit
from plimsoll.pillars import PILLARS

FORMATS = ("table", "json", "markdown")


@click.command("plan")
@click.argument("snapshot", required=False, type=click.Path(path_type=Path))
@options.declaration
@options.cluster
@options.charts
@click.option("--pillar", "pillars", multiple=True, type=click.Choice(PILLARS), help="Only what this pillar asks for.")
@click.option(
    "-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True, help="Form of the plan."
)
@options.notes
@click.option("--exit-code", is_flag=True, help="Exit 1 where anything would change.")
def command(
    snapshot: Path | None,
    platform: Path,
    context: str | None,
    kubeconfig: Path | None,
    charts: Path | None,
    pillars: tuple[str, ...],
    output: str,
    notes: bool,
    exit_code: bool,
) -> None:
    """Say what applying a declaration would change, whom that meets and what it costs.

    A live cluster is asked by dry runs, so that its own defaults, webhooks and policies judge. With a
    SNAPSHOT the difference is worked out by the rules of field ownership. Nothing is changed.

    \b
    plimsoll plan -f platform.yaml --context prod
    plimsoll plan -f platform.yaml cluster.plimsoll -o markdown > plan.md
    plimsoll plan -f platform.yaml --exit-code        # 1: the cluster is not as declared
    """
    from plimsoll.cli.planning import planned
    from plimsoll.plan.result import Action

    found = planned(options.declared(platform), snapshot, context, kubeconfig, charts, pillars or PILLARS)
    render = import_module(f"plimsoll.report.plan.{output}").render
    if output == "table":
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        click.echo(render(found, color=color, width=options.width()), nl=False, color=color)
        options.say(found.notes, notes)
    else:
        click.echo(render(found), nl=False)
    if exit_code and found.changes:
        sys.exit(Exit.INCOMPLETE if all(each.action is Action.UNKNOWN for each in found.changes) else Exit.FINDINGS)
