"""Cross-checks of teams: names, namespaces, what they name, whom they share GPUs with."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.spec import derive
from plimsoll.spec.pools import Pool
from plimsoll.spec.problems import Path, Problem, value
from plimsoll.spec.queueing import Team
from plimsoll.spec.view import View, listed, twice


def names(view: View) -> Iterator[Problem]:
    yield from twice(view.names("teams", [team.name for team in view.platform.teams]), "teams")


def namespaces(view: View) -> Iterator[Problem]:
    """A namespace belongs to one team: quota and cost go by it."""
    owner: dict[str, str] = {}
    for index, team in enumerate(view.platform.teams):
        for at, space in enumerate(team.spaces):
            path: Path = ("teams", index, "namespaces", at) if team.namespaces else ("teams", index, "name")
            if not view.knows(*path) or not view.knows("teams", index, "namespaces"):
                continue
            if space in owner:
                whose = "this team lists it twice" if owner[space] == team.name else f"team {owner[space]} has it"
                yield Problem(path=path, found=f"namespace {value(space)}", allowed=f"but {whose}")
            owner.setdefault(space, team.name)


def pools(view: View) -> Iterator[Problem]:
    for index, team in enumerate(view.platform.teams):
        for field, amounts in (("quota", team.quota), ("borrow", team.borrow), ("lend", team.lend)):
            for name in amounts:
                yield from view.no_such("pools", name, ("teams", index, field, name))


def isolation(view: View) -> Iterator[Problem]:
    """A team that wants more isolation than a pool gives is the only one on it.

    Sharing between jobs of one team is its own business: isolation is about other teams.
    """
    users = derive.users(view.sure)
    positions = {team.name: index for index, team in enumerate(view.platform.teams)}
    for pool in view.pools.values():
        for index in (positions[name] for name in users[pool.name] if name in positions):
            team = view.platform.teams[index]
            mode = _too_close(team, pool)
            others = [name for name in users[pool.name] if name != team.name] if mode else []
            if others:
                yield Problem(
                    path=("teams", index, "isolation"),
                    found=value(team.isolation),
                    allowed=f"but on pool {pool.name} it shares GPUs with {listed(others)} by {mode}",
                    hint="give it a pool of its own or whole GPUs"
                    if team.isolation == "exclusive"
                    else "give it a pool of its own, MIG instances or whole GPUs",
                )


def _too_close(team: Team, pool: Pool) -> str:
    """How the pool shares a GPU between pods, if that is closer than the team tolerates; else ""."""
    cut = pool.partition
    turns = "time-slicing" if cut.time_slicing else "MPS" if cut.mps else ""
    if team.isolation == "exclusive":
        return turns or ("MIG" if cut.mig else "")
    return turns if team.isolation == "partitioned" else ""


RULES = (names, namespaces, pools, isolation)
