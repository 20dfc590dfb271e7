"""Recordings of real control planes, for tests. Absent in a clone without ../shared."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from plimsoll.kube import kinds
from plimsoll.kube.snapshot import Coverage, Snapshot, Source

SHARED = Path(__file__).parents[2] / "shared" / "samples"


def load(path: Path) -> Snapshot:
    items = json.loads(gzip.decompress(path.read_bytes()))["items"]
    from plimsoll.units import moment

    def times(value: object) -> list[str]:
        if isinstance(value, dict):
            return [t for v in value.values() for t in times(v)]
        if isinstance(value, list):
            return [t for v in value for t in times(v)]
        return [value] if isinstance(value, str) and len(value) < 32 and value[:2] == "20" and value[10:11] == "T" else []

    newest = max((t for t in (moment(t) for t in times(items)) if t), default=None)
    coverage = {kind: Coverage.WHOLE for kind in kinds.ALL if kind.builtin}
    coverage |= {kinds.BY_GROUP_KIND[k]: Coverage.WHOLE for k in
                 {(i["apiVersion"].rpartition("/")[0], i["kind"]) for i in items} if k in kinds.BY_GROUP_KIND}
    return Snapshot(items, source=Source("list", str(path), "inferred"), taken_at=newest, coverage=coverage)
