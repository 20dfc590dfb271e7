"""The bill of a month as FOCUS data, for tools that read any cloud's bill: a row per holder, pool, class and period.

Periods are billed one after the other, so that a month of a million jobs needs no more memory than a day of it. Each is
kept as a Parquet file with the charges as they are; the columns of FOCUS are made of them all at the end.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from plimsoll.cost import focus_charges, tenants
from plimsoll.cost.bill import NotConservedError, Query, divided, priced
from plimsoll.cost.duck import Duck
from plimsoll.cost.export import PARQUET, Progress, copy, quiet, quoted, scratch
from plimsoll.cost.focus_columns import Issuer, Version, columns
from plimsoll.cost.ledger import BATCH, Ledger
from plimsoll.cost.price import Carve, Tariff, unpriced
from plimsoll.cost.sample import HOUR
from plimsoll.cost.schema import Table
from plimsoll.cost.split import MICRO, Split
from plimsoll.cost.store import Store
from plimsoll.errors import IncompleteError, InputError

DAY = 24 * HOUR
FORMATS = (".csv", ".parquet")

_ROW = Table("b_row", focus_charges.COLUMNS, texts=frozenset(focus_charges.TEXTS))


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. began, ended: the billing period, milliseconds. step: the charge period, DAY or HOUR.

    platform, account, invoice: see focus_columns.Issuer.
    """

    version: Version
    began: int
    ended: int
    step: int = DAY
    platform: str
    account: str = ""
    invoice: str = ""
    split: Split = "measured"
    carve: Carve = Carve()


class Exported(msgspec.Struct, frozen=True):
    """What was written. total: micro-units, of all rows. first, horizon: from and until when meters watched. unpriced:
    nodes."""

    rows: int
    total: int
    first: int
    horizon: int
    unpriced: tuple[str, ...]


def export(ledger: Ledger, tariff: Tariff, asked: Export, path: Path, progress: Progress = quiet) -> Exported:
    """Write the charges of a month to `path`, a .csv or .parquet file; whole or not at all.

    Raises InputError where the file has another ending or cannot be written, IncompleteError where no meter watched
    any of the month, NotConservedError where the rows do not add up to the price of the nodes.
    """
    if path.suffix not in FORMATS:
        raise InputError(
            f"what to write is not told by {path.name}", where=str(path), hint="End it in .csv or .parquet."
        )
    try:
        with tempfile.TemporaryDirectory(prefix=".focus-", dir=path.parent) as place:
            folder = Path(place)
            found, parts = _periods(ledger, tariff, asked, folder, progress)
            made = folder / f"all{path.suffix}"
            rows = _join(parts, asked, tariff.currency, made)
            os.replace(made, path)  # noqa: PTH105  Path.replace says the same
    except OSError as error:
        raise InputError(f"cannot write it: {error.strerror}", where=str(path)) from error
    return msgspec.structs.replace(found, rows=rows)


