"""From bytes to plain objects: text that is text, JSON with equal parts held once, shapes that can be trusted."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from plimsoll.errors import InputError
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj
from plimsoll.kube.unpack import AGAIN, packing
from plimsoll.units import moment

HINT = "Plimsoll reads Kubernetes objects: take them with `plimsoll capture` or `kubectl get nodes,pods,… -A -o json`"
JSON_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_PART_BYTES_MIN = 48  # smaller parts cost more to look up than to keep twice
_DENSE_FROM = 1 << 20
_BYTES_PER_VALUE_MIN = 6  # Kubernetes' own JSON has 15 and more; `[[],[],…]` would take twenty times its size in memory
_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


class NotOursError(InputError):
    """Well-formed, but no Kubernetes object: an error in a file, passed over in a folder."""


def plain_text(text: bytes, where: str) -> bytes:
    """Bytes that are UTF-8 text, without a byte order mark. Raises InputError with the line of what is none."""
    if (encoding := _BOMS.get(text[:2])) is not None:
        raise InputError(
            f"{encoding} text, which Kubernetes never writes",
            where=where,
            hint="save it as UTF-8; in PowerShell: kubectl … | Out-File -Encoding utf8 FILE",
        )
    if packed := packing(text[:8]):
        raise InputError(
            f"packed with {packed}, which Plimsoll does not open here", where=where, hint="unpack it first"
        )
    nul = text.find(b"\0")
    if nul >= 0:
        raise InputError("not text: it holds NUL bytes", where=f"{where}:{_line(text, nul)}")
    if not text.isascii():
        try:
            text.decode("utf-8")
        except UnicodeDecodeError as error:
            place = f"{where}:{_line(text, error.start)}"
            raise InputError(f"not UTF-8 text: byte 0x{text[error.start]:02x}", where=place) from error
    return text.removeprefix(b"\xef\xbb\xbf")


def _line(text: bytes, byte: int) -> int:
    return text.count(b"\n", 0, byte) + 1


_BYTE = re.compile(r" \(byte (\d+)\)")


def bad_json(error: Exception, text: bytes, where: str) -> InputError:
    """What a JSON decoder said, with the line."""
    said = str(error)
    if isinstance(error, RecursionError):
        return InputError("not JSON that can be read: nested too deep", where=where)
    if "truncated" in said:
        return InputError("the JSON ends in the middle", where=f"{where}:{_line(text, len(text))}", hint=AGAIN)
    byte = int(found.group(1)) if (found := _BYTE.search(said)) else 0
    place = f"{where}:{_line(text, byte)}"
    if "trailing characters" in said:
        if b"==== START logs for container" in text:
            return InputError("a cluster-info dump with logs between its objects", where=place,
                              hint="take it again with --output-directory=FOLDER and name the folder")  # fmt: skip
        return InputError("more than one JSON document in one file", where=place,
                          hint="keep each in a file of its own, and name the folder")  # fmt: skip
    return InputError(f"not JSON: {_BYTE.sub('', said).removeprefix('JSON is malformed: ')}", where=place)


def refuse_dense(text: bytes, where: str) -> None:
    """Refuse JSON made of hardly anything but brackets and commas: it would fill the memory."""
    if len(text) < _DENSE_FROM:
        return
    if (text.count(b",") + text.count(b"{") + text.count(b"[")) * _BYTES_PER_VALUE_MIN > len(text):
        raise InputError("not Kubernetes objects: hardly anything but brackets and commas", where=where, hint=HINT)


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
        """One JSON value. Raises one of JSON_ERRORS."""
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


def admit(value: Any, where: str) -> Obj:
    """A value as an object whose identity can be trusted, or an InputError that names the place.

    Kinds that no check reads are let through as they are. Raises NotOursError for what is no object at all.
    """
    if type(value) is not dict:
        raise NotOursError(f"holds {_a(value)}, not a Kubernetes object", where=where, hint=HINT)
    for key in ("apiVersion", "kind"):
        if type(value.get(key)) is not str or not value[key]:
            what = f"its {key} is {_a(value[key])}" if value.get(key) is not None else f"it has no {key}"
            raise NotOursError(f"not a Kubernetes object: {what}", where=where, hint=HINT)
    if (value["apiVersion"].rpartition("/")[0], value["kind"]) not in kinds.BY_GROUP_KIND:
        return value
    metadata = value.get("metadata")
    if type(metadata) is not dict:
        raise InputError(f"{value['kind']}: metadata is {_a(metadata)}", where=where)
    for key in ("name", "namespace"):
        if metadata.get(key) is not None and type(metadata[key]) is not str:
            raise InputError(f"{value['kind']}: metadata.{key} is {_a(metadata[key])}", where=where)
    if not metadata.get("name"):
        raise InputError(f"{value['kind']}: metadata.name is missing", where=where)
    if not metadata["name"].isprintable() or not (metadata.get("namespace") or "").isprintable():
        raise InputError(f"{value['kind']}: its name holds control characters", where=where)
    for key in ("labels", "annotations"):
        texts = metadata.get(key)
        if texts is not None and not (type(texts) is dict and all(type(text) is str for text in texts.values())):
            title = f"{value['kind']} {metadata['name'][:80]}"
            raise InputError(f"{title}: metadata.{key} is not a map of texts", where=where)
    return value


def _a(value: Any) -> str:
    names = {
        type(None): "missing", str: "a text", bool: "a boolean", int: "a number", float: "a number", list: "a list",
    }  # fmt: skip
    return names.get(type(value), "a map")


# Times of what has happened. An object also holds times to come: a certificate's end, a token's expiry.
_TIME = re.compile(
    rb'"(?:creationTimestamp|last(?:Transition|Heartbeat|Update|Probe|Observed|Schedule|Successful)Time|time'
    rb'|last(?:Scale|Active)Time|(?:first|last)Timestamp|eventTime|start(?:ed)?(?:At|Time)|finishedAt|completionTime|renewTime|acquireTime)"'
    rb':"(20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(?:\.\d{1,9})?Z)"'
)


def newest_time(encoded: bytes) -> datetime | None:
    """The newest time in a compact JSON text at which something is said to have happened."""
    for found in sorted(set(_TIME.findall(encoded)), reverse=True):
        if (time := moment(found.decode())) is not None:
            return time
    return None
