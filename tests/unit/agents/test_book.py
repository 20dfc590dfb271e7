"""A ledger that is busy, locked or away: nothing is lost, and it is kept small in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from plimsoll.agents.meter import book
from plimsoll.agents.meter.book import Book
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import HOUR, Node, Record, Usage, Watch
from plimsoll.cost.store import open_store
from plimsoll.errors import ClusterError, InputError
from tests.postgres import given

T = 1_795_600_000_000 // HOUR * HOUR
DAY = 24 * HOUR


def node(uid: str) -> Node:
    return Node(uid=uid, name=uid, gpus=1, began=T)


def usage(began: int) -> Usage:
    return Usage(gpu="GPU-a", pod="p", began=began, ended=began + 1000, seen=1000)


def nodes(ledger: Ledger) -> list[str]:
    return [uid for (uid,) in ledger.store.rows("SELECT uid FROM nodes ORDER BY uid")]


def written(place: Path) -> list[str]:
    store = open_store(place, read_only=True)
    try:
        return nodes(Ledger(store))
    finally:
        store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "_PATIENCE", -1.0)


def test_a_file_is_free_between_writes(tmp_path: Path) -> None:
    place = tmp_path / "ledger"
    kept = Book(str(place), "m", DAY)
    for uid in "ab":
        assert kept.write([node(uid)], {"pods": uid})
        assert written(place)[-1] == uid
    assert kept.use(lambda ledger: ledger.cursors("m")) == {"pods": "b"}
    kept.close()


def test_what_cannot_be_written_waits(tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "ledger"
    kept = Book(str(place), "m", DAY)
    assert kept.write([node("a")], {})

    def busy(*_: object, **__: object) -> None:
        raise InputError("it is in use")

    with monkeypatch.context() as patched:
        patched.setattr(book, "open_store", busy)
        assert not kept.write([node("b")], {"pods": "2"})
        assert not kept.write([node("c")], {"pods": "3"})
        assert [each.uid for each in kept.pending if isinstance(each, Node)] == ["b", "c"]
        assert kept.trouble == "it is in use"
        assert written(place) == ["a"]
    assert kept.write([], {"pods": "4"})
    assert (kept.pending, kept.trouble) == ([], "")
    assert written(place) == ["a", "b", "c"]
    assert kept.use(lambda ledger: ledger.cursors("m")) == {"pods": "4"}


def test_a_short_wait_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object, **__: object) -> None:
        raise ClusterError("it is away")

    monkeypatch.setattr(book, "open_store", busy)
    kept = Book(str(tmp_path / "ledger"), "m", DAY)
    assert not kept.write([node("a")], {})
    assert kept.trouble == ""


def test_a_place_that_is_no_ledger_is_an_error_at_once(tmp_path: Path) -> None:
    place = tmp_path / "ledger"
    place.write_bytes(b"no database" * 1000)
    with pytest.raises(InputError):
        Book(str(place), "m", DAY).use(Ledger.horizon)


def test_an_error_of_the_work_leaves_the_ledger_usable(tmp_path: Path) -> None:
    kept = Book(str(tmp_path / "ledger"), "m", DAY)

    def broken(_: Ledger) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        kept.use(broken)
    assert kept.write([node("a")], {})


def test_full_hours_are_merged_a_while_after_them_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Book(str(tmp_path / "ledger"), "m", 10 * DAY)
    sealed: list[int] = []
    real = Ledger.seal

    def seal(ledger: Ledger, before: int) -> None:
        sealed.append(before)
        real(ledger, before)

    monkeypatch.setattr(Ledger, "seal", seal)
    records: list[Record] = [usage(T), usage(T + 1000), Watch(meter="m", began=T, ended=T + 2000)]
    assert kept.write(records, {})
    for now in (T + HOUR - 1, T + HOUR + 1, T + HOUR + HOUR // 6, T + HOUR + HOUR // 2, T + 2 * HOUR + HOUR // 6):
        kept.keep(now)
    assert sealed == [T, T + HOUR, T + 2 * HOUR]
    assert kept.use(lambda ledger: ledger.store.rows("SELECT COUNT(*) FROM usage_inbox")) == [(0,)]
    assert kept.use(lambda ledger: ledger.store.rows("SELECT seen FROM usage")) == [(2000,)]


def test_what_is_too_old_is_forgotten_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Book(str(tmp_path / "ledger"), "m", 2 * DAY)
    forgot: list[int] = []
    monkeypatch.setattr(Ledger, "forget", lambda _, before: forgot.append(before))
    day = T - T % DAY + DAY
    for now in (day, day + HOUR, day + DAY - 1, day + DAY + 5):
        kept.keep(now)
    assert forgot == [day - 2 * DAY, day + DAY + 5 - 2 * DAY]


def test_merging_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Book(str(tmp_path / "ledger"), "m", 10 * DAY)
    tries: list[int] = []

    def seal(_: Ledger, before: int) -> None:
        tries.append(before)
        if len(tries) == 1:
            raise ClusterError("it went away")

    monkeypatch.setattr(Ledger, "seal", seal)
    for _ in range(3):
        kept.keep(T + HOUR)
    assert tries == [T, T]


def test_a_database_that_goes_and_comes_back(impatient: None) -> None:
    with given(durable=True) as server:
        kept = Book(server.database(), "m", DAY)
        assert kept.write([node("a")], {"pods": "1"})
        server.kill()
        assert not kept.write([node("b")], {"pods": "2"})
        assert kept.trouble
        assert not kept.write([node("c")], {"pods": "3"})
        server.start()
        assert kept.write([node("d")], {"pods": "4"})
        assert kept.trouble == ""
        assert kept.use(nodes) == ["a", "b", "c", "d"]
        assert kept.use(lambda ledger: ledger.cursors("m")) == {"pods": "4"}
        kept.close()
