"""What every cross-check asks: a declaration with its indexes, and which parts of it could not be read."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool
from plimsoll.spec.problems import Path, Problem, value
from plimsoll.spec.queueing import Team
from plimsoll.spec.repair import NAMELESS

LISTED_MAX = 8
COMPARED_MAX = 200  # names a wrong one is compared with: each comparison costs some ten microseconds
_HOLDING = ("team", "pool", "unit", "gpusPerReplica", "replicas", "queued")


class View:
    """A Platform as cross-checks see it.

    unread: paths whose value is not what the file means, for it has a problem of its own (see
    repair.readable). Nothing is concluded from what stands there.
    sure: the platform with only those services that tell what they hold, and where.
    """

    def __init__(self, platform: Platform, unread: frozenset[Path] = frozenset()) -> None:
        self.platform = platform
        self.pools = derive.pools_by_name(platform)
        self.teams = derive.teams_by_name(platform)
        self._unread: dict[Path, list[Path]] = defaultdict(list)
        for path in unread:
            for size in range(1, min(2, len(path)) + 1):
                self._unread[path[:size]].append(path)
        self._at = {
            section: {name: at for at, name in reversed(list(enumerate(names)))}
            for section, names in (
                ("pools", [pool.name for pool in platform.pools]),
                ("teams", [team.name for team in platform.teams]),
            )
        }
        told = tuple(each for at, each in enumerate(platform.services) if self.holds(at))
        self.sure = msgspec.structs.replace(platform, services=told) if unread else platform

    def knows(self, *path: str | int) -> bool:
        """Whether all that stands at a path, and below it, is what the file means."""
        if not self._unread:
            return True
        whole = path[:1] in self._unread.get(path[:1], ())
        near = self._unread.get(path[:2], ())
        return not whole and not any(path[: len(each)] == each or each[: len(path)] == path for each in near)

    def holds(self, service: int) -> bool:
        """Whether a service tells what it holds: of which pool, for whom, how much of what."""
        return all(self.knows("services", service, field) for field in _HOLDING)

    def pool(self, name: str) -> Pool | None:
        return self.pools.get(name)

    def team(self, name: str) -> Team | None:
        return self.teams.get(name)

    def pool_knows(self, pool: Pool, *path: str | int) -> bool:
        return self.knows("pools", self._at["pools"][pool.name], *path)

    def team_knows(self, team: Team, *path: str | int) -> bool:
        return self.knows("teams", self._at["teams"][team.name], *path)

    def cut(self, pool: Pool) -> bool:
        """Whether it is known what the nodes of a pool advertise, though perhaps not how much of it."""
        counts = [("partition", way, "replicas") for way in ("timeSlicing", "mps")]
        at = self._at["pools"][pool.name]
        parts = [path[2:] for path in self._unread.get(("pools", at), ())] if self._unread else []
        return not any(not part or (part[0] == "partition" and part not in counts) for part in parts)

    def sized(self, pool: Pool) -> bool:
        """Whether it is known how much a pool advertises."""
        return all(self.pool_knows(pool, *path) for path in (("gpusPerNode",), ("nodes", "max"), ("partition",)))

    def promises(self, team: Team, field: str, pool: str) -> bool:
        """Whether all that a team's quota, borrow or lend says of a pool is known.

        It is not where the pool is left out while another name in it is none of a pool: that may be the one meant.
        """
        at = self._at["teams"][team.name]
        for path in self._unread.get(("teams", at), ()) if self._unread else ():
            part = path[2:]
            if not part or (part[0] == field and (len(part) == 1 or part[1] == pool or part[1] not in self.pools)):
                return False
        named = getattr(team, field)
        return pool in named or all(name in self.pools for name in named)

    def missing(self, section: str, name: str) -> bool:
        """Whether a pool or team of this name surely does not exist."""
        known = self.pools if section == "pools" else self.teams
        return name not in known and self.named(section)

    def named(self, section: str) -> bool:
        """Whether every entry of a section tells its name, or nearly."""
        return not {(section,), (section, NAMELESS)} & set(self._unread.get((section,), ()))

    def no_such(self, section: str, name: str, path: Path) -> Iterator[Problem]:
        """The problem that no pool or team has this name, if none has."""
        if self.missing(section, name) and self.knows(*path):
            known = self.pools if section == "pools" else self.teams
            plain = all(self.knows(section, at, "name") for at in self._at[section].values())
            yield Problem(
                path=path,
                found=value(name),
                allowed=f"must be the name of a {section[:-1]}",
                hint=meant(name, known, every=plain),
            )

    def names(self, section: str, entries: Sequence[str]) -> list[str]:
        """The names of a section's entries; "" for those that are not known."""
        return [name if self.knows(section, at, "name") else "" for at, name in enumerate(entries)]


def meant(wrong: str, known: Iterable[str], *, every: bool = True) -> str:
    """A hint at the known name a wrong one may have meant, or where these are `every` name and few, at all of them."""
    names = list(known)
    near = difflib.get_close_matches(wrong, names[:COMPARED_MAX], n=1, cutoff=0.7)
    if near:
        return f"did you mean {near[0]}?"
    verb = "is" if len(names) == 1 else "are"
    return f"there {verb} {listed(names)}" if every and 0 < len(names) <= LISTED_MAX else ""


def twice(names: Sequence[str], section: str) -> Iterator[Problem]:
    """A problem for every name of a section that an earlier entry has. Names that are not known are ""."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name and name in seen:
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
