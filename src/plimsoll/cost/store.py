"""Where a ledger lies: one file (DuckDB) or a database that several meters share (PostgreSQL), behind one interface.

Queries are written once. They use what both engines have alike: window functions, UNNEST of lists, `div` of whole
numbers; and what either is taught: HUGEINT, and `quotient(a, b)`, which is `div` where a may have 128 bits, is not
negative, and b is not 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from plimsoll.errors import InputError


class Store(Protocol):
    """A database with the tables of schema.py. `?` stands for a parameter.

    series: a template for a select list: a row for each whole number from {0} to {1}.
    """

    series: str

    def run(self, sql: str, values: Sequence[object] = ()) -> None:
        """Carry out one statement."""

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query; whole numbers are int, whatever their size."""

    def writing(self) -> AbstractContextManager[None]:
        """All statements inside happen, or none."""

    def merging(self) -> AbstractContextManager[None]:
        """Like `writing`, seeing one state, and one at a time however many processes merge this ledger."""

    def reading(self) -> AbstractContextManager[None]:
        """All queries inside see one state; temporary tables made inside are gone afterwards."""

    def close(self) -> None: ...


def is_shared(place: str | Path) -> bool:
    """Whether a place is a database that many processes write at once; a file is one process's."""
    return str(place).startswith(("postgresql://", "postgres://"))


def shown(place: str | Path) -> str:
    """A place as it may be printed: of a database neither user nor password, which stand before the host or behind."""
    return str(place).rpartition("@")[2].partition("?")[0] if is_shared(place) else str(place)


def open_store(place: str | Path, *, read_only: bool = False) -> Store:
    """The store at a path, or at a postgresql:// address; made where there is none.

    Raises InputError where the extra `data` is not installed, or the file is no ledger or in use by another
    process; ClusterError where the database cannot be reached.
    """
    try:
        if is_shared(place):
            from plimsoll.cost import postgres

            return postgres.Postgres(str(place), read_only=read_only)
        from plimsoll.cost import duck

        return duck.Duck(Path(place), read_only=read_only)
    except ModuleNotFoundError as error:
        raise InputError(
            f"a ledger needs the package {error.name}", where=shown(place), hint="Run: pip install 'plimsoll[data]'"
        ) from None
