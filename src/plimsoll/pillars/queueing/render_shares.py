"""What each team is promised of each pool, in the order its jobs try them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool
from plimsoll.spec.queueing import Team

HOSTNAME = "kubernetes.io/hostname"


class Share(msgspec.Struct, frozen=True):
    """What a team is promised of one resource of a pool.

    quota: always. borrow: beside it, while others leave it idle. lend: of the quota to others; None: all of it.
    """

    quota: int = 0
    borrow: int = 0
    lend: int | None = None


Shares = dict[str, dict[str, Share]]  # pool to resource to share


def ordered(platform: Platform) -> list[Pool]:
    """Pools as jobs try them: spot first, then what it falls back to, then the others as they stand in the file.

    Of spot pools only those that jobs may use.
    """
    pools = derive.pools_by_name(platform)
    spot = derive.spot_pools(platform)
    others = [name for name, pool in pools.items() if pool.capacity != "spot"]
    names = dict.fromkeys((*spot, *platform.spot.fallback, *others))
    return [pools[name] for name in names if name in pools]


def shares(platform: Platform, team: Team) -> Shares:
    """What is more than nothing, of pools in the order of trying."""
    found: Shares = {}
    for pool in ordered(platform):
        if pool.capacity == "spot" and team.name in platform.spot.never:
            continue
        quota, borrow, lend = (
            derive.amounts(pool, said[pool.name]) if pool.name in said else {}
            for said in (team.quota, team.borrow, team.lend)
        )
        of_pool: dict[str, Share] = {}
        for unit in dict.fromkeys((*quota, *borrow)):
            share = Share(quota.get(unit, 0), borrow.get(unit, 0), lend.get(unit))
            if share.quota or share.borrow:
                of_pool[derive.resource_of(pool, unit)] = share
        if of_pool:
            found[pool.name] = of_pool
    return found


def groups(found: Shares) -> Iterator[tuple[list[str], list[str]]]:
    """Pools that have a resource in common, with all their resources.

    A resource may be in one group of a ClusterQueue only, and so may a flavor: pools that share a resource, even by
    way of a third, come together. Every flavor of a group then speaks of every resource.
    """
    made: list[tuple[list[str], list[str]]] = []
    for pool, promised in found.items():
        near = [group for group in made if not promised.keys().isdisjoint(group[1])]
        pools, resources = [pool], list(promised)
        for group in near:
            made.remove(group)
            pools += group[0]
            resources += group[1]
        made.append((pools, resources))
    place = {pool: at for at, pool in enumerate(found)}
    for pools, resources in sorted(made, key=lambda group: min(place[pool] for pool in group[0])):
        yield sorted(pools, key=place.__getitem__), sorted(set(resources))


def topologies(platform: Platform) -> dict[str, tuple[str, ...]]:
    """Pool to the levels by which Kueue places pods there.

    In a queue that has flavors with and without a topology, a job that asks for no placement is never admitted to
    those with one. So pools that meet in a queue, even by way of a third, have a topology all or none; of those that
    have none declared the node is then the only level. Kueue places by topology only on nodes that are there: a
    pool that grows gets a topology only where it is declared, and one that grows from nothing never does, for
    no job would ever be admitted there.
    """
    levels: dict[str, tuple[str, ...]] = {}
    for pools in _met(platform):
        if not any(pool.topology for pool in pools) or any(map(_unplaced, pools)):
            continue
        for pool in pools:
            levels[pool.name] = pool.topology.levels if pool.topology else (HOSTNAME,)
    return levels


def _met(platform: Platform) -> list[list[Pool]]:
    """Pools by the queues they meet in."""
    pools = derive.pools_by_name(platform)
    met: list[set[str]] = [{name} for name in pools]
    for team in platform.teams:
        names = set(shares(platform, team))
        near = [each for each in met if each & names]
        if len(near) > 1:
            met = [each for each in met if each not in near] + [set().union(*near)]
    place = {name: at for at, name in enumerate(pools)}
    return [
        [pools[name] for name in sorted(each, key=place.__getitem__)]
        for each in sorted(met, key=lambda names: min(place[name] for name in names))
    ]


def _grows(pool: Pool) -> bool:
    return pool.nodes.min < pool.nodes.max


def _unplaced(pool: Pool) -> bool:
    return _grows(pool) and (pool.topology is None or not pool.nodes.min)


def notes(platform: Platform) -> Iterator[str]:
    """What the declaration says that the queues cannot do, or only in part."""
    placed = topologies(platform)
    met = {pool.name: pools for pools in _met(platform) for pool in pools}
    for pool in platform.pools:
        if pool.topology and pool.name not in placed:
            why = ", ".join(each.name for each in met[pool.name] if _unplaced(each))
            yield (
                f"Pool {pool.name} is queued without its topology, because of {why}: a queue is topology-aware as a "
                "whole, and admits only to nodes that are there. Pools that meet in a queue need a topology and nodes "
                "that are always there (nodes.min), each of them."
            )
        elif pool.topology and _grows(pool):
            yield (
                f"Pool {pool.name} has a topology: its jobs are admitted only to nodes that are there, so waiting "
                f"jobs do not make it grow beyond its {pool.nodes.min} nodes."
            )
        if pool.capacity == "spot" and pool.name not in derive.spot_pools(platform):
            yield f"Pool {pool.name} is left out of every queue: spot.pools does not name it."
