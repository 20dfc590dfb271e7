"""What a lab is doing, as a file that anybody may read while it runs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Literal

import msgspec

from plimsoll.errors import LabError
from plimsoll.kube.files import whole
from plimsoll.lab.run.settings import PLACES, Folder

Phase = Literal["starting", "ready", "failed", "stopped"]


class Done(msgspec.Struct, frozen=True):
    """One step of coming up. seconds: how long it took; None while it is under way."""

    name: str
    seconds: float | None = None


class Running(msgspec.Struct, frozen=True):
    """A program of the lab. resident: bytes. pid 0: it does not run."""

    name: str
    pid: int
    restarts: int
    resident: int
    log: str


class State(msgspec.Struct, kw_only=True):
    """One lab. doors: ports on loopback of what can be reached from outside. discovery: where, in its own network,
    the pages are named that a meter reads. error: why it failed."""

    name: str
    phase: Phase = "starting"
    pid: int = 0
    own_network: bool = False
    kubeconfig: str = ""
    seconds: float = 0.0
    total: int = 0
    steps: tuple[Done, ...] = ()
    doors: dict[str, int] = {}
    discovery: str = ""
    programs: tuple[Running, ...] = ()
    versions: dict[str, str] = {}
    error: str = ""
    hint: str = ""

    def write(self, folder: Folder) -> None:
        """Replace the file."""
        with whole(folder.state) as file:
            file.write(msgspec.json.encode(self))


def read(folder: Folder) -> State | None:
    """The state of the lab in a folder; None where there is none. One whose process is gone is stopped."""
    try:
        state = msgspec.json.decode(folder.state.read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None
    if state.phase in ("starting", "ready") and not alive(folder):
        state.phase = "stopped"
        state.programs = ()
    return state


def alive(folder: Folder) -> bool:
    """Whether a supervisor holds the lab."""
    if not folder.root.is_dir():
        return False
    holder = hold(folder.lock)
    if holder is None:
        return True
    os.close(holder)
    return False


def hold(lock: Path) -> int | None:
    """Take the lab; None where somebody has it. The kernel lets go of it when the process ends, however it ends."""
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LabError(f"cannot be used: {error.strerror}", where=str(lock), hint=PLACES) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
