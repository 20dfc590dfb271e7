"""Snapshots on disk, and the door through which every file comes in.

Our own file is one zstd stream of JSON lines: a header; the parts that many objects share, once each;
the objects, each with the parts it takes; an end line with their number, so that a file cut short is seen.
"""

from __future__ import annotations

import gc
import gzip
import io
import os
import re
import stat
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import zstandard

from plimsoll.errors import InputError
from plimsoll.kube import archive, formats, kinds
from plimsoll.kube.archive import BYTES_MAX
from plimsoll.kube.decode import HINT, admit, newest_time
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj
from plimsoll.kube.redact import redacted
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread

SCHEMA_VERSION = "plimsoll.dev/snapshot/v1"
_ZSTD, _GZIP, _ZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"PK\x03\x04"
_REST = ""  # no field of a served kind has this name
_SHARED_BYTES_MIN = 48  # a smaller part is cheaper to write twice
# The volume every pod gets for its token has a random name, the only difference between pods of one template.
_TOKEN_VOLUME = re.compile(rb'"kube-api-access-[a-z0-9]{5}"')
_KINDS = {str(kind): kind for kind in kinds.ALL}


class _Refused(msgspec.Struct, frozen=True):
    kind: str
    reason: str


class _Header(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The first line of our own file."""

    schema_version: str
    form: str
    place: str
    taken_at: Annotated[datetime, msgspec.Meta(tz=True)] | None
    taken_at_is: str
    coverage: dict[str, Coverage]
    unread: list[_Refused]
    shared: int
    objects: int


def open_snapshot(path: Path) -> Snapshot:
    """The snapshot in a file, folder or archive, whatever its form; else one InputError that names the place."""
    where = str(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _foreign(formats.folder(archive.read_folder(path), where), where)
        if not stat.S_ISREG(mode):
            raise InputError("neither a file nor a folder", where=where)
        if path.stat().st_size > BYTES_MAX:
            raise InputError(f"larger than {BYTES_MAX >> 20} MiB", where=where, hint=_SMALLER)
        with path.open("rb") as file, _without_collector():
            return _file(file, where)
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror or error}", where=where) from error


_SMALLER = "`plimsoll capture` writes a snapshot that is twenty times smaller"


@contextmanager
def _without_collector() -> Iterator[None]:
    """Building a million dicts makes the collector run for nothing: it takes three times as long as the decoding."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if on:
            gc.enable()


def _file(file: BinaryIO, where: str) -> Snapshot:
    magic = file.read(4)
    file.seek(0)
    if magic == _ZSTD:
        lines = _lines(_expanded(file, where))
        first = next(lines, b"")
        if b'"schemaVersion"' in first[:200]:
            return _own(first, lines, where)
        return _text(b"\n".join([first, *lines]), where)
    if magic[:2] == _GZIP:
        return _text(_gunzip(file, where), where)
    if magic == _ZIP:
        return _foreign(formats.folder(archive.read_zip(file.read(), where), where), where)
    return _text(file.read(), where)


def _text(text: bytes, where: str) -> Snapshot:
    if text[257:262] == b"ustar":
        return _foreign(formats.folder(archive.read_tar(io.BytesIO(text), where), where), where)
    return _foreign(formats.file(text, where), where)


def _gunzip(file: BinaryIO, where: str) -> bytes:
    try:
        with gzip.open(file) as stream:
            text = stream.read(BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"the gzip file is damaged or cut short ({error})", where=where) from error
    return _bounded(text, where)


def _bounded(text: bytes, where: str) -> bytes:
    if len(text) > BYTES_MAX:
        raise InputError(f"expands to more than {BYTES_MAX >> 20} MiB", where=where, hint=_SMALLER)
    return text


def _expanded(file: BinaryIO, where: str) -> Iterator[bytes]:
    """The content of a zstd file, piece by piece. Every frame of it must be there to its end."""
    frame, size = None, 0
    try:
        while packed := file.read(1 << 12):  # expands to 128 MiB at most
            while packed:
                frame = frame or zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
                piece = frame.decompress(packed)
                size += len(piece)
                if size > BYTES_MAX:
                    raise InputError(f"expands to more than {BYTES_MAX >> 20} MiB", where=where, hint=_SMALLER)
                yield piece
                packed, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
    except zstandard.ZstdError as error:
        raise InputError(f"the zstd file is damaged ({error})", where=where) from error
    if frame:
        raise InputError("the zstd file is cut short", where=where, hint="take it again")


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What stands between line ends. A line may span many pieces, so they are joined once."""
    begun: list[bytes] = []
    for piece in pieces:
        first, *rest = piece.split(b"\n")
        begun.append(first)
        if rest:
            yield b"".join(begun)
            yield from rest[:-1]
            begun = [rest[-1]]
    if last := b"".join(begun):
        yield last


def _foreign(found: formats.Found, where: str) -> Snapshot:
    """A snapshot of somebody else's form: dated by what is in it, refused where nothing in it is ours to judge."""
    known = {(kind.group, kind.kind) for kind in kinds.ALL}
    seen = Counter((obj["apiVersion"], obj["kind"]) for obj in found.objects)
    if not any((version.rpartition("/")[0], kind) in known for version, kind in seen):
        names = ", ".join(f"{kind} ({version})" for version, kind in list(seen)[:3]) or "no object"
        raise InputError(
            f"holds {names}, and nothing that Plimsoll judges",
            where=where,
            hint=HINT,
        )
    newest = max((t for obj in found.objects if (t := newest_time(msgspec.json.encode(obj)))), default=None)
    source = Source(found.form, where, "inferred" if newest else "unknown")
    return Snapshot(found.objects, source=source, taken_at=newest, coverage=found.coverage)


def _own(first: bytes, lines: Iterator[bytes], where: str) -> Snapshot:
    """Our own file. Raises InputError for one that is damaged, cut short or of a version we do not know."""
    try:
        version = msgspec.json.decode(first, type=dict[str, msgspec.Raw]).get("schemaVersion")
        if version is None or msgspec.json.decode(version) != SCHEMA_VERSION:
            raise InputError("a snapshot of another version of plimsoll", where=where, hint="take it again")
        header = msgspec.json.decode(first, type=_Header)
        shared = [msgspec.json.decode(next(lines)) for _ in range(header.shared)]
        decoder = msgspec.json.Decoder(tuple[dict[str, Any], dict[str, dict[str, int]]])
        objects: list[Obj] = []
        for _ in range(header.objects):
            obj, parts = decoder.decode(next(lines))
            for key, taken in parts.items():
                level = obj[key]
                for field, index in taken.items():
                    if field == _REST:
                        level.update(shared[index])
                    else:
                        level[field] = shared[index]
            admit(obj, f"{where}: object {len(objects)}")
            objects.append(obj)
        if msgspec.json.decode(next(lines)) != {"end": header.objects}:
            raise InputError("the snapshot is damaged: its end does not fit its beginning", where=where)
    except StopIteration:
        raise InputError("the snapshot is cut short", where=where, hint="take it again") from None
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"the snapshot is damaged ({error})", where=where, hint="take it again") from error
    known = {_KINDS[name]: coverage for name, coverage in header.coverage.items() if name in _KINDS}
    unread = [Unread(_KINDS[each.kind], each.reason) for each in header.unread if each.kind in _KINDS]
    source = Source(header.form, header.place, header.taken_at_is)
    return Snapshot(objects, source=source, taken_at=header.taken_at, coverage=known, unread=unread)


def save(snapshot: Snapshot, path: Path) -> None:
    """Write a snapshot for its owner's eyes only (mode 0600), redacted, all of it or nothing."""
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
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
