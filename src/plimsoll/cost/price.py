"""What a node costs at each instant, and where that figure comes from.

In this order: what somebody observed of the node, then of its pool (`Quote`), from its moment on; the price in
platform.yaml; the price book. Without any the node has no price: its time is shown, and the bill says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime

import msgspec

from plimsoll.cost.sample import Quote
from plimsoll.gpus import prices
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Price

_MICRO = 1_000_000
_HOURS_A_YEAR = 8766
PROVIDERS = {"eks": "aws", "gke": "gcp"}  # as the book writes them; it has no prices of the others


class Carve(msgspec.Struct, frozen=True, kw_only=True):
    """What of a node's price is for its host, micro-units an hour; its GPUs carry the rest. By default all of it."""

    per_core: int = 0
    per_gib: int = 0

    def host(self, cpu_milli: int, memory_mib: int) -> int:
        return cpu_milli * self.per_core // 1000 + memory_mib * self.per_gib // 1024


class Facts(msgspec.Struct, frozen=True):
    """What a node's price depends on; began, ended: the part of its life that is billed."""

    node: int
    uid: str
    name: str
    pool: str
    sku: str
    capacity: str
    provider: str
    region: str
    instance_type: str
    gpus: int
    cpu_milli: int
    memory_mib: int
    began: int
    ended: int


class Rate(msgspec.Struct, frozen=True):
    """A node's price from `began` to `ended`. per_hour: micro-units, None where nobody knows; source: who says so.

    as_of: the day on which it was true, where that is known.
    """

    began: int
    ended: int
    per_hour: int | None
    source: str
    stale: bool = False
    as_of: date | None = None


class Tariff(msgspec.Struct, frozen=True):
    """Every price that is known. currency: what all of it is in; the book is in USD and silent for any other."""

    pools: dict[str, tuple[int, str]] = {}  # pool: micro-units per node and hour, source
    currency: str = "USD"
    provider: str = ""  # of nodes that do not say theirs
    region: str = ""
    dates: dict[str, date] = {}  # pool: the day its price was true

    @classmethod
    def of(cls, platform: Platform) -> Tariff:
        """The prices a declaration makes known."""
        declared = {
            name: (per_hour(pool.price), f"platform.yaml, {pool.price.as_of}: {pool.price.source}")
            for name, pool in derive.pools_by_name(platform).items()
            if pool.price
        }
        dates = {name: pool.price.as_of for name, pool in derive.pools_by_name(platform).items() if pool.price}
        cluster, currency = platform.cluster, platform.observability.costs.currency
        return cls(declared, currency, PROVIDERS.get(cluster.provider, ""), cluster.region, dates)

    def rates(self, node: Facts, quotes: Mapping[str, Sequence[Quote]]) -> list[Rate]:
        """The prices of one node, without a gap over its whole time. quotes: by scope."""
        own, pool = (
            sorted(
                (each.moment, each.per_hour, each.source) for each in quotes.get(scope, ()) if each.moment < node.ended
            )
            for scope in (node.uid, node.pool)
        )
        first = own[0][0] if own else node.ended
        changes = [*(each for each in pool if each[0] < first), *own]
        base = self._listed(node)
        found: list[Rate] = []
        starts = [node.began, *(max(moment, node.began) for moment, _, _ in changes), node.ended]
        observed = (Rate(0, 0, per_hour, source, as_of=_day(moment)) for moment, per_hour, source in changes)
        known = [base, *observed]
        for rate, began, ended in zip(known, starts[:-1], starts[1:], strict=True):
            if began < ended:
                found.append(msgspec.structs.replace(rate, began=began, ended=ended))
        return found

    def _listed(self, node: Facts) -> Rate:
        if node.pool in self.pools:
            return Rate(0, 0, *self.pools[node.pool], as_of=self.dates.get(node.pool))
        provider, region = node.provider or self.provider, node.region or self.region
        row = None
        # A price of another provider or region may be threefold: it is no price of this node.
        if self.currency == "USD" and provider and region:
            row = prices.lookup(
                node.sku, node.capacity, provider=provider, instance_type=node.instance_type, region=region
            )
        if row is None:
            return Rate(0, 0, None, "no price known")
        same = row.per_node is not None and row.instance_type == node.instance_type
        per_hour = row.per_node if same and row.per_node is not None else row.per_gpu * node.gpus
        return Rate(0, 0, per_hour, f"price book, {row.as_of}: {row.source}", row.stale(_day(node.ended)), row.as_of)


def _day(moment: int) -> date:
    return datetime.fromtimestamp(moment / 1000, UTC).date()


def per_hour(price: Price) -> int:
    """What an hour of a node costs as a declaration says, micro-units."""
    if price.owned is None:
        return int(price.per_node_hour or 0)
    own = price.owned
    upkeep = round(own.upkeep / _HOURS_A_YEAR)
    return owned(capex=own.capex, years=own.years, watts=own.watts, pue=own.pue, per_kwh=own.per_kwh, upkeep=upkeep)


def owned(*, capex: int, years: int, watts: int, pue: float, per_kwh: int, upkeep: int = 0) -> int:
    """What an hour of a node one owns costs, in micro-units: its purchase over its life, its power, its upkeep.

    capex: micro-units for the node. watts: its mean draw. pue: what the building adds, from 1. per_kwh: micro-units.
    upkeep: micro-units an hour. Idle hours are not spread over busy ones: the bill shows them as idle.
    """
    return round(capex / (years * _HOURS_A_YEAR) + watts / 1000 * pue * per_kwh) + upkeep


def unpriced(rates: Iterable[tuple[Facts, Rate]]) -> list[str]:
    """Names of nodes that had no price at some time."""
    return sorted({facts.name for facts, rate in rates if rate.per_hour is None})
