"""What was changed, and how it was before: written down before the change is made, so that nothing is left broken."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from plimsoll.errors import LabError
from plimsoll.kube.files import whole
from plimsoll.kube.objects import Obj


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One object that a fault touched. before: as it was; None where the fault created it. pods it only ended
    come back by their owners and are not written down."""

    fault: str
    kind: str
    name: str
    namespace: str = ""
    before: Obj | None = None


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that was given. stopped: programs of the lab that it stopped; aside: those down while it is healed."""

    fault: str
    node: str = ""
    stopped: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()


class Book(msgspec.Struct, kw_only=True):
    """The journal: faults given and not healed, and what they changed, oldest first."""

    given: list[Given] = []
    changes: list[Change] = []


class Journal:
    """The book on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Give and heal one at a time, whoever asks."""
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def read(self) -> Book:
        """What is written; an empty book where there is none."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Book)
        except FileNotFoundError:
            return Book()
        except (OSError, msgspec.MsgspecError) as error:
            raise LabError(
                f"cannot be read: {error}", where=str(self._path), hint="`plimsoll lab reset` undoes every fault, too"
            ) from None

    def write(self, book: Book) -> None:
        """Replace it."""
        with whole(self._path, private=True) as file:
            file.write(msgspec.json.encode(book))
