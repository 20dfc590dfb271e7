"""Who carries which part of a node's price: from slots, holds and prices to money per holder, in SQL.

In a slot those who hold it share its price by weight; where nobody holds it, its price is idle. A slot that never had
two holders at once is simple: each pays for its time. In the others the time of a weight is summed up: walking over the
events of a slot in order, F(t) grows by time ÷ weights held, and a holder pays price × weight × (F(its end) −
F(its start)). So nothing is joined by time, and a month of a million jobs is one sort.

Money inside is whole: micro-units × HOUR × SCALE, floored only where a price is divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from plimsoll.cost import merge
from plimsoll.cost.lives import HOST, SLOT, same, slots
from plimsoll.cost.price import Carve, Facts, Rate
from plimsoll.cost.sample import HOUR
from plimsoll.cost.schema import USAGE, Table
from plimsoll.cost.store import Store

Split = Literal["measured", "requested", "even"]
SCALE = 10**9  # a division leaves less than one part in 10^9 of a micro-unit per hour
MICRO = HOUR * SCALE  # one micro-unit of money
GPU_TIME = 10**9  # one GPU for a millisecond
FINE = 10**18  # of a millisecond that many share: so fine that what divisions leave is no money
_RATE = Table("b_rate", ("node", "began", "ended", "per_hour", "host"))


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
        f"""CREATE TEMP TABLE b_shared AS SELECT DISTINCT {SLOT} FROM (
            SELECT {SLOT}, ended, LEAD(began) OVER (PARTITION BY device ORDER BY began) AS later FROM b_hold) h
            WHERE later < ended""",
        f"""CREATE TEMP TABLE b_alone AS SELECT pod, {SLOT}, ran, began, ended FROM b_hold h
            WHERE NOT EXISTS (SELECT 1 FROM b_shared s WHERE {same("s", "h")})""",
    ]


def carried() -> str:
    """The price of each slot per millisecond, and its part of a GPU: b_carried. A cell is a time of one price."""
    part = f"CASE WHEN s.instance = {HOST} THEN r.host ELSE r.per_hour - r.host END"
    price = f"div(CAST({part} AS HUGEINT) * {SCALE} * s.parts, s.gpus * s.whole)"
    time = f"CASE WHEN s.instance = {HOST} THEN 0 ELSE div(s.parts * CAST({GPU_TIME} AS BIGINT), s.whole) END"
    return f"""CREATE TEMP TABLE b_carried AS
        SELECT s.node, s.gpu, s.instance, GREATEST(s.began, r.began) AS began, LEAST(s.ended, r.ended) AS ended,
            CAST({price} AS HUGEINT) AS price, CAST({time} AS HUGEINT) AS time,
            COUNT(*) OVER (PARTITION BY s.node, s.gpu, s.instance) AS prices,
            CAST(ROW_NUMBER() OVER () AS INTEGER) AS cell,
            CAST(DENSE_RANK() OVER (ORDER BY s.node, s.gpu, s.instance) AS INTEGER) AS slot,
            EXISTS (SELECT 1 FROM b_shared h WHERE {same("h", "s")}) AS shared
        FROM b_slot s JOIN b_rate r ON r.node = s.node AND r.began < s.ended AND s.began < r.ended"""


def alone() -> list[str]:
    """What lone holders pay: b_paid; what is left of their slots: b_free. Both with the GPU time that it is for.

    began, ended: of the hold, which is one per pod and device. ran: when the containers of its pod did, 0 if never.
    """
    span = "(LEAST(h.ended, c.ended) - GREATEST(h.began, c.began))"
    paid = f"""
        FROM b_alone h JOIN b_carried c ON {same("c", "h")} AND h.began < c.ended AND c.began < h.ended"""
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
            FROM (SELECT {SLOT}, SUM(price * (ended - began)) AS cost, SUM(time * (ended - began)) AS time
                  FROM b_carried WHERE NOT shared GROUP BY {SLOT}) c
            LEFT JOIN (SELECT {SLOT}, SUM(cost) AS cost, SUM(time) AS time FROM b_paid GROUP BY {SLOT}) p
                ON {same("p", "c")}""",
    ]


