"""Who carries which part of a node's price: from slots, holds and prices to money per holder, in SQL.

In a slot those who hold it share its price by weight; where nobody holds it, its price is idle. A slot that never had
two holders at once is simple: each pays for its time. In the others the price of a weight is integrated over time:
walking over the events of a slot in order, F(t) grows by price ÷ weights held, and a holder pays
weight × (F(its end) − F(its start)). So nothing is joined by time, and a month of a million jobs is one sort.

Money inside is whole: micro-units × HOUR × SCALE, floored only where a price is divided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from plimsoll.cost import merge
from plimsoll.cost.lives import HOST, slots
from plimsoll.cost.price import Carve, Facts, Rate
from plimsoll.cost.sample import HOUR
from plimsoll.cost.schema import USAGE, Table
from plimsoll.cost.store import Store

Split = Literal["measured", "requested", "even"]
SCALE = 10**9  # a division leaves less than one part in 10^9 of a micro-unit per hour
MICRO = HOUR * SCALE  # one micro-unit of money
GPU_TIME = 10**9  # one GPU for a millisecond
_SLOT = "node, gpu, instance"
_RATE = Table("b_rate", ("node", "began", "ended", "per_hour", "host"))


def _same(one: str, other: str) -> str:
    return " AND ".join(f"{one}.{name} = {other}.{name}" for name in ("node", "gpu", "instance"))


def pay(store: Store, rates: Sequence[tuple[Facts, Rate]], carve: Carve) -> None:
    """Put the prices beside the nodes: b_rate. What the host takes is never more than the whole."""
    store.run(f"CREATE TEMP TABLE b_rate ({', '.join(f'{name} BIGINT' for name in _RATE.columns)})")
    rows = [
        (facts.node, rate.began, rate.ended, rate.per_hour or 0,
         min(carve.host(facts.cpu_milli, facts.memory_mib), rate.per_hour or 0))
        for facts, rate in rates
    ]  # fmt: skip
    if rows:
        store.run(_RATE.insert(), [list(column) for column in zip(*rows, strict=True)])


def shared() -> list[str]:
    """Slots that had two holders at once: b_shared. Holds of all others: b_alone.

    Where any two lie over one another, so do two that begin one after the other.
    """
    return [
        f"""CREATE TEMP TABLE b_shared AS SELECT DISTINCT {_SLOT} FROM (
            SELECT {_SLOT}, ended, LEAD(began) OVER (PARTITION BY {_SLOT} ORDER BY began) AS later FROM b_hold) h
            WHERE later < ended""",
        f"""CREATE TEMP TABLE b_alone AS SELECT pod, {_SLOT}, ran, began, ended FROM b_hold h
            WHERE NOT EXISTS (SELECT 1 FROM b_shared s WHERE {_same("s", "h")})""",
    ]


def _measured(window: tuple[int, int], pending: bool) -> Iterator[str]:
    """Holds of shared slots, cut at full hours and weighed by what was measured in each: b_held.

    In an hour in which any of them was not measured all weigh the same. One that was measured and did nothing weighs
    a millionth of a busy GPU, so that an hour in which nobody did anything is shared evenly.
    """
    first, last = (f"CAST(div({moment}, {HOUR}) AS BIGINT)" for moment in ("h.began", "h.ended - 1"))
    yield f"""CREATE TEMP TABLE b_piece AS
        SELECT h.pod, h.node, h.gpu, h.instance, h.ran, o.hour, GREATEST(h.began, o.hour * {HOUR}) AS began,
            LEAST(h.ended, (o.hour + 1) * {HOUR}) AS ended
        FROM b_hold h JOIN b_shared s ON {_same("s", "h")}
        CROSS JOIN LATERAL generate_series({first}, {last}) o(hour)"""
    rows = merge.within(USAGE, *window, pending=pending)
    yield f"""CREATE TEMP TABLE b_held AS SELECT p.pod, p.node, p.gpu, p.instance, p.ran, p.began, p.ended,
        CAST(CASE WHEN MIN(COALESCE(u.seen, 0)) OVER (PARTITION BY p.node, p.gpu, p.instance, p.hour) = 0 THEN 1
             ELSE GREATEST(1, div(u.used * 1000000, u.seen)) END AS BIGINT) AS weight
        FROM b_piece p LEFT JOIN (
            SELECT gpu, instance, pod, div(began, {HOUR}) AS hour, SUM(seen) AS seen,
                CASE WHEN SUM(sm) > 0 THEN SUM(sm) ELSE SUM(busy) END AS used
            FROM ({rows}) r WHERE EXISTS (SELECT 1 FROM b_shared s WHERE s.gpu = r.gpu AND s.instance = r.instance)
            GROUP BY gpu, instance, pod, div(began, {HOUR})) u
        ON u.gpu = p.gpu AND u.instance = p.instance AND u.pod = p.pod AND u.hour = p.hour"""


def carried() -> str:
    """The price of each slot per millisecond, and its part of a GPU: b_carried."""
    part = f"CASE WHEN s.instance = {HOST} THEN r.host ELSE r.per_hour - r.host END"
    price = f"div(CAST({part} AS HUGEINT) * {SCALE} * s.parts, s.gpus * s.whole)"
    time = f"CASE WHEN s.instance = {HOST} THEN 0 ELSE div(s.parts * CAST({GPU_TIME} AS BIGINT), s.whole) END"
    return f"""CREATE TEMP TABLE b_carried AS
        SELECT s.node, s.gpu, s.instance, GREATEST(s.began, r.began) AS began, LEAST(s.ended, r.ended) AS ended,
            CAST({price} AS HUGEINT) AS price, CAST({time} AS HUGEINT) AS time,
            COUNT(*) OVER (PARTITION BY s.node, s.gpu, s.instance) AS prices,
            EXISTS (SELECT 1 FROM b_shared h WHERE {_same("h", "s")}) AS shared
        FROM b_slot s JOIN b_rate r ON r.node = s.node AND r.began < s.ended AND s.began < r.ended"""


def alone() -> list[str]:
    """What lone holders pay: b_paid; what is left of their slots: b_free. Both with the GPU time that it is for.

    began, ended: of the hold, which is one per pod and device. ran: when the containers of its pod did, 0 if never.
    """
    span = "(LEAST(h.ended, c.ended) - GREATEST(h.began, c.began))"
    paid = f"""
        FROM b_alone h JOIN b_carried c ON {_same("c", "h")} AND h.began < c.ended AND c.began < h.ended"""
    return [
        # A slot has one price nearly always: then there is nothing to add up.
        f"""CREATE TEMP TABLE b_paid AS
            SELECT h.pod, h.node, h.gpu, h.instance, c.price * {span} AS cost, c.time * {span} AS time,
                h.ran, h.began, h.ended {paid} WHERE c.prices = 1
            UNION ALL SELECT h.pod, h.node, h.gpu, h.instance, SUM(c.price * {span}), SUM(c.time * {span}),
                MIN(h.ran), MIN(h.began), MAX(h.ended) {paid} WHERE c.prices > 1
                GROUP BY h.pod, h.node, h.gpu, h.instance""",
        f"""CREATE TEMP TABLE b_free AS SELECT c.node, c.gpu, c.instance, c.cost - COALESCE(p.cost, 0) AS cost,
                c.time - COALESCE(p.time, 0) AS time
            FROM (SELECT {_SLOT}, SUM(price * (ended - began)) AS cost, SUM(time * (ended - began)) AS time
                  FROM b_carried WHERE NOT shared GROUP BY {_SLOT}) c
            LEFT JOIN (SELECT {_SLOT}, SUM(cost) AS cost, SUM(time) AS time FROM b_paid GROUP BY {_SLOT}) p
                ON {_same("p", "c")}""",
    ]


def together() -> list[str]:
    """The same of shared slots, from b_held: added to b_paid and b_free.

    A moment of a slot is one row, whatever begins and ends in it: running sums know no order among equals.
    """
    per_weight = "COALESCE(quotient({0} * span, NULLIF(weights, 0)), 0) AS {0}_each"
    upto = f"PARTITION BY {_SLOT} ORDER BY t ROWS UNBOUNDED PRECEDING"
    sums = ", ".join(f"CAST(SUM({name}) AS HUGEINT) AS {name}" for name in ("weight", "price", "time"))
    paid = ", ".join(f"SUM(h.weight * (e.{name}_upto - b.{name}_upto))" for name in ("price", "time"))
    return [
        f"""CREATE TEMP TABLE b_event AS SELECT {_SLOT}, t, {sums} FROM (
                SELECT {_SLOT}, began AS t, CAST(0 AS BIGINT) AS weight, price, time FROM b_carried WHERE shared
                UNION ALL SELECT {_SLOT}, ended, 0, -price, -time FROM b_carried WHERE shared
                UNION ALL SELECT {_SLOT}, began, weight, 0, 0 FROM b_held
                UNION ALL SELECT {_SLOT}, ended, -weight, 0, 0 FROM b_held) e
            GROUP BY {_SLOT}, t""",
        f"""CREATE TEMP TABLE b_step AS
            SELECT {_SLOT}, t, weights, price * span AS cost, time * span AS time,
                SUM(price_each) OVER w - price_each AS price_upto, SUM(time_each) OVER w - time_each AS time_upto
            FROM (SELECT *, {per_weight.format("price")}, {per_weight.format("time")} FROM (
                SELECT {_SLOT}, t, COALESCE(LEAD(t) OVER w - t, 0) AS span,
                    SUM(weight) OVER w AS weights, SUM(price) OVER w AS price, SUM(time) OVER w AS time
                FROM b_event WINDOW w AS ({upto})) s) e
            WINDOW w AS ({upto})""",
        f"INSERT INTO b_free SELECT {_SLOT}, SUM(cost), SUM(time) FROM b_step WHERE weights = 0 GROUP BY {_SLOT}",
        f"""INSERT INTO b_paid (pod, {_SLOT}, cost, time, ran, began, ended)
            SELECT h.pod, h.node, h.gpu, h.instance, {paid}, MIN(h.ran), MIN(h.began), MAX(h.ended)
            FROM b_held h JOIN b_step b ON {_same("b", "h")} AND b.t = h.began
            JOIN b_step e ON {_same("e", "h")} AND e.t = h.ended
            GROUP BY h.pod, h.node, h.gpu, h.instance""",
    ]


def divide(
    store: Store,
    rates: Sequence[tuple[Facts, Rate]],
    split: Split,
    carve: Carve,
    window: tuple[int, int],
    *,
    pending: bool,
) -> None:
    """From b_node, b_hold, b_instance and b_gpu to b_paid and b_free. pending: whether usage waits to be merged."""
    pay(store, rates, carve)
    for sql in (*slots(host=carve != Carve()), *shared(), carried(), *alone()):
        store.run(sql)
    if not store.rows("SELECT 1 FROM b_shared LIMIT 1"):
        return
    if split == "measured":
        for sql in _measured(window, pending):
            store.run(sql)
    else:
        weight = "weight" if split == "requested" else "1 AS weight"
        same = f"EXISTS (SELECT 1 FROM b_shared s WHERE {_same('s', 'h')})"
        held = f"SELECT pod, {_SLOT}, ran, began, ended, {weight} FROM b_hold h WHERE {same}"
        store.run(f"CREATE TEMP TABLE b_held AS {held}")
    for sql in together():
        store.run(sql)
