"""Files of a folder or an archive, read without trusting their names, kinds or sizes."""

from __future__ import annotations

import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from plimsoll.errors import InputError

MEMBERS_MAX = 200_000
BYTES_MAX = 1 << 30  # of all files together, expanded
RATIO_MAX = 200  # expanded over packed; text packs 10 to 50 times, bombs thousands
_WANTED = (".json", ".yaml", ".yml")
# What the library raises on bytes that are no archive. RuntimeError is RecursionError too: headers of headers.
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError,
    ValueError, LookupError, OverflowError,
)  # fmt: skip


class Member(NamedTuple):
    """One file: its name inside, and its content."""

    name: str
    content: bytes


def read_folder(root: Path) -> Iterator[Member]:
    """The JSON and YAML files of a folder, by name. Links are not followed."""
    count = size = 0
    for folder, folders, files in os.walk(root, followlinks=False):
        folders.sort()
        for file in sorted(files):
            path = Path(folder) / file
            inside = path.relative_to(root).as_posix()
            count += 1
            _bound(count, size, str(root))
            try:
                if path.suffix not in _WANTED or not stat.S_ISREG(path.lstat().st_mode):
                    continue
                size += path.lstat().st_size
                _bound(count, size, f"{root}/{inside}")
                yield Member(_shown(inside), path.read_bytes())
            except OSError as error:
                raise InputError(f"cannot read it: {error.strerror}", where=f"{root}/{inside}") from error


def read_tar(file: BinaryIO, where: str) -> Iterator[Member]:
    """The JSON and YAML files of an unpacked tar archive. Nothing is ever written to disk."""
    count = size = 0
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                count += 1
                size += max(0, member.size)
                _bound(count, size, f"{where}:{_shown(member.name)}")
                _inside(member.name, where)
                content = archive.extractfile(member) if member.isreg() else None  # no links, devices or pipes
                if content is not None and member.name.endswith(_WANTED):
                    yield Member(_shown(member.name), content.read())
    except _DAMAGE as error:
        raise InputError(f"the archive is damaged or cut short ({error})", where=where) from error


def read_zip(content: bytes, where: str) -> Iterator[Member]:
    """The JSON and YAML files of a zip archive."""
    count = size = 0
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                count += 1
                size += info.file_size
                place = f"{where}:{_shown(info.filename)}"
                _bound(count, size, place)
                _inside(info.filename, where)
                if info.file_size > RATIO_MAX * max(info.compress_size, 4096):
                    raise InputError("expands more than any text does", where=place)
                if info.flag_bits & 1:
                    raise InputError("locked with a password", where=place)
                if not info.is_dir() and info.filename.endswith(_WANTED):
                    with archive.open(info) as file:
                        yield Member(_shown(info.filename), file.read(info.file_size + 1)[: info.file_size])
    except _DAMAGE as error:
        raise InputError(f"the archive is damaged or cut short ({error})", where=where) from error


def _bound(count: int, size: int, where: str) -> None:
    if count > MEMBERS_MAX:
        raise InputError(f"more than {MEMBERS_MAX} files", where=where)
    if size > BYTES_MAX:
        raise InputError(f"more than {BYTES_MAX >> 20} MiB expanded", where=where)


def _shown(name: str) -> str:
    """A member's name without what could steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in name)


def _inside(name: str, where: str) -> None:
    """Refuse a name that points out of the archive: nobody honest writes one."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise InputError(f"holds a file named {name!r}, which points outside of it", where=where)
