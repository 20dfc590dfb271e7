"""Tiny clusters for tests: a world of objects, changed by a fixture.

A fixture file holds
    world: lab                 objects of tests/worlds/lab.yaml come first (optional)
    takenAt: 2026-11-24T11:00:00Z
    remove: [DaemonSet/gpu-operator/nvidia-mig-manager, Pod/*/nvidia-dcgm-exporter-*]
    objects: [...]             merged by kind, namespace and name: maps key by key, null deletes, lists replace
    unread: [Event]            kinds the reader was refused
    partial: [Pod]             kinds of which only these objects were read
    platform: {...}            a declaration (optional)
    expect:                    what the check must find, nothing more; absent in pass and unknown fixtures
      - object: Node/h100-0
        severity: error        optional
        says: allocatable 0    optional: part of the title
        do: kubectl uncordon   optional: part of the remedy
        seen: {pods: 3}        optional: must be among its evidence
        affects: [node/h100-0] optional: must be among what the finding affects
Every kind that is neither unread nor partial is WHOLE: the world is all there is.
"""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

import yaml

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, Ref
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread
from plimsoll.units import moment

WORLDS = Path(__file__).parent / "worlds"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path: Path) -> dict[str, Any]:
    """A fixture with its world resolved: takenAt and every object, ready for `snapshot`."""
    fixture: dict[str, Any] = yaml.load(path.read_text(), _Loader)  # noqa: S506  our own files, safe loader
    objects: dict[str, Obj] = {}
    if name := fixture.get("world"):
        base = load(WORLDS / f"{name}.yaml")
        objects = {str(Ref.of(obj)): obj for obj in base["objects"]}
        fixture.setdefault("takenAt", base.get("takenAt"))
    for pattern in fixture.get("remove", []):
        gone = [key for key in objects if fnmatch.fnmatchcase(key, pattern)]
        assert gone, f"{path}: remove {pattern!r} matches nothing"
        for key in gone:
            del objects[key]
    for obj in fixture.get("objects", []):
        key = str(Ref.of(obj))
        objects[key] = merge(objects.get(key, {}), obj)
    fixture["objects"] = list(objects.values())
    return fixture


def merge(base: Any, change: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    merged = {**base, **{key: merge(base.get(key), value) for key, value in change.items() if value is not None}}
    return {key: value for key, value in merged.items() if not (key in change and change[key] is None)}


def snapshot(fixture: dict[str, Any]) -> Snapshot:
    coverage = dict.fromkeys(kinds.ALL, Coverage.WHOLE)
    unread = {kinds.BY_NAME[name] for name in fixture.get("unread", [])}
    coverage |= dict.fromkeys(unread, Coverage.UNREAD)
    coverage |= {kinds.BY_NAME[name]: Coverage.PARTIAL for name in fixture.get("partial", [])}
    gone = {kind.kind for kind in unread}
    taken: Any = fixture.get("takenAt")
    return Snapshot(
        (obj for obj in fixture["objects"] if obj["kind"] not in gone),
        source=Source("manifest", "fixture"),
        taken_at=moment(taken.isoformat() if hasattr(taken, "isoformat") else taken),
        coverage=coverage,
        unread=[Unread(kind, "forbidden") for kind in unread],
    )
