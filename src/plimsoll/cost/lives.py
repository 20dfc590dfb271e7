"""What was there in a window, and which part of a node's price each thing carries.

A *slot* is what can be held, or cannot: a whole GPU, a MIG instance; what MIG leaves of a GPU, the GPUs that a node
lacks, its host where that is carved out. At every moment the slots of a node carry its whole price.
"""

from __future__ import annotations

from collections import defaultdict

from plimsoll.cost import merge
from plimsoll.cost.price import Facts
from plimsoll.cost.sample import WHOLE, Quote
from plimsoll.cost.schema import USAGE
from plimsoll.cost.store import Store

STRANDED, ABSENT, HOST = -1, -2, -3  # slots that nobody can hold; instances' numbers are positive, a whole GPU is 0
SLOT = "node, gpu, instance"  # what tells two slots apart
USED = ("seen", "idle", "low", "busy", "sm", "energy")


def same(one: str, other: str) -> str:
    """A condition: these two rows are of one slot."""
    return " AND ".join(f"{one}.{name} = {other}.{name}" for name in SLOT.split(", "))


def nodes(began: int, ended: int, horizon: int) -> str:
    """Nodes in the window: b_node. Open ones end at the horizon."""
    return f"""CREATE TEMP TABLE b_node AS SELECT * FROM (
        SELECT n.id AS node, uid, name, pool, sku, capacity, provider, region, instance_type, gpus, cpu_milli,
            memory_mib, GREATEST(n.began, {began}) AS began, LEAST(COALESCE(e.moment, {horizon}), {ended}) AS ended
        FROM nodes n LEFT JOIN {_ends("node")} e ON e.id = n.id) x WHERE began < ended"""


def lives(began: int, ended: int, horizon: int) -> list[str]:
    """Nodes, holds, GPUs and instances in the window: b_node, b_hold, b_instance, b_gpu. Open ones end at the horizon.

    A pod cannot hold what is not there: a device exists while it is held, though its record is late; and where it is
    known to have ended, so has the hold, until the same device is back under a pod that still runs.
    """

    def life(table: str, columns: str) -> str:
        """Lives of a thing that may come back: each ends at the first end that was told after it began."""
        return f"""
            SELECT {columns}, GREATEST(x.began, n.began) AS began,
                LEAST(COALESCE(MIN(m.moment), {horizon}), n.ended) AS ended
            FROM {table} x JOIN b_node n ON n.node = x.node
            LEFT JOIN marks m ON m.id = x.id AND m.mark = 'ended' AND m.moment >= x.began
            GROUP BY {columns}, x.id, x.began, n.began, n.ended"""

    ran = ", MIN(CASE WHEN mark = 'running' THEN moment END) AS ran"
    gpu, instance = "x.node, x.gpu", "x.node, x.gpu, x.instance, x.parts"
    hold = "h.id, h.pod, h.device, h.node, h.gpu, h.instance, h.parts, h.weight"
    return [
        nodes(began, ended, horizon),
        """CREATE TEMP TABLE b_lost AS
            SELECT h.id, MIN(m.moment) AS moment FROM holds h JOIN marks m ON m.id = h.device AND m.mark = 'ended'
                AND m.kind IN ('gpu', 'instance') AND m.moment >= h.began GROUP BY h.id""",
        f"""CREATE TEMP TABLE b_again AS
            SELECT h.id, d.began, MIN(m.moment) AS moment FROM b_lost l JOIN holds h ON h.id = l.id
            JOIN (SELECT id, {WHOLE} AS parts, began FROM gpus UNION ALL SELECT id, parts, began FROM instances) d
                ON d.id = h.device AND d.parts = h.parts AND d.began > l.moment
            LEFT JOIN marks m ON m.id = d.id AND m.mark = 'ended' AND m.moment > d.began GROUP BY h.id, d.began""",
        f"""CREATE TEMP TABLE b_hold AS SELECT * FROM (
            SELECT h.pod, h.device, h.node, h.gpu, h.instance, h.parts, h.weight, COALESCE(p.ran, 0) AS ran,
                GREATEST(h.began, n.began) AS began,
                LEAST(COALESCE(p.moment, q.moment, lost, {horizon}),
                      COALESCE(q.moment, lost, p.moment, {horizon}),
                      COALESCE(lost, p.moment, q.moment, {horizon}), n.ended) AS ended
            FROM (SELECT {hold}, h.began, l.moment AS lost FROM holds h LEFT JOIN b_lost l ON l.id = h.id
                  WHERE h.began < {ended}
                  UNION ALL SELECT {hold}, a.began, a.moment FROM holds h JOIN b_again a ON a.id = h.id) h
            JOIN b_node n ON n.node = h.node
            LEFT JOIN {_ends("pod", ran)} p ON p.id = h.pod
            LEFT JOIN {_ends("hold")} q ON q.id = h.id) x WHERE began < ended""",
        f"CREATE TEMP TABLE b_made AS SELECT * FROM ({life('instances', instance)}) x WHERE began < ended",
        f"CREATE TEMP TABLE b_instance AS {_present('b_made', 'node, gpu, instance, parts', 'WHERE instance > 0')}",
        f"""CREATE TEMP TABLE b_known AS SELECT * FROM ({life("gpus", gpu)}) x WHERE began < ended
            UNION ALL SELECT node, gpu, began, ended FROM b_instance""",
        f"CREATE TEMP TABLE b_gpu AS {_present('b_known', 'node, gpu')}",
    ]  # fmt: skip


