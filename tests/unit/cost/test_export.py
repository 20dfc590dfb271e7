"""The ledger as Parquet files."""

from __future__ import annotations

from pathlib import Path
from random import Random

import duckdb
import pytest

from plimsoll.cost.bill import Query, bill
from plimsoll.cost.export import copy, to_parquet
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.schema import FLOWS, TABLES
from plimsoll.cost.store import open_store
from plimsoll.errors import InputError
from tests.unit.cost.truth import START, TARIFF, generate

KEPT = [table for table in TABLES if table.name not in {flow.inbox.name for flow in FLOWS}]


def test_sealing_first_leaves_nothing_out(ledger: Ledger, tmp_path: Path) -> None:
    truth = generate(Random(1), nodes=2, pods=8)
    ledger.write(truth.records())
    told: list[tuple[str, int, int]] = []
    to_parquet(ledger, tmp_path / "deep" / "out", seal=True, progress=lambda *each: told.append(each))
    assert [name for name, _, _ in told] == [table.name for table in KEPT]
    assert ledger.store.rows("SELECT COUNT(*) FROM usage_inbox") == [(0,)]
    used = duckdb.execute(f"SELECT SUM(seen) FROM '{tmp_path}/deep/out/usage.parquet'").fetchall()
    assert used == ledger.store.rows("SELECT SUM(seen) FROM usage") != [(None,)]


def test_a_ledger_made_of_the_files_gives_the_same_bill(ledger: Ledger, tmp_path: Path) -> None:
    truth = generate(Random(6), nodes=3, pods=20)
    ledger.write(truth.records())
    to_parquet(ledger, tmp_path, seal=True)
    again = open_store(":memory:")
    for table in KEPT:
        again.run(f"INSERT INTO {table.name} BY NAME SELECT * FROM '{tmp_path}/{table.name}.parquet'")
    query = Query(by="job", began=START, ended=truth.horizon)
    assert bill(Ledger(again), TARIFF, query) == bill(ledger, TARIFF, query)


def test_equal_ledgers_give_equal_files(tmp_path: Path) -> None:
    records = generate(Random(2), nodes=2, pods=10).records()
    for name, each in (("one", records), ("two", Random(1).sample(records, len(records)))):
        ledger = Ledger(open_store(":memory:"))
        ledger.write(each)
        to_parquet(ledger, tmp_path / name, seal=True)
    for table in KEPT:
        one, two = (tmp_path / name / f"{table.name}.parquet" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), table.name


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    ledger = Ledger(open_store(":memory:"))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make it"):
        to_parquet(ledger, tmp_path / "file")
    (tmp_path / "out" / "nodes.parquet").mkdir(parents=True)
    with pytest.raises(InputError, match="cannot write it"):
        to_parquet(ledger, tmp_path / "out")
    with pytest.raises(InputError, match="cannot write it"):
        copy(ledger.store, "SELECT 1", tmp_path / "nowhere" / "x.parquet")  # type: ignore[arg-type]
