"""Stores to try the ledger on: DuckDB, and a PostgreSQL of the tests' own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.store import open_store

FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "listen_addresses=")


def _programs() -> Path | None:
    """The folder with initdb and postgres: on PATH, or where Debian keeps them."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The folder of the socket of a PostgreSQL server that is gone afterwards."""
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server here; apt-get install postgresql")
    root = Path(tempfile.mkdtemp(prefix="plimsoll-pg-"))
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())  # it refuses to run as root
    os.chown(root, user.pw_uid, user.pw_gid)
    as_user = {"user": user.pw_uid, "group": user.pw_gid} if os.getuid() == 0 else {}
    data = root / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": root}
    made = [str(programs / "initdb"), "-D", str(data), "-U", "plimsoll", "--auth=trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(made, check=True, **as_user, **quiet)  # type: ignore[call-overload]
    options = [word for option in FAST for word in ("-c", option)]
    server = subprocess.Popen(  # type: ignore[call-overload]
        [str(programs / "postgres"), "-D", str(data), "-k", str(root), *options], **as_user, **quiet
    )
    try:
        for _ in range(600):
            try:
                psycopg.connect(f"postgresql://plimsoll@/postgres?host={root}").close()
                break
            except psycopg.OperationalError:
                if server.poll() is not None:
                    raise
        yield str(root)
    finally:
        server.terminate()
        server.wait(timeout=30)
        shutil.rmtree(root, ignore_errors=True)


_made = iter(range(1_000_000))


@pytest.fixture
def address(postgres: str) -> str:
    """An empty database."""
    name = f"ledger{next(_made)}"
    with psycopg.connect(f"postgresql://plimsoll@/postgres?host={postgres}", autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}".encode())
    return f"postgresql://plimsoll@/{name}?host={postgres}"


@pytest.fixture(params=["duckdb", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """An empty ledger, in each kind of store."""
    place = ":memory:" if request.param == "duckdb" else str(request.getfixturevalue("address"))
    store = open_store(place)
    yield Ledger(store)
    store.close()
