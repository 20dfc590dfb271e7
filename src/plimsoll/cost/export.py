"""The ledger as Parquet files, one per table, for whatever else reads them."""

from __future__ import annotations

from pathlib import Path

from plimsoll.cost.duck import Duck
from plimsoll.cost.ledger import BATCH, Ledger
from plimsoll.cost.schema import FLOWS, TABLES, Table
from plimsoll.cost.store import Store

_INBOXES = {flow.inbox.name for flow in FLOWS}


def to_parquet(ledger: Ledger, folder: Path) -> list[Path]:
    """Write every table into `folder`, made where it is not there. Seal first: what still waits is not exported.

    Only DuckDB writes Parquet: tables of another store pass through one in memory, batch by batch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = ledger.store
    found = []
    for table in TABLES:
        if table.name in _INBOXES:
            continue
        path = folder / f"{table.name}.parquet"
        if isinstance(store, Duck):
            _copy(store, table, path)
        else:
            passing = Duck(Path(":memory:"))
            _pass(store, passing, table)
            _copy(passing, table, path)
            passing.close()
        found.append(path)
    return found


def _copy(store: Store, table: Table, path: Path) -> None:
    order = ", ".join(table.key or table.columns[:4])
    quoted = str(path).replace("'", "''")
    store.run(f"COPY (SELECT * FROM {table.name} ORDER BY {order}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)")


def _pass(source: Store, target: Store, table: Table) -> None:
    """All rows of a table from one store to another."""
    names = ", ".join(table.columns)
    with source.reading():
        source.run(f"DECLARE rows CURSOR FOR SELECT {names} FROM {table.name}")
        while rows := source.rows(f"FETCH {BATCH} FROM rows"):
            target.run(table.insert(), [list(column) for column in zip(*rows, strict=True)])
