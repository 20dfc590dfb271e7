"""One program of the lab: started, watched, started again, ended. It never outlives the supervisor."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from plimsoll.errors import LabError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None, use_errno=True)
_log = logging.getLogger(__name__)

_PAUSE = 0.05  # seconds between two looks at a program that starts
_BACKOFF = (0.2, 1.0, 3.0, 10.0)  # seconds before each further start of a program that keeps dying
_SAID = 400  # characters
_STEADY = 30.0  # seconds; one that ran this long is started again at once


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What to run.

    argv: with absolute paths. env: all of it but HOME; nothing is inherited. ready: returns when it can be used,
    raises or returns False while it cannot. patience: seconds until a start without `ready` is a failure.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = {}
    ready: Callable[[], Awaitable[bool]] | None = None
    patience: float = 60.0


class Process:
    """A program that runs, or is meant to."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.log = folder / f"{program.name}.log"
        self.restarts = 0
        self._folder = folder
        self._wanted = False
        self._child: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """0 where it does not run."""
        return self._child.pid if self._child and self._child.returncode is None else 0

    async def start(self) -> None:
        """Run it and wait until it is ready. Raises PlimsollError with the end of its log where it is not in time."""
        if self._wanted:
            return
        self._wanted = True
        try:
            await self._spawn()
            self._watch = asyncio.create_task(self._keep())
            await self._until_ready()
        except BaseException:
            await self.stop()
            raise

    async def stop(self, *, grace: float = 5.0) -> None:
        """End it: SIGTERM, then SIGKILL after `grace` seconds (0: at once)."""
        self._wanted = False
        child = self._child
        if child and child.returncode is None:
            with suppress(ProcessLookupError):
                child.send_signal(signal.SIGTERM if grace else signal.SIGKILL)
            try:
                await asyncio.wait_for(child.wait(), grace or None)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
            except asyncio.CancelledError:  # there is no time to wait, and nobody else will end it
                with suppress(ProcessLookupError):
                    child.kill()
                raise
        if self._watch:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None

    def resident(self) -> int:
        """Bytes of memory it and its children hold now."""
        return sum(_resident(pid) for pid in _family(self.pid)) if self.pid else 0

    def tail(self) -> str:
        """The last thing its log says, in a line that fits a message."""
        with suppress(OSError, IndexError):
            return self.log.read_text(errors="replace").splitlines()[-1][:_SAID]
        return ""

    async def _spawn(self) -> None:
        program = self.program
        with self.log.open("ab") as log:
            born = asyncio.create_task(
                asyncio.create_subprocess_exec(
                    *program.argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={"HOME": str(self._folder), **program.env},
                    cwd=self._folder,
                    preexec_fn=partial(die_with, os.getpid()),
                )
            )
            try:
                self._child = await asyncio.shield(born)
            except asyncio.CancelledError:  # it lives all the same, and nobody would know it
                with suppress(OSError):
                    child = await born
                    child.kill()
                    await child.wait()
                raise
            except OSError as error:
                raise LabError(f"cannot start: {error.strerror}", where=program.argv[0]) from None
        _log.info("%s runs as %d", program.name, self._child.pid)

    async def _until_ready(self) -> None:
        program = self.program
        if program.ready is None:
            return
        end = time.monotonic() + program.patience
        while time.monotonic() < end:
            if self.restarts > len(_BACKOFF):
                break
            with suppress(Exception):  # whatever a probe of a starting program raises means: not yet
                if await program.ready():
                    return
            await asyncio.sleep(_PAUSE)
        raise LabError(
            f"{program.name} did not become ready; it said last: {self.tail() or 'nothing'}",
            where=str(self.log),
        )

    async def _keep(self) -> None:
        """Start it again whenever it dies unasked."""
        tries = 0
        while self._child:
            born = time.monotonic()
            code = await self._child.wait()
            if not self._wanted:
                return
            tries = 0 if time.monotonic() - born > _STEADY else tries + 1
            self.restarts += 1
            pause = _BACKOFF[min(tries, len(_BACKOFF)) - 1] if tries else 0.0
            _log.warning("%s ended with %s; again in %.1f s", self.program.name, code, pause)
            await asyncio.sleep(pause)
            if self._wanted:
                await self._spawn()


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends. `parent`: its pid, to notice one that is gone already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _family(pid: int) -> list[int]:
    """A process and everything under it: a sandboxed one is a child of its sandbox."""
    found = [pid]
    for each in found:
        with suppress(OSError, ValueError):
            children = Path(f"/proc/{each}/task/{each}/children").read_text()
            found.extend(int(child) for child in children.split())
    return found


def _resident(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
