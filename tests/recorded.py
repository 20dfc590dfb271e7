"""Recordings of real control planes, for tests. Absent in a clone without ../shared."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj
from plimsoll.kube.snapshot import Coverage, Snapshot, Source
from plimsoll.units import moment

SHARED = Path(__file__).parents[2] / "shared" / "samples"


def load(path: Path) -> Snapshot:
    return whole(json.loads(gzip.decompress(path.read_bytes()))["items"], str(path))


def whole(items: list[Obj], place: str = "test") -> Snapshot:
    """Objects as the whole of a cluster, taken at the newest time found in them."""

    def times(value: object) -> list[str]:
        if isinstance(value, dict):
            return [t for v in value.values() for t in times(v)]
        if isinstance(value, list):
            return [t for v in value for t in times(v)]
        return (
            [value] if isinstance(value, str) and len(value) < 32 and value[:2] == "20" and value[10:11] == "T" else []
        )

    newest = max((t for t in (moment(t) for t in times(items)) if t), default=None)
    coverage = dict.fromkeys(kinds.ALL, Coverage.WHOLE)
    return Snapshot(items, source=Source("list", place, "inferred"), taken_at=newest, coverage=coverage)
