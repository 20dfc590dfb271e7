"""What applying an object would change, worked out without an API server.

The rules of server-side apply, as far as they show in objects: a field that we name gets our value; a field that we
owned and name no longer goes away; all other fields stay, be they defaults of the server or somebody else's. Lists
whose entries have a key are merged by it. Source: structured-merge-diff, as the API's documentation describes it.

Two values that mean the same are the same: 1 and "1000m" CPU, an empty list and none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from plimsoll.kube.objects import MANAGER, Obj, get, items, mapping
from plimsoll.plan.fields import Field, by_key, join, label, list_key
from plimsoll.units import quantity

# Maps of quantities by the key that holds them, and single quantities. Source: the API types.
_QUANTITIES = frozenset({"requests", "limits", "hard", "capacity", "allocatable"})
_QUANTITY = frozenset({
    "nominalQuota", "borrowingLimit", "lendingLimit", "sizeLimit", "storage", "memory", "cpu", "divisor",
})  # fmt: skip
# Lists that are merged by a key, so that entries of others stay. All others are one value. Source: listType=map and
# patchMergeKey in the API types.
_MERGED = frozenset({
    "containers", "initContainers", "ephemeralContainers", "volumes", "env", "ports", "volumeMounts", "volumeDevices",
    "imagePullSecrets", "hostAliases", "topologySpreadConstraints", "ownerReferences", "conditions", "variables",
    "webhooks",
})  # fmt: skip
_UNSEEN = frozenset({"status", "managedFields", "resourceVersion", "uid", "generation", "creationTimestamp"})


def changes(wanted: Obj, live: Obj) -> tuple[Field, ...]:
    """The fields of `live` that applying `wanted` would set or take away."""
    return tuple(_maps(wanted, live, owned(live), ""))


def owned(live: Obj) -> Mapping[str, Any]:
    """The set of fields that we applied before, in the form of managedFields; empty where nobody kept it."""
    for entry in items(live, "metadata", "managedFields"):
        if entry.get("manager") == MANAGER and entry.get("operation") == "Apply":
            return mapping(entry, "fieldsV1")
    return {}


def _maps(wanted: Mapping[str, Any], live: Mapping[str, Any], ours: Mapping[str, Any], path: str) -> Iterator[Field]:
    for key, value in wanted.items():
        if path in ("", "metadata") and key in _UNSEEN:
            continue
        yield from _value(value, live.get(key), mapping(ours, f"f:{key}"), join(path, key), key, _holder(path))
    for key, value in live.items():
        gone = key not in wanted and f"f:{key}" in ours and not (path in ("", "metadata") and key in _UNSEEN)
        if gone and not _sub(mapping(ours, f"f:{key}"), value):
            yield Field(join(path, key), value, None)


def _sub(ours: Mapping[str, Any], value: object) -> bool:
    """Whether we owned only parts of a map, so that what is left of it is somebody else's."""
    return type(value) is dict and bool(value) and bool(ours) and "." not in ours and len(ours) < len(value)


def _value(wanted: Any, live: Any, ours: Mapping[str, Any], path: str, key: str, holder: str) -> Iterator[Field]:
    if type(wanted) is dict and (type(live) is dict or live is None):
        if live is None and wanted:
            yield Field(path, None, wanted)
        else:
            yield from _maps(wanted, live or {}, ours, path)
    elif type(wanted) is list and (type(live) is list or live is None):
        yield from _lists(wanted, live or [], ours, path, key)
    elif not _same(wanted, live, key, holder):
        yield Field(path, live, wanted)


def _lists(wanted: list[Any], live: list[Any], ours: Mapping[str, Any], path: str, name: str) -> Iterator[Field]:
    key = list_key(wanted + live)
    if name in _MERGED and key is not None:
        old, new = by_key(live, key), by_key(wanted, key)
        marks = {mark[2:] for mark in ours if mark.startswith("k:")}
        for entry, value in new.items():
            if entry in old:
                part = _marked(ours, key, entry)
                yield from _maps(value, old[entry], part, f"{path}[{label(entry)}]")
            else:
                yield Field(f"{path}[{label(entry)}]", None, value)
        for entry, value in old.items():
            if entry not in new and any(_says(mark, key, entry) for mark in marks):
                yield Field(f"{path}[{label(entry)}]", value, None)
        return
    if len(wanted) != len(live):
        yield Field(path, live or None, wanted or None)
        return
    for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
        yield from _value(one, other, {}, f"{path}[{index}]", "", name)


def _marked(ours: Mapping[str, Any], key: tuple[str, ...], entry: tuple[Any, ...]) -> Mapping[str, Any]:
    for mark, part in ours.items():
        if mark.startswith("k:") and _says(mark[2:], key, entry) and type(part) is dict:
            return part
    return {}


def _says(mark: str, key: tuple[str, ...], entry: tuple[Any, ...]) -> bool:
    """Whether a mark such as {"name":"vllm"} names an entry."""
    try:
        found = msgspec.json.decode(mark)
    except msgspec.DecodeError:
        return False
    return all(get(found, part) in (value, None) for part, value in zip(key, entry, strict=False)) and bool(found)


def _same(wanted: Any, live: Any, key: str, holder: str) -> bool:
    if wanted == live and type(wanted) is type(live):
        return True
    if wanted in (None, "", [], {}) and live in (None, "", [], {}):
        return True
    if key in _QUANTITY or holder in _QUANTITIES:
        return (amount := quantity(wanted)) is not None and amount == quantity(live)
    return type(wanted) in (int, float) and type(live) in (int, float) and wanted == live


def _holder(path: str) -> str:
    """The last key of a path."""
    return path.rpartition(".")[2].partition("[")[0]
