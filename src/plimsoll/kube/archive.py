"""Files of a folder or an archive, read without trusting their names, kinds or sizes."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from plimsoll.errors import InputError

MEMBERS_MAX = 200_000
BYTES_MAX = 1 << 30  # of all files together, expanded
RATIO_MAX = 200  # expanded over packed; text packs 10 to 50 times, bombs thousands
_WANTED = (".json", ".yaml", ".yml")


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
                yield Member(inside, path.read_bytes())
            except OSError as error:
                raise InputError(f"cannot read it: {error.strerror}", where=f"{root}/{inside}") from error


def read_tar(file: BinaryIO, where: str) -> Iterator[Member]:
    """The JSON and YAML files of a tar archive, packed or not. Nothing is ever written to disk."""
    count = size = 0
    try:
        with tarfile.open(fileobj=file, mode="r|*") as archive:
            for member in archive:
                count += 1
                size += max(0, member.size)
                _bound(count, size, f"{where}:{member.name}")
                _inside(member.name, where)
                content = archive.extractfile(member) if member.isreg() else None  # no links, devices or pipes
                if content is not None and member.name.endswith(_WANTED):
                    yield Member(member.name, content.read())
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise InputError(f"the archive is damaged or cut short ({error})", where=where) from error


def read_zip(content: bytes, where: str) -> Iterator[Member]:
    """The JSON and YAML files of a zip archive."""
    count = size = 0
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                count += 1
                size += info.file_size
                _bound(count, size, f"{where}:{info.filename}")
                _inside(info.filename, where)
                if info.file_size > RATIO_MAX * max(info.compress_size, 4096):
                    raise InputError("expands more than any text does", where=f"{where}:{info.filename}")
                if not info.is_dir() and info.filename.endswith(_WANTED):
                    with archive.open(info) as file:
                        yield Member(info.filename, file.read(info.file_size + 1)[: info.file_size])
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        raise InputError(f"the archive is damaged, cut short or locked ({error})", where=where) from error


def _bound(count: int, size: int, where: str) -> None:
    if count > MEMBERS_MAX:
        raise InputError(f"more than {MEMBERS_MAX} files", where=where)
    if size > BYTES_MAX:
        raise InputError(f"more than {BYTES_MAX >> 20} MiB expanded", where=where)


def _inside(name: str, where: str) -> None:
    """Refuse a name that points out of the archive: nobody honest writes one."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts and path.parts[0].endswith(":")):
        raise InputError(f"holds a file named {name!r}, which points outside of it", where=where)
