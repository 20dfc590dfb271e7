"""Who carries which part of a node's price: from lives, holds and prices to money per holder, in SQL.

Time is cut per *slot*: a whole GPU, a MIG instance, what MIG leaves of a GPU, the GPUs that a node lacks. At every
moment the slots of a node carry its whole price: a GPU an equal part of it, an instance its parts of its GPU. In a slot
those who hold it share by weight; where nobody holds it, its price is idle.

The price of a weight is integrated over time. Walking over the events of a slot in order, F(t) grows by
price ÷ weights held; a holder pays weight × (F(its end) − F(its start)). So nothing is joined by time, and a month of a
million jobs is one sort. Money inside is whole: micro-units × HOUR × SCALE, floored only where a price is divided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal

from plimsoll.cost import merge
from plimsoll.cost.price import Carve, Facts, Rate
from plimsoll.cost.sample import HOUR, WHOLE, Quote
from plimsoll.cost.schema import USAGE, Table
from plimsoll.cost.store import Store

Split = Literal["measured", "requested", "even"]
SCALE = 10**9  # a division leaves less than one part in 10^9 of a micro-unit per hour
MICRO = HOUR * SCALE  # one micro-unit of money
GPU_TIME = 10**9  # one GPU for a millisecond
STRANDED, ABSENT, HOST = -1, -2, -3  # slots that nobody can hold; instances' numbers are positive, a whole GPU is 0
_SLOT = "node, gpu, instance"
_RATE = Table("b_rate", ("node", "began", "ended", "per_hour", "host"))


def lives(began: int, ended: int, horizon: int) -> list[str]:
    """Nodes, holds, GPUs and instances in the window: b_node, b_hold, b_instance, b_gpu. Open ones end at the horizon.

    A pod cannot hold what is not there: a device exists while it is held, though its record is late; and where it is
    known to have ended, so has the hold.
    """

    def life(table: str, columns: str) -> str:
        """Lives of a thing that may come back: each ends at the first end that was told after it began."""
        return f"""
            SELECT {columns}, GREATEST(x.began, n.began) AS began,
                LEAST(COALESCE(MIN(m.moment), {horizon}), n.ended) AS ended
            FROM {table} x JOIN b_node n ON n.node = x.node
            LEFT JOIN marks m ON m.id = x.id AND m.mark = 'ended' AND m.moment >= x.began
            GROUP BY {columns}, x.id, x.began, n.began, n.ended"""

    gpu, instance = "x.node, x.gpu", "x.node, x.gpu, x.instance, x.parts"
    return [
        """CREATE TEMP TABLE b_end AS
            SELECT id, COALESCE(MIN(CASE WHEN exact = 1 THEN moment END), MIN(moment)) AS moment
            FROM marks WHERE mark = 'ended' AND kind IN ('node', 'pod', 'hold') GROUP BY id""",
        f"""CREATE TEMP TABLE b_node AS SELECT * FROM (
            SELECT n.id AS node, uid, name, pool, sku, capacity, provider, region, instance_type, gpus, cpu_milli,
                memory_mib, GREATEST(n.began, {began}) AS began, LEAST(COALESCE(e.moment, {horizon}), {ended}) AS ended
            FROM nodes n LEFT JOIN b_end e ON e.id = n.id) x WHERE began < ended""",
        """CREATE TEMP TABLE b_lost AS
            SELECT h.id, MIN(m.moment) AS moment FROM holds h JOIN marks m ON m.id = h.device AND m.mark = 'ended'
                AND m.kind IN ('gpu', 'instance') AND m.moment >= h.began GROUP BY h.id""",
        f"""CREATE TEMP TABLE b_hold AS SELECT * FROM (
            SELECT h.pod, h.node, h.gpu, h.instance, h.parts, h.weight, GREATEST(h.began, n.began) AS began,
                LEAST(COALESCE(p.moment, q.moment, l.moment, {horizon}),
                      COALESCE(q.moment, l.moment, p.moment, {horizon}),
                      COALESCE(l.moment, p.moment, q.moment, {horizon}), n.ended) AS ended
            FROM holds h JOIN b_node n ON n.node = h.node LEFT JOIN b_end p ON p.id = h.pod
            LEFT JOIN b_end q ON q.id = h.id LEFT JOIN b_lost l ON l.id = h.id
            WHERE h.began < {ended}) x WHERE began < ended""",
        "CREATE TEMP TABLE b_instance AS "
        + merge.islands(
            f"SELECT * FROM ({life('instances', instance)}) x WHERE began < ended UNION ALL "
            "SELECT node, gpu, instance, parts, began, ended FROM b_hold WHERE instance > 0",
            "node, gpu, instance, parts",
        ),
        "CREATE TEMP TABLE b_gpu AS "
        + merge.islands(
            f"SELECT * FROM ({life('gpus', gpu)}) x WHERE began < ended UNION ALL "
            "SELECT node, gpu, began, ended FROM b_hold UNION ALL SELECT node, gpu, began, ended FROM b_instance",
            "node, gpu",
        ),
    ]  # fmt: skip


def slots(host: bool) -> list[str]:
    """The slots and their part of the node's price: b_slot, parts ÷ (gpus × whole).

    gpus: as many as the node is bought with, or more if more were seen at once; whole: WHOLE, or more where the
    instances on a GPU make more of it together (a 4g.40gb takes four sevenths, the 3g.40gb beside it a half).
    Sums over `ORDER BY t` hold all events of a moment; of its rows the one that LEAD finds last has time after it.
    """
    ends = "SELECT node, began AS t, {up} FROM b_gpu UNION ALL SELECT node, ended, {down} FROM b_gpu"
    carved = f"UNION ALL SELECT node, 0, {HOST}, began, ended, 1, 1, 1 FROM b_node" if host else ""
    return [
        f"""CREATE TEMP TABLE b_many AS
            SELECT n.node, GREATEST(n.gpus, COALESCE(MAX(c.present), 0), 1) AS gpus
            FROM b_node n LEFT JOIN (SELECT node, SUM(d) OVER (PARTITION BY node ORDER BY t) AS present
                                     FROM ({ends.format(up="1 AS d", down="-1")}) e) c ON c.node = n.node
            GROUP BY n.node, n.gpus""",
        """CREATE TEMP TABLE b_cut AS SELECT node, gpu, t AS began, later AS ended, parts FROM (
            SELECT node, gpu, t, SUM(d) OVER w AS parts, SUM(here) OVER w AS present, LEAD(t) OVER w AS later FROM (
                SELECT node, gpu, began AS t, 0 AS d, 1 AS here FROM b_gpu
                UNION ALL SELECT node, gpu, ended, 0, -1 FROM b_gpu
                UNION ALL SELECT node, gpu, began, parts, 0 FROM b_instance
                UNION ALL SELECT node, gpu, ended, -parts, 0 FROM b_instance) e
            WINDOW w AS (PARTITION BY node, gpu ORDER BY t)) s
            WHERE present > 0 AND t < later""",
        f"""CREATE TEMP TABLE b_slot AS
            SELECT i.node, i.gpu, i.instance, GREATEST(i.began, c.began) AS began, LEAST(i.ended, c.ended) AS ended,
                i.parts, GREATEST({WHOLE}, c.parts) AS whole, m.gpus
            FROM b_instance i JOIN b_cut c ON c.node = i.node AND c.gpu = i.gpu
                AND c.began < i.ended AND i.began < c.ended JOIN b_many m ON m.node = i.node
            UNION ALL SELECT c.node, gpu, 0, began, ended, {WHOLE}, {WHOLE}, gpus
                FROM b_cut c JOIN b_many m ON m.node = c.node WHERE parts = 0
            UNION ALL SELECT c.node, gpu, {STRANDED}, began, ended, {WHOLE} - parts, {WHOLE}, gpus
                FROM b_cut c JOIN b_many m ON m.node = c.node WHERE parts > 0 AND parts < {WHOLE}
            UNION ALL SELECT node, 0, {ABSENT}, t, later, (gpus - present) * {WHOLE}, {WHOLE}, gpus FROM (
                SELECT e.node, t, m.gpus, SUM(d) OVER w AS present, LEAD(t) OVER w AS later FROM (
                    {ends.format(up="1 AS d", down="-1")}
                    UNION ALL SELECT node, began, 0 FROM b_node UNION ALL SELECT node, ended, 0 FROM b_node) e
                JOIN b_many m ON m.node = e.node
                WINDOW w AS (PARTITION BY e.node ORDER BY t)) s
                WHERE present < gpus AND t < later
            {carved}""",
    ]


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


def _shared() -> Iterator[str]:
    """Holds of slots that had two at once, cut at full hours and weighed by what was measured in each: b_piece.

    In an hour in which any of them was not measured all weigh the same. One that was measured and did nothing weighs
    a millionth of a busy GPU, so that an hour in which nobody did anything is shared evenly.
    """
    yield f"""CREATE TEMP TABLE b_shared AS SELECT DISTINCT {_SLOT} FROM (
        SELECT {_SLOT}, SUM(d) OVER (PARTITION BY {_SLOT} ORDER BY t) AS holders FROM (
            SELECT {_SLOT}, began AS t, 1 AS d FROM b_hold UNION ALL SELECT {_SLOT}, ended, -1 FROM b_hold) e) s
        WHERE holders > 1"""
    hours = "SELECT UNNEST(CAST(? AS BIGINT[])) AS hour"
    yield f"""CREATE TEMP TABLE b_piece AS
        SELECT h.pod, h.node, h.gpu, h.instance, o.hour, GREATEST(h.began, o.hour * {HOUR}) AS began,
            LEAST(h.ended, (o.hour + 1) * {HOUR}) AS ended
        FROM b_hold h JOIN b_shared s ON s.node = h.node AND s.gpu = h.gpu AND s.instance = h.instance
        JOIN ({hours}) o ON h.began < (o.hour + 1) * {HOUR} AND h.ended > o.hour * {HOUR}"""
    yield f"""CREATE TEMP TABLE b_weight AS SELECT p.*,
        CASE WHEN MIN(COALESCE(u.seen, 0)) OVER (PARTITION BY p.node, p.gpu, p.instance, p.hour) = 0 THEN 1
             ELSE GREATEST(1, div(u.used * 1000000, u.seen)) END AS weight
        FROM b_piece p LEFT JOIN (
            SELECT gpu, instance, pod, div(began, {HOUR}) AS hour, SUM(seen) AS seen,
                CASE WHEN SUM(sm) > 0 THEN SUM(sm) ELSE SUM(busy) END AS used
            FROM b_used GROUP BY gpu, instance, pod, div(began, {HOUR})) u
        ON u.gpu = p.gpu AND u.instance = p.instance AND u.pod = p.pod AND u.hour = p.hour"""


def held(split: Split) -> str:
    """The rows of holders with their weights."""
    if split == "measured":
        alone = (
            "NOT EXISTS (SELECT 1 FROM b_shared s WHERE s.node = h.node AND s.gpu = h.gpu AND s.instance = h.instance)"
        )
        return (
            f"SELECT pod, {_SLOT}, began, ended, 1 AS weight FROM b_hold h WHERE {alone} "
            f"UNION ALL SELECT pod, {_SLOT}, began, ended, CAST(weight AS BIGINT) FROM b_weight"
        )
    weight = "weight" if split == "requested" else "1 AS weight"
    return f"SELECT pod, {_SLOT}, began, ended, {weight} FROM b_hold"


def money(split: Split) -> list[str]:
    """What each holder pays, and what nobody does: b_paid, b_free. Both with the GPU time that it is for."""
    part = f"CASE WHEN s.instance = {HOST} THEN r.host ELSE r.per_hour - r.host END"
    price = f"div(CAST({part} AS HUGEINT) * {SCALE} * s.parts, s.gpus * s.whole)"
    time = f"CASE WHEN s.instance = {HOST} THEN 0 ELSE div(s.parts * CAST({GPU_TIME} AS BIGINT), s.whole) END"
    per_weight = "div(CAST({} AS HUGEINT), CAST(weights AS HUGEINT))"
    per = f"PARTITION BY {_SLOT} ORDER BY t"
    # All running sums must see rows of one moment in one order, whichever: b_event fixes it as `place`.
    return [
        f"""CREATE TEMP TABLE b_carried AS
            SELECT s.node, s.gpu, s.instance, GREATEST(s.began, r.began) AS began, LEAST(s.ended, r.ended) AS ended,
                CAST({price} AS HUGEINT) AS price, CAST({time} AS HUGEINT) AS time
            FROM b_slot s JOIN b_rate r ON r.node = s.node AND r.began < s.ended AND s.began < r.ended""",
        f"CREATE TEMP TABLE b_held AS {held(split)}",
        f"""CREATE TEMP TABLE b_event AS
            SELECT {_SLOT}, t, pod, weight, ROW_NUMBER() OVER ({per}) AS place, price, time FROM (
                SELECT {_SLOT}, began AS t, CAST(0 AS BIGINT) AS pod, 0 AS weight, price, time FROM b_carried
                UNION ALL SELECT {_SLOT}, ended, 0, 0, -price, -time FROM b_carried
                UNION ALL SELECT {_SLOT}, began, pod, weight, 0, 0 FROM b_held
                UNION ALL SELECT {_SLOT}, ended, pod, -weight, 0, 0 FROM b_held) e""",
        f"""CREATE TEMP TABLE b_step AS
            SELECT {_SLOT}, place, pod, weight, weights, price * span AS cost, time * span AS time FROM (
                SELECT {_SLOT}, place, pod, weight, LEAD(t) OVER (PARTITION BY {_SLOT} ORDER BY place) - t AS span,
                    SUM(weight) OVER w AS weights, SUM(price) OVER w AS price, SUM(time) OVER w AS time
                FROM b_event WINDOW w AS (PARTITION BY {_SLOT} ORDER BY place ROWS UNBOUNDED PRECEDING)) s""",
        f"""CREATE TEMP TABLE b_free AS SELECT {_SLOT}, SUM(cost) AS cost, SUM(time) AS time
            FROM b_step WHERE weights = 0 GROUP BY {_SLOT}""",
        f"""CREATE TEMP TABLE b_paid AS
            SELECT pod, {_SLOT}, SUM(-weight * cost) AS cost, SUM(-weight * time) AS time FROM (
                SELECT pod, {_SLOT}, weight,
                    COALESCE(SUM(cost) OVER w, 0) AS cost, COALESCE(SUM(time) OVER w, 0) AS time
                FROM (SELECT pod, {_SLOT}, place, weight,
                          CASE WHEN weights > 0 THEN {per_weight.format("cost")} ELSE 0 END AS cost,
                          CASE WHEN weights > 0 THEN {per_weight.format("time")} ELSE 0 END AS time
                      FROM b_step) i
                WINDOW w AS (PARTITION BY {_SLOT} ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) f
            WHERE weight <> 0 GROUP BY pod, {_SLOT}""",
    ]


def divide(store: Store, facts_rates: Sequence[tuple[Facts, Rate]], split: Split, carve: Carve,
           window: tuple[int, int]) -> None:  # fmt: skip
    """From b_node on: make b_paid and b_free. b_used must be there (the usage of the window)."""
    pay(store, facts_rates, carve)
    for sql in slots(host=carve != Carve()):
        store.run(sql)
    if split == "measured":
        hours = list(range(window[0] // HOUR, -(-window[1] // HOUR)))
        for sql in _shared():
            store.run(sql, [hours] if "?" in sql else ())
    for sql in money(split):
        store.run(sql)


def used(began: int, ended: int, *, pending: bool) -> str:
    """The usage of the window, every moment once: b_used."""
    return f"CREATE TEMP TABLE b_used AS {merge.within(USAGE, began, ended, pending=pending)}"


def facts(store: Store) -> list[Facts]:
    """The nodes of b_node."""
    return [Facts(*row) for row in store.rows(f"SELECT {', '.join(Facts.__struct_fields__)} FROM b_node")]


def quotes(store: Store) -> dict[str, list[Quote]]:
    """Every observed price by its scope."""
    found: dict[str, list[Quote]] = defaultdict(list)
    for scope, moment, per_hour, source in store.rows("SELECT scope, moment, per_hour, source FROM quotes"):
        found[scope].append(Quote(scope=scope, moment=moment, per_hour=per_hour, source=source))
    return found
