"""What every part of a declaration needs: values the file would take, names, the usual among many."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
Say = Callable[[str], None]
"""Takes one sentence about something that could not be known, or could not be said as it is."""


def valid(value: object, wanted: Any) -> bool:
    """Whether a declaration's field of the type `wanted` takes a value."""
    if isinstance(value, str) and not value.isprintable():  # a pattern's `$` lets a last line break pass
        return False
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        return False
    return True


def as_name(text: str, otherwise: str) -> str:
    """A text as a name the file takes: `Team_A.x` is `team-a-x`; `otherwise` where nothing is left of it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-") or otherwise


def unique(wanted: str, taken: set[str]) -> str:
    """The name, with a number behind it where it is taken; from then on it is."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted[:58].rstrip('-')}-{number}"
    taken.add(name)
    return name


def usual(values: Iterable[T]) -> T | None:
    """The most frequent value, of equally frequent ones the first; None where there is none."""
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else None


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names as one phrase: `a, b, c and 4 more`."""
    every = list(names)
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest
