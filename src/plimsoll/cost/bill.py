"""The bill: ledger × prices, cut as asked. Its lines add up to the price of the nodes, or there is no bill."""

from __future__ import annotations

from typing import Literal

import msgspec

from plimsoll.cost import lines, lives, split, tenants
from plimsoll.cost.cuts import SERVED, By
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Carve, Facts, Rate, Tariff, unpriced
from plimsoll.cost.request import Weights
from plimsoll.cost.schema import USAGE
from plimsoll.cost.store import Store
from plimsoll.cost.weigh import Weighed
from plimsoll.errors import InputError, PlimsollError


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. began, ended: the window. top: as many lines, the dearest; what is left is one line. 0: all.

    split, idle: as `observability.costs` says. weights: of tokens, for cuts by tenant, served (a model and a tenant of
    it) and request; None: fitted to what each model's engines were measured to do, else the default.
    """

    by: By
    began: int
    ended: int
    split: split.Split = "measured"
    idle: Literal["shown", "spread"] = "shown"
    carve: Carve = Carve()
    weights: Weights | None = None
    top: int = 0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line. Money in micro-units; `cost` is the sum of its classes.

    key: whose it is; "" is nobody. id: tells two of one name apart (jobs).
    productive: held and busy. low: held, little done. idle: held, nothing done. unmeasured: held, nobody looked.
    unallocated: free to be held. stranded: what a MIG layout leaves over. absent: GPUs a node is bought with and does
    not show (starting, broken). host: carved out. spread: of others' unused time, where it is spread.
    starting: of the held, from schedule until the containers ran.
    gpu_ms: GPU time in milliseconds of a whole GPU; of it held_ms was held, of that known_ms measured, of that
    used_ms busy. seen_ms, busy_ms, sm_ms: the time of its devices, of whatever size: measured, and × ratio.
    energy: millijoules. holds: how many devices its pods held.
    """

    key: str
    id: str = ""
    cost: int
    productive: int = 0
    low: int = 0
    idle: int = 0
    unmeasured: int = 0
    unallocated: int = 0
    stranded: int = 0
    absent: int = 0
    host: int = 0
    spread: int = 0
    starting: int = 0
    gpu_ms: int = 0
    held_ms: int = 0
    known_ms: int = 0
    used_ms: int = 0
    seen_ms: int = 0
    busy_ms: int = 0
    sm_ms: int = 0
    energy: int = 0
    holds: int = 0
    requests: int = 0
    prompt: int = 0
    output: int = 0


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. total: the price of the nodes, and the sum of the lines.

    others: the sum of the lines beyond `top`; rest: how many those are.
    horizon: until when meters watched; what has not ended is billed until then. unpriced: nodes without a price.
    sources: what prices were taken from. stale: whether one of them is older than the book allows.
    weighed: what tokens of each model weighed, where the price of engines was divided by them.
    """

    query: Query
    currency: str
    total: int
    lines: tuple[Line, ...]
    others: Line | None
    rest: int
    horizon: int
    unpriced: tuple[str, ...]
    sources: tuple[str, ...]
    stale: bool
    weighed: tuple[Weighed, ...] = ()


class NotConservedError(PlimsollError):
    """Our own bug: the lines of a bill do not add up."""


def bill(ledger: Ledger, tariff: Tariff, query: Query) -> Bill:
    """Answer a query. Raises NotConservedError where the lines do not add up to the price of the nodes."""
    if query.ended <= query.began:
        raise InputError("the window ends before it begins", hint="Give the earlier moment first.")
    store = ledger.store
    with store.reading():
        horizon = ledger.horizon()
        query = watched(ledger, query)
        rates = divided(ledger, tariff, query, horizon)
        exact = priced(rates)
        weighed: tuple[Weighed, ...] = ()
        for sql in lines.classes():
            store.run(sql)
        if query.by in SERVED:
            weighed = tenants.divide(ledger, query.by, query.began, query.ended, query.weights)
        for sql in lines.cut(query.by, spread=query.idle == "spread"):
            store.run(sql)
        _check(store, exact)
        total = _rounded(exact)
        rows, others, rest = lines.rounded(store, query.by, total, query.top)
    shown = tuple(Line(**row) for row in rows)
    if sum(each["cost"] for each in (*rows, *([others] if others else []))) != total:
        raise NotConservedError(f"the lines of this bill do not add up to {total} micro-units")
    return Bill(
        query=query, currency=tariff.currency, total=total, lines=shown, others=Line(**others) if others else None,
        rest=rest, horizon=horizon, unpriced=tuple(unpriced(rates)),
        sources=tuple(sorted({rate.source for _, rate in rates if rate.per_hour is not None})),
        stale=any(rate.stale for _, rate in rates), weighed=weighed,
    )  # fmt: skip


def price(ledger: Ledger, tariff: Tariff, query: Query) -> int:
    """The total of the bill alone, in micro-units: nothing is divided."""
    store = ledger.store
    with store.reading():
        query = watched(ledger, query)
        store.run(lives.nodes(query.began, query.ended, ledger.horizon()))
        return _rounded(priced(_rates(store, tariff)))


def divided(ledger: Ledger, tariff: Tariff, query: Query, horizon: int) -> list[tuple[Facts, Rate]]:
    """Divide the price of every node of the window among its holders; that price."""
    store, window = ledger.store, (query.began, query.ended)
    pending = ledger.pending(USAGE, *window)
    for sql in (*lives.lives(*window, horizon), lives.usage(*window, pending=pending)):
        store.run(sql)
    rates = _rates(store, tariff)
    split.divide(store, rates, query.split, query.carve, window, pending=pending)
    return rates


def watched(ledger: Ledger, query: Query) -> Query:
    """The query for that part of its window that a meter watched: of the time before the first nothing is known."""
    return msgspec.structs.replace(query, began=min(max(query.began, ledger.first()), query.ended))


def _rates(store: Store, tariff: Tariff) -> list[tuple[Facts, Rate]]:
    observed = lives.quotes(store)
    return [(node, rate) for node in lives.facts(store) for rate in tariff.rates(node, observed)]


def priced(rates: list[tuple[Facts, Rate]]) -> int:
    """The price of all nodes, in parts of MICRO."""
    return sum((rate.per_hour or 0) * (rate.ended - rate.began) for _, rate in rates) * split.SCALE


def _rounded(exact: int) -> int:
    return (exact + split.MICRO // 2) // split.MICRO


def _check(store: Store, exact: int) -> None:
    """Σ lines = Σ nodes, but for what divisions leave: less than a GPU costs in a few milliseconds."""
    micro, lost = store.rows("SELECT COALESCE(SUM(micro), 0), COALESCE(SUM(lost), 0) FROM b_sum")[0]
    found = int(micro) * split.MICRO + int(lost)
    if abs(exact - found) >= split.MICRO:
        raise NotConservedError(
            f"the lines of this bill are {(found - exact) / split.MICRO:+.3f} micro-units off the price of the nodes",
            hint="This is a bug: please report it with the ledger, or its export.",
        )
