"""MIG layouts that a declaration leaves open, chosen from what it promises."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from plimsoll.gpus import layouts
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool


def settled(platform: Platform) -> Platform:
    """The same declaration with a layout wherever it says `auto`. The same layout for the same declaration."""
    if not any(derive.open_layout(pool) for pool in platform.pools):
        return platform
    wanted = _promised(platform)
    pools = tuple(_settled(pool, wanted.get(pool.name, {})) for pool in platform.pools)
    return msgspec.structs.replace(platform, pools=pools)


def demand(platform: Platform, pool: Pool) -> dict[str, int]:
    """Devices of a pool that are promised, by unit: all quotas, and what services outside the queues may hold."""
    return _promised(platform).get(pool.name, {})


def aside(platform: Platform, pool: Pool) -> dict[str, int]:
    """Devices of a pool that services outside the queues may hold, by unit."""
    found = derive.set_aside(platform)
    return {unit: sum(takers.values()) for (name, unit), takers in found.items() if name == pool.name}


def copies(pool: Pool) -> int:
    """Devices that one instance per GPU makes in the whole pool, with its most nodes; shares of it count."""
    shares = pool.partition.time_slicing
    return pool.gpus_per_node * pool.nodes.max * (shares.replicas if shares else 1)


def _promised(platform: Platform) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for table in (derive.quota(platform), derive.set_aside(platform)):
        for (pool, unit), takers in table.items():
            found[pool][unit] += sum(takers.values())
    return {pool: dict(units) for pool, units in found.items()}


def _settled(pool: Pool, wanted: dict[str, int]) -> Pool:
    """A pool with its layout; one whose GPU has no MIG, or is not known, stays open: there is none to choose."""
    cut, gpu = pool.partition.mig, derive.sku(pool)
    if cut is None or gpu is None or gpu.mig is None or not derive.open_layout(pool):
        return pool
    layout = layouts.advise(gpu, wanted, copies(pool), single=cut.strategy == "single")
    chosen = msgspec.structs.replace(cut, layout=layout)
    return msgspec.structs.replace(pool, partition=msgspec.structs.replace(pool.partition, mig=chosen))
