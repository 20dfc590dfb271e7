"""`plimsoll cost export` as people type it."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import HOUR, Node
from plimsoll.cost.store import open_store
from tests.unit.cost import months


def run(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plimsoll", "cost", "export", *map(str, args)]
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, cwd=cwd)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger and its declaration."""
    folder = tmp_path_factory.mktemp("export")
    ledger = Ledger(open_store(folder / "ledger.duckdb"))
    ledger.write([*months.records(), Node(uid="gift", name="gift", pool="gift", gpus=1, began=months.OCTOBER.began)])
    ledger.store.close()
    (folder / "platform.yaml").write_text(months.PLATFORM)
    return folder


def exported(place: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    return run(*args, "-f", place / "platform.yaml", "--ledger", place / "ledger.duckdb")


def test_a_month_as_focus_data(place: Path) -> None:
    path = place / "october.csv"
    done = exported(place, "--focus", "1.3", "--month", "2026-10", "-o", path, "--account", "cc-1", "--invoice", "7")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "41,664.000000 USD" in done.stderr  # 31 days of 40 + 16 an hour
    assert "note: nodes without a price, their rows cost 0: gift" in done.stderr
    assert "not whole" not in done.stderr
    with duckdb.connect() as db:
        sql = """SELECT SUM(CAST(BilledCost AS DECIMAL(18, 6))), MIN(ServiceProviderName), MAX(BillingAccountId),
            MAX(InvoiceId), COUNT(DISTINCT ChargePeriodStart) FROM read_csv(?, all_varchar = true)"""
        assert db.execute(sql, [str(path)]).fetchall() == [(Decimal(41664), "acme", "cc-1", "7", 31)]


def test_a_month_that_is_not_over_by_the_hour(place: Path) -> None:
    ledger = Ledger(open_store(place / "begun.duckdb"))
    ledger.write(months.records(until=months.OCTOBER.began + 6 * HOUR + 1000))
    ledger.store.close()
    path = place / "begun.parquet"
    done = run("--focus", "1.2", "--month", "2026-10", "-o", path, "--hourly", "--split", "even",
               "--ledger", place / "begun.duckdb")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "note: the ledger reaches to 2026-10-01T06:00:01Z: the month is not whole" in done.stderr
    with duckdb.connect() as db:
        count = db.execute("SELECT COUNT(DISTINCT ChargePeriodStart) FROM read_parquet(?)", [str(path)]).fetchall()
    assert count == [(7,)]


def test_the_ledger_as_tables(place: Path) -> None:
    folder = place / "tables"
    done = run("--parquet", folder, "--ledger", place / "ledger.duckdb")
    assert done.returncode == 0, done.stderr
    with duckdb.connect() as db:
        waiting = db.execute(f"SELECT COUNT(*) FROM '{folder}/usage.parquet'").fetchall()
        done = run("--parquet", folder, "--seal", "--ledger", place / "ledger.duckdb")
        assert done.returncode == 0, done.stderr
        merged = db.execute(f"SELECT COUNT(*) FROM '{folder}/usage.parquet'").fetchall()
    assert waiting == [(0,)]
    assert merged > waiting


@pytest.mark.parametrize(
    ("args", "said", "code"),
    [
        ([], "say what to write", 2),
        (["--focus", "1.2", "--parquet", "x"], "say what to write", 2),
        (["--focus", "1.2"], "--focus needs a --month", 2),
        (["--focus", "1.1", "--month", "2026-11", "-o", "f.csv"], "'1.1' is not one of", 2),
        (["--focus", "1.2", "--month", "November", "-o", "f.csv"], "'November' is no month", 2),
        (["--focus", "1.2", "--month", "2026-11", "-o", "f.xlsx"], "End it in .csv or .parquet", 2),
        (["--focus", "1.2", "--month", "2026-11", "-o", "nowhere/f.csv"], "No such file", 2),
        (["--focus", "1.2", "--month", "2024-01", "-o", "f.csv"], "no meter watched any of January 2024", 3),
        (["--focus", "1.2", "--month", "2026-11", "-o", "f.csv", "--seal"], "--focus has no --seal", 2),
        (["--parquet", "x", "--month", "2026-11", "--hourly"], "--parquet has no --month or --hourly", 2),
        (["--parquet", "/proc/x"], "cannot make it", 2),
    ],
)
def test_what_cannot_be_asked(place: Path, tmp_path: Path, args: list[str], said: str, code: int) -> None:
    done = run(*args, "--ledger", place / "ledger.duckdb", cwd=tmp_path)
    assert said in done.stderr
    assert (done.returncode, done.stdout) == (code, "")
    assert list(tmp_path.iterdir()) == []


def test_without_a_ledger(tmp_path: Path) -> None:
    done = run("--focus", "1.2", "--month", "2026-11", "-o", tmp_path / "f.csv", "--ledger", tmp_path / "none")
    assert (done.returncode, "there is no ledger here" in done.stderr) == (2, True)
