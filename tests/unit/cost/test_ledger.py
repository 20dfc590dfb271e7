"""Records in, each counted once; merged, exported, forgotten."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

import duckdb
import msgspec
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.cost import duck
from plimsoll.cost.bill import Bill, Query, bill
from plimsoll.cost.export import to_parquet
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import HOUR, RATE_MAX, Request, Tokens, Usage, Watch, by_hour, key, measured, parts
from plimsoll.cost.schema import TABLES, USAGE, VERSION
from plimsoll.cost.statement import read
from plimsoll.cost.store import open_store
from plimsoll.errors import ClusterError, InputError
from tests.unit.cost.truth import SKU, START, TARIFF, generate

MINUTE = 60_000


def ask(ledger: Ledger, began: int = START, ended: int = START + 30 * HOUR) -> Bill:
    return bill(ledger, TARIFF, Query(by="job", began=began, ended=ended))


def usage(ledger: Ledger) -> list[tuple[int, ...]]:
    return ledger.store.rows("SELECT began, ended, seen, busy FROM usage ORDER BY began")


def used(began: int, ended: int, busy: float = 0.5) -> Usage:
    return measured("g", "", "p", START + began * MINUTE, START + ended * MINUTE, busy)


def test_what_follows_without_a_gap_becomes_one_row_per_hour(ledger: Ledger) -> None:
    ledger.write([used(minute, minute + 1) for minute in range(90)])
    ledger.seal(START + 90 * MINUTE)
    assert usage(ledger) == [
        (START, START + HOUR, HOUR, HOUR // 2),
        (START + HOUR, START + HOUR + 30 * MINUTE, HOUR // 2, HOUR // 4),
    ]


def test_two_meters_that_watched_one_device_count_once(ledger: Ledger) -> None:
    ledger.write([used(0, 10), used(10, 20), used(5, 15), used(15, 25)])
    ledger.seal(START + HOUR)
    assert usage(ledger) == [(START, START + 25 * MINUTE, 25 * MINUTE, 25 * MINUTE // 2)]


def test_late_records_fill_gaps_and_repeat_nothing(ledger: Ledger) -> None:
    ledger.write([used(0, 10), used(20, 30)])
    ledger.seal(START + HOUR)
    ledger.write([used(0, 10), used(8, 22)])
    ledger.seal(START + HOUR)
    assert usage(ledger) == [(START, START + 30 * MINUTE, 30 * MINUTE, 15 * MINUTE)]


def test_only_what_ended_is_merged(ledger: Ledger) -> None:
    ledger.write([used(0, 10), used(10, 20)])
    ledger.seal(START + 15 * MINUTE)
    assert len(usage(ledger)) == 1
    assert ledger.pending(USAGE, START, START + HOUR)
    ledger.seal(START + HOUR)
    assert usage(ledger) == [(START, START + 20 * MINUTE, 20 * MINUTE, 10 * MINUTE)]


def test_watches_become_one_and_say_how_far_the_ledger_reaches(ledger: Ledger) -> None:
    assert ledger.horizon() == 0
    ledger.write([Watch(meter="m", began=START + i * MINUTE, ended=START + (i + 1) * MINUTE) for i in range(5)])
    ledger.seal(START + HOUR)
    assert ledger.store.rows("SELECT * FROM watches") == [("m", START, START + 5 * MINUTE)]
    assert ledger.horizon() == START + 5 * MINUTE


def test_forgetting_changes_no_later_bill(ledger: Ledger) -> None:
    truth = generate(Random(3), nodes=4, pods=30)
    ledger.write(truth.records())
    ledger.seal(truth.horizon)
    before = START + 15 * HOUR
    kept = ask(ledger, before)
    rows = sum(ledger.store.rows(f"SELECT COUNT(*) FROM {table.name}")[0][0] for table in TABLES)
    ledger.forget(before)
    assert ask(ledger, before).lines == kept.lines
    assert sum(ledger.store.rows(f"SELECT COUNT(*) FROM {table.name}")[0][0] for table in TABLES) < rows / 1.5
    ended = {p.uid for p in truth.pods if p.ended <= before}
    assert not ended & {uid for (uid,) in ledger.store.rows("SELECT uid FROM pods")}


def test_a_failed_write_leaves_nothing(ledger: Ledger) -> None:
    with pytest.raises(Exception, match=r"(?i)int|out of range|convert"):
        ledger.write([Watch(meter="m", began=0, ended=1), Watch(meter="m", began=0, ended=2**70)])
    assert ledger.horizon() == 0


def test_a_ledger_of_a_newer_plimsoll_is_not_touched(ledger: Ledger) -> None:
    ledger.store.run("INSERT INTO plimsoll_ledger VALUES (?)", [VERSION + 1])
    with pytest.raises(InputError, match="version"):
        Ledger(ledger.store)


def test_every_table_is_exported(ledger: Ledger, tmp_path: Path) -> None:
    truth = generate(Random(1), nodes=2, pods=8)
    ledger.write(truth.records())
    ledger.seal(truth.horizon)
    files = to_parquet(ledger, tmp_path / "out")
    assert {path.stem for path in files} == {table.name for table in TABLES if not table.name.endswith("_inbox")}
    for path in files:
        count = duckdb.execute(f"SELECT COUNT(*) FROM '{path}'").fetchall()
        assert count == ledger.store.rows(f"SELECT COUNT(*) FROM {path.stem}")


def test_a_file_is_kept_and_read_by_many(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    first = Ledger(open_store(path))
    first.write(generate(Random(2), nodes=1, pods=3).records())
    expected = ask(first).lines
    first.store.close()
    readers = [Ledger(open_store(path, read_only=True)) for _ in range(2)]
    assert [ask(each).lines for each in readers] == [expected] * 2


_HOLDS = """
import sys
from plimsoll.cost.statement import read
from plimsoll.cost.store import open_store
store = open_store(sys.argv[1])
print(flush=True)
sys.stdin.read()
store.close()
"""


def test_a_file_that_another_process_has_for_a_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.duckdb"
    words = [sys.executable, "-c", _HOLDS, str(path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        monkeypatch.setattr(duck, "PATIENCE", 0.0)
        for read_only in (True, False):
            with pytest.raises(InputError, match=r"cannot be opened: .* lock"):
                open_store(path, read_only=read_only)
        monkeypatch.setattr(duck, "PATIENCE", 120.0)
        threading.Timer(0.2, other.stdin.close).start()
        open_store(path, read_only=True).close()


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    with pytest.raises(InputError, match="cannot be opened"):
        open_store(path)


@pytest.mark.parametrize("place", ["someone:secret@127.0.0.1:1/none", "someone@127.0.0.1:1/none?password=secret"])
def test_a_database_that_is_not_there_is_a_cluster_error(place: str) -> None:
    with pytest.raises(ClusterError, match="cannot be reached") as caught:
        open_store(f"postgresql://{place}")
    assert caught.value.where == "127.0.0.1:1/none"
    assert "secret" not in f"{caught.value} {caught.value.where}"


@pytest.fixture
def two(address: str) -> Iterator[tuple[Ledger, Ledger]]:
    stores = open_store(address), open_store(address)
    yield Ledger(stores[0]), Ledger(stores[1])
    for store in stores:
        store.close()


def test_meters_write_and_merge_one_database_at_once(two: tuple[Ledger, Ledger]) -> None:
    truth = generate(Random(11), nodes=2, pods=15)
    records = truth.records()
    failed: list[BaseException] = []

    def meter(ledger: Ledger) -> None:
        try:
            for start in range(0, len(records), 50):
                ledger.write(records[start : start + 50])
                if start % 250 == 0:
                    ledger.seal(truth.horizon)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=meter, args=(each,)) for each in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    alone = Ledger(open_store(":memory:"))
    alone.write(records)
    assert ask(two[0]).lines == ask(alone).lines


def test_a_lost_connection_loses_nothing_that_was_written(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    one.write([used(0, 10)])
    (mine,) = one.store.rows("SELECT pg_backend_pid()")[0]
    other.store.rows("SELECT pg_terminate_backend(?)", [mine])
    with pytest.raises(ClusterError, match="went away"):
        one.write([used(10, 20)])
    other.write([used(10, 20)])  # at least once: whoever failed writes again
    other.seal(START + HOUR)
    assert usage(other) == [(START, START + 20 * MINUTE, 20 * MINUTE, 10 * MINUTE)]


@settings(deadline=None)
@given(st.integers(0, 3 * HOUR), st.integers(0, 5 * HOUR), st.integers(0, RATE_MAX))
def test_pieces_of_hours_sum_to_the_whole(began: int, span: int, watts: int) -> None:
    energy = watts * span
    whole = Usage(gpu="g", began=began, ended=began + span, seen=span, energy=energy)
    pieces = list(by_hour(whole))
    assert sum(each.ended - each.began for each in pieces) == span
    assert all(each.began // HOUR == (each.ended - 1) // HOUR for each in pieces)
    if span:
        assert sum(each.energy for each in pieces if isinstance(each, Usage)) == energy


def test_tokens_of_two_sources_add_up_and_of_one_count_once(ledger: Ledger) -> None:
    one = Tokens(model="m", tenant="t", pod="a", began=START, ended=START + MINUTE, requests=5, output=70)
    ledger.write([one, one, Tokens(model="m", tenant="t", pod="b", began=START, ended=START + MINUTE, requests=1)])
    ledger.seal(START + HOUR)
    assert ledger.store.rows("SELECT SUM(requests), SUM(output) FROM tokens") == [(6, 70)]


def test_numbers_of_names() -> None:
    assert key("") == 0
    assert key("a", "b") != key("ab") != key("a")
    assert 0 < key("a") < 2**63


@pytest.mark.parametrize(
    ("profile", "share"),
    [
        ("1g.10gb", 8),
        ("1g.20gb", 14),
        ("2g.20gb", 16),
        ("3g.40gb", 28),
        ("4g.40gb", 32),
        ("7g.80gb", 56),
        ("9g.9gb", None),
    ],
)
def test_parts_of_a_gpu(profile: str, share: int | None) -> None:
    assert parts(SKU, profile) == share


def test_a_request_counts_once_and_another_with_its_id_is_another(ledger: Ledger) -> None:
    one = Request(id="r1", model="llama", tenant="x", began=START, ended=START + 900, prompt=10, output=5)
    again = msgspec.structs.replace(one, tenant="y")  # clients choose ids
    ledger.write([one, one, again])
    ledger.write([one])
    assert ledger.store.rows("SELECT name, tenant, output FROM requests ORDER BY tenant") == [
        ("r1", "x", 5), ("r1", "y", 5)]  # fmt: skip
    ledger.forget(START + 900)
    assert ledger.store.rows("SELECT COUNT(*) FROM requests") == [(0,)]


def test_who_may_only_read_can_ask_and_makes_nothing(address: str) -> None:
    with pytest.raises(InputError, match="holds no ledger"):
        read(address)
    with psycopg.connect(address) as plain:
        assert plain.execute("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'").fetchall() == [(0,)]
    writer = open_store(address)
    truth = generate(Random(4), nodes=1, pods=3)
    Ledger(writer).write(truth.records())
    writer.run("CREATE ROLE asks LOGIN")
    try:
        writer.run("GRANT USAGE ON SCHEMA public TO asks")
        writer.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO asks")
        asking = read(address.replace("plimsoll@", "asks@"))
        assert ask(asking).lines == ask(Ledger(writer)).lines
        with pytest.raises(ClusterError, match=r"the ledger's database refuses: permission denied"):
            asking.write([used(0, 10)])
        asking.store.close()
    finally:
        writer.run("DROP OWNED BY asks")
        writer.run("DROP ROLE asks")
        writer.close()


def test_a_server_that_only_reads_refuses_in_our_words(address: str) -> None:
    store = open_store(address)
    store.run("SET default_transaction_read_only = on")
    with pytest.raises(ClusterError, match=r"the ledger's database refuses: cannot execute INSERT"):
        Ledger(store).write([used(0, 10)])
    store.close()
