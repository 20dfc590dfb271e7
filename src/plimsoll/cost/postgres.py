"""A ledger in PostgreSQL, shared by several meters and readers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from plimsoll.cost.schema import TABLES, VERSION
from plimsoll.cost.store import shown
from plimsoll.errors import ClusterError

_LOCK = 0x706C696D  # "plim": the advisory lock of whoever makes tables or merges
_SETTINGS = (
    "jit = off",  # compiling takes longer than the queries
    "work_mem = '64MB'",  # joins and sorts of a bill stay in memory
)
_CONNECTION = {  # unless the address says otherwise; by default a network that went away is noticed after two hours
    "connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}  # fmt: skip
_REFUSALS = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)
_MADE = re.compile(r"\s*CREATE TEMP TABLE (\w+) AS")
_MAKE = """
DO $$ BEGIN
  IF to_regtype('hugeint') IS NULL THEN CREATE DOMAIN hugeint AS numeric(39, 0); END IF;
  IF to_regproc('quotient') IS NULL THEN
    CREATE FUNCTION quotient(numeric, numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT div($1, $2)';
  END IF;
END $$"""


@contextmanager
def _spoken() -> Iterator[None]:
    """A lost connection in our words: what was being written is written whole or not at all, so write it again."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise ClusterError(f"the ledger's database went away: {str(error).strip()}") from None
    except _REFUSALS as error:
        raise ClusterError(f"the ledger's database refuses: {str(error).strip()}") from None


class Postgres:
    """See store.Store. address: `postgresql://user@host/database`. read_only: nothing is made there, so that who asks
    need not be allowed to, and a database that is no ledger does not become one."""

    series = "generate_series({0}, {1})"

    def __init__(self, address: str, *, read_only: bool = False) -> None:
        try:
            given: dict[str, Any] = {**_CONNECTION, **conninfo_to_dict(address)}
            self._db = psycopg.connect(**given, autocommit=True)
        except psycopg.Error as error:
            where = shown(address)
            raise ClusterError(f"the ledger's database cannot be reached: {str(error).strip()}", where=where) from None
        with _spoken():
            for setting in _SETTINGS:
                self._db.execute(f"SET {setting}".encode())
        if not read_only:
            self._make()

    def _make(self) -> None:
        with self.merging():
            self._db.execute(_MAKE)
            for table in TABLES:
                self._db.execute(table.ddl)
                if not table.key:
                    self._db.execute(f"CREATE INDEX IF NOT EXISTS {table.name}_began ON {table.name} (began)")
                elif "ended" in table.columns:
                    self._db.execute(f"CREATE INDEX IF NOT EXISTS {table.name}_ended ON {table.name} (ended)")
            self._db.execute("CREATE TABLE IF NOT EXISTS plimsoll_ledger (version BIGINT PRIMARY KEY)")
            self._db.execute("INSERT INTO plimsoll_ledger VALUES (%s) ON CONFLICT DO NOTHING", [VERSION])

    def run(self, sql: str, values: Sequence[object] = ()) -> None:
        self._execute(sql, values)
        if made := _MADE.match(sql):  # nobody else counts what is in a temporary table, and guesses make poor plans
            self._execute(f"ANALYZE {made[1]}", ())

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        found = self._execute(sql, values).fetchall()
        return [tuple(int(value) if isinstance(value, Decimal) else value for value in row) for row in found]

    def _execute(self, sql: str, values: Sequence[object]) -> psycopg.Cursor[tuple[Any, ...]]:
        with _spoken():
            return self._db.execute(sql.replace("?", "%s").encode(), list(values) or None)

    @contextmanager
    def writing(self) -> Iterator[None]:
        with _spoken(), self._db.transaction():
            yield

    @contextmanager
    def merging(self) -> Iterator[None]:
        with _spoken():
            # Of the session, and before the transaction: its snapshot must be younger than the last merge.
            self._db.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
            try:
                with self._state(keep=True):
                    yield
            finally:
                if not self._db.closed:  # a lost session has lost its locks
                    self._db.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])

    @contextmanager
    def reading(self) -> Iterator[None]:
        with _spoken(), self._state(keep=False):
            yield

    @contextmanager
    def _state(self, *, keep: bool) -> Iterator[None]:
        """A transaction that sees the state of its beginning."""
        self._db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            yield
        except BaseException:
            keep = False
            raise
        finally:
            if not self._db.closed:
                self._db.execute("COMMIT" if keep else "ROLLBACK")

    def close(self) -> None:
        self._db.close()
