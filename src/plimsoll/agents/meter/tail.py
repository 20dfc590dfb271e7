"""Whole lines of a log file as it grows: over rotation, truncation, and our own restarts.

What was read is known by the file's inode and how its first bytes look, and an offset behind the last whole line. Files
that were moved aside are read to their ends, in the order in which they were written last, where they lie in the same
folder as `access.log.…` or `access-<date>.log`, and are not compressed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from plimsoll.errors import InputError

LINE_MAX = 1 << 20  # bytes; a longer line is passed over
CHUNK = 4 << 20  # bytes of one reading
_HEAD = 256  # bytes by which the content of a file is known
_PASSES = 64  # chunks of one call, where they hold no line
_PACKED = (".gz", ".zst", ".bz2", ".xz", ".zip")
_CLOSED = -1


class _Place(msgspec.Struct):
    """Where we are. head: hash of the file's first `known` bytes. passing: in the middle of a line that is too long.
    written: when the file was written last, in nanoseconds; with inode 0 it is the file that came before."""

    inode: int = 0
    written: int = 0
    offset: int = 0
    known: int = 0
    head: str = ""
    passing: bool = False


class Tail:
    """A file, followed. long: lines passed over. lost: how often lines may have gone before they were read: a file was
    moved out of sight, or cut, or ended within a line."""

    def __init__(self, path: Path, state: Mapping[str, Any] | None = None) -> None:
        """state: what an earlier `state()` gave; without it the file is read from its beginning."""
        self.path = path
        self.long = self.lost = 0
        self._file = _CLOSED
        self._turned = False  # another file has our path: the one that writes may not know it yet
        try:
            self._place = msgspec.convert(state or {}, _Place)
        except msgspec.ValidationError as error:
            raise InputError(f"the state of a followed log cannot be read: {error}", where=str(path)) from None

    def state(self) -> dict[str, Any]:
        """Where the last whole line ended, as plain data: lines before it are not given again."""
        found: dict[str, Any] = msgspec.to_builtins(self._place)
        return found

    def read(self) -> list[bytes]:
        """The next whole lines, without their ends. None: there are none yet.

        Raises InputError where the file is there and cannot be read.
        """
        try:
            if self._file == _CLOSED and not self._open():
                return []
            for _ in range(_PASSES):
                at = self._place.offset
                lines = self._next()
                if lines:
                    self._turned = False
                    return lines
                if self._place.offset == at and not self._turn():
                    break
        except OSError as error:
            self.close()
            raise InputError(f"this log cannot be read: {error.strerror}", where=str(self.path)) from None
        return []

    def close(self) -> None:
        if self._file != _CLOSED:
            os.close(self._file)
            self._file = _CLOSED

    def _next(self) -> list[bytes]:
        """The whole lines of the next chunk."""
        place, status = self._place, os.fstat(self._file)
        size = status.st_size
        if size < place.offset or (place.known and self._hash(place.known) != place.head):
            place = self._place = _Place(inode=place.inode)  # another content under the same inode
            self.lost += 1
        if place.known < _HEAD:
            place.known = min(size, _HEAD)
            place.head = self._hash(place.known)
        place.written = status.st_mtime_ns
        data = os.pread(self._file, CHUNK, place.offset)
        start = 0
        if place.passing:
            start = data.find(b"\n") + 1
            place.passing = not start
            if place.passing:
                place.offset += len(data)
                return []
        whole = data.rfind(b"\n") + 1
        if whole <= start and len(data) - start > LINE_MAX:
            self.long += 1
            place.offset += len(data)
            place.passing = True
            return []
        place.offset += max(whole, start)
        lines = data[start:whole].split(b"\n")[:-1]
        self.long += sum(len(line) > LINE_MAX for line in lines)
        return [line for line in lines if len(line) <= LINE_MAX]

    def _open(self) -> bool:
        """Open where we left off: our file, wherever it was moved, or the one after it. False: there is none."""
        beside = self._beside()
        path = next((path for _, inode, path in beside if inode == self._place.inode), None)
        if path is None:
            later = min((each for each in beside if each[0] > self._place.written), default=None)
            path = later[2] if later and self._place.written else self.path
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False  # between two files, or moved just now
        found = os.fstat(self._file).st_ino
        if found != self._place.inode:
            self.lost += self._place.inode != 0
            self._place = _Place(inode=found)
        return True

    def _beside(self) -> list[tuple[int, int, Path]]:
        """When it was written last, inode and path of our file and of those that may have been it, in its folder."""
        path = self.path.resolve()
        own, dated = re.escape(path.name), re.escape(path.stem) + r"[-._]\d[\dT:Z._-]*" + re.escape(path.suffix)
        name = re.compile(f"{own}(?:[-._].*)?|{dated}")
        try:
            with os.scandir(path.parent) as entries:
                return [
                    (entry.stat().st_mtime_ns, entry.inode(), Path(entry.path))
                    for entry in entries
                    if name.fullmatch(entry.name) and not entry.name.endswith(_PACKED) and entry.is_file()
                ]
        except FileNotFoundError:
            return []  # one of them went while we looked

    def _turn(self) -> bool:
        """Go on to the file that followed, once nothing came to ours from one reading to the next."""
        try:
            now = self.path.stat().st_ino
        except FileNotFoundError:
            return False  # between two files
        if now == self._place.inode:
            return False
        if not self._turned:
            self._turned = True
            return False
        last = os.fstat(self._file)
        self.lost += last.st_size > self._place.offset
        self._turned = False
        self.close()
        self._place = _Place(written=last.st_mtime_ns)
        return self._open()

    def _hash(self, count: int) -> str:
        return hashlib.blake2b(os.pread(self._file, count, 0), digest_size=8).hexdigest()
