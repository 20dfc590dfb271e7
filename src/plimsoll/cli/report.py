"""`plimsoll report`: one page on a month, for finance and team leads."""

from __future__ import annotations

from pathlib import Path

import click

from plimsoll.cli import cost_options, options
from plimsoll.errors import InputError

FORMATS = ("table", "markdown", "html", "json", "csv")


@click.command("report")
@click.option("--month", metavar="YYYY-MM", help="Default: the one that is now, UTC.")
@cost_options.platform
@cost_options.ledger
@cost_options.dividing
@click.option(
    "-o", "outputs", multiple=True, metavar="FORMAT[=FILE]", default=("table",), show_default=True,
    help=f"To stdout or to a file; may be given several times. One of {', '.join(FORMATS)}.",
)  # fmt: skip
def command(
    month: str | None, platform: Path | None, at: str | None, split: str | None, idle: str | None,
    outputs: tuple[str, ...],
) -> None:  # fmt: skip
    """Write one page on a month: budgets, teams, unused money, spenders, inference, waiting, spot.

    Every part of it adds up to the bill, whose total stands on it with the sources of its prices.

    \b
    plimsoll report --month 2026-11 -f platform.yaml -o html=november.html
    plimsoll report -f platform.yaml -o table -o csv=teams.csv
    """
    from plimsoll.cli.progress import bar
    from plimsoll.cost.bill import Query
    from plimsoll.cost.monthly import monthly
    from plimsoll.report.cost import monthly as words

    wanted = [_output(each) for each in outputs]
    if sum(place is None for _, place in wanted) > 1:
        raise click.BadParameter("only one form fits on stdout; give the others a file: FORMAT=FILE", param_hint="-o")
    declared = options.load_platform(platform)
    asked = cost_options.month(month)
    query = Query(by="team", began=asked.began, ended=asked.ended, **cost_options.divided(declared, split, idle))
    ledger = cost_options.opened(at)
    with bar("billing") as progress:
        found = monthly(ledger, cost_options.tariff(declared), query, declared, progress)
    for form, place in wanted:
        if place is None:
            cost_options.show("monthly_", form, found, words.notes(found))
        else:
            _write(form, place, cost_options.text("monthly_", form, found))


def _output(spec: str) -> tuple[str, Path | None]:
    form, _, place = spec.partition("=")
    if form not in FORMATS:
        raise click.BadParameter(f"{form!r} is not one of {', '.join(FORMATS)}", param_hint="-o")
    return form, Path(place) if place else None


def _write(form: str, place: Path, text: str) -> None:
    try:
        place.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write the {form} report: {error.strerror}", where=str(place)) from error
    click.echo(f"wrote {place}", err=True)
