"""Where two plain values differ, field by field, with paths as people write them: `spec.containers[vllm].image`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

# What tells the entries of a list of maps apart, where the list has a name in the API; the first that fits is taken.
_KEYS = (("name",), ("containerPort", "protocol"), ("mountPath",), ("topologyKey",), ("type",), ("key",))
_MARKS = frozenset('[]"')
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
            if before.get(key) is None or after.get(key) is None:  # null is what is not there
                if before.get(key) is not None or after.get(key) is not None:
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
            yield Field(f"{path}[{label(name, key)}]", old.get(name), new.get(name))
        else:
            yield from differences(old[name], new[name], f"{path}[{label(name, key)}]")
    if [name for name in old if name in new] != [name for name in new if name in old]:
        yield Field(path, [label(name, key) for name in old], [label(name, key) for name in new])


def list_key(entries: list[Any]) -> tuple[str, ...] | None:
    """The fields that tell the maps of a list apart; None if nothing does."""
    if not entries or not all(type(each) is dict for each in entries):
        return None
    return next((key for key in _KEYS if _names(entries, key)), None)


def _names(entries: list[dict[str, Any]], key: tuple[str, ...]) -> bool:
    """Whether all of them have the first field of a key, of one type, and no odd values in the others."""
    first = {type(each.get(key[0])) for each in entries}
    rest = {type(each.get(part)) for each in entries for part in key[1:]}
    return first in ({str}, {int}) and rest <= {str, type(None)}


def by_key(entries: list[Any], key: tuple[str, ...]) -> dict[tuple[Any, ...], Any]:
    """The entries by their key; of several with one key each but the first has its place among them added."""
    found: dict[tuple[Any, ...], Any] = {}
    times: dict[tuple[Any, ...], int] = {}
    for each in entries:
        name = tuple(each.get(part) for part in key)
        times[name] = times.get(name, 0) + 1
        found[name if times[name] == 1 else (*name, times[name])] = each
    return found


def label(name: tuple[Any, ...], key: tuple[str, ...]) -> str:
    """An entry's key as it stands in a path: `vllm`, `8000/TCP`; `vllm#2` for the second of one key."""
    parts = [str(part) for part in name[: len(key)] if part is not None]
    quoted = [_quoted(part) if len(parts) > 1 or "#" in part else _guarded(part) for part in parts]
    return "/".join(quoted) + "".join(f"#{number}" for number in name[len(key) :])


def join(path: str, key: object) -> str:
    word = str(key)
    if not word or not _PLAIN.issuperset(word):
        return f"{path}[{_guarded(word)}]"
    return f"{path}.{word}" if path else word


def _guarded(word: str) -> str:
    """A word that nothing in a path can be mistaken for."""
    return word if word and not _MARKS.intersection(word) else json.dumps(word)


def _quoted(word: str) -> str:
    return word if _PLAIN.issuperset(word) else json.dumps(word)


def without(obj: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in names}