def _periods(
    ledger: Ledger, tariff: Tariff, asked: Export, folder: Path, progress: Progress
) -> tuple[Exported, list[Path]]:
    """Bill each period, in one state of the ledger; its charges lie in a file each."""
    store = ledger.store
    total, carried = 0, MICRO // 2
    missing: set[str] = set()
    parts = []
    with store.reading():
        first, horizon = ledger.first(), ledger.horizon()
        sql = "SELECT 1 FROM watches WHERE ended > ? AND began < ? LIMIT 1"
        if not store.rows(sql, (asked.began, asked.ended)):
            raise IncompleteError(
                f"no meter watched any of {_day(asked.began):%B %Y}", hint="Ask for a month that the ledger holds."
            )
        early = max(first - asked.began, 0) // asked.step * asked.step  # of the time before the first nothing is known
        starts = range(asked.began + early, min(asked.ended, horizon), asked.step)
        for done, began in enumerate(starts):
            progress(f"{_day(began):%Y-%m-%d}", done, len(starts))
            until = min(began + asked.step, asked.ended)
            query = Query(by="pool", began=max(began, first), ended=until, split=asked.split, carve=asked.carve)
            rates = divided(ledger, tariff, query, horizon)
            missing |= set(unpriced(rates))
            exact = priced(rates)
            tenants.traffic(ledger, began, until)
            for sql in focus_charges.charges():
                store.run(sql)
            _check(store, exact)
            total += exact
            carried = focus_charges.rounded(store, exact, carried)
            parts.append(_keep(store, (began, until), folder / f"{began}.parquet"))
            _clear(store)
    return Exported(0, (total + MICRO // 2) // MICRO, first, horizon, tuple(sorted(missing))), parts


def _day(moment: int) -> datetime:
    return datetime.fromtimestamp(moment / 1000, UTC)


def _check(store: Store, exact: int) -> None:
    """Σ charges = Σ nodes, as in bill.py."""
    found = int(store.rows("SELECT COALESCE(SUM(cost), 0) FROM b_sum")[0][0])
    if not 0 <= exact - found < MICRO:
        raise NotConservedError(
            f"the charges are {(found - exact) / MICRO:+.3f} micro-units off the price of the nodes"
        )


def _keep(store: Store, period: tuple[int, int], path: Path) -> Path:
    """The charges of a period in a file. Only DuckDB writes Parquet: others' rows pass through one in memory."""
    whole = ", ".join(name if name in _ROW.texts else f"CAST({name} AS BIGINT) AS {name}" for name in _ROW.columns)
    bounds = f"CAST({period[0]} AS BIGINT) AS began, CAST({period[1]} AS BIGINT) AS ended"
    if isinstance(store, Duck):
        copy(store, f"SELECT {bounds}, {whole} FROM b_charge ORDER BY place", path)
        return path
    with scratch(path.parent) as passing:
        passing.run(_ROW.ddl)
        for rows in _batches(store, f"SELECT {', '.join(_ROW.columns)} FROM b_charge"):
            passing.run(_ROW.insert(), [list(column) for column in zip(*rows, strict=True)])
        copy(passing, f"SELECT {bounds}, * FROM {_ROW.name} ORDER BY place", path)
    return path


def _batches(store: Store, sql: str) -> Iterator[list[tuple[object, ...]]]:
    """The rows of b_charge in order, so many at a time; places begin at 1 and have no gap."""
    first = 1
    while rows := store.rows(f"{sql} WHERE place >= {first} AND place < {first + BATCH} ORDER BY place"):
        yield rows
        first += BATCH


def _clear(store: Store) -> None:
    """Take away what a bill leaves in its transaction, for the next one."""
    for name in tenants.VIEWS:
        store.run(f"DROP VIEW {name}")
    mine = "table_type = 'LOCAL TEMPORARY' AND table_name LIKE 'b!_%' ESCAPE '!'"
    sql = f"SELECT table_name FROM information_schema.tables WHERE {mine}"
    for (name,) in store.rows(sql):
        store.run(f"DROP TABLE {name}")


def _join(parts: list[Path], asked: Export, currency: str, path: Path) -> int:
    """All periods in one file, with the columns of FOCUS, in order; how many rows."""
    issuer = Issuer(asked.platform, asked.account or asked.platform, currency, asked.split, asked.invoice)
    at = _text if path.suffix == ".csv" else _moment
    billed = at(str(asked.began)), at(str(asked.ended))
    wanted = columns(asked.version, issuer, billed, (at("began"), at("ended")))
    made = ", ".join(f"{sql} AS {name}" for name, sql in wanted.items())
    source = f"read_parquet([{', '.join(quoted(str(part)) for part in parts)}])"
    with scratch(path.parent) as joining:
        joining.run("SET preserve_insertion_order = true")
        options = "FORMAT csv, HEADER" if path.suffix == ".csv" else PARQUET
        copy(joining, f"SELECT {made} FROM {source}", path, options)
        return int(joining.rows(f"SELECT COUNT(*) FROM {source}")[0][0])


def _text(moment: str) -> str:
    return f"strftime(make_timestamp({moment} * 1000), '%Y-%m-%dT%H:%M:%SZ')"


def _moment(moment: str) -> str:
    return f"to_timestamp({moment} // 1000)"
