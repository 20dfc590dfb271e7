"""What every cross-check asks: a declaration with its indexes, and which parts of it could not be read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool
from plimsoll.spec.problems import Path, Problem, value
from plimsoll.spec.queueing import Team

LISTED_MAX = 8
COMPARED_MAX = 200  # names a wrong one is compared with: each comparison costs some ten microseconds


class View:
    """A Platform as cross-checks see it.

    unread: parts left out because they have problems of their own: sections (`spot`) and list
    entries (`pools/h100`, `teams/*`). Nothing is concluded from the absence of those.
    """

    def __init__(self, platform: Platform, unread: frozenset[str] = frozenset()) -> None:
        self.platform = platform
        self.unread = unread
        self.pools = derive.pools_by_name(platform)
        self.teams = derive.teams_by_name(platform)

    def pool(self, name: str) -> Pool | None:
        return self.pools.get(name)

    def team(self, name: str) -> Team | None:
        return self.teams.get(name)

    def partly(self, section: str) -> bool:
        """Whether some of a section could not be read."""
        return any(each == section or each.startswith(f"{section}/") for each in self.unread)

    def missing(self, section: str, name: str) -> bool:
        """Whether a pool or team of this name surely does not exist."""
        known = self.pools if section == "pools" else self.teams
        return name not in known and not self.unread & {section, f"{section}/*", f"{section}/{name}"}

    def no_such(self, section: str, name: str, path: Path) -> Iterator[Problem]:
        """The problem that no pool or team has this name, if none has."""
        if self.missing(section, name):
            known = self.pools if section == "pools" else self.teams
            yield Problem(
                path=path, found=value(name), allowed=f"must be the name of a {section[:-1]}", hint=meant(name, known)
            )


def meant(wrong: str, known: Iterable[str]) -> str:
    """A hint at the known name a wrong one may have meant, or at all of them where they are few."""
    names = list(known)
    near = difflib.get_close_matches(wrong, names[:COMPARED_MAX], n=1, cutoff=0.7)
    if near:
        return f"did you mean {near[0]}?"
    verb = "is" if len(names) == 1 else "are"
    return f"there {verb} {listed(names)}" if 0 < len(names) <= LISTED_MAX else ""


def twice(names: Sequence[str], section: str) -> Iterator[Problem]:
    """A problem for every name of a section that an earlier entry has."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield Problem(
                path=(section, index, "name"),
                found=value(name),
                allowed=f"must be a name that no other of {section} has",
            )
        seen.add(name)


def listed(words: Iterable[str]) -> str:
    """`a, b and c`; of more than LISTED_MAX the first ones and how many more."""
    all_ = list(words)
    if len(all_) > LISTED_MAX:
        all_ = [*all_[: LISTED_MAX - 1], f"{len(all_) - LISTED_MAX + 1} more"]
    return " and ".join(filter(None, (", ".join(all_[:-1]), all_[-1]))) if all_ else "none"


def counted(number: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
