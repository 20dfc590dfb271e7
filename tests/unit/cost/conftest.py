"""Stores to try the ledger on: DuckDB, and a PostgreSQL of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.store import open_store
from tests.postgres import Server, given


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server that is gone afterwards."""
    with given() as server:
        yield server


@pytest.fixture
def address(postgres: Server) -> Iterator[str]:
    """An empty database."""
    place = postgres.database()
    yield place
    postgres.take_back(place)


@pytest.fixture(params=["duckdb", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """An empty ledger, in each kind of store."""
    place = ":memory:" if request.param == "duckdb" else str(request.getfixturevalue("address"))
    store = open_store(place)
    yield Ledger(store)
    store.close()
