"""Where the lab keeps things: programs in a cache that all labs share, one folder of state per lab."""

from __future__ import annotations

import os
from pathlib import Path

from plimsoll.errors import LabError


def cache() -> Path:
    """The folder of built programs. `PLIMSOLL_CACHE` takes the place of `${XDG_CACHE_HOME:-~/.cache}/plimsoll`."""
    own = os.environ.get("PLIMSOLL_CACHE")
    root = Path(own).absolute() if own else _base("XDG_CACHE_HOME", ".cache") / "plimsoll"
    return root / "lab"


def labs() -> Path:
    """The folder that holds a folder for every lab: `${XDG_STATE_HOME:-~/.local/state}/plimsoll/lab`."""
    return _base("XDG_STATE_HOME", ".local/state") / "plimsoll" / "lab"


def made(folder: Path) -> Path:
    """The folder, made where it is missing. Raises LabError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(
            f"cannot make this folder: {error.strerror}",
            where=str(folder),
            hint="PLIMSOLL_CACHE and XDG_STATE_HOME name other places for programs and for labs",
        ) from error
    return folder


def _base(variable: str, default: str) -> Path:
    """A base directory as XDG defines it: what the variable says, unless it is relative or empty."""
    said = os.environ.get(variable, "")
    if said.startswith("/"):
        return Path(said)
    try:
        return Path.home() / default
    except RuntimeError:
        raise LabError("there is no home directory to keep the lab in", hint=f"set HOME or {variable}") from None
