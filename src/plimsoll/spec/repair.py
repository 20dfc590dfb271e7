"""A declaration with mistakes as one that can be cross-checked: each bad field replaced, nothing else touched.

What is wrong with one field says nothing about the others. A field with a problem is left out, or
where it is required holds a stand-in; its path is in what is handed back beside the data, so that
no rule concludes anything from a value that nobody wrote.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from msgspec import inspect

from plimsoll.spec.model import Platform
from plimsoll.spec.problems import Path
from plimsoll.spec.validate import near
from plimsoll.spec.values import as_name

NAMED = ("pools", "teams", "services")
NAMELESS = "*"
"""`(section, NAMELESS)` among unread paths: an entry of the section has no name that can be read."""

# What a required field holds where the file's cannot be read; on the generous side, where rules compare it.
STAND_INS: dict[str, Any] = {
    "Pool.name": "nameless", "Pool.gpu": "not known", "Pool.gpusPerNode": 64, "Nodes.max": 1_000_000,
    "Owned.capex": 0, "Owned.years": 1, "Owned.watts": 1, "Owned.pue": 1, "Owned.perKwh": 0,
    "Price.source": "not known", "Price.asOf": "1970-01-01",
    "Topology.levels": ["not-known"], "Taint.key": "not-known", "Mig.layout": "auto",
    "TimeSlicing.replicas": 2, "Mps.replicas": 2,
    "Team.name": "nameless", "Budget.monthly": 0,
    "Service.name": "nameless", "Service.team": "nameless", "Service.pool": "nameless", "Service.model": "not known",
    "Window.start": "not known", "Window.end": "not known", "Window.replicas": 1,
    "Freeze.from": "1970-01-01", "Freeze.until": "9999-12-31",
    "Waiver.check": "GPU000", "Waiver.target": "*", "Waiver.owner": "not known", "Waiver.reason": "not known",
    "Waiver.until": "1970-01-01",
    "Meter.image": "not-known", "LedgerSecret.secretName": "not-known",
}  # fmt: skip


def readable(data: dict[str, Any], wrong: Sequence[Path]) -> tuple[dict[str, Any], frozenset[Path]]:
    """The data without what is wrong, and the paths of everything in it that is not what the file means.

    Positions in lists stay. A misspelt field makes the one it was meant for unread too.
    """
    if not wrong:
        return data, frozenset()
    rest = copy.deepcopy(data)
    unread: set[Path] = set()
    for path in dict.fromkeys(wrong):
        unread.update(_mend(rest, path))
    for section in NAMED:
        unread.update(_name(data, rest, section, unread))
    return rest, frozenset(unread)


def _mend(rest: dict[str, Any], path: Path) -> Iterator[Path]:
    """Replace or leave out what stands at a path; the paths that are not known for it."""
    here: Any = rest
    kind: inspect.Type = _platform()
    for depth, step in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(here, dict) and isinstance(kind, inspect.StructType):
            field = next((each for each in kind.fields if each.encode_name == step), None)
            if field is None:
                here.pop(step, None)
                yield from (path[:depth] + meant for meant in _meant(kind, str(step), here, depth > 2))
                return
            if last or not isinstance(here.get(step), dict | list):
                here.pop(step, None)
                if field.required:
                    here[step] = _stand_in(kind, field)
                yield path[: depth + 1]
                return
            inner = _inside(field.type, here[step])
            if _key(kind, field) == "Mig.layout":  # a layout of which a part is not known is not known
                here[step] = STAND_INS["Mig.layout"]
                yield path[: depth + 1]
                return
        elif isinstance(here, list) and isinstance(kind, inspect.VarTupleType) and isinstance(step, int):
            if step >= len(here):
                return
            if last or not isinstance(here[step], dict | list):
                here[step] = _item(kind.item_type)
                yield path[: depth + 1]
                return
            inner = _inside(kind.item_type, here[step])
        elif isinstance(here, dict) and isinstance(kind, inspect.DictType):
            if last or not isinstance(here.get(step), dict | list):
                here.pop(step, None)
                yield path[: depth + 1]
                return
            inner = _inside(kind.value_type, here[step])
        else:
            return
        here, kind = here[step], inner


@lru_cache(maxsize=1)
def _platform() -> inspect.Type:
    return inspect.type_info(Platform)


def _inside(kind: inspect.Type, value: Any) -> inspect.Type:
    """The alternative of a type that holds maps, or the one that holds lists, as the value is."""
    if isinstance(kind, inspect.Metadata):
        return _inside(kind.type, value)
    if isinstance(kind, inspect.UnionType):
        wanted = inspect.StructType | inspect.DictType if isinstance(value, dict) else inspect.VarTupleType
        bare = [each.type if isinstance(each, inspect.Metadata) else each for each in kind.types]
        return next((each for each in bare if isinstance(each, wanted)), kind)
    return kind


def _key(struct: inspect.StructType, field: inspect.Field) -> str:
    return f"{struct.cls.__name__}.{field.encode_name}"


def _stand_in(struct: inspect.StructType, field: inspect.Field) -> Any:
    known = STAND_INS.get(_key(struct, field))
    if known is not None:
        return copy.copy(known)
    kind = _inside(field.type, [])
    return [_item(kind.item_type)] if isinstance(kind, inspect.VarTupleType) else _item(field.type)


def _item(kind: inspect.Type) -> Any:
    """A stand-in for an entry of a list: a struct with its required fields, else a name."""
    inner = _inside(kind, {})
    if isinstance(inner, inspect.StructType):
        return {field.encode_name: _stand_in(inner, field) for field in inner.fields if field.required}
    return "not-known"


def _meant(struct: inspect.StructType, wrong: str, here: dict[str, Any], inner: bool) -> Iterator[Path]:
    """The fields that one which does not exist may stand for: of the like name here, or of its name one deeper.

    inner: the struct is one inside an entry, with few fields: then it may be any that is not there.
    """
    names = [field.encode_name for field in struct.fields]
    close = near(wrong, names) or next((each for each in names if wrong.lower().startswith(each.lower())), "")
    if close:
        yield (close,)
        return
    for field in struct.fields:
        deeper = _inside(field.type, {})
        if isinstance(deeper, inspect.StructType):
            yield from ((field.encode_name, each.encode_name) for each in deeper.fields if each.encode_name == wrong)
    if inner:
        yield from ((name,) for name in names if name not in here)


def _name(data: dict[str, Any], rest: dict[str, Any], section: str, unread: set[Path]) -> Iterator[Path]:
    """Give entries whose name cannot be read one of their own: the nearest the file takes, or none anybody uses."""
    entries = rest.get(section)
    if not isinstance(entries, list):
        return
    broken = [at for at in range(len(entries)) if {(section,), (section, at), (section, at, "name")} & unread]
    taken = {entry["name"] for at, entry in enumerate(entries) if at not in broken}
    for at in broken:
        written = data.get(section)
        entry = written[at] if isinstance(written, list) and at < len(written) else None
        found = entry.get("name") if isinstance(entry, dict) else None
        wanted = as_name(found, "") if isinstance(found, str) else ""
        if not wanted or wanted in taken:
            wanted = f"nameless-{at}"
            yield section, NAMELESS
        yield section, at, "name"
        taken.add(wanted)
        entries[at]["name"] = wanted
