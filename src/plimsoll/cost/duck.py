"""A ledger in one DuckDB file. One process writes, or many read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from plimsoll.cost.schema import TABLES, VERSION
from plimsoll.errors import ClusterError, InputError

PATIENCE = 5.0  # seconds that another process may have the file: a meter has it for a moment, every few seconds
MEMORY = "700MB"  # a bill of a month and a million jobs stays below a gigabyte, interpreter and all

# Dividing 128-bit numbers takes longer than all the rest of a bill. Here a quotient below 2^100 is guessed by doubles,
# what is left of it once more, and what is one too many then is set right.
_GUESS = "CAST(CAST({0} AS DOUBLE) / b AS HUGEINT)"
_LEFT = f"(a - {_GUESS.format('a')} * b)"
_MORE = _GUESS.format(_LEFT)
MACROS = (
    "div(a, b) AS a // b",
    f"quotient(a, b) AS {_GUESS.format('a')} + {_MORE} - CASE WHEN {_MORE} * b > {_LEFT} THEN 1 ELSE 0 END",
)


_LOCK = "lock on file"  # in DuckDB's words where another process has it
_LOCKED = "Another process keeps it: try again, or give the ledger to PostgreSQL: postgresql://…"


@contextmanager
def _spoken() -> Iterator[None]:
    """A full disk, or too little memory, in our words: what was being written is written whole or not at all."""
    try:
        yield
    except (duckdb.OperationalError, duckdb.FatalException) as error:
        raise ClusterError(f"the ledger's file cannot be used: {str(error).splitlines()[0]}") from None


def _connect(path: Path, *, read_only: bool, config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only, config=config)
        except duckdb.IOException as error:
            if _LOCK not in str(error) or time.monotonic() >= until:
                raise
        time.sleep(0.02)


class Duck:
    """See store.Store. path: a file, or `:memory:`. threads: 0 for as many as the machine has."""

    series = "UNNEST(generate_series({0}, {1}))"

    def __init__(self, path: Path, *, read_only: bool = False, memory: str = MEMORY, threads: int = 0) -> None:
        config: dict[str, Any] = {"memory_limit": memory, "preserve_insertion_order": False}
        if threads:
            config["threads"] = threads
        try:
            self._db = _connect(path, read_only=read_only, config=config)
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            hint = _LOCKED if _LOCK in said else "Name a file that a meter wrote, or one that is not there yet."
            raise InputError(f"this ledger cannot be opened: {said}", where=str(path), hint=hint) from None
        with _spoken():
            self._db.execute("SET enable_progress_bar = false")  # it would draw over whatever we print
            for macro in MACROS:
                self._db.execute(f"CREATE OR REPLACE TEMP MACRO {macro}")
            if not read_only:
                for table in TABLES:
                    self._db.execute(table.ddl)
                self._db.execute("CREATE TABLE IF NOT EXISTS plimsoll_ledger (version BIGINT PRIMARY KEY)")
                self._db.execute("INSERT INTO plimsoll_ledger VALUES (?) ON CONFLICT DO NOTHING", [VERSION])

    def run(self, sql: str, values: Sequence[object] = ()) -> None:
        with _spoken():
            self._db.execute(sql, list(values))

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with _spoken():
            return self._db.execute(sql, list(values)).fetchall()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with _spoken():
            self._db.execute("BEGIN")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    merging = writing  # the file has one writer

    @contextmanager
    def reading(self) -> Iterator[None]:
        with _spoken():
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        self._db.close()
