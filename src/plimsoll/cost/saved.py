"""What spot capacity saved: what its nodes cost beside what the same nodes cost on demand."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from plimsoll.cost import lives
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Facts, Tariff
from plimsoll.cost.sample import HOUR
from plimsoll.cost.window import Window
from plimsoll.gpus import prices
from plimsoll.spec.model import Platform


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """Spot nodes in a window, in micro-units.

    paid: for all of them. compared: for those whose price on demand is known; on_demand: what these would have cost so.
    unknown: names of the others. sources: of prices on demand.
    """

    paid: int = 0
    compared: int = 0
    on_demand: int = 0
    unknown: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def saved(self) -> int:
        return self.on_demand - self.compared


def saved(ledger: Ledger, tariff: Tariff, window: Window, platform: Platform | None = None) -> Saved:
    """Compare spot nodes with the price book; where it is silent, with a declared pool of such nodes on demand."""
    store = ledger.store
    with store.reading():
        for sql in lives.lives(*window, ledger.horizon()):
            store.run(sql)
        observed = lives.quotes(store)
        rates = [(node, rate) for node in lives.facts(store) if node.capacity == "spot"
                 for rate in tariff.rates(node, observed)]  # fmt: skip
    paid = compared = on_demand = Fraction(0)
    unknown, sources = set(), set()
    for node, rate in rates:
        hours = Fraction(rate.ended - rate.began, HOUR)
        cost = (rate.per_hour or 0) * hours
        paid += cost
        known = _on_demand(node, tariff, platform)
        if known is None or rate.per_hour is None:
            unknown.add(node.name)
            continue
        compared += cost
        on_demand += known[0] * hours
        sources.add(known[1])
    return Saved(
        paid=round(paid), compared=round(compared), on_demand=round(on_demand), unknown=tuple(sorted(unknown)),
        sources=tuple(sorted(sources)),
    )  # fmt: skip


def _on_demand(node: Facts, tariff: Tariff, platform: Platform | None) -> tuple[int, str] | None:
    """Micro-units an hour, and who says so."""
    provider, region = node.provider or tariff.provider, node.region or tariff.region
    if tariff.currency == "USD" and provider and region:
        row = prices.lookup(
            node.sku, "on-demand", provider=provider, instance_type=node.instance_type or None, region=region
        )
        if row is not None:
            same = row.per_node is not None and row.instance_type == node.instance_type
            per_hour = row.per_node if same and row.per_node is not None else row.per_gpu * node.gpus
            return per_hour, f"price book, {row.as_of}: {row.source}"
    for pool in platform.pools if platform else ():
        alike = pool.capacity == "on-demand" and pool.gpu == node.sku and pool.gpus_per_node == node.gpus
        if alike and pool.name in tariff.pools:
            return tariff.pools[pool.name]
    return None
