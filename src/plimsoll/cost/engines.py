"""What inference engines cost, hour by hour: the price of an hour is divided among those whom that hour served."""

from __future__ import annotations

from plimsoll.cost import merge
from plimsoll.cost.lives import SLOT, USED, same
from plimsoll.cost.sample import HOUR
from plimsoll.cost.schema import TOKENS, USAGE
from plimsoll.cost.store import Store


def named() -> str:
    """Pods that serve a model, and whom they serve where that is one tenant: b_engine.

    What an engine's own counters call its model goes before what its pod is said to serve: requests name it so.
    """
    told = " UNION ALL ".join(
        f"SELECT pod, model, output FROM {table.name} WHERE tenant = '' AND pod <> 0"
        for table in (TOKENS.table, TOKENS.inbox)
    )
    return f"""CREATE TEMP TABLE b_engine AS
        SELECT p.id AS pod, COALESCE(t.model, p.model) AS model, p.tenant FROM pods p LEFT JOIN (
            SELECT pod, model, ROW_NUMBER() OVER (PARTITION BY pod ORDER BY SUM(output) DESC, model) AS place
            FROM ({told}) a GROUP BY pod, model) t ON t.pod = p.id AND t.place = 1
        WHERE COALESCE(t.model, p.model) <> ''"""


def spans(store: Store) -> None:
    """What engines pay at every moment: b_span, price × weight ÷ weights per millisecond. From what split.py left."""
    store.run(f"""CREATE TEMP TABLE b_span AS
        SELECT h.pod, h.node, h.gpu, h.instance, GREATEST(h.began, c.began) AS began, LEAST(h.ended, c.ended) AS ended,
            c.price, c.time, CAST(1 AS BIGINT) AS weight, CAST(1 AS HUGEINT) AS weights
        FROM b_alone h JOIN b_engine e ON e.pod = h.pod
        JOIN b_carried c ON {same("c", "h")} AND h.began < c.ended AND c.began < h.ended""")
    if store.rows(
        "SELECT 1 FROM b_shared s JOIN b_hold h USING (node, gpu, instance) JOIN b_engine USING (pod) LIMIT 1"
    ):
        # Within a step neither the price nor the holders change.
        store.run("""INSERT INTO b_span
            SELECT h.pod, c.node, c.gpu, c.instance, GREATEST(h.began, s.t), LEAST(h.ended, s.t + s.span),
                c.price, c.time, h.weight, s.weights
            FROM b_held h JOIN b_engine e ON e.pod = h.pod JOIN b_carried c ON c.cell = h.cell
            JOIN b_step s ON s.cell = h.cell AND s.hour = h.hour AND h.began < s.t + s.span AND s.t < h.ended
            WHERE s.span > 0""")


def hours(store: Store) -> None:
    """What each model's engines of a pool cost in each hour, by class: b_served. From b_used, what they did.

    Class is by the time of the hour, as that of a bill's rows is by the time of the hold (lines.py). idled: GPU time in
    which nothing was done.
    """
    hour = store.series.format(*(f"CAST(div({moment}, {HOUR}) AS BIGINT)" for moment in ("began", "ended - 1")))
    store.run(f"CREATE TEMP TABLE b_each AS SELECT *, {hour} AS hour FROM b_span WHERE began < ended")
    store.run(f"""CREATE TEMP TABLE b_hour AS
        SELECT pod, node, gpu, instance, hour, SUM(ms) AS held,
            SUM(GREATEST(0, LEAST(upto, ran) - since)) AS starting,
            SUM(CASE WHEN weights = 1 THEN price * ms ELSE quotient(price * ms * weight, weights) END) AS cost,
            SUM(CASE WHEN weights = 1 THEN time * ms ELSE quotient(time * ms * weight, weights) END) AS time FROM (
            SELECT *, upto - since AS ms FROM (
                SELECT s.pod, s.node, s.gpu, s.instance, hour, s.price, s.time, s.weight, s.weights,
                    COALESCE(m.moment, 0) AS ran,
                    GREATEST(s.began, hour * {HOUR}) AS since, LEAST(s.ended, (hour + 1) * {HOUR}) AS upto
                FROM b_each s
                LEFT JOIN (SELECT id, MIN(moment) AS moment FROM marks
                           WHERE mark = 'running' AND id IN (SELECT pod FROM b_engine) GROUP BY id) m
                    ON m.id = s.pod) x) y
        GROUP BY pod, node, gpu, instance, hour""")
    used = ", ".join(f"CAST(COALESCE(u.{name}, 0) AS BIGINT) AS {name}" for name in USED)
    first = "SELECT pod, gpu, instance, MIN(hour) AS hour FROM b_hour GROUP BY pod, gpu, instance"
    store.run(f"""CREATE TEMP TABLE b_served AS
        SELECT model, MIN(node) AS node, hour, SUM(cost) AS cost, SUM(per_ms * (seen - idle - low)) AS productive,
            SUM(per_ms * low) AS low, SUM(per_ms * idle) AS idle, SUM(per_ms * starting) AS starting,
            SUM(time) AS time, SUM(LEAST(time, per_time * idle)) AS idled,
            SUM(LEAST(time, per_time * seen)) AS known,
            SUM(LEAST(time, CAST(busy AS HUGEINT) * part)) AS used,
            SUM(seen) AS seen, SUM(busy) AS busy, SUM(sm) AS sm, SUM(energy) AS energy, SUM(first) AS holds FROM (
            SELECT *, quotient(cost, span) AS per_ms,
                CAST(ROUND(CAST(time AS FLOAT8) / span) AS HUGEINT) AS per_time FROM (
                SELECT e.model, COALESCE(n.pool, '') AS pool, h.node, h.hour, h.cost, h.time, c.part,
                    CASE WHEN f.hour = h.hour THEN 1 ELSE 0 END AS first,
                    CAST(h.starting AS BIGINT) AS starting, {used},
                    CAST(GREATEST(h.held, COALESCE(u.seen, 0)) AS BIGINT) AS span
                FROM b_hour h JOIN b_engine e ON e.pod = h.pod
                JOIN ({first}) f ON f.pod = h.pod AND f.gpu = h.gpu AND f.instance = h.instance
                JOIN (SELECT {SLOT}, MAX(time) AS part FROM b_carried GROUP BY {SLOT}) c ON {same("c", "h")}
                LEFT JOIN b_node n ON n.node = h.node
                LEFT JOIN b_used u
                    ON u.pod = h.pod AND u.gpu = h.gpu AND u.instance = h.instance AND u.hour = h.hour) x) y
        GROUP BY model, pool, hour""")  # fmt: skip


def used(table: str, began: int, ended: int, *, pending: bool) -> str:
    """What engines did on their devices in each hour."""
    rows = merge.within(USAGE, began, ended, pending=pending)
    return f"""CREATE TEMP TABLE {table} AS
        SELECT pod, gpu, instance, div(began, {HOUR}) AS hour, {merge.totals(USED)} FROM ({rows}) u
        WHERE pod IN (SELECT pod FROM b_engine) GROUP BY pod, gpu, instance, div(began, {HOUR})"""
