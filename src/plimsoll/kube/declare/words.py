"""What every part of a declaration needs: values the file would take, names, the usual among many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from plimsoll.kube.kinds import Kind
from plimsoll.kube.snapshot import Snapshot

T = TypeVar("T")
Say = Callable[[str], None]
"""Takes one sentence about something that could not be known, or could not be said as it is."""

Note = Callable[[str, str], None]
"""The same about one node: the sentence, and the node's name."""


def valid(value: object, wanted: Any) -> bool:
    """Whether a declaration's field of the type `wanted` takes a value."""
    if not printable(value):
        return False
    try:
        msgspec.convert(value, wanted)
    except msgspec.ValidationError:
        return False
    return True


def printable(value: object) -> bool:
    """Whether every text in a value is; a pattern's `$` lets a last line break pass, and no file takes surrogates."""
    if isinstance(value, dict | list | tuple):
        return all(printable(each) for each in (value.values() if isinstance(value, dict) else value))
    return not isinstance(value, str) or value.isprintable()


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


def gap(snapshot: Snapshot, *wanted: Kind) -> str:
    """Which of these kinds are not here whole, and why; "" where all are, so that what is not found does not exist."""
    lacking = [kind for kind in wanted if not snapshot.whole(kind)]
    return "; ".join(f"{kind.kind}: {snapshot.why_unread(kind)}" for kind in lacking)


class Notes:
    """Gathers sentences about nodes, so that a hundred nodes of one kind make one sentence."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, None]] = {}

    def note(self, sentence: str, node: str) -> None:
        self._nodes.setdefault(sentence, {})[node] = None

    def tell(self, say: Say) -> None:
        for sentence, nodes in self._nodes.items():
            say(f"{'node' if len(nodes) == 1 else 'nodes'} {listed(nodes)}: {sentence}")
