"""`plimsoll cost` and its neighbours as people type them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import duckdb
import pytest

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import Node, Watch
from plimsoll.cost.schema import VERSION
from plimsoll.cost.store import open_store
from tests.unit.cost import months

WINDOW = "2026-11-02,2026-11-09"


def run(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plimsoll", *map(str, args)]
    base = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **env}
    return subprocess.run(command, capture_output=True, text=True, env=base, timeout=120)


def made(path: Path, *records: object) -> Path:
    ledger = Ledger(open_store(path))
    ledger.write(records)  # type: ignore[arg-type]
    ledger.store.close()
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger and its declaration."""
    folder = tmp_path_factory.mktemp("cost")
    made(folder / "ledger.duckdb", *months.records())
    (folder / "platform.yaml").write_text(months.PLATFORM)
    return folder


def asked(place: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    return run(*args, "-f", place / "platform.yaml", "--ledger", place / "ledger.duckdb")


def test_lines_go_to_stdout_and_what_to_know_of_them_to_stderr(place: Path) -> None:
    done = asked(place, "cost", "--window", WINDOW)
    assert done.returncode == 0, done.stderr
    assert "Σ lines = Σ nodes = 9,408.000000 USD, 2026-11-02 to 2026-11-09" in done.stdout
    assert "note: prices: platform.yaml, 2026-09-01: contract 4711" in done.stderr
    assert "\x1b" not in done.stdout


def test_every_form_has_the_same_total(place: Path) -> None:
    def form(name: str) -> str:
        return asked(place, "cost", "--by", "job", "--window", WINDOW, "-o", name).stdout

    assert json.loads(form("json"))["total"] == 9408
    assert sum(float(row["cost"]) for row in csv.DictReader(StringIO(form("csv")))) == pytest.approx(9408)
    for name in ("wide", "markdown"):
        assert "9,408.00" in form(name)


def test_without_a_declaration_there_is_the_price_book(place: Path) -> None:
    done = run("cost", "--by", "node", "--window", WINDOW, "-o", "json", PLIMSOLL_LEDGER=str(place / "ledger.duckdb"))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["prices"]["sources"]
    assert all("price book" in source for source in said["prices"]["sources"])


def test_the_ledger_is_where_state_is_kept(place: Path, tmp_path: Path) -> None:
    home = tmp_path / "plimsoll"
    home.mkdir()
    (home / "ledger.duckdb").write_bytes((place / "ledger.duckdb").read_bytes())
    done = run("cost", "--window", WINDOW, XDG_STATE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_too_little_measured_is_exit_3_after_the_bill(place: Path) -> None:
    done = asked(place, "cost", "--window", WINDOW, "--min-coverage", "0.9999")
    assert done.returncode == 3
    assert "TOTAL" in done.stdout
    assert "of the held GPU time was measured, not 100.0%" in done.stderr
    assert asked(place, "cost", "--window", WINDOW, "--min-coverage", "0.9").returncode == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--since", "week"), "is no duration"),
        (("--window", "2026-11-09,2026-11-02"), "ends before it begins"),
        (("--window", "9990-01-01,9990-01-02"), "begins in the future"),
        (("--window", WINDOW, "--since", "7d"), "not both"),
        (("--min-coverage", "2"), "0<=x<=1"),
        (("--by", "colour"), "is not one of"),
        (("-n", "-1"), "range 0<=x"),
    ],
)
def test_what_cannot_be_meant(place: Path, args: tuple[str, ...], said: str) -> None:
    done = asked(place, "cost", *args)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_ledger_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    done = run("cost", "--ledger", tmp_path / "none.duckdb")
    assert done.returncode == 2
    assert "there is no ledger here" in done.stderr
    assert "plimsoll agent meter" in done.stderr
    assert run("cost", "--ledger", tmp_path).returncode == 2


def test_what_is_no_ledger(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a database\n" * 100)
    other = tmp_path / "other.duckdb"
    duckdb.connect(str(other)).execute("CREATE TABLE t (a INTEGER)").close()
    for path in (text, other):
        done = run("cost", "--ledger", path)
        assert done.returncode == 2, done.stderr
        assert str(path) in done.stderr
        assert "bug" not in done.stderr


def test_a_ledger_of_a_newer_version(tmp_path: Path) -> None:
    path = made(tmp_path / "new.duckdb")
    db = duckdb.connect(str(path))
    db.execute("INSERT INTO plimsoll_ledger VALUES (?)", [VERSION + 1])
    db.close()
    done = run("cost", "--ledger", path)
    assert done.returncode == 2
    assert f"version {VERSION + 1}" in done.stderr


def test_a_ledger_that_lacks_a_table(tmp_path: Path) -> None:
    path = made(tmp_path / "old.duckdb")
    db = duckdb.connect(str(path))
    db.execute("DROP TABLE tokens")
    db.close()
    done = run("cost", "--ledger", path)
    assert done.returncode == 2
    assert "of an older Plimsoll, without tokens" in done.stderr


def test_an_empty_ledger_is_no_bill_of_nothing(tmp_path: Path) -> None:
    done = run("cost", "--ledger", made(tmp_path / "empty.duckdb"))
    assert done.returncode == 3
    assert "no meter has written" in done.stderr
    assert done.stdout == ""


def test_a_window_that_no_meter_watched(place: Path) -> None:
    done = asked(place, "cost", "--window", "2026-01-01,2026-02-01")
    assert done.returncode == 3
    assert "The ledger reaches from 2026-10-01T00:00:00Z" in done.stderr


def test_nodes_without_a_price_are_named(tmp_path: Path) -> None:
    end = int(time.time()) * 1000
    path = made(
        tmp_path / "l.duckdb", Node(uid="u", name="nameless\x1b[31m", sku="L4", gpus=1, began=end - 3_600_000),
        Watch(meter="m", began=end - 3_600_000, ended=end),
    )  # fmt: skip
    done = run("cost", "--ledger", path, "--since", "1h")
    assert done.returncode == 0, done.stderr
    assert "1 node has no price and cost nothing here: nameless" in done.stderr
    assert "\x1b" not in done.stderr


def test_the_biggest_spenders(place: Path) -> None:
    done = asked(place, "spenders", "--by", "workload", "-n", "2", "--window", WINDOW)
    assert done.returncode == 0, done.stderr
    assert "held by nobody (100%)" in done.stdout
    assert "(6 others)" in done.stdout
    assert json.loads(asked(place, "spenders", "--window", WINDOW, "-o", "json").stdout)["total"] == 9408


def test_budgets_fail_as_they_are_asked_to(place: Path, tmp_path: Path) -> None:
    done = asked(place, "cost", "budget", "--month", "2026-10", "--fail-on", "over")
    assert done.returncode == 0, done.stderr
    poor = tmp_path / "platform.yaml"
    poor.write_text(months.PLATFORM.replace("monthly: 6000", "monthly: 3266.66"))
    args = ("cost", "budget", "--month", "2026-10", "-f", poor, "--ledger", place / "ledger.duckdb")
    assert run(*args).returncode == 0
    done = run(*args, "--fail-on", "over", "-o", "json")
    assert done.returncode == 1, done.stderr
    said = {each["team"]: each for each in json.loads(done.stdout)["teams"]}
    assert said["research"]["over"]
    assert not said["search"]["over"]


@pytest.mark.parametrize(
    ("month", "code", "said"),
    [("2026-13", 2, "is no month"), ("9990-01", 2, "in the future"), ("2026-01", 3, "no meter watched")],
)
def test_months_that_cannot_be_told(place: Path, month: str, code: int, said: str) -> None:
    done = asked(place, "cost", "budget", "--month", month)
    assert done.returncode == code
    assert said in done.stderr


def test_a_job_by_its_name(place: Path) -> None:
    done = asked(place, "cost", "job", "train-20780")
    assert done.returncode == 0, done.stderr
    assert "cost 96.666667 USD" in done.stdout
    assert "4.00 of work since their last checkpoint, at most 30m before is lost" in done.stdout
    done = asked(place, "cost", "job", "research/nothing")
    assert done.returncode == 2
    assert "no job 'research/nothing'" in done.stderr


def test_what_tokens_cost(place: Path) -> None:
    done = asked(place, "cost", "inference", "--window", WINDOW)
    assert done.returncode == 0, done.stderr
    assert "models cost 1,680.000000 USD of 9,408.000000" in done.stdout
    assert "an output token weighs" in done.stderr


def test_a_page_on_a_month(place: Path, tmp_path: Path) -> None:
    page, teams = tmp_path / "page.html", tmp_path / "teams.csv"
    done = asked(place, "report", "--month", "2026-10", "-o", f"html={page}", "-o", f"csv={teams}", "-o", "markdown")
    assert done.returncode == 0, done.stderr
    assert "acme: GPU cost of 2026-10" in done.stdout
    assert page.read_text().startswith("<!doctype html>")
    assert sum(float(row["spent"]) for row in csv.DictReader(StringIO(teams.read_text()))) == pytest.approx(
        31 * 24 * 56
    )
    assert asked(place, "report", "-o", "table", "-o", "json").returncode == 2
    assert asked(place, "report", "-o", "pdf").returncode == 2
    done = asked(place, "report", "--month", "2026-10", "-o", "html=/nonexistent/page.html")
    assert done.returncode == 2
    assert "cannot write the html report" in done.stderr


def test_options_of_a_verb_stand_behind_it(place: Path) -> None:
    done = run("cost", "--by", "job", "budget", "--ledger", place / "ledger.duckdb")
    assert done.returncode == 2
    assert "stand behind it: plimsoll cost budget" in done.stderr


def test_tenants_of_a_model_are_told_apart(place: Path) -> None:
    done = asked(place, "cost", "--by", "served", "--window", WINDOW)
    assert done.returncode == 0, done.stderr
    assert "acme/chat for web" in done.stdout
    assert "acme/chat for mobile" in done.stdout
