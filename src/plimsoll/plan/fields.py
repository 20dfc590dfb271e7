"""Where two plain values differ, field by field, with paths as people write them: `spec.containers[vllm].image`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

# What tells the entries of a list of maps apart, where the list has a name in the API; the first that fits is taken.
_KEYS = (("name",), ("containerPort", "protocol"), ("mountPath",), ("topologyKey",), ("type",), ("key",))
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class Field(msgspec.Struct, frozen=True):
    """One field: what is there and what is wanted. None: it is not there."""

    path: str
    before: Any = None
    after: Any = None


def differences(before: Any, after: Any, path: str = "") -> Iterator[Field]:
    """Every leaf in which two values differ; a part that only one of them has is one field."""
    if type(before) is dict and type(after) is dict:
        for key in (*before, *(key for key in after if key not in before)):
            if key not in after or key not in before:
                yield Field(join(path, key), before.get(key), after.get(key))
            else:
                yield from differences(before[key], after[key], join(path, key))
    elif type(before) is list and type(after) is list and before != after:
        yield from _lists(before, after, path)
    elif before != after or type(before) is not type(after):
        yield Field(path, before, after)


def _lists(before: list[Any], after: list[Any], path: str) -> Iterator[Field]:
    key = list_key(before + after)
    if key is None:
        if len(before) == len(after) and all(type(each) is dict for each in before + after):
            for index, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from differences(one, other, f"{path}[{index}]")
        else:
            yield Field(path, before, after)
        return
    old, new = by_key(before, key), by_key(after, key)
    for name in (*old, *(name for name in new if name not in old)):
        if name not in old or name not in new:
            yield Field(f"{path}[{label(name)}]", old.get(name), new.get(name))
        else:
            yield from differences(old[name], new[name], f"{path}[{label(name)}]")
    if [name for name in old if name in new] != [name for name in new if name in old]:
        yield Field(path, [label(name) for name in old], [label(name) for name in new])


def list_key(entries: list[Any]) -> tuple[str, ...] | None:
    """The fields that tell the maps of a list apart; None if nothing does."""
    if not entries or not all(type(each) is dict for each in entries):
        return None
    for key in _KEYS:
        if all(type(each.get(key[0])) in (str, int) for each in entries):
            return key
    return None


def by_key(entries: list[Any], key: tuple[str, ...]) -> dict[tuple[Any, ...], Any]:
    """The entries by their key; of entries with one key each has its place among them added."""
    found: dict[tuple[Any, ...], Any] = {}
    for each in entries:
        name = tuple(each.get(part) for part in key)
        while name in found:
            name = (*name, len(found))
        found[name] = each
    return found


def label(name: tuple[Any, ...]) -> str:
    return "/".join(str(part) for part in name if part is not None)


def join(path: str, key: object) -> str:
    word = str(key)
    if not _PLAIN.issuperset(word):
        return f"{path}[{word}]"
    return f"{path}.{word}" if path else word


def without(obj: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in names}
