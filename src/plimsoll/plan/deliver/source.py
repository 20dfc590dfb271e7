"""Where in Git the rendered folder will lie, for controllers that read it there."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import msgspec

from plimsoll.errors import InputError

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PATH = re.compile(r"[A-Za-z0-9._/-]*")
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]+")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """repository: its address. revision: a branch, a commit or a full name such as refs/tags/v1.

    path: of the folder in it, "" for its root.
    """

    repository: str
    revision: str
    path: str

    @classmethod
    def of(cls, repository: str, revision: str, path: str) -> Source:
        """Raises InputError for what is no address, no revision or no path inside of a repository."""
        for option, value in (("--repository", repository), ("--revision", revision)):
            if not _WORD.fullmatch(value) or value.startswith("-"):
                raise InputError(f"{value!r} is no word without spaces", where=option)
        if _password(repository):
            raise InputError(
                "the address holds a password, which would stand in every file",
                where="--repository",
                hint="give the address without it, and the credentials to the controller in a Secret",
            )
        steps = PurePosixPath(path).parts
        if not _PATH.fullmatch(path) or path.startswith("/") or ".." in steps:
            raise InputError(
                f"{path!r} is no path inside of a repository", where="--path", hint="such as clusters/production"
            )
        return cls(repository=repository, revision=revision, path="/".join(steps))

    def at(self, folder: str) -> str:
        """The path in the repository of a folder that is rendered."""
        return f"{self.path}/{folder}" if self.path else folder

    @property
    def is_commit(self) -> bool:
        return _COMMIT.fullmatch(self.revision) is not None


def _password(repository: str) -> bool:
    """Whether user:password@ is part of an address with a scheme."""
    authority = repository.partition("://")[2].partition("/")[0]
    return ":" in authority.rpartition("@")[0]
