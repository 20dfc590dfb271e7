"""From text to plain objects: JSON with equal parts held once, YAML without its traps, shapes that can be trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
import yaml

from plimsoll.errors import InputError
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj
from plimsoll.units import moment

YAML_BYTES_MAX = 64 << 20  # the parser does 1.5 MB a second: more would look like a hang
_DEPTH_MAX = 200
_ALIASES_MAX = 1000  # a dump has none; a bomb has many
_ALIASED_MAX = 100_000  # values that aliases may repeat
_PART_BYTES_MIN = 48  # smaller parts cost more to look up than to keep twice


class Sharing:
    """Decodes objects so that equal parts of them are one value in memory.

    Pods of one DaemonSet differ in name, times and node; their containers and volumes are equal. A snapshot
    never changes, so one copy serves all: a third of the memory and half the time for 100,000 pods.
    """

    def __init__(self) -> None:
        self._split = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._decode = msgspec.json.Decoder()
        self._parts: dict[bytes, Any] = {}

    def decode(self, raw: bytes | msgspec.Raw) -> Any:
        """One JSON value. Raises msgspec.DecodeError."""
        if bytes(raw[:1] if isinstance(raw, bytes) else raw)[:1] != b"{":
            return self._decode.decode(raw)
        return {key: self._level(value) for key, value in self._split.decode(raw).items()}

    def _level(self, raw: msgspec.Raw) -> Any:
        text = bytes(raw)
        if not text.startswith(b"{"):
            return self._decode.decode(text)
        return {key: self._part(value) for key, value in self._split.decode(text).items()}

    def _part(self, raw: msgspec.Raw) -> Any:
        text = bytes(raw)
        if len(text) < _PART_BYTES_MIN or text[0] not in b"{[":
            return self._decode.decode(text)
        known = self._parts.get(text)
        if known is None:
            known = self._parts[text] = self._decode.decode(text)
        return known


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes writes it: times stay text, and only true and false are booleans."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag.rpartition(":")[2] not in ("timestamp", "bool", "merge")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def from_yaml(text: str, where: str) -> Iterator[Any]:
    """Every document of a YAML text. Depth, aliases and size are bounded before anything is built."""
    if len(text) > YAML_BYTES_MAX:
        limit = YAML_BYTES_MAX >> 20
        raise InputError(f"more than {limit} MiB of YAML", where=where, hint="take it as JSON: kubectl get … -o json")
    try:
        depth = aliases = 0
        for event in yaml.parse(text, _Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            aliases += isinstance(event, yaml.AliasEvent)
            if depth > _DEPTH_MAX or aliases > _ALIASES_MAX:
                what = "nested more than 200 deep" if depth > _DEPTH_MAX else "more than 1000 YAML aliases"
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise InputError(what, where=f"{where}:{line}")
        # Without aliases a text has fewer values than characters.
        left = [len(text) + _ALIASED_MAX]
        for document in yaml.load_all(text, _Loader):
            yield _plain(document, where, left, 0)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        raise InputError(f"not YAML: {getattr(error, 'problem', None) or error}", where=place, hint=HINT) from error
    except (ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"not YAML that can be read: {error}", where=where) from error


def _plain(value: Any, where: str, left: list[int], depth: int) -> Any:
    """A value as JSON could hold it, each alias a copy. Raises InputError for one that cannot be or has no end."""
    left[0] -= 1
    if left[0] < 0 or depth > _DEPTH_MAX:
        raise InputError("its YAML aliases repeat more than the file holds", where=where)
    if isinstance(value, dict):
        return {_key(key, where): _plain(held, where, left, depth + 1) for key, held in value.items()}
    if isinstance(value, list):
        return [_plain(held, where, left, depth + 1) for held in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise InputError(f"holds {_a(value)}, which JSON and Kubernetes do not have", where=where)


def _key(key: Any, where: str) -> str:
    """A key as text, as kubectl turns `8080: x` and `true: x` into JSON."""
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return str(key).lower()
    if isinstance(key, int):
        return str(key)
    raise InputError("holds a key that is no text", where=where)


HINT = "Plimsoll reads Kubernetes objects: take them with `plimsoll capture` or `kubectl get nodes,pods,… -A -o json`"


def admit(value: Any, where: str) -> Obj:
    """A value as an object whose identity can be trusted, or an InputError that names the place.

    Kinds that no check reads are let through as they are.
    """
    if not isinstance(value, dict):
        raise InputError(f"holds {_a(value)}, not a Kubernetes object", where=where, hint=HINT)
    for key in ("apiVersion", "kind"):
        if not isinstance(value.get(key), str) or not value[key]:
            raise InputError(f"not a Kubernetes object: it has no {key}", where=where, hint=HINT)
    if (value["apiVersion"].rpartition("/")[0], value["kind"]) not in kinds.BY_GROUP_KIND:
        return value
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        raise InputError(f"{value['kind']}: metadata is {_a(metadata)}", where=where)
    for key in ("name", "namespace"):
        if not isinstance(metadata.get(key, ""), str):
            raise InputError(f"{value['kind']}: metadata.{key} is {_a(metadata[key])}", where=where)
    if not metadata.get("name"):
        raise InputError(f"{value['kind']}: metadata.name is missing", where=where)
    if not metadata["name"].isprintable() or not metadata.get("namespace", "").isprintable():
        raise InputError(f"{value['kind']}: its name holds control characters", where=where)
    for key in ("labels", "annotations"):
        texts = metadata.get(key) or {}
        if not isinstance(texts, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in texts.items()):
            raise InputError(f"{value['kind']} {metadata['name']}: metadata.{key} is not a map of texts", where=where)
    return value


def _a(value: Any) -> str:
    names = {
        type(None): "missing",
        str: "a text",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        list: "a list",
    }
    return names.get(type(value), f"a {type(value).__name__}")


# Fields that say when something happened. Others, such as notAfter or deletionTimestamp, may lie ahead.
_PAST = (
    "creationTimestamp", "lastTransitionTime", "lastHeartbeatTime", "lastProbeTime", "lastUpdateTime", "lastTimestamp",
    "firstTimestamp", "eventTime", "lastObservedTime", "renewTime", "acquireTime", "startTime", "startedAt",
    "finishedAt", "completionTime", "lastScheduleTime", "lastSuccessfulTime", "lastScaleTime", "lastActiveTime", "time",
)  # fmt: skip
_TIME = re.compile(
    rb'"(?:' + "|".join(_PAST).encode() + rb')":"(20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(?:\.\d{1,9})?Z)"'
)


def newest_time(encoded: bytes) -> datetime | None:
    """The newest time of this century at which something happened, in a JSON text without blanks."""
    newest = max(_TIME.findall(encoded), default=None)
    return moment(newest.decode()) if newest else None
