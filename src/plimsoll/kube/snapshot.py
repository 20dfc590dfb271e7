"""A cluster frozen in memory: plain objects, indexed, that knows what it could not read.

Readers (store, archive, capture) build one; checks only ask it. It never
changes and never reads a clock: `taken_at` is the moment every check judges.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from enum import Enum
from functools import wraps
from typing import Any, NamedTuple, TypeVar

from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, mapping, text

T = TypeVar("T")


class Coverage(Enum):
    """How much of a kind a snapshot holds."""

    WHOLE = "whole"  # every object the cluster has: what is absent does not exist
    PARTIAL = "partial"  # some objects: what is absent is unknown
    UNREAD = "unread"  # none could be read


class Unread(NamedTuple):
    """A kind that could not be read, and why."""

    kind: Kind
    reason: str


class Source(NamedTuple):
    """Where a snapshot came from."""

    form: str  # live | snapshot | list | cluster-info dump | must-gather | manifest
    place: str  # a path or a context name; never a credential
    taken_at_is: str = "recorded"  # recorded | inferred (newest time found inside) | unknown


class Snapshot:
    """Objects of one cluster at one moment.

    `coverage` says per kind what the reader could promise; a kind it does not
    mention is UNREAD, unless the snapshot shows that the cluster does not
    serve it (every CustomResourceDefinition was read and none defines it).
    """

    def __init__(
        self,
        objects: Iterable[Obj],
        *,
        source: Source,
        taken_at: datetime | None,
        coverage: Mapping[Kind, Coverage],
        unread: Iterable[Unread] = (),
    ) -> None:
        self.source = source
        self.taken_at = taken_at
        self.unread = tuple(sorted(set(unread)))
        self._coverage = dict(coverage)
        self._by_kind: dict[tuple[str, str], dict[tuple[str, str], Obj]] = {}
        version = kind = ""
        bucket: dict[tuple[str, str], Obj] | None = None
        for obj in objects:
            # Objects come kind by kind, 100,000 pods in a row: what does not change is not worked out again.
            if bucket is None or obj.get("apiVersion") != version or obj.get("kind") != kind:
                version, kind = text(obj, "apiVersion"), text(obj, "kind")
                bucket = self._by_kind.setdefault((version.rpartition("/")[0], kind), {})
            meta = mapping(obj, "metadata")
            bucket[text(meta, "namespace"), text(meta, "name")] = obj
        self._lists: dict[tuple[str, str], tuple[Obj, ...]] = {}
        self._facts: dict[Callable[..., Any], Any] = {}
        self._served = self._served_groups()

    def _served_groups(self) -> frozenset[tuple[str, str]] | None:
        """(group, kind) of every CRD, or None where the list of CRDs is not whole."""
        if self._coverage.get(kinds.CRD) is not Coverage.WHOLE:
            return None
        return frozenset(
            (text(crd, "spec", "group"), text(crd, "spec", "names", "kind")) for crd in self.list(kinds.CRD)
        )

    def at(self, moment: datetime | None) -> Snapshot:
        """The same objects, to be judged as of another moment."""
        other = copy.copy(self)
        other.taken_at = moment
        other._facts = {}
        return other

    def list(self, kind: Kind) -> tuple[Obj, ...]:
        """Every object of a kind that was read, in reading order."""
        key = kind.group, kind.kind
        if key not in self._lists:
            self._lists[key] = tuple(self._by_kind.get(key, {}).values())
        return self._lists[key]

    def get(self, kind: Kind, name: str, namespace: str = "") -> Obj | None:
        """One object by name, or None. None means absent only where coverage is WHOLE."""
        return self._by_kind.get((kind.group, kind.kind), {}).get((namespace, name))

    def coverage(self, kind: Kind) -> Coverage:
        known = self._coverage.get(kind)
        if known is not None:
            return known
        if not kind.builtin and self._served is not None and (kind.group, kind.kind) not in self._served:
            return Coverage.WHOLE  # the cluster does not serve the kind: it has none
        return Coverage.PARTIAL if (kind.group, kind.kind) in self._by_kind else Coverage.UNREAD

    def whole(self, *wanted: Kind) -> bool:
        """Whether every object of all these kinds is here."""
        return all(self.coverage(kind) is Coverage.WHOLE for kind in wanted)

    def why_unread(self, kind: Kind) -> str:
        """Why a kind is not here, as one clause."""
        reasons = [entry.reason for entry in self.unread if entry.kind == kind]
        if reasons:
            return reasons[0]
        return "only part of it was read" if self.coverage(kind) is Coverage.PARTIAL else "not in the snapshot"

    def counts(self) -> dict[str, int]:
        """How many objects of each kind were read, by `Kind.group` name."""
        pairs = ((f"{kind}.{group}" if group else kind, len(found)) for (group, kind), found in self._by_kind.items())
        return dict(sorted(pairs))

    def __iter__(self) -> Iterator[Obj]:
        """Every object, kind by kind."""
        return (obj for found in self._by_kind.values() for obj in found.values())

    def __len__(self) -> int:
        return sum(len(found) for found in self._by_kind.values())


def fact(function: Callable[[Snapshot], T]) -> Callable[[Snapshot], T]:
    """Compute a value that many checks need once per snapshot."""

    @wraps(function)
    def once(snapshot: Snapshot) -> T:
        found = snapshot._facts
        if function not in found:
            found[function] = function(snapshot)
        return found[function]  # type: ignore[no-any-return]

    return once
