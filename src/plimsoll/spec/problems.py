"""What is wrong with a declaration: every problem at once, each with its place."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from plimsoll.errors import InputError

Path = tuple[str | int, ...]

SHOWN_MAX = 100
PROBLEMS_MAX = 1000  # of one kind: a hostile file could have one per byte
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong.

    path: where in the declaration. line, column: where in the file, from 1; 0 where there is no file.
    found: what stands there; "" where that says nothing. allowed: a clause that says what may: `must be …`.
    hint: what was probably meant.
    """

    path: Path = ()
    found: str = ""
    allowed: str
    hint: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        found = f"found {self.found}, " if self.found else ""
        place = f"{dotted(self.path)}: " if self.path else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{found}{self.allowed}{hint}"


class SpecError(InputError):
    """A declaration that cannot be used. `problems` holds all of them by line; its text shows SHOWN_MAX."""

    def __init__(self, problems: Sequence[Problem], where: str) -> None:
        self.problems = tuple(sorted(problems, key=lambda each: (each.line, each.column)))
        super().__init__("; ".join(map(str, self.problems[:3])), where=where)

    def __str__(self) -> str:
        lines = [self._line(each) for each in self.problems[:SHOWN_MAX]]
        if len(self.problems) == 1:
            return lines[0]
        if len(self.problems) > SHOWN_MAX:
            lines.append(f"{self.where}: and {len(self.problems) - SHOWN_MAX} more")
        return "\n".join([f"{self.where}: {len(self.problems)} problems", *lines])

    def _line(self, problem: Problem) -> str:
        line = f":{problem.line}" if problem.line else ""
        column = f":{problem.column}" if problem.column and not problem.path else ""
        return f"{self.where}{line}{column}: {problem}"


def dotted(path: Path) -> str:
    """A path as text: `pools[0].partition.mig.layout[1g.10gb]`. A key with a dot stands in brackets."""
    text = ""
    for step in path:
        if isinstance(step, str) and _PLAIN_KEY.match(step):
            text += f".{step}" if text else step
        else:
            text += f"[{shown(step) if isinstance(step, str) else step}]"
    return text


def shown(text: str, most: int = 60) -> str:
    """A text on one line, cut to `most` characters, safe to print on a terminal."""
    printable = "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text[: most + 1])
    return printable if len(text) <= most else f"{printable[: most - 1]}…"


def value(found: object) -> str:
    """A value from the file as a person wrote it, in short."""
    if found is None:
        return "nothing"
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, str):
        return f'"{shown(found)}"'
    if isinstance(found, dict):
        return "a map" if found else "an empty map"
    if isinstance(found, list | tuple):
        return "a list" if found else "an empty list"
    return shown(str(found))
