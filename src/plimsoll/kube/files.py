"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from plimsoll.errors import InputError


@contextmanager
def whole(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A file that appears under its name only when it is complete and on disk. A link is followed.

    private: for its owner alone (mode 0600), whatever the umask says.
    Raises InputError where it cannot be written, and for a device or a folder: those are not replaced.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise InputError(
            "neither a new file nor one that can be replaced", where=str(path), hint="give the name of a file"
        )
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if not private:
                Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(target)
        except BaseException:  # a kill signal too: what is half written goes, then the reason goes on
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"cannot write it: {error.strerror or error}", where=str(path)) from error


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
