"""What applying an object would change, worked out without an API server.

The rules of server-side apply, as far as they show in objects: a field that we name gets our value; a field that we
owned and name no longer goes away, unless somebody else owns it, too; all other fields stay, be they defaults of the
server or somebody else's. Lists whose entries have a key are merged by it; every other list is one value, ours with
all that is in it but defaults. Source: structured-merge-diff, as the API's documentation describes it.

Two values that mean the same are the same: 1 and "1000m" CPU, an empty list and none.

What no rule tells without the server: whether a field that goes comes back as its default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
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
_NAME = (("name",),)
# Lists that are merged, and by which fields: the first that all entries have. Source: listType=map in the API types.
_MERGED: dict[str, tuple[tuple[str, ...], ...]] = {
    **dict.fromkeys((
        "containers", "initContainers", "ephemeralContainers", "volumes", "env", "imagePullSecrets", "variables",
        "matchConditions", "webhooks",
    ), _NAME),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "hostAliases": (("ip",),),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "ownerReferences": (("uid",),),
    "conditions": (("type",),),
}  # fmt: skip
# What the server adds to entries of lists that are one value. Source: the defaults of the API types, and of the
# Prometheus Operator's for `action` of a relabeling.
_ADDED = {
    ("protocol", "TCP"), ("scope", "*"), ("apiGroup", "rbac.authorization.k8s.io"), ("apiVersion", "v1"),
    ("expirationSeconds", 3600), ("status", "True"), ("matchPolicy", "Equivalent"), ("action", "replace"),
}  # fmt: skip
_MATCHES = ("matchConstraints", "matchResources")  # of admission policies: they get selectors that select all
_TEXTS = frozenset({"labels", "annotations", "matchLabels", "nodeLabels", "data"})  # maps in which "" is a value
_UNSEEN = frozenset({"status", "managedFields", "resourceVersion", "uid", "generation", "creationTimestamp"})


class _Marks(msgspec.Struct, frozen=True):
    """Who owns what below a place, in the form of managedFields: what we applied before, what each other wrote.

    whole: the place is within a list or map that is one value, whose fields are nobody's alone.
    leaf: we own the place itself, and nothing below it.
    """

    ours: Mapping[str, Any]
    others: tuple[Mapping[str, Any], ...] = ()
    whole: bool = False
    leaf: bool = False

    def at(self, mark: str) -> _Marks:
        others = tuple(mapping(each, mark) for each in self.others if mark in each)
        return _Marks(mapping(self.ours, mark), others, self.whole, mark in self.ours and not self.ours[mark])

    def entry(self, key: tuple[str, ...], name: tuple[Any, ...]) -> _Marks:
        """Of an entry of a list that is merged by a key."""
        return self.at(next((each for each in self._keys() if _says(each[2:], key, name)), "k:"))

    def _keys(self) -> Iterator[str]:
        return (mark for tree in (self.ours, *self.others) for mark in tree if mark.startswith("k:"))


_WITHIN = _Marks({}, whole=True)


def changes(wanted: Obj, live: Obj) -> tuple[Field, ...]:
    """The fields of `live` that applying `wanted` would set or take away."""
    return tuple(_maps(wanted, live, _marks(live), ""))


def _marks(live: Obj) -> _Marks:
    """Empty where nobody kept it."""
    ours: Mapping[str, Any] = {}
    others: list[Mapping[str, Any]] = []
    for entry in items(live, "metadata", "managedFields"):
        if entry.get("manager") == MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource"):
            ours = mapping(entry, "fieldsV1")
        else:
            others.append(mapping(entry, "fieldsV1"))
    return _Marks(ours, tuple(others))


def _maps(wanted: Mapping[str, Any], live: Mapping[str, Any], marks: _Marks, path: str) -> Iterator[Field]:
    for key, value in wanted.items():
        if not _unseen(path, key):
            yield from _value(value, live.get(key), marks.at(f"f:{key}"), join(path, key), key)
    for key, value in live.items():
        if key in wanted or _unseen(path, key):
            continue
        if f"f:{key}" in marks.ours:
            yield from _goes(value, marks.at(f"f:{key}"), join(path, key))
        elif marks.whole and not _added(path, key, value):
            yield Field(join(path, key), value, None)


def _unseen(path: str, key: str) -> bool:
    return path in ("", "metadata") and key in _UNSEEN


def _added(path: str, key: str, value: object) -> bool:
    """Whether a field that nobody named is one of the server's."""
    if value in (None, "", []) or (value == {} and path.endswith(_MATCHES)):
        return True
    return type(value) in (str, int) and (key, value) in _ADDED


def _goes(value: Any, marks: _Marks, path: str) -> list[Field]:
    """What of a field that is wanted no more goes with our last ownership of it."""
    if type(value) is dict and any(mark.startswith("f:") for mark in marks.ours):
        owned = {key: each for key, each in value.items() if f"f:{key}" in marks.ours}
        parts = [each for key, part in owned.items() for each in _goes(part, marks.at(f"f:{key}"), join(path, key))]
        if owned.keys() == value.keys() and all(
            Field(join(path, key), each, None) in parts for key, each in owned.items()
        ):
            return [Field(path, value, None)]
        return parts
    return [] if marks.others or value in ({}, []) else [Field(path, value, None)]


