"""A folder that is rendered into: nothing in it is lost that was not rendered, and nothing stays that is no longer.

An index in the folder says which files were written and what was in them. New files are first written beside the old
ones and then take their places one by one; an index that says so is there all the while. A run that is killed in
between leaves only whole files, known to the index, and the next run goes on from there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from plimsoll.errors import InputError

INDEX = ".plimsoll-render.json"
_STAGED = ".plimsoll-staged"
_INDEX_BYTES_MAX = 16 << 20


class Index(msgspec.Struct, frozen=True, omit_defaults=True):
    """files: what is there, path to SHA-256. before: what was there, while it is being replaced."""

    files: dict[str, str]
    before: dict[str, str] = {}

    def said(self, path: str) -> tuple[str, ...]:
        """What a file may hold that render has written."""
        return tuple(each[path] for each in (self.files, self.before) if path in each)

    def written(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"


class Written(msgspec.Struct, frozen=True):
    """Paths that were written, that were so already, and that were taken away."""

    new: tuple[str, ...]
    same: tuple[str, ...]
    gone: tuple[str, ...]


def write(root: Path, files: Mapping[str, str], *, force: bool = False) -> Written:
    """Make `root` hold these files.

    force: go on where it holds files that were not rendered (they stay, unless one of these takes their place) or that
    were changed since. Raises InputError where that is not allowed, or a file cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            return _write(root, {path: text.encode() for path, text in files.items()}, force=force)
    except OSError as error:
        raise InputError(f"cannot write it: {error.strerror or error}", where=str(error.filename or root)) from error


def _write(root: Path, files: dict[str, bytes], *, force: bool) -> Written:
    staged = root / _STAGED
    if staged.is_dir() and not staged.is_symlink():
        shutil.rmtree(staged)
    index = _read(root, force=force)
    wanted = {path: _digest(content) for path, content in files.items()}
    known = {*wanted, *index.files, *index.before}
    there = {path: _digest_of(root / path) if path in known else "" for path in _found(root)}
    ours = {path: digest for path, digest in there.items() if digest in index.said(path)}
    if not force:
        _refuse(
            root, [path for path, digest in there.items() if path not in ours and digest != wanted.get(path)], index
        )
    new = [path for path, digest in wanted.items() if there.get(path) != digest]
    gone = sorted(ours.keys() - wanted.keys())
    for path in new:
        _refuse_blocked(root, path)
    if new or gone or index != Index(wanted):
        staged.mkdir()
        try:
            _put(staged / "0", Index(wanted, ours).written())
            for number, path in enumerate(new, 1):
                _put(staged / str(number), files[path])
            (staged / "0").replace(root / INDEX)
            for path in gone:
                _remove(root, path)
            for number, path in enumerate(new, 1):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (staged / str(number)).replace(root / path)
            _put(staged / "0", Index(wanted).written())
            (staged / "0").replace(root / INDEX)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return Written(tuple(new), tuple(path for path in wanted if path not in new), tuple(gone))


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One run at a time; the lock goes with the process."""
    handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError("another run writes into it just now", where=str(root), hint="let it end") from error
        yield
    finally:
        os.close(handle)


def _read(root: Path, *, force: bool) -> Index:
    """The index; an empty one where there is none, or none that can be read and `force` says so."""
    file = root / INDEX
    try:
        with file.open("rb") as stream:
            found = msgspec.json.decode(stream.read(_INDEX_BYTES_MAX), type=Index)
    except FileNotFoundError:
        return Index({})
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        if force:
            return Index({})
        hint = "--force goes on without it: what was rendered before and is no longer, then stays"
        raise InputError("not an index that render has written", where=str(file), hint=hint) from error
    for path in (*found.files, *found.before):
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise InputError(f"names {path!r}, which is not in this folder", where=str(file), hint="delete it")
    return found


def _found(root: Path) -> Iterator[str]:
    """Paths of all that lies in the folder and is no folder itself; what belongs to Git at its top is not looked at."""
    for folder, folders, names in os.walk(root):
        if Path(folder) == root:
            folders[:] = [each for each in folders if not each.startswith(".git")]
            names = [each for each in names if not each.startswith(".git") and each != INDEX]
        links = [each for each in folders if (Path(folder) / each).is_symlink()]
        for name in (*names, *links):
            yield (Path(folder) / name).relative_to(root).as_posix()


def _refuse(root: Path, paths: list[str], index: Index) -> None:
    """What was not rendered, or not like this, is somebody's."""
    if not paths:
        return
    changed = [path for path in paths if path in index.files]
    what = "was changed since it was rendered" if changed else "was not written by render"
    shown = changed or paths
    more = f" (and {len(shown) - 1} more)" if len(shown) > 1 else ""
    raise InputError(
        f"{what}{more}",
        where=str(root / shown[0]),
        hint="render into a folder of its own; --force writes over what has changed and leaves the rest",
    )


def _refuse_blocked(root: Path, path: str) -> None:
    """Nothing is written outside of the folder, and no folder is taken for a file."""
    place = root / path
    for each in (place, *place.parents):
        if each == root:
            return
        if each.is_symlink() or (each.exists() and each.is_dir() == (each == place)):
            raise InputError(f"in the way of {path}", where=str(each), hint="take it away")


def _put(place: Path, content: bytes) -> None:
    with place.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _remove(root: Path, path: str) -> None:
    """A file, and the folders that it leaves empty."""
    place = root / path
    place.unlink(missing_ok=True)
    for folder in place.parents:
        if folder == root or any(folder.iterdir()):
            return
        folder.rmdir()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of(place: Path) -> str:
    """Of a file; "" for what is none."""
    if place.is_symlink() or not place.is_file():
        return ""
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
