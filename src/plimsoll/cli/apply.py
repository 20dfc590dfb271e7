"""`plimsoll apply`: the cluster as declared, in waves that can be stopped and resumed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.cli import options
from plimsoll.errors import InputError
from plimsoll.pillars import PILLARS

if TYPE_CHECKING:
    from plimsoll.plan.apply import Event, Tell

_QUIET = 10.0  # seconds without a word where no bar is drawn


@click.command("apply")
@options.declaration
@options.cluster
@options.charts
@click.option("--yes", is_flag=True, help="Do not show the plan and ask; needed where nobody can answer.")
@click.option("--prune", is_flag=True, help="Delete what Plimsoll applied and the declaration no longer asks for.")
@click.option("--replace", is_flag=True, help="Delete and create anew what cannot be changed in place.")
@click.option("--drain", is_flag=True, help="Evict GPU pods, within their budgets, where a partition changes.")
@click.option("--force-conflicts", is_flag=True, help="Take fields that another manager has set.")
@click.option("--no-wait", is_flag=True, help="Do not wait for controllers to say that it works.")
@click.option(
    "--timeout", type=click.IntRange(1, 86400), default=600, show_default=True, metavar="SECONDS",
    help="For each thing that is waited for.",
)  # fmt: skip
@options.notes
@click.option("--pillar", "pillars", multiple=True, type=click.Choice(PILLARS), help="Only what this pillar asks for.")
def command(
    platform: Path,
    context: str | None,
    kubeconfig: Path | None,
    charts: Path | None,
    yes: bool,
    prune: bool,
    replace: bool,
    drain: bool,
    force_conflicts: bool,
    no_wait: bool,
    timeout: int,
    notes: bool,
    pillars: tuple[str, ...],
) -> None:
    """Make a cluster what a declaration says.

    Waves: definitions, namespaces and policies, operators, what needs them, workloads. It stops at the
    first refusal and says what is done; run it again and it goes on, also after it was killed.

    \b
    plimsoll apply -f platform.yaml --context prod
    plimsoll apply -f platform.yaml --yes --prune
    """
    from plimsoll.cli.planning import against
    from plimsoll.kube.client import Client
    from plimsoll.kube.connect import written
    from plimsoll.plan.apply import Options, apply, refusal
    from plimsoll.plan.charts import Charts
    from plimsoll.plan.result import Action
    from plimsoll.report.plan import table, words

    if not yes and not sys.stdin.isatty():
        raise InputError(
            "nobody is there to say yes", hint="`plimsoll plan` shows what would change; --yes carries it out"
        )
    declared = options.declared(platform)
    chosen = Options(
        force_conflicts=force_conflicts, prune=prune, replace=replace, drain=drain, wait=not no_wait, timeout=timeout
    )
    with Client(kubeconfig, context) as client, Charts(charts) as found, written(context, kubeconfig) as file:
        plan = against(client, declared, found, pillars or PILLARS, creations=not yes)
        if (error := refusal(plan, chosen)) is not None:
            raise error
        options.say(plan.notes, notes)
        if not yes:
            color = not os.environ.get("NO_COLOR")
            click.echo(table.render(plan, color=color, width=options.width()), nl=False, color=color)
            if plan.changes and not click.confirm("Apply this?", err=True):
                raise click.Abort
        with _told() as tell:
            done = apply(client, declared, plan, found, file, chosen, tell)
        counts = [f"{sum(each.action is action for each in done)} {verb}" for action, verb in words.DONE.items()]
        kept = len(plan.items) - len(plan.changes)
        click.echo(f"{declared.metadata.name}: {', '.join(counts)}; {kept} as they were", err=True)
        left = plan.count(Action.PRUNE)
        if left and not prune:
            click.echo(f"note: {left} objects are no longer declared; --prune deletes them", err=True)


@contextmanager
def _told() -> Iterator[Tell]:
    """What is done, a line each on stdout; what is waited for on a bar."""
    from plimsoll.cli.progress import bar
    from plimsoll.report.plan import words

    said = time.monotonic()
    with bar("applying") as move:

        def tell(event: Event) -> None:
            nonlocal said
            if event.item is not None:
                click.echo(f"{words.SIGNS[event.item.action]} {words.title(event.item)}")
            elif not sys.stderr.isatty() and time.monotonic() - said > _QUIET:
                click.echo(f"waiting: {event.said}", err=True)
                said = time.monotonic()
            move(event.said if event.item is None else event.wave, event.done, event.total)

        yield tell
