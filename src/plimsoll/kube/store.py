"""The door through which every file comes in: one snapshot, or one error that names the place."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from plimsoll.errors import InputError
from plimsoll.kube import archive, formats, kinds, pack
from plimsoll.kube.decode import HINT, newest_time
from plimsoll.kube.pack import save
from plimsoll.kube.redact import redacted
from plimsoll.kube.snapshot import Snapshot, Source
from plimsoll.kube.unpack import BYTES_MAX, SMALLER, Stream, packing

__all__ = ["open_snapshot", "save"]

_HEAD_BYTES = 512  # as much as tells a tar: its first header


def open_snapshot(path: Path) -> Snapshot:
    """The snapshot in a file, folder or archive, whatever its form; else one InputError that names the place."""
    where = os.fsencode(path).decode(errors="backslashreplace")
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return _foreign(formats.folder(archive.read_folder(path), where), where)
        if not stat.S_ISREG(status.st_mode):
            raise InputError("neither a file nor a folder", where=where)
        if status.st_size > BYTES_MAX:
            raise InputError(f"larger than {BYTES_MAX >> 20} MiB", where=where, hint=SMALLER)
        with path.open("rb") as file, without_collector():
            return _file(file, status.st_size, where)
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror or error}", where=where) from error
    except ValueError as error:  # a name with a NUL in it
        raise InputError(f"cannot be a file: {error}", where=where) from error


@contextmanager
def without_collector() -> Iterator[None]:
    """Building a million dicts makes the collector run for nothing: it takes three times as long as the decoding.

    What is there at the end is never looked at again: a snapshot and its review have no cycles and live on.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if on:
            gc.enable()


def _file(file: BinaryIO, size: int, where: str) -> Snapshot:
    stream = Stream(file, size, where)
    if stream.packed == "zip":
        return _foreign(formats.folder(archive.read_zip(file, where), where), where)
    head = stream.peek(_HEAD_BYTES)
    if stream.packed in ("gzip", "zstd") and (inner := packing(head)):
        raise InputError(f"packed with {inner} inside {stream.packed}", where=where, hint="unpack it first")
    if head.startswith(pack.MAGIC):
        return pack.read(stream.lines(), where)
    if head[257:262] == b"ustar":
        return _foreign(formats.folder(archive.read_tar(stream, where), where), where)
    return _foreign(formats.file(stream.whole(), where), where)


def _foreign(found: formats.Found, where: str) -> Snapshot:
    """A snapshot of somebody else's form: dated by what is in it, refused where nothing in it is ours to judge.

    Redacted, so that what a finding shows of it never is a credential.
    """
    seen = dict.fromkeys((obj["apiVersion"], obj["kind"]) for obj in found.objects)
    if not any((version.rpartition("/")[0], kind) in kinds.BY_GROUP_KIND for version, kind in seen):
        names = ", ".join(f"{kind[:60]} ({version[:60]})" for version, kind in list(seen)[:3]) or "no object"
        raise InputError(f"holds {names}, and nothing that Plimsoll judges", where=where, hint=HINT)
    newest = max((t for obj in found.objects if (t := newest_time(msgspec.json.encode(obj)))), default=None)
    source = Source(found.form, where, "inferred" if newest else "unknown")
    objects = [redacted(obj) for obj in found.objects]
    return Snapshot(objects, source=source, taken_at=newest, coverage=found.coverage)