def _value(wanted: Any, live: Any, marks: _Marks, path: str, key: str) -> Iterator[Field]:
    if type(wanted) is dict and (type(live) is dict or live is None):
        if live is None and (wanted or marks.whole):
            yield Field(path, None, wanted)
        else:
            one = key.endswith("elector") or marks.leaf  # of such all is ours: selectors are atomic
            yield from _maps(wanted, live or {}, _WITHIN if one else marks, path)
    elif type(wanted) is list and (type(live) is list or live is None):
        yield from _lists(wanted, live or [], marks, path, key)
    elif not _same(wanted, live, key, _holder(path)):
        yield Field(path, live, wanted)


def _lists(wanted: list[Any], live: list[Any], marks: _Marks, path: str, name: str) -> Iterator[Field]:
    if not marks.whole and (key := _merge_key(name, wanted + live)) is not None:
        yield from _entries(wanted, live, marks, path, key)
    elif wanted and live and (key := list_key(wanted + live)) is not None:
        old, new = by_key(live, key), by_key(wanted, key)
        for each in (*old, *(name for name in new if name not in old)):
            place = f"{path}[{label(each, key)}]"
            if each in old and each in new:
                yield from _maps(new[each], old[each], _WITHIN, place)
            else:
                yield Field(place, old.get(each), new.get(each))
        yield from _order([label(each, key) for each in old], [label(each, key) for each in new], path)
    elif len(wanted) == len(live) and all(type(each) is dict for each in wanted + live):
        for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
            yield from _maps(one, other, _WITHIN, f"{path}[{index}]")
    elif wanted != live:
        yield Field(path, live or None, wanted or None)


def _order(before: list[str], after: list[str], path: str) -> Iterator[Field]:
    if [each for each in before if each in after] != [each for each in after if each in before]:
        yield Field(path, before, after)


def _merge_key(name: str, entries: list[Any]) -> tuple[str, ...] | None:
    if not entries or not all(type(each) is dict for each in entries):
        return None
    usable = (key for key in _MERGED.get(name, ()) if all(type(each.get(key[0])) in (str, int) for each in entries))
    return next(usable, None)


def _entries(wanted: list[Any], live: list[Any], marks: _Marks, path: str, key: tuple[str, ...]) -> Iterator[Field]:
    """Entries that are merged by a key: those of others stay where they are."""
    old, new = _by(live, key), _by(wanted, key)
    shown = partial(_shown, _telling(wanted, live) or key)
    for entry, value in new.items():
        place = f"{path}[{shown(value)}]"
        if entry in old:
            yield from _maps(value, old[entry], marks.entry(key, entry), place)
        else:
            yield Field(place, None, value)
    for entry, value in old.items():
        if entry in new or not (held := marks.entry(key, entry)).ours:
            continue
        if held.others:
            yield from _goes(value, held, f"{path}[{shown(value)}]")
        else:
            yield Field(f"{path}[{shown(value)}]", value, None)
    yield from _order([shown(each) for each in old.values()], [shown(each) for each in new.values()], path)


def _by(entries: list[Any], key: tuple[str, ...]) -> dict[tuple[Any, ...], Any]:
    usual = {"protocol": "TCP"}  # the only part of a key that may be left out
    return {tuple(str(each.get(part) or usual.get(part, "")) for part in key): each for each in entries}


def _telling(wanted: list[Any], live: list[Any]) -> tuple[str, ...] | None:
    """By what entries are named in every other path, such as `name` for mounts, where that tells these apart, too."""
    usual = list_key(wanted + live)
    if usual is None or any(len(name) > len(usual) for each in (wanted, live) for name in by_key(each, usual)):
        return None
    return usual


def _shown(key: tuple[str, ...], entry: Obj) -> str:
    return label(tuple(entry.get(part) for part in key), key)


def _says(mark: str, key: tuple[str, ...], name: tuple[Any, ...]) -> bool:
    """Whether a mark such as {"name":"vllm"} names an entry."""
    try:
        found = msgspec.json.decode(mark)
    except msgspec.DecodeError:
        return False
    return bool(found) and all(str(get(found, part)) == value for part, value in zip(key, name, strict=True))


def _same(wanted: Any, live: Any, key: str, holder: str) -> bool:
    if wanted == live and type(wanted) is type(live):
        return True
    if wanted in (None, "", [], {}) and live in (None, "", [], {}):
        return holder not in _TEXTS
    if key in _QUANTITY or holder in _QUANTITIES:
        return (amount := quantity(wanted)) is not None and amount == quantity(live)
    return type(wanted) in (int, float) and type(live) in (int, float) and wanted == live


def _holder(path: str) -> str:
    """The last key but one of a path."""
    above = path.removesuffix("]").rpartition("[")[0] if path.endswith("]") else path.rpartition(".")[0]
    return above.rpartition(".")[2].partition("[")[0]
