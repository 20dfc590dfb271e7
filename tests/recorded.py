"""Snapshots for tests: a recording, or objects as the whole of a cluster."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from plimsoll.kube import kinds
from plimsoll.kube.decode import newest_time
from plimsoll.kube.objects import Obj
from plimsoll.kube.snapshot import Coverage, Snapshot, Source
from plimsoll.kube.store import open_snapshot

SHARED = Path(__file__).parents[2] / "shared" / "samples"  # beside the checkout; absent in a newcomer's clone
load = open_snapshot


def shared(name: str) -> Path:
    """A file or folder of ../shared/samples; without it the test that asks is skipped, and says what it needs."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/samples/{name}, which a clone does not have; CI has it")
    return path


def whole(items: list[Obj], place: str = "test") -> Snapshot:
    """Objects as the whole of a cluster, taken at the newest time found in them."""
    newest = max((time for obj in items if (time := newest_time(msgspec.json.encode(obj)))), default=None)
    coverage = dict.fromkeys(kinds.ALL, Coverage.WHOLE)
    return Snapshot(items, source=Source("list", place, "inferred"), taken_at=newest, coverage=coverage)
