"""Our own snapshot file: one zstd stream of JSON lines.

A header; the parts that many objects share, once each; the objects, each with the parts it takes; an end line
with their number, so that a file cut short is seen. Not kept: credentials (redact.py), the random part of the
name of a pod's token volume, and of a Pod's status `podIPs`, `hostIPs` and each `containerID`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import zstandard

from plimsoll.errors import InputError
from plimsoll.kube import kinds
from plimsoll.kube.decode import admit
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj
from plimsoll.kube.redact import redacted
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread
from plimsoll.kube.unpack import AGAIN, STREAM_MAX

SCHEMA_VERSION = "plimsoll.dev/snapshot/v1"
MAGIC = b'{"schemaVersion":'
_REST = ""  # no field of a served kind has this name
_SHARED_BYTES_MIN = 48  # a smaller part is cheaper to write twice
# The volume every pod gets for its token has a random name, the only difference between pods of one template.
_TOKEN_VOLUME = re.compile(rb'"kube-api-access-[a-z0-9]{5}"')
_KINDS = {str(kind): kind for kind in kinds.ALL}
_DAMAGE = (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)


class _Refused(msgspec.Struct, frozen=True):
    kind: str
    reason: str


class _Header(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The first line."""

    schema_version: str
    form: str
    place: str
    taken_at: datetime | None
    taken_at_is: str
    coverage: dict[str, Coverage]
    unread: list[_Refused]
    shared: int
    objects: int


def read(lines: Iterator[bytes], where: str) -> Snapshot:
    """The snapshot in the lines of our own file.

    Raises InputError for one that is damaged, cut short or of a version we do not know.
    """
    try:
        header = _header(next(lines), where)
        objects = list(_objects(header, lines, where))
        if len(objects) < header.objects:
            raise StopIteration
        if msgspec.json.decode(next(lines)) != {"end": header.objects} or next(lines, None) is not None:
            raise InputError("the snapshot is damaged: its end does not fit its beginning", where=where, hint=AGAIN)
    except StopIteration:
        raise InputError("the snapshot is cut short", where=where, hint=AGAIN) from None
    except _DAMAGE as error:
        raise InputError(f"the snapshot is damaged ({error})", where=where, hint=AGAIN) from error
    known = {_KINDS[name]: coverage for name, coverage in header.coverage.items() if name in _KINDS}
    unread = [Unread(_KINDS[each.kind], each.reason) for each in header.unread if each.kind in _KINDS]
    source = Source(header.form, header.place, header.taken_at_is)
    return Snapshot(objects, source=source, taken_at=header.taken_at, coverage=known, unread=unread)


def _header(first: bytes, where: str) -> _Header:
    version = msgspec.json.decode(first, type=dict[str, msgspec.Raw])["schemaVersion"]
    if (found := msgspec.json.decode(version)) != SCHEMA_VERSION:
        raise InputError(
            f"a snapshot of version {str(found)[:60]}, where this plimsoll reads {SCHEMA_VERSION}",
            where=where,
            hint="take it again with this plimsoll",
        )
    header = msgspec.json.decode(first, type=_Header)
    if header.taken_at is not None and header.taken_at.tzinfo is None:
        raise ValueError("takenAt has no time zone")
    return header


def _objects(header: _Header, lines: Iterator[bytes], where: str) -> Iterator[Obj]:
    """The objects with their shared parts in place; fewer than the header says where the lines end before."""
    shared: list[Any] = []
    sizes: list[int] = []
    for _, line in zip(range(header.shared), lines, strict=False):
        shared.append(msgspec.json.decode(line))
        sizes.append(len(line))
    decoder = msgspec.json.Decoder(tuple[dict[str, Any], dict[str, dict[str, int]]])
    left = STREAM_MAX  # what all objects are with their parts written out
    for number, line in zip(range(header.objects), lines, strict=False):
        obj, parts = decoder.decode(line)
        for key, taken in parts.items():
            level = obj[key]
            for field, index in taken.items():
                left -= sizes[index]
                if field == _REST:
                    level.update(shared[index])
                else:
                    level[field] = shared[index]
        if left < 0:
            raise InputError(f"expands to more than {STREAM_MAX >> 30} GiB", where=where)
        yield admit(obj, f"{where}: object {number}")


