"""One meter at a time: two that guess may guess otherwise, and a pod would be billed twice."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from threading import Event, Timer

import pytest

from plimsoll.agents.meter.book import Book
from plimsoll.cost.ledger import Keeper, KeptError, Ledger
from plimsoll.cost.sample import Node

NOW = 1_764_547_200_000
NODE = Node(uid="n", name="n", began=NOW)


def keeper(holder: str, now: int = NOW, *, role: str = "cluster", after: str = "") -> Keeper:
    return Keeper(role=role, holder=holder, now=now, until=now + 45_000, after=after)


def test_one_at_a_time(ledger: Ledger) -> None:
    ledger.write([], keeper=keeper("a/1"))
    with pytest.raises(KeptError, match="a/1"):
        ledger.write([NODE], keeper=keeper("b/2"))
    assert ledger.store.rows("SELECT COUNT(*) FROM nodes") == [(0,)]  # all of it or none
    ledger.write([NODE], keeper=keeper("a/1", NOW + 40_000))
    with pytest.raises(KeptError):
        ledger.write([], keeper=keeper("b/2", NOW + 80_000))


def test_who_says_nothing_for_long_is_overtaken_and_may_not_come_back(ledger: Ledger) -> None:
    ledger.write([], keeper=keeper("a/1"))
    ledger.write([], keeper=keeper("b/2", NOW + 45_000))
    with pytest.raises(KeptError, match="b/2"):
        ledger.write([NODE], keeper=keeper("a/1", NOW + 46_000))


def test_who_is_known_to_be_gone_is_not_waited_for(ledger: Ledger) -> None:
    ledger.write([], keeper=keeper("a/1"))
    ledger.write([], keeper=keeper("b/2", after="a/1"))


def test_meters_of_different_nodes_do_not_meet(ledger: Ledger) -> None:
    ledger.write([], keeper=keeper("a/1", role="node a"))
    ledger.write([], keeper=keeper("b/1", role="node b"))


def other(place: Path, holder: str) -> None:
    book = Book(str(place), "m", 1, "cluster")
    book._holder = holder
    assert book.wait(Event())


def test_a_second_meter_waits_until_the_first_has_ended(tmp_path: Path) -> None:
    place = tmp_path / "ledger.duckdb"
    first = Book(str(place), "m", 1, "cluster")
    first._holder = "elsewhere/1"
    assert first.wait(Event())
    stop = Event()
    Timer(0.5, stop.set).start()
    assert not Book(str(place), "m", 1, "cluster").wait(stop)
    first.close()
    assert Book(str(place), "m", 1, "cluster").wait(Event())


def test_one_that_was_killed_on_this_machine_is_not_waited_for(tmp_path: Path) -> None:
    place = tmp_path / "ledger.duckdb"
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    other(place, f"{socket.gethostname()}/{dead.pid}")
    assert Book(str(place), "m", 1, "cluster").wait(Event())


def test_one_that_lives_on_this_machine_is(tmp_path: Path) -> None:
    place = tmp_path / "ledger.duckdb"
    other(place, f"{socket.gethostname()}/{os.getppid()}")
    stop = Event()
    Timer(0.5, stop.set).start()
    assert not Book(str(place), "m", 1, "cluster").wait(stop)


def test_a_meter_that_was_overtaken_stops(tmp_path: Path) -> None:
    place = tmp_path / "ledger.duckdb"
    slow = Book(str(place), "m", 1, "cluster")
    assert slow.wait(Event())
    other_book = Book(str(place), "m", 1, "cluster")
    other_book._holder = "elsewhere/1"
    other_book.use(lambda found: found.write([], keeper=keeper("elsewhere/1", 1 << 50, after=slow._holder)))
    with pytest.raises(KeptError, match="elsewhere"):
        slow.write([NODE], {})
    slow.close()
