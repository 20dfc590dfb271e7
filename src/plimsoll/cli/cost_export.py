"""`plimsoll cost export`: the bill and the ledger for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from plimsoll.cli import cost_options, options
from plimsoll.cli.progress import bar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.cost.focus_columns import Version

VERSIONS = ("1.2", "1.3")


@click.command("export")
@click.option("--focus", "version", type=click.Choice(VERSIONS), help="A month as FOCUS data of this version.")
@click.option("--month", metavar="MONTH", help="Of --focus: the billing period, such as 2026-11, UTC.")
@click.option("-o", "--output", "path", type=click.Path(path_type=Path), metavar="FILE",
              help="Of --focus: where to, a .csv or .parquet file.")  # fmt: skip
@click.option("--parquet", "folder", type=click.Path(path_type=Path), metavar="FOLDER",
              help="The whole ledger, one Parquet file per table.")  # fmt: skip
@click.option(
    "--seal", is_flag=True, help="Of --parquet: merge first what was measured last; it is left out otherwise."
)
@click.option("--hourly", is_flag=True, help="Of --focus: a row per hour; default: per day.")
@click.option("--account", metavar="ID", help="Of --focus: BillingAccountId; default: the platform's name.")
@click.option("--invoice", metavar="ID", help="Of --focus: InvoiceId, where these charges are on an invoice.")
@click.option("--split", type=click.Choice(("measured", "requested", "even")),
              help="How sharers of a GPU divide its price. Default: as declared.")  # fmt: skip
@cost_options.platform
@cost_options.ledger
def command(
    version: Version | None,
    month: str | None,
    path: Path | None,
    folder: Path | None,
    seal: bool,
    hourly: bool,
    account: str | None,
    invoice: str | None,
    split: str | None,
    platform: Path | None,
    at: str | None,
) -> None:
    """Write a month of the bill as FOCUS data, or the ledger as Parquet files.

    FOCUS is the form in which cloud bills are exchanged. A row is one day of one holder, pool and class of use; its
    EffectiveCost is what the bill says, and all rows together are the bill.

    \b
    plimsoll cost export --focus 1.2 --month 2026-11 -o november.parquet -f platform.yaml
    plimsoll cost export --focus 1.3 --month 2026-11 -o november.csv --hourly
    plimsoll cost export --parquet ledger/
    """
    if (version is None) == (folder is None):
        raise click.UsageError("say what to write: --focus VERSION --month MONTH -o FILE, or --parquet FOLDER")
    if folder is not None:
        foreign = {"--month": month, "-o": path, "--hourly": hourly, "--account": account, "--invoice": invoice,
                   "--split": split, "-f": platform}  # fmt: skip
        _refuse("--parquet", foreign)
        _tables(at, folder, seal=seal)
        return
    _refuse("--focus", {"--seal": seal})
    if version is None or month is None or path is None:
        raise click.UsageError("--focus needs a --month and a file to write: -o FILE")
    _focus(at, version, month, path, platform, hourly=hourly, account=account, invoice=invoice, split=split)


def _refuse(form: str, given: Mapping[str, object]) -> None:
    if wrong := [name for name, value in given.items() if value]:
        raise click.UsageError(f"{form} has no {' or '.join(wrong)}")


def _tables(at: str | None, folder: Path, *, seal: bool) -> None:
    ledger = cost_options.opened(at)
    if seal:  # merging writes
        from plimsoll.cost.ledger import Ledger
        from plimsoll.cost.store import open_store

        ledger.store.close()
        ledger = Ledger(open_store(at or cost_options.place()))
    from plimsoll.cost.export import to_parquet  # needs DuckDB; where there is none, opening a ledger says so

    with bar("writing the ledger") as progress:
        written = to_parquet(ledger, folder, seal=seal, progress=progress)
    click.echo(f"{folder}: {len(written)} tables", err=True)


def _focus(
    at: str | None, version: Version, month: str, path: Path, platform: Path | None, *,
    hourly: bool, account: str | None, invoice: str | None, split: str | None,
) -> None:  # fmt: skip
    from plimsoll.cost import window

    declared = options.load_platform(platform)
    asked = window.month(month)
    ledger = cost_options.opened(at)
    from plimsoll.cost.focus import DAY, Export, export  # needs DuckDB; where there is none, opening a ledger says so
    from plimsoll.cost.sample import HOUR

    dividing = cost_options.divided(declared, split, None)
    wanted = Export(
        version=version, began=asked.began, ended=asked.ended, step=HOUR if hourly else DAY, account=account or "",
        platform=declared.metadata.name if declared else "platform", invoice=invoice or "", split=dividing["split"],
    )  # fmt: skip
    tariff = cost_options.tariff(declared)
    with bar("billing") as progress:
        done = export(ledger, tariff, wanted, path, progress)
    money = f"{done.total // 1_000_000:,}.{done.total % 1_000_000:06} {tariff.currency}"
    click.echo(f"{path}: {done.rows:,} rows, {money}", err=True)
    if done.first > asked.began:
        click.echo(f"note: the ledger begins at {window.text(done.first)}: the month is not whole", err=True)
    if done.horizon < asked.ended:
        click.echo(f"note: the ledger reaches to {window.text(done.horizon)}: the month is not whole", err=True)
    if dividing["idle"] == "spread":
        click.echo("note: unused GPUs are rows of their own here; costs.idle is `spread`", err=True)
    if done.unpriced:
        some = ", ".join(done.unpriced[:5]) + (", …" if len(done.unpriced) > 5 else "")
        click.echo(f"note: nodes without a price, their rows cost 0: {some}", err=True)
