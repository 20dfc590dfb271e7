"""Start a lab and wait for it, from the command line or a test; find the labs there are; end one."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from plimsoll.errors import InputError, LabError, PlimsollError
from plimsoll.kube.objects import text
from plimsoll.kube.yamldocs import documents
from plimsoll.lab import home, nodes
from plimsoll.lab.hardware.devices import GPU
from plimsoll.lab.run import control
from plimsoll.lab.run.settings import ADDONS, PLACES, Folder, Settings, platform_of
from plimsoll.lab.run.state import State, alive, read
from plimsoll.spec import derive
from plimsoll.spec.model import Platform

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
    ours = False
    try:
        with _one_at_a_time(folder):
            if not alive(folder):
                ours = True
                _spawn(folder, settings)
            elif folder.load() != settings:
                raise InputError(
                    "this lab runs already, with other settings",
                    where=settings.name,
                    hint=f"`plimsoll lab down --name {settings.name}` first, or choose another --name",
                )
        return _wait(folder, progress)
    except BaseException:  # Ctrl-C too: nothing half-started stays
        if ours:
            down(folder)
        raise


def ready(name: str) -> tuple[Folder, State]:
    """A lab that is ready, by name. Raises InputError with how it is otherwise."""
    folder = folder_of(name)
    state = read(folder)
    if state and state.phase == "ready":
        return folder, state
    if alive(folder):
        raise InputError(
            "this lab is not ready yet", where=name, hint=f"`plimsoll lab status --name {name}` says how far it is"
        )
    if not folder.root.is_dir():
        raise InputError(
            "no such lab", where=name, hint="`plimsoll lab status` lists them, `plimsoll lab up` starts one"
        )
    raise InputError("this lab does not run", where=name, hint="`plimsoll lab up` starts it anew")


@contextmanager
def _one_at_a_time(folder: Folder) -> Iterator[None]:
    """Look whether a lab runs and start it, without anybody else starting it meanwhile."""
    try:
        folder.root.parent.mkdir(parents=True, exist_ok=True)
        lock = (folder.root.parent / f".{folder.root.name}.lock").open("w")
    except OSError as error:
        raise LabError(f"cannot be used: {error.strerror}", where=str(folder.root.parent), hint=PLACES) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _spawn(folder: Folder, settings: Settings) -> None:
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


def down(folder: Folder) -> bool:
    """End a lab and remove what it kept; False where it did not run."""
    ran = alive(folder)
    if ran:
        with suppress(PlimsollError):
            control.ask(folder, "down")
        if not _gone(folder, 15.0):
            with suppress(OSError, ValueError):
                pid = int(folder.lock.read_text())
                os.kill(pid, signal.SIGKILL)  # it holds the lock, so the pid is its own
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
    found = (_known(each) for each in sorted(root.iterdir()) if each.is_dir())
    return [state for state in found if state]


def _known(place: Path) -> State | None:
    """The state of a lab by its folder; one that cannot be looked at says so and hides no other."""
    try:
        state = read(Folder(place))
    except LabError as error:
        return State(name=place.name, phase="failed", error=str(error), hint=error.hint)
    if state:
        state.name = place.name
    return state


def _read_all(settings: Settings) -> None:
    """Read what was given before anything is started. Raises InputError with what is wrong in it."""
    platform = platform_of(settings)
    if platform and "gpu-operator" not in settings.addons:
        _whole(platform, settings.addons)
    if settings.nodes:
        nodes.nodes_from(settings.nodes)
    for line, document in documents(settings.manifests, "manifests"):
        if document is not None and not (text(document, "kind") and text(document, "metadata", "name")):
            raise InputError("not a Kubernetes object with a kind and a name", where=f"manifests:{line}")


def _whole(platform: Platform, addons: Sequence[str]) -> None:
    """Raise InputError where pools offer anything but whole GPUs: without the operator nobody cuts or shares them."""
    pools = [each.name for each in platform.pools if derive.per_node(each) != {GPU: each.gpus_per_node}]
    if pools:
        with_it = ",".join(each for each in ADDONS if each in addons or each == "gpu-operator")
        raise InputError(
            f"MIG and sharing are the GPU Operator's work, and pools have it: {', '.join(pools)[:200]}",
            where="--with",
            hint=f"--with {with_it}",
        )


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
    try:
        if folder.root.is_dir():
            shutil.rmtree(folder.root)
    except OSError as error:
        raise LabError(f"cannot be cleared: {error.strerror}", where=str(folder.root), hint=PLACES) from None
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
