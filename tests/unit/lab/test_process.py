"""Programs of a lab: none outlives it, one that dies is started again, one that cannot start says why."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from plimsoll.errors import LabError
from plimsoll.lab.run.process import Process, Program

_PARENT = """
import asyncio, sys
from pathlib import Path
from plimsoll.lab.run.process import Process, Program

async def main():
    process = Process(Program(name="child", argv=["/bin/sleep", "300"]), Path(sys.argv[1]))
    await process.start()
    print(process.pid, flush=True)
    await asyncio.sleep(300)

asyncio.run(main())
"""


def _runs(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _until(look: Callable[[], bool], patience: float = 10.0) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if look():
            return True
        time.sleep(0.02)
    return False


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert _runs(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _until(lambda: not _runs(child))


def test_one_that_dies_is_started_again_and_one_that_is_stopped_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        process = Process(Program(name="sleeper", argv=["/bin/sleep", "300"]), tmp_path)
        await process.start()
        first = process.pid
        os.kill(first, signal.SIGKILL)
        for _ in range(200):
            if process.pid not in (0, first):
                break
            await asyncio.sleep(0.02)
        second = process.pid
        assert second not in (0, first)
        assert process.restarts == 1
        await process.stop()
        assert process.pid == 0
        assert not _runs(second)
        await process.start()
        assert process.pid
        await process.stop(grace=0)

    asyncio.run(scenario())


def test_one_that_ignores_the_term_signal_is_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        stubborn = (
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(300)"
        )
        process = Process(Program(name="stubborn", argv=[sys.executable, "-c", stubborn]), tmp_path)
        await process.start()
        while not process.tail():
            await asyncio.sleep(0.02)
        pid = process.pid
        await process.stop(grace=0.2)
        assert not _runs(pid)

    asyncio.run(scenario())


def test_one_that_is_never_ready_says_its_last_words(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    async def scenario() -> None:
        argv = ["/bin/sh", "-c", "echo no space left on device; exit 3"]
        process = Process(Program(name="broken", argv=argv, ready=never, patience=1.0), tmp_path)
        with pytest.raises(LabError, match="no space left on device") as caught:
            await process.start()
        assert caught.value.where == str(tmp_path / "broken.log")
        assert process.pid == 0

    asyncio.run(scenario())


def test_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    process = Process(Program(name="absent", argv=[str(tmp_path / "absent")]), tmp_path)
    with pytest.raises(LabError, match="cannot start"):
        asyncio.run(process.start())
