"""Other programs, run for the build: none outlives it, all they say is kept."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from plimsoll.lab.run.process import die_with

_PAUSE = 0.1  # seconds between two looks at a running command
_ANSWER = 20  # seconds that a program gets to say its version


def run(
    argv: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    tick: Callable[[float], None] = lambda _seconds: None,
) -> int:
    """Run it to its end; its exit status. What it says is appended to `log`. tick: called with the seconds so far.

    It is killed when this process is interrupted, and by the kernel when this process is killed.
    """
    with log.open("ab") as said:
        start = time.monotonic()
        child = subprocess.Popen(  # noqa: S603
            argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=cwd, env=env,
            preexec_fn=partial(die_with, os.getpid()),
        )  # fmt: skip
        try:
            while child.poll() is None:
                tick(time.monotonic() - start)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(_PAUSE)
        except BaseException:
            child.kill()
            child.wait()
            raise
        return child.returncode


def ask(
    argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> tuple[bool, str]:
    """Whether it answered, and what: for questions such as `--version`."""
    try:
        done = subprocess.run(  # noqa: S603
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, env=env,
            timeout=_ANSWER, text=True, errors="replace", check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, done.stdout


def tail(log: Path, lines: int = 12) -> str:
    """The end of what a command said."""
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""
