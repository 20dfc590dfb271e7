"""Packed files as bounded streams: a bomb is left after the first bytes too many, not after the last."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import zstandard

from plimsoll.errors import InputError

BYTES_MAX = 1 << 30  # of one text, or of all files of a folder or archive that are kept in memory
STREAM_MAX = 8 << 30  # of an archive that is read through once: most of a must-gather are logs, which are skipped
RATIO_MAX = 200  # expanded over packed; text packs 10 to 50 times, bombs thousands
_RATIO_MAX_ZSTD = 1000  # it sees that one pod is like the last but for some bytes, and packs a List 100 to 400 times
_SMALL = 16 << 20  # a file that expands to no more than this is let be, whatever its ratio
_CHUNK = 1 << 20
# Four bytes of zstd can say 128 KiB, and one call gives all that its input says: so a call gets little.
_ZSTD_BITE = 512
SMALLER = "`plimsoll capture` writes a snapshot that is twenty times smaller"

ZSTD, GZIP, ZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"PK\x03\x04"
_OTHERS = {
    b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"7z\xbc\xaf\x27\x1c": "7-Zip", b"Rar!": "RAR", b"PK\x05\x06": "an empty zip",
}  # fmt: skip


class Stream:
    """The expanded content of a file, from its beginning to its end, once."""

    def __init__(self, file: BinaryIO, size: int, where: str) -> None:
        """`size` is that of the packed file, in bytes."""
        magic = file.read(8)
        file.seek(0)
        self.packed = packing(magic)
        self._where = where
        self._size = size
        self._ratio = _RATIO_MAX_ZSTD if self.packed == "zstd" else RATIO_MAX
        self._chunks = {"gzip": _gunzip, "zstd": _unzstd}.get(self.packed, _plain)(file, where)
        self._rest = b""
        self._count = 0
        self.limit = BYTES_MAX

    def peek(self, size: int) -> bytes:
        """Its first bytes, which stay to be read. Call it before any other."""
        head = self.read(size)
        self._rest = head + self._rest
        return head

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        parts, have = [self._rest], len(self._rest)
        while have < size and (chunk := self._next()):
            parts.append(chunk)
            have += len(chunk)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]

    def whole(self) -> bytes:
        """Everything that is left."""
        parts = [self._rest]
        while chunk := self._next():
            parts.append(chunk)
        self._rest = b""
        return parts[-1] if len(parts) == 2 and not parts[0] else b"".join(parts)

    def lines(self) -> Iterator[bytes]:
        """What is left, line by line, without the line ends."""
        parts, chunk = [b""], self._rest
        self._rest = b""
        while chunk or (chunk := self._next()):
            first, *others = chunk.split(b"\n")
            parts.append(first)
            if others:
                yield b"".join(parts)
                yield from others[:-1]
                parts = [others[-1]]
            chunk = b""
        if last := b"".join(parts):
            yield last

    def _next(self) -> bytes:
        chunk = next(self._chunks, b"")
        self._count += len(chunk)
        if self._count > self.limit:
            raise InputError(f"expands to more than {self.limit >> 20} MiB", where=self._where, hint=SMALLER)
        if self._count > max(_SMALL, self._ratio * self._size):
            raise InputError(f"expands more than {self._ratio} times, as no text does", where=self._where)
        return chunk


def packing(magic: bytes) -> str:
    """What a file is packed with, by its first bytes: `gzip`, `zstd`, `zip`, the name of another, or ""."""
    for start, name in ((ZSTD, "zstd"), (GZIP, "gzip"), (ZIP, "zip"), *_OTHERS.items()):
        if magic.startswith(start):
            return name
    return ""


def _plain(file: BinaryIO, where: str) -> Iterator[bytes]:  # noqa: ARG001  one signature for all three
    while chunk := file.read(_CHUNK):
        yield chunk


def _gunzip(file: BinaryIO, where: str) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"the gzip file is damaged or cut short ({error})", where=where, hint=AGAIN) from error


def _unzstd(file: BinaryIO, where: str) -> Iterator[bytes]:
    """One frame or several. The library's own stream reader would take a frame that is cut short for its end."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    try:
        frame = unpacker.decompressobj()
        parts, have = [], 0
        while bite := file.read(_ZSTD_BITE):
            while bite:
                if frame.eof:
                    frame = unpacker.decompressobj()
                parts.append(frame.decompress(bite))
                have += len(parts[-1])
                bite = frame.unused_data
            if have >= _CHUNK:
                yield b"".join(parts)
                parts, have = [], 0
        if not frame.eof:
            raise InputError("the zstd file is cut short", where=where, hint=AGAIN)
        yield b"".join(parts)
    except zstandard.ZstdError as error:
        raise InputError(f"the zstd file is damaged ({error})", where=where, hint=AGAIN) from error


AGAIN = "take it again"
