"""Random edits of objects, as people and other programs make them, for tests of what a plan says of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

from plimsoll.kube.objects import Obj

Path = tuple[str | int, ...]
_FIXED = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}


def edited(obj: Obj, chance: random.Random) -> tuple[Obj, str]:
    """The object with one to three edits, and what they are."""
    made = copy.deepcopy(obj)
    said = []
    for _ in range(chance.randint(1, 3)):
        edit = chance.choice((_set, _set, _remove, _remove, _add, _turn))
        said.append(edit(made, chance))
    return made, "; ".join(filter(None, said))


def _set(obj: Obj, chance: random.Random) -> str:
    """Another value of the same type."""
    leaves = [(path, value) for path, value in _walk(obj) if type(value) in (str, int, bool) and path not in _FIXED]
    if not leaves:
        return ""
    path, value = chance.choice(leaves)
    holder, last = _holder(obj, path)
    if type(value) is bool:
        holder[last] = not value
    elif type(value) is int:
        holder[last] = value + chance.choice((-1, 1, 10))
    else:
        holder[last] = chance.choice((f"{value}x", f"{value}-2", "5", value.upper()))
    return f"{path} = {holder[last]!r}"


def _remove(obj: Obj, chance: random.Random) -> str:
    paths = [path for path, _ in _walk(obj) if path not in _FIXED and path != ("metadata",)]
    if not paths:
        return ""
    path = chance.choice(paths)
    holder, last = _holder(obj, path)
    del holder[last]
    return f"without {path}"


def _add(obj: Obj, chance: random.Random) -> str:
    """A label, an annotation, or once more what a list has under another name."""
    named = [path for path, value in _walk(obj) if type(value) is list and value and type(value[0]) is dict]
    if named and chance.random() < 0.5:
        path = chance.choice(named)
        holder, last = _holder(obj, path)
        entry = copy.deepcopy(chance.choice(holder[last]))
        for key in ("name", "mountPath", "containerPort", "port", "key"):
            if key in entry:
                entry[key] = entry[key] + 1 if type(entry[key]) is int else f"{entry[key]}2"
                break
        holder[last].insert(chance.randint(0, len(holder[last])), entry)
        return f"another entry of {path}"
    where = chance.choice(("labels", "annotations"))
    obj["metadata"].setdefault(where, {})[f"added.example.com/{chance.randint(0, 3)}"] = "yes"
    return f"metadata.{where} more"


def _turn(obj: Obj, chance: random.Random) -> str:
    """The entries of a list in another order."""
    lists = [path for path, value in _walk(obj) if type(value) is list and len(value) > 1]
    if not lists:
        return ""
    path = chance.choice(lists)
    holder, last = _holder(obj, path)
    chance.shuffle(holder[last])
    return f"{path} in another order"


def _walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if path:
        yield path, value
    if type(value) is dict:
        for key, each in value.items():
            yield from _walk(each, (*path, key))
    elif type(value) is list:
        for index, each in enumerate(value):
            yield from _walk(each, (*path, index))


def _holder(obj: Obj, path: Path) -> tuple[Any, Any]:
    found: Any = obj
    for step in path[:-1]:
        found = found[step]
    return found, path[-1]