def _ends(kind: str, more: str = "") -> str:
    """The end of each node, pod or hold: as it was told, else as it was noticed."""
    return f"""(SELECT id, COALESCE(MIN(CASE WHEN mark = 'ended' AND exact = 1 THEN moment END),
                                    MIN(CASE WHEN mark = 'ended' THEN moment END)) AS moment{more}
                FROM marks WHERE kind = '{kind}' GROUP BY id)"""


def _present(known: str, keys: str, held: str = "") -> str:
    """When each device was there: as it is known, and while it was held.

    Nearly every hold lies within what is known. The others take part in the union, and they are looked for only on
    devices of which not all holds lie within one life.
    """
    names = keys.split(", ")
    same = " AND ".join(f"k.{name} = h.{name}" for name in names)
    inside = f"EXISTS (SELECT 1 FROM {known} k WHERE {same} AND k.began <= h.began AND k.ended >= h.ended)"
    return merge.islands(
        f"""SELECT {keys}, began, ended FROM {known}
            UNION ALL SELECT {", ".join(f"h.{name}" for name in names)}, h.began, h.ended FROM b_hold h JOIN (
                SELECT {keys} FROM (SELECT {keys}, MIN(began) AS began, MAX(ended) AS ended
                                    FROM b_hold {held} GROUP BY {keys}) h WHERE NOT {inside}) k
                ON {same} WHERE NOT {inside}""",
        keys,
    )


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


def facts(store: Store) -> list[Facts]:
    """The nodes of b_node."""
    return [Facts(*row) for row in store.rows(f"SELECT {', '.join(Facts.__struct_fields__)} FROM b_node")]


def quotes(store: Store) -> dict[str, list[Quote]]:
    """Every observed price by its scope."""
    found: dict[str, list[Quote]] = defaultdict(list)
    for scope, moment, per_hour, source in store.rows("SELECT scope, moment, per_hour, source FROM quotes"):
        found[scope].append(Quote(scope=scope, moment=moment, per_hour=per_hour, source=source))
    return found


def usage(began: int, ended: int, *, pending: bool) -> str:
    """What each holder did on each device in the window: b_use."""
    rows = merge.within(USAGE, began, ended, pending=pending)
    sums = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in USED)
    return f"""CREATE TEMP TABLE b_use AS SELECT pod, gpu, instance, {sums}
        FROM ({rows}) u WHERE pod <> 0 GROUP BY pod, gpu, instance"""
