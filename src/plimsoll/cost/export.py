"""The ledger as Parquet files, one per table, for whatever else reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from plimsoll.cost.duck import Duck
from plimsoll.cost.ledger import BATCH, Ledger
from plimsoll.cost.schema import FLOWS, TABLES, Table
from plimsoll.cost.store import Store
from plimsoll.errors import ClusterError, InputError

PARQUET = "FORMAT parquet, COMPRESSION zstd"
Progress = Callable[[str, int, int], None]  # what it is at, how many are done, how many there are

_INBOXES = {flow.inbox.name for flow in FLOWS}


def quiet(_what: str, _done: int, _all: int) -> None:
    """Progress that nobody looks at."""


def to_parquet(ledger: Ledger, folder: Path, *, seal: bool = False, progress: Progress = quiet) -> list[Path]:
    """Write every table into `folder`, made where it is not there; all of them in one state of the ledger.

    What waits in an inbox is not exported. seal: merge it first; the ledger must be open to be written.
    Only DuckDB writes Parquet: tables of another store pass through one in memory, batch by batch.
    Raises InputError where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make it: {error.strerror}", where=str(folder)) from error
    if seal:
        ledger.seal(ledger.horizon())
    store = ledger.store
    tables = [table for table in TABLES if table.name not in _INBOXES]
    found = []
    with store.reading():
        for done, table in enumerate(tables):
            progress(table.name, done, len(tables))
            found.append(folder / f"{table.name}.parquet")
            order = ", ".join(table.key or table.columns[:4])
            sql = f"SELECT * FROM {table.name} ORDER BY {order}"
            if isinstance(store, Duck):
                copy(store, sql, found[-1])
                continue
            with scratch(folder) as passing:
                _pass(store, passing, table)
                copy(passing, sql, found[-1])
    return found


@contextmanager
def scratch(folder: Path) -> Iterator[Duck]:
    """A ledger in memory; what has no room there goes into `folder` while it is open."""
    store = Duck(Path(":memory:"))
    try:
        store.run(f"SET temp_directory = {quoted(str(folder / '.duckdb'))}")
        yield store
    finally:
        store.close()


def quoted(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def copy(store: Duck, sql: str, path: Path, options: str = PARQUET) -> None:
    """Write what a query gives to a file. Raises InputError where that fails."""
    try:
        store.run(f"COPY ({sql}) TO {quoted(str(path))} ({options})")
    except ClusterError as error:
        what = error.what.partition(": ")[2].removeprefix("IO Error: ")
        raise InputError(f"cannot write it: {what}", where=str(path)) from None


def _pass(source: Store, target: Store, table: Table) -> None:
    """All rows of a table from one store to another."""
    source.run(f"DECLARE rows CURSOR FOR SELECT {', '.join(table.columns)} FROM {table.name}")
    while rows := source.rows(f"FETCH {BATCH} FROM rows"):
        target.run(table.insert(), [list(column) for column in zip(*rows, strict=True)])
    source.run("CLOSE rows")