def _held(store: Store, split: Split, window: tuple[int, int], pending: bool) -> None:
    """Holds of shared slots in parts for which neither the price nor the weight changes: b_held.

    since, till: of the hold. Measured: cut at full hours, and weighed by what was measured in each. In an hour in which
    any holder was not measured all weigh the same, whatever the price does. One that was measured and did nothing
    weighs a millionth of a busy GPU, so that an hour in which nobody did anything is shared evenly.
    """
    began, ended = "GREATEST(h.began, c.began)", "LEAST(h.ended, c.ended)"
    piece = f"""FROM b_hold h JOIN b_carried c ON {same("c", "h")} AND h.began < c.ended AND c.began < h.ended
        WHERE c.shared"""
    if split != "measured":
        weight = "h.weight" if split == "requested" else "1"
        store.run(f"""CREATE TEMP TABLE b_held AS SELECT h.pod, c.cell, 0 AS hour, h.ran, h.began AS since,
            h.ended AS till, {began} AS began, {ended} AS ended, CAST({weight} AS BIGINT) AS weight {piece}""")
        return
    first, last = (f"CAST(div({moment}, {HOUR}) AS BIGINT)" for moment in (began, f"{ended} - 1"))
    rows = merge.within(USAGE, *window, pending=pending)
    store.run(f"""CREATE TEMP TABLE b_piece AS
        SELECT pod, cell, slot, hour, ran, since, till, COALESCE(u.seen, 0) AS seen, u.used,
            GREATEST(began, hour * {HOUR}) AS began, LEAST(ended, (hour + 1) * {HOUR}) AS ended FROM (
            SELECT h.pod, h.gpu, h.instance, c.cell, c.slot, h.ran, h.began AS since, h.ended AS till,
                {began} AS began, {ended} AS ended,
                {store.series.format(first, last)} AS hour {piece}) p
        LEFT JOIN (
            SELECT pod, gpu, instance, CAST(div(began, {HOUR}) AS BIGINT) AS hour, SUM(seen) AS seen,
                CASE WHEN SUM(sm) > 0 THEN SUM(sm) ELSE SUM(busy) END AS used
            FROM ({rows}) r WHERE EXISTS (SELECT 1 FROM b_shared s WHERE s.gpu = r.gpu AND s.instance = r.instance)
            GROUP BY 1, 2, 3, 4) u USING (pod, gpu, instance, hour)""")
    store.run("""CREATE TEMP TABLE b_held AS
        SELECT pod, cell, p.hour, ran, since, till, began, ended, CAST(
            CASE WHEN least = 0 THEN 1 ELSE GREATEST(1, div(used * 1000000, seen)) END AS BIGINT) AS weight
        FROM b_piece p JOIN (SELECT slot, hour, MIN(seen) AS least FROM b_piece GROUP BY slot, hour) m
            ON m.slot = p.slot AND m.hour = p.hour""")


def _together() -> list[str]:
    """What holders of shared slots pay and what is left of those, from b_held: added to b_paid and b_free.

    Sums run over the moments of a cell, and of each hour alone where its parts end with it. A moment is one row,
    whatever begins and ends in it: running sums know no order among equals.
    """
    upto = "PARTITION BY cell, hour ORDER BY t ROWS UNBOUNDED PRECEDING"
    each = f"COALESCE(quotient(CAST(span AS HUGEINT) * {FINE}, NULLIF(weights, 0)), 0)"
    # The product has more than 128 bits: whole milliseconds are multiplied first, then what is left of one.
    cost, time = (f"c.{of} * ms + quotient(c.{of} * (own - ms * {FINE}), {FINE})" for of in ("price", "time"))
    free, at = "(c.ended - c.began - COALESCE(s.held, 0))", "{0}.cell = h.cell AND {0}.hour = h.hour AND {0}.t"
    return [
        """CREATE TEMP TABLE b_event AS SELECT cell, hour, t, CAST(SUM(weight) AS BIGINT) AS weight FROM (
            SELECT cell, hour, began AS t, weight FROM b_held
            UNION ALL SELECT cell, hour, ended, -weight FROM b_held) e GROUP BY cell, hour, t""",
        f"""CREATE TEMP TABLE b_step AS SELECT cell, hour, t, span, weights, SUM(each) OVER w - each AS upto FROM (
            SELECT *, {each} AS each FROM (
                SELECT cell, hour, t, COALESCE(LEAD(t) OVER w - t, 0) AS span, SUM(weight) OVER w AS weights
                FROM b_event WINDOW w AS ({upto})) s) e
            WINDOW w AS ({upto})""",
        f"""INSERT INTO b_free SELECT {SLOT}, SUM(c.price * {free}), SUM(c.time * {free}) FROM b_carried c
            LEFT JOIN (SELECT cell, SUM(span) AS held FROM b_step WHERE weights > 0 GROUP BY cell) s ON s.cell = c.cell
            WHERE c.shared GROUP BY {SLOT}""",
        f"""INSERT INTO b_paid (pod, {SLOT}, cost, time, ran, began, ended)
            SELECT pod, c.node, c.gpu, c.instance, SUM({cost}), SUM({time}), MIN(ran), MIN(since), MAX(till) FROM (
                SELECT *, quotient(own, {FINE}) AS ms FROM (
                    SELECT pod, h.cell, SUM(weight * (e.upto - b.upto)) AS own, MIN(ran) AS ran, MIN(since) AS since,
                        MAX(till) AS till
                    FROM b_held h JOIN b_step b ON {at.format("b")} = h.began
                    JOIN b_step e ON {at.format("e")} = h.ended
                    GROUP BY pod, h.cell) s) p
            JOIN b_carried c ON c.cell = p.cell GROUP BY pod, c.node, c.gpu, c.instance""",
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
    _held(store, split, window, pending)
    for sql in _together():
        store.run(sql)