def save(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot for its owner's eyes only (mode 0600), redacted, all of it or nothing.

    Raises InputError where the place cannot be written.
    """
    objects = [_slim(redacted(obj)) for obj in snapshot]
    shares = Counter(text for obj in objects for _, _, text in _parts(obj))
    index = {text: place for place, text in enumerate(text for text, uses in shares.items() if uses > 1)}
    coverage: dict[Kind, Coverage] = {kind: snapshot.coverage(kind) for kind in kinds.ALL}
    header = _Header(
        schema_version=SCHEMA_VERSION,
        form=snapshot.source.form,
        place=snapshot.source.place,
        taken_at=snapshot.taken_at,
        taken_at_is=snapshot.source.taken_at_is,
        coverage={str(kind): value for kind, value in coverage.items()},
        unread=[_Refused(str(entry.kind), entry.reason) for entry in snapshot.unread],
        shared=len(index),
        objects=len(objects),
    )
    try:
        with _whole(path) as file, zstandard.ZstdCompressor(level=6).stream_writer(file, closefd=False) as out:
            out.write(msgspec.json.encode(header) + b"\n")
            for text in index:
                out.write(text + b"\n")
            for obj in objects:
                out.write(_line(obj, index))
            out.write(msgspec.json.encode({"end": len(objects)}) + b"\n")
    except OSError as error:
        raise InputError(f"cannot write the snapshot: {error.strerror}", where=str(path)) from error


def _slim(obj: Obj) -> Obj:
    """Without what nobody reads and every pod has of its own: ids of the runtime, addresses said twice."""
    status = obj.get("status")
    if obj.get("kind") != "Pod" or not isinstance(status, dict):
        return obj
    lean = {key: value for key, value in status.items() if key not in ("podIPs", "hostIPs")}
    for field in ("containerStatuses", "initContainerStatuses"):
        if isinstance(entries := lean.get(field), list):
            lean[field] = [
                {key: value for key, value in entry.items() if key != "containerID"}
                if isinstance(entry, dict)
                else entry
                for entry in entries
            ]
    return {**obj, "status": lean}


def _parts(obj: Obj) -> Iterator[tuple[str, str, bytes]]:
    """What of an object may be shared: (field, field below it, its JSON).

    Single values of a spec go together, under the name _REST: a pod's own are few.
    """
    for key, level in obj.items():
        if not isinstance(level, dict):
            continue
        for field, value in level.items():
            if not isinstance(value, dict | list) or field == _REST:
                continue
            if len(text := _encode(value)) >= _SHARED_BYTES_MIN:
                yield key, field, text
        if key == "spec" and len(text := _encode(_rest(level))) >= _SHARED_BYTES_MIN:
            yield key, _REST, text


def _rest(spec: Obj) -> Obj:
    return {key: value for key, value in spec.items() if key != "nodeName" and not isinstance(value, dict | list)}


def _encode(value: Any) -> bytes:
    return _TOKEN_VOLUME.sub(b'"kube-api-access"', msgspec.json.encode(value))


def _line(obj: Obj, index: dict[bytes, int]) -> bytes:
    taken: dict[str, dict[str, int]] = {}
    for key, field, text in _parts(obj):
        if text in index:
            taken.setdefault(key, {})[field] = index[text]
    own = {key: _own_fields(level, taken[key]) if key in taken else level for key, level in obj.items()}
    return _encode((own, taken)) + b"\n"


def _own_fields(level: Obj, taken: dict[str, int]) -> Obj:
    gone = taken.keys() - {_REST} | (_rest(level).keys() if _REST in taken else set())
    return {field: value for field, value in level.items() if field not in gone}


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is complete and on disk."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
