"""Hostile shapes inside valid objects: no check, no report and no saved file may fail on them."""

from __future__ import annotations

import copy
import gzip
import json
import random
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from plimsoll.check.run import review
from plimsoll.cli.check import FORMATS
from plimsoll.errors import InputError
from plimsoll.kube import kinds
from plimsoll.kube.decode import admit
from plimsoll.kube.objects import Obj, get
from plimsoll.kube.snapshot import Coverage, Snapshot, Source
from plimsoll.kube.store import open_snapshot, save
from plimsoll.pillars import PILLARS, all_checks
from plimsoll.spec.load import load
from plimsoll.units import moment

LAB = Path(__file__).parents[1] / "examples" / "lab"
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 10**30, 1.5, "", "junk", "\x1b[31m", "2026-11-24T10:00:00Z", "9" * 5000, "1e99", "²",
    [], {}, [None], [1], ["a"], [{}], [[]], {"a": None}, {"": 1}, {"key": {"a": [1]}},
    [{"name": 5, "type": [], "status": {}, "key": []}], {"matchLabels": 5},
    {"matchExpressions": [{"key": "a", "operator": "In", "values": 5}]},
    {"nvidia.com/gpu": []}, {"nvidia.com/gpu": "x"},
)  # fmt: skip
Place = tuple[str | int, ...]


@cache
def recorded(name: str) -> tuple[list[Obj], list[list[Place]]]:
    """The objects of a recording, and of each the places whose value may be changed."""
    objects = json.loads(gzip.decompress((LAB / name).read_bytes()))["items"]
    return objects, [list(_places(obj)) for obj in objects]


def _places(value: Any, at: Place = ()) -> list[Place]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, below in inside for place in ((*at, key), *_places(below, (*at, key)))]


def _any_part(rng: random.Random, objects: list[Obj]) -> Any:
    """A part of some other object: right in itself, wrong where it will stand."""
    value: Any = rng.choice(objects)
    for _ in range(rng.randrange(5)):
        below = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        value = rng.choice(below) if below else value
    return value


def _spoiled(rng: random.Random, obj: Obj, places: list[Place], objects: list[Obj]) -> Obj:
    """A copy with one to four parts replaced, where a reader would still let it through."""
    new = copy.deepcopy(obj)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place: Any = rng.choice(places)
        *way, last = place
        at = get(new, *way)
        if type(at) is dict or (type(at) is list and isinstance(last, int) and last < len(at)):
            at[last] = copy.deepcopy(rng.choice(JUNK) if rng.random() < 0.6 else _any_part(rng, objects))
    try:
        return admit(new, "fuzz")
    except InputError:
        return obj


@pytest.mark.parametrize("seed", range(24))
def test_every_check_and_report_survives(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    objects, places = recorded(rng.choice(sorted(path.name for path in LAB.glob("*.gz"))))
    rate = rng.choice((0.02, 0.1, 0.3, 0.6))
    spoiled = [
        _spoiled(rng, obj, own, objects) if rng.random() < rate else obj
        for obj, own in zip(objects, places, strict=True)
    ]
    taken = moment("2026-11-24T11:03:00Z") if seed % 4 else None
    coverage = dict.fromkeys(kinds.ALL, Coverage.WHOLE)
    snapshot = Snapshot(spoiled, source=Source("list", "fuzz"), taken_at=taken, coverage=coverage)
    platform = load((LAB / "platform.yaml").read_bytes(), "platform.yaml") if seed % 3 else None
    answer = review(snapshot, all_checks(), platform=platform)
    assert answer.broken == ()
    for form in FORMATS:
        assert import_module(f"plimsoll.report.{form}").render(answer, PILLARS)
    save(snapshot, tmp_path / "saved")
    assert open_snapshot(tmp_path / "saved").counts() == snapshot.counts()
