"""What pools have left to promise, and amounts as the file writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plimsoll.spec import derive
from plimsoll.spec.pools import Pool
from plimsoll.spec.queueing import Amount

Key = tuple[str, str]
"""A pool and what it advertises: `gpu`, `shared` or a MIG profile."""


class Books:
    """Keeps promises within what pools have, as the cross-checks of a declaration want it."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        self.pools = {pool.name: pool for pool in pools}
        self._offers = {pool.name: derive.offers(pool) for pool in self.pools.values()}
        self._left = {(name, offer.unit): offer.highest for name, offers in self._offers.items() for offer in offers}

    def unit(self, pool: str, resource: str) -> str:
        """What a pool calls a resource; "" if it does not advertise it."""
        return next((each.unit for each in self._offers.get(pool, ()) if each.resource == resource), "")

    def several(self, pool: str) -> bool:
        """Whether a pool advertises several things, so that an amount must say of which."""
        return len(self._offers[pool]) != 1

    def per_node(self, key: Key) -> int:
        return next((each.per_node for each in self._offers[key[0]] if each.unit == key[1]), 0)

    def left(self, key: Key) -> int:
        return self._left.get(key, 0)

    def take(self, key: Key, wanted: int) -> int:
        """Promise as much of what is wanted as is left; how much that is."""
        granted = max(0, min(wanted, self.left(key)))
        if granted:
            self._left[key] -= granted
        return granted

    def amounts(self, promised: Mapping[Key, int], *, zeros: bool = False) -> dict[str, Amount]:
        """Promises by pool as the file writes them: a number, or numbers by unit where there are several."""
        found: dict[str, Amount] = {}
        for (pool, unit), number in promised.items():
            if not number and not zeros:
                continue
            if self.several(pool):
                units = found.setdefault(pool, {})
                if isinstance(units, dict):
                    units[unit] = number
            else:
                found[pool] = number
        return found
