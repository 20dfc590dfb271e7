"""Start a lab and wait for it, from the command line or a test; find the labs there are; end one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from plimsoll.errors import InputError, LabError, PlimsollError
from plimsoll.kube.yamldocs import documents
from plimsoll.lab import home, nodes
from plimsoll.lab.run import control
from plimsoll.lab.run.settings import Folder, Settings, platform_of
from plimsoll.lab.run.state import State, alive, read

Progress = Callable[[str, int, int], None]

_PAUSE = 0.1
_PATIENCE = 900.0  # seconds until a lab that is not ready is given up; each of its steps gives up sooner
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def folder_of(name: str) -> Folder:
    """The folder of the lab of that name. Raises InputError for what is no name."""
    if not _NAME.fullmatch(name):
        raise InputError("a lab's name is up to 32 small letters, digits and dashes", where=name[:60])
    return Folder(home.labs() / name)


def up(settings: Settings, progress: Progress | None = None, *, folder: Folder | None = None) -> State:
    """Start a lab, wait until it is ready, and say how it is; one that runs already with other settings is an error.

    Raises PlimsollError with what went wrong and where its logs are.
    """
    folder = folder or folder_of(settings.name)
    _read_all(settings)
    if alive(folder):
        if folder.load() != settings:
            raise InputError(
                "this lab runs already, with other settings",
                where=settings.name,
                hint=f"`plimsoll lab down --name {settings.name}` first, or choose another --name",
            )
        return _wait(folder, progress)
    _clear(folder)
    folder.settings.write_bytes(msgspec.json.encode(settings))
    with folder.supervisor_log.open("ab") as log:
        subprocess.run(  # noqa: S603  # our own program, which goes on by itself
            [sys.executable, "-m", "plimsoll.lab.run.supervisor", str(folder.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            check=False,
            env={key: value for key, value in os.environ.items() if not key.startswith(("KUBE", "HELM_"))},
        )
    try:
        return _wait(folder, progress)
    except BaseException:  # Ctrl-C too: nothing half-started stays
        down(folder)
        raise


def down(folder: Folder) -> bool:
    """End a lab and remove what it kept; False where it did not run."""
    ran = alive(folder)
    if ran:
        with suppress(PlimsollError):
            control.ask(folder, "down")
        if not _gone(folder, 15.0):
            state = read(folder)
            if state and state.pid > 1:
                os.kill(state.pid, signal.SIGKILL)  # it holds the lock, so the pid is its own
            _gone(folder, 5.0)
    return ran


def forget(folder: Folder) -> None:
    """Remove the folder of a lab that does not run."""
    if folder.root.is_dir() and not alive(folder):
        shutil.rmtree(folder.root, ignore_errors=True)


def all_labs() -> list[State]:
    """Every lab that has a folder, by name."""
    root = home.labs()
    if not root.is_dir():
        return []
    found = (read(Folder(each)) for each in sorted(root.iterdir()) if each.is_dir())
    return [state for state in found if state]


def _read_all(settings: Settings) -> None:
    """Read what was given before anything is started. Raises InputError with what is wrong in it."""
    platform_of(settings)
    if settings.nodes:
        nodes.nodes_from(settings.nodes)
    for line, document in documents(settings.manifests, "manifests"):
        if document is not None and not (isinstance(document, dict) and "kind" in document):
            raise InputError("not a Kubernetes object", where=f"manifests:{line}")


def _wait(folder: Folder, progress: Progress | None) -> State:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        ended = not alive(folder)
        state = read(folder)
        if state and state.phase == "failed":
            raise LabError(state.error, where="lab", hint=state.hint or f"logs: {folder.logs}")
        if state and state.phase == "ready":
            return state
        if ended:
            raise LabError("the lab ended before it was ready", where=_last_words(folder), hint=f"logs: {folder.logs}")
        if progress and state and state.steps:
            under_way = [step.name for step in state.steps if step.seconds is None]
            progress(", ".join(under_way), len(state.steps) - len(under_way), state.total)
        time.sleep(_PAUSE)
    raise LabError(f"not ready after {_PATIENCE:.0f} s", where=_last_words(folder), hint=f"logs: {folder.logs}")


def _clear(folder: Folder) -> None:
    """What an earlier lab of this name left goes; the folder is ours alone."""
    if folder.root.is_dir():
        shutil.rmtree(folder.root)
    folder.make()


def _gone(folder: Folder, patience: float) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if not alive(folder):
            return True
        time.sleep(_PAUSE)
    return False


def _last_words(folder: Folder) -> str:
    with suppress(OSError, IndexError):
        return folder.supervisor_log.read_text(errors="replace").splitlines()[-1][:300]
    return str(folder.root)


def log_files(folder: Folder) -> dict[str, Path]:
    """The logs of a lab by program; `supervisor` is its own, `audit` the API server's."""
    return {path.stem: path for path in sorted(folder.logs.glob("*.log"))}
