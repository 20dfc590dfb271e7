"""The tests' own PostgreSQL: what is committed outlives a crash, and nothing outlives this process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.postgres import Server, forget, given


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with given(durable=True) as made:
        yield made


@pytest.mark.parametrize("kill", [False, True])
def test_what_is_committed_is_there_after_a_restart(server: Server, kill: bool) -> None:
    address = server.database()
    with psycopg.connect(address, autocommit=True) as db:
        db.execute("CREATE TABLE kept (number int)")
        db.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
        open_one = psycopg.connect(address)
        open_one.execute("INSERT INTO kept VALUES (-1)")  # never committed
        before = server.pid
        server.restart(kill=kill)
        with pytest.raises(psycopg.OperationalError):
            db.execute("SELECT 1")
        open_one.close()
    assert server.pid not in (0, before)
    with psycopg.connect(address) as db:
        assert db.execute("SELECT count(*), sum(number) FROM kept").fetchone() == (1000, 500500)
        assert db.execute("SHOW fsync").fetchone() == ("on",)
    recovered = server.log.read_text().count("database system was not properly shut down")
    assert recovered == kill, "a crash is a crash, an end in order is none"


def test_each_database_is_empty_and_another(server: Server) -> None:
    one, other = server.database(), server.database()
    with psycopg.connect(one, autocommit=True) as db:
        db.execute("CREATE TABLE here (number int)")
    with psycopg.connect(other) as db:
        assert db.execute("SELECT to_regclass('here')").fetchone() == (None,)


def test_a_database_that_was_taken_back_is_empty_and_nobody_is_in_it(server: Server) -> None:
    place = server.database()
    with psycopg.connect(place, autocommit=True) as left_open:
        left_open.execute("CREATE DOMAIN own AS numeric; CREATE TABLE here (number own); BEGIN; LOCK TABLE here")
        server.take_back(place)
        with pytest.raises(psycopg.OperationalError):
            left_open.execute("SELECT 1")
    assert server.database() == place
    with psycopg.connect(place) as db:
        assert db.execute("SELECT to_regclass('here'), to_regtype('own')").fetchone() == (None, None)
        assert db.execute("SELECT 'a' < 'B'").fetchone() == (True,), "sorted by a language"


def test_it_hears_nothing_but_its_socket_and_is_not_root(server: Server) -> None:
    with psycopg.connect(server.address()) as db:
        assert db.execute("SHOW listen_addresses").fetchone() == ("",)
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0


def test_it_leaves_nothing_when_it_is_left(server: Server) -> None:
    with Server() as another:
        root, pid = another.root, another.pid
    assert not root.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_one_that_was_killed_leaves_no_shared_memory(server: Server) -> None:
    with Server() as another:
        segment = (another.data / "postmaster.pid").read_text().splitlines()[6].split()[1]
        assert segment in _segments()
        another.kill()
    assert segment not in _segments()


def _segments() -> set[str]:
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def test_it_dies_with_its_owner(server: Server) -> None:
    script = "from tests.postgres import Server\nwith Server() as s: print(s.pid, s.root, flush=True); input()"
    owner = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdin and owner.stdout
    with owner:
        said = owner.stdout.readline().split()
        os.kill(owner.pid, signal.SIGKILL)
    end = time.monotonic() + 30
    while Path(f"/proc/{said[0]}/exe").is_symlink() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{said[0]}/exe").is_symlink()
    forget(Path(said[1]) / "data")
    shutil.rmtree(said[1])
