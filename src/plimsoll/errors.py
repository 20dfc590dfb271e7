"""Every error a user can meet, and the exit code each one ends with.

    PlimsollError
    ├── InputError        2  a file, flag or declaration is wrong
    │   └── SpecError     2  platform.yaml is wrong; carries every problem found
    ├── IncompleteError   3  the data cannot answer what was required
    ├── ClusterError      4  the cluster cannot be reached or refuses us
    ├── LabError          6  the lab cannot be built or run on this machine
    └── (anything else)   5  our own bug

An error says what happened, where, and what to do next.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every verb (DESIGN: errors say what, where, what next)."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    INCOMPLETE = 3
    UNREACHABLE = 4
    BUG = 5
    LAB = 6


class PlimsollError(Exception):
    """An error with a place and a next step."""

    exit_code = Exit.BUG

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}"


class InputError(PlimsollError):
    """A file, flag or argument the user gave cannot be used."""

    exit_code = Exit.USAGE


class IncompleteError(PlimsollError):
    """The data at hand cannot answer what was required of it."""

    exit_code = Exit.INCOMPLETE


class ClusterError(PlimsollError):
    """The cluster cannot be reached, or refuses our credentials."""

    exit_code = Exit.UNREACHABLE


class LabError(PlimsollError):
    """The lab cannot be built or run on this machine as it is."""

    exit_code = Exit.LAB
