"""Files of a folder or an archive, read without trusting their names, kinds or sizes."""

from __future__ import annotations

import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NamedTuple, cast

from plimsoll.errors import InputError
from plimsoll.kube.unpack import BYTES_MAX, RATIO_MAX, STREAM_MAX, Stream

MEMBERS_MAX = 200_000
_HEADER_MAX = 1 << 20  # of one member of a tar; a hostile one says that its name has gigabytes
_WINDOW = 2 * tarfile.RECORDSIZE  # the library reads a record at a time
_DIRECTORY_MAX = 64 << 20  # of a zip: what 200,000 names need
_WANTED = (".json", ".yaml", ".yml")
# What the library raises on bytes that are no archive. RuntimeError is RecursionError too: headers of headers.
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError,
    ValueError, LookupError, OverflowError, MemoryError,
)  # fmt: skip


class Member(NamedTuple):
    """One file: its name inside, and its content."""

    name: str
    content: bytes


class _Tally:
    """Counts files and bytes, and says stop."""

    def __init__(self) -> None:
        self.files = self.kept = self.passed = 0

    def add(self, size: int, where: str, *, kept: bool) -> None:
        self.files += 1
        self.kept += size if kept else 0
        self.passed += size
        if self.files > MEMBERS_MAX:
            raise InputError(f"more than {MEMBERS_MAX} files", where=where)
        if self.kept > BYTES_MAX:
            raise InputError(f"more than {BYTES_MAX >> 20} MiB of JSON and YAML", where=where)
        if self.passed > STREAM_MAX:
            raise InputError(f"more than {STREAM_MAX >> 30} GiB expanded", where=where)


def read_folder(root: Path) -> Iterator[Member]:
    """The JSON and YAML files of a folder, by name. Links are not followed."""
    tally = _Tally()
    for folder, folders, files in os.walk(root, followlinks=False):
        folders.sort()
        for file in sorted(files):
            path = Path(folder) / file
            inside = path.relative_to(root).as_posix()
            where = f"{root}/{_shown(inside)}"
            try:
                status = path.lstat()
                wanted = path.suffix in _WANTED and stat.S_ISREG(status.st_mode)
                tally.add(status.st_size if wanted else 0, where, kept=wanted)
                if wanted:
                    yield Member(_shown(inside), _content(path))
            except OSError as error:
                raise InputError(f"cannot read it: {error.strerror}", where=where) from error


def _content(path: Path) -> bytes:
    """A file's content, unless it has become a link since it was looked at."""
    how = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, how), "rb") as file:
        return file.read(BYTES_MAX)


def read_tar(stream: Stream, where: str) -> Iterator[Member]:
    """The JSON and YAML files of a tar archive. Nothing is ever written to disk."""
    tally = _Tally()
    source = _Honest(stream, where)
    stream.limit = STREAM_MAX
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|") as archive:
            for member in archive:
                wanted = member.isreg() and member.name.endswith(_WANTED)  # no links, devices or pipes
                tally.add(max(0, member.size), f"{where}:{_shown(member.name)}", kept=wanted)
                _inside(member.name, where)
                source.allow(member.size)
                content = archive.extractfile(member) if wanted else None
                if content is not None:
                    yield Member(_shown(member.name), content.read())
                archive.members = []  # type: ignore[attr-defined]  # else it keeps every header it ever read
            if any(source.block(archive.offset)) or not source.block(archive.offset):
                raise InputError("the archive is damaged or cut short", where=where)
    except _DAMAGE as error:
        raise InputError(f"the archive is damaged or cut short ({str(error)[:120]})", where=where) from error


class _Honest:
    """A tar stream in which no header may be larger than a header is."""

    def __init__(self, stream: Stream, where: str) -> None:
        self._stream, self._where = stream, where
        self._done, self._allowed, self._last = 0, _HEADER_MAX, b""

    def allow(self, size: int) -> None:
        """A member of this size comes next, then one more header."""
        self._allowed = self._done + size + _HEADER_MAX

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._done += len(data)
        self._last = (self._last + data)[-_WINDOW:]
        if self._done > self._allowed:
            raise InputError("the archive has a header of more than 1 MiB", where=self._where)
        return data

    def block(self, offset: int) -> bytes:
        """The block at an offset just read; empty where there is no whole one.

        An archive ends with a block of zeros. The library takes a broken header, or none, for its end too.
        """
        start = offset - (self._done - len(self._last))
        return self._last[start : start + 512] if start + 512 <= len(self._last) else b""


def read_zip(file: BinaryIO, where: str) -> Iterator[Member]:
    """The JSON and YAML files of a zip archive."""
    tally = _Tally()
    _bound_directory(file, where)
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                place = f"{where}:{_shown(info.filename)}"
                wanted = not info.is_dir() and info.filename.endswith(_WANTED)
                tally.add(info.file_size, place, kept=wanted)
                _inside(info.filename, where)
                if not wanted or stat.S_ISLNK(info.external_attr >> 16):
                    continue
                if info.flag_bits & 1:
                    raise InputError("locked with a password", where=place)
                if info.file_size > RATIO_MAX * max(info.compress_size, 4096):
                    raise InputError(f"expands more than {RATIO_MAX} times, as no text does", where=place)
                with archive.open(info) as member:
                    yield Member(_shown(info.filename), member.read(info.file_size + 1))  # no more than it says
    except _DAMAGE as error:
        raise InputError(f"the archive is damaged or cut short ({str(error)[:120]})", where=where) from error


def _bound_directory(file: BinaryIO, where: str) -> None:
    """Refuse a zip whose list of files is huge: all of it is read before the first file is seen.

    The end record says the size of the list; one with the 64-bit extension has more files than we read.
    Source: PKWARE APPNOTE 4.3.16, 4.3.15.
    """
    file.seek(max(0, file.seek(0, os.SEEK_END) - 65536 - 22))
    tail = file.read()
    file.seek(0)
    place = tail.rfind(b"PK\x05\x06")
    listed = int.from_bytes(tail[place + 12 : place + 16], "little") if place >= 0 else 0
    if listed > _DIRECTORY_MAX or (place >= 0 and b"PK\x06\x07" in tail[max(0, place - 20) : place]):
        raise InputError("the archive lists more files than Plimsoll reads", where=where, hint="unpack it first")


def _shown(name: str) -> str:
    """A member's name without what could steer a terminal, and not for ever."""
    return "".join(char if char.isprintable() else "?" for char in name[:300])


def _inside(name: str, where: str) -> None:
    """Refuse a name that points out of the archive: nobody honest writes one."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise InputError(f"holds a file named {name[:200]!r}, which points outside of it", where=where)
