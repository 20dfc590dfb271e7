"""A PostgreSQL server of the tests' own: on a socket in a temporary folder, gone with this process."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psycopg
import pytest

from plimsoll.errors import LabError
from plimsoll.lab.build.debian import with_libraries
from plimsoll.lab.build.found import Found, look
from plimsoll.lab.run.process import die_with

_ALWAYS = ("listen_addresses=", "jit=off", "shared_buffers=32MB", "timezone=GMT", "log_timezone=GMT")
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")  # what a crash may lose, and nothing crashes
_PATIENCE = 60.0  # seconds to start, the recovery after a crash included, and to stop
_PAUSE = 0.02


def given(*, durable: bool = False) -> Server:
    """A server to enter. Where there is none, the test that asks is skipped; not in CI, where it would go unseen."""
    try:
        return Server(durable=durable)
    except LabError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{error}; {error.hint}")


class Server:
    """A context manager: started when it is entered, gone with its data when it is left.

    durable: what is committed survives `kill`, as in production; else it is fast.
    Raises LabError where there is no PostgreSQL, and where it does not start, with what it said.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._program = look(()).of("postgres")
        self._options = [word for each in (*_ALWAYS, *(() if durable else _FAST)) for word in ("-c", each)]
        self._numbers = count()
        self._free: list[str] = []
        self._child: subprocess.Popen[bytes] | None = None
        self.root = Path(tempfile.mkdtemp(prefix="plimsoll-pg-"))
        self.log = self.root / "log"
        self.data = self.root / "data"
        user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())  # it refuses to run as root
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            os.chown(self.root, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            self._program = _reachable(self._program, self.root / "programs")

    def __enter__(self) -> Self:
        try:
            how = ("-U", "plimsoll", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
            if self._spawn("initdb", "-D", str(self.data), *how).wait():
                raise LabError(f"initdb failed: {self._said()}")
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()  # nobody reads again what it has not written yet
        forget(self.data)
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Of the process that all others of the server are children of; 0 where it does not run."""
        return self._child.pid if self._child and self._child.poll() is None else 0

    def address(self, database: str = "postgres") -> str:
        return f"postgresql://plimsoll@/{database}?host={self.root}"

    def database(self) -> str:
        """The address of an empty database, whose texts sort as people's databases do, not byte by byte."""
        if self._free:
            return self._free.pop()
        name = f"ledger{next(self._numbers)}"
        with psycopg.connect(self.address(), autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'".encode())
        return self.address(name)

    def take_back(self, address: str) -> None:
        """Empty a database to give it out again: making one is 300 files."""
        with psycopg.connect(address, autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid != pg_backend_pid()"
            )
            db.execute("DROP SCHEMA public CASCADE")
            db.execute("CREATE SCHEMA public")
        self._free.append(address)

    def start(self) -> None:
        """Start it and wait until it takes statements: after a crash it first makes good what it had promised."""
        end = time.monotonic() + _PATIENCE
        while not self.pid or not self._answers():
            if not self.pid:
                # Right after a crash the kernel may still hold what was the old one's, and a new one refuses to start.
                self._child = self._spawn("postgres", "-D", str(self.data), "-k", str(self.root), *self._options)
            if time.monotonic() > end:
                raise LabError(f"PostgreSQL does not start: {self._said()}", where=str(self.log))
            time.sleep(_PAUSE)

    def stop(self) -> None:
        """End it in order: what runs is broken off, what is committed is written."""
        if self._child and self.pid:
            self._child.send_signal(signal.SIGINT)  # its "fast" shutdown; on SIGTERM it waits for its clients
            try:
                self._child.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kill all its processes at once: none can write another word, what they held in memory is lost."""
        if not self._child or not self.pid:
            return
        os.kill(self._child.pid, signal.SIGSTOP)  # so that it starts no more
        children = _children(self._child.pid)
        for pid in (self._child.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._child.wait()
        end = time.monotonic() + _PATIENCE
        while any(map(_runs, children)) and time.monotonic() < end:
            time.sleep(_PAUSE)

    def restart(self, *, kill: bool = False) -> None:
        """End it, in order or with `kill`, and start it on the same data and the same socket."""
        (self.kill if kill else self.stop)()
        self.start()

    def _spawn(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as said:
            return subprocess.Popen(
                [self._program.path.parent / program, *arguments], env=with_libraries(self._program.libraries),
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=self.root, start_new_session=True,
                preexec_fn=partial(die_with, os.getpid()), **self._as,
            )  # fmt: skip

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.address(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _said(self) -> str:
        with suppress(OSError):
            return " / ".join(self.log.read_text(errors="replace").splitlines()[-5:])[-600:]
        return "nothing"


def forget(data: Path) -> None:
    """Give back the few bytes of shared memory that the kernel keeps for a server that was killed; none may run."""
    with suppress(OSError, IndexError, ValueError):
        segment = int((data / "postmaster.pid").read_text().splitlines()[6].split()[1])
        subprocess.run(["ipcrm", "-m", str(segment)], stderr=subprocess.DEVNULL, check=False)


def _reachable(program: Found, place: Path) -> Found:
    """The program where an ordinary user can run it: a copy of what was unpacked into root's own cache."""
    if all(folder.stat().st_mode & stat.S_IXOTH for folder in program.path.parents):
        return program
    home = program.home
    if home is None:
        raise LabError("an ordinary user may not look into this folder", where=str(program.path.parent))
    shutil.copytree(home, place, symlinks=True)
    libraries = tuple(place / each.relative_to(home) for each in program.libraries)
    return msgspec.structs.replace(program, path=place / program.path.relative_to(home), libraries=libraries)


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _runs(pid: int) -> bool:
    """Whether it still does anything; one that only waits to be asked how it ended does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
