"""`plimsoll explain`: a check's page at the terminal."""

from __future__ import annotations

import click

from plimsoll.errors import InputError
from plimsoll.pillars import all_checks
from plimsoll.report.page import page


@click.command("explain")
@click.argument("check_id", metavar="[ID]", required=False)
@click.option("--list", "listing", is_flag=True, help="List every check: id, severity, pillar, title.")
def command(check_id: str | None, listing: bool) -> None:
    """Say what a check asks, why it matters, what it reads and what to do."""
    checks = {check.id: check for check in all_checks()}
    if listing:
        for check in checks.values():
            click.echo(f"{check.id:8} {check.severity!s:8} {check.pillar:13} {check.title}")
        return
    if check_id is None:
        raise click.UsageError("give a check's ID, or --list for all of them")
    if check_id.upper() not in checks:
        from difflib import get_close_matches

        near = get_close_matches(check_id.upper(), list(checks), n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "`plimsoll explain --list` prints every id"
        raise InputError(f"no check has the id {check_id!r}", hint=hint)
    click.echo(page(checks[check_id.upper()]), nl=False)
