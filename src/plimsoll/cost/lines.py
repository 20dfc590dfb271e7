"""From what holders pay to lines: classes of use, the cut that was asked for, whole micro-units that add up.

A million jobs are a million lines: what most of them do not have (unused GPUs) lies in a small table beside them, and
names of jobs are looked up, and tokens summed, for those that are shown.
"""

from __future__ import annotations

from typing import Any

from plimsoll.cost.cuts import CUTS, MANY, SERVED, By, Cut
from plimsoll.cost.lives import ABSENT, HOST, SLOT, STRANDED, same
from plimsoll.cost.split import GPU_TIME, MICRO
from plimsoll.cost.store import Store

CLASSES = ("productive", "low", "idle")  # of what is held; what is left of it was not measured
UNUSED = ("unallocated", "stranded", "absent")
COST = (*CLASSES, "unmeasured", *UNUSED, "host", "spread")
MEASURED = ("seen", "busy", "sm", "energy")
SUMS = ("cost", *CLASSES, "starting", "time", "known", "used", *MEASURED, "holds")  # of a row and of a line
EXTRA = (*UNUSED, "host", "spread", "time")
TOKENS = ("requests", "prompt", "output")
_FINE = MICRO // 1000


def _classed(paid: str, more: str = "") -> str:
    """The rows of `paid`, one per holder and device, with their money by class. more: columns of it to be kept.

    Class is by time: of a hold that was idle a third of the time it was held, a third of the money is idle. Of its
    GPU time `known` was measured and `used` was busy: of a device that others share, at most what it pays for.
    """
    used = ", ".join(f"CAST(COALESCE(u.{name}, 0) AS BIGINT) AS {name}" for name in (*MEASURED, "idle", "low"))
    return f"""
        SELECT {more} pod, node, cost, per_ms * (seen - idle - low) AS productive,
            per_ms * low AS low, per_ms * idle AS idle, per_ms * starting AS starting, time,
            LEAST(time, CAST(ROUND(CAST(time AS FLOAT8) / span) AS BIGINT) * CAST(seen AS HUGEINT)) AS known,
            LEAST(time, CAST(busy AS HUGEINT) * part) AS used,
            {", ".join(MEASURED)}, 1 AS holds FROM (
            SELECT *, quotient(cost, span) AS per_ms FROM (
                SELECT {more} p.pod, p.node, p.cost, p.time, c.part, {used},
                    GREATEST(0, LEAST(p.ran, p.ended) - p.began) AS starting,
                    GREATEST(p.ended - p.began, CAST(COALESCE(u.seen, 0) AS BIGINT)) AS span
                FROM {paid} p
                JOIN (SELECT {SLOT}, MAX(time) AS part FROM b_carried GROUP BY {SLOT}) c ON {same("c", "p")}
                LEFT JOIN b_use u ON u.pod = p.pod AND u.gpu = p.gpu AND u.instance = p.instance) x) y"""


def classes() -> list[str]:
    """Holders with their money by class: b_row. One row per node with what is unused, by kind: b_unused."""
    named = {STRANDED: "stranded", ABSENT: "absent", HOST: "host"}
    unused = ["SUM(CASE WHEN instance >= 0 THEN cost ELSE 0 END) AS unallocated"]
    unused += [f"SUM(CASE WHEN instance = {slot} THEN cost ELSE 0 END) AS {name}" for slot, name in named.items()]
    return [
        f"CREATE TEMP VIEW b_row AS {_classed('b_paid')}",
        f"""CREATE TEMP TABLE b_unused AS SELECT node, {", ".join(unused)}, SUM(time) AS time
            FROM b_free GROUP BY node""",
    ]


def own(by: By) -> str:
    """Rows of holders by node, model and tenant: b_own. Without those in b_engine; models of others from b_kept."""
    tenant, pods = "''", ""
    if by in ("tenant", "served"):
        tenant, pods = "COALESCE(p.tenant, '')", "LEFT JOIN pods p ON p.id = r.pod"
    paid = f"""(SELECT r.*, COALESCE(e.model, '') AS model, {tenant} AS tenant FROM b_paid r {pods}
        LEFT JOIN b_kept e ON e.pod = r.pod WHERE NOT EXISTS (SELECT 1 FROM b_engine d WHERE d.pod = r.pod))"""
    sums = ", ".join(f"SUM({name}) AS {name}" for name in SUMS)
    return f"""CREATE TEMP TABLE b_own AS SELECT node, model, CAST(0 AS BIGINT) AS request, tenant, {sums}
        FROM ({_classed(paid, "model, tenant,")}) r GROUP BY node, model, tenant"""


def _beside(by: By, rows: str, *, spread: bool = False) -> str:
    """Rows r with what the cut needs of their pod and node: what is not needed costs time with a million of them."""
    pods, nodes = "LEFT JOIN pods p ON p.id = r.pod", "LEFT JOIN b_node n ON n.node = r.node"
    needed = [] if by in ("pool", "sku", "node", *SERVED) else [pods]
    if spread or by in ("pool", "sku"):
        needed.append(nodes)
    return " ".join((f"{rows} r", *needed))


def cut(by: By, *, spread: bool) -> list[str]:
    """What each line costs, in whole micro-units and what is left of it: b_sum; what few of them have: b_extra.

    Sums of lines but for MANY: b_line.

    spread: unused time is carried by those who held GPUs of the pool, as they held them.
    """
    of = CUTS[by]
    rows = _beside(by, "b_whose" if by in SERVED else "b_paid", spread=spread)
    columns = ", ".join(f"{name} HUGEINT" for name in EXTRA)
    statements = [f"CREATE TEMP TABLE b_extra (k {of.kind}, {columns})"]
    unused = ", ".join((*UNUSED, "host", "0", "time"))
    free = f"SELECT {of.unused} AS k, {unused} FROM b_unused r LEFT JOIN b_node n ON n.node = r.node"
    if by not in MANY:
        statements.append(f"CREATE TEMP TABLE b_line AS {_sums(by)}")
    held = f"SELECT {of.key} AS k, cost FROM {rows}" if by in MANY else "SELECT k, cost FROM b_line"
    if spread:
        groups = f"SELECT {of.key} AS k, COALESCE(n.pool, '') AS pool, SUM(cost) AS cost FROM {rows} GROUP BY 1, 2"
        statements += [f"CREATE TEMP TABLE b_group AS {groups}", *_spread(of)]
        held = "SELECT k, cost FROM b_group"
    else:
        statements.append(f"INSERT INTO b_extra {free}")
    if by in SERVED:  # some cost nothing: no engine is known that answered them
        held += " UNION ALL SELECT k, 0 FROM b_tokens"
    together = ", ".join(f"SUM({name}) AS {name}" for name in EXTRA)
    money = " + ".join((*UNUSED, "host", "spread"))
    return [
        *statements,
        f"CREATE TEMP TABLE b_more AS SELECT k, {together} FROM b_extra GROUP BY k",
        f"""CREATE TEMP TABLE b_sum AS
            SELECT k, CAST(micro AS BIGINT) AS micro, CAST(cost - micro * {MICRO} AS BIGINT) AS lost FROM (
                SELECT k, cost, quotient(cost, {MICRO}) AS micro FROM (SELECT k, SUM(cost) AS cost FROM (
                    {held} UNION ALL SELECT k, {money} FROM b_more) x GROUP BY k) s) m""",
    ]


def _spread(of: Cut) -> list[str]:
    """Unused money of each pool given to its holders in thousandths of a micro-unit, none lost: by running sums.

    What is less than a thousandth stays unallocated, and so does all of a pool where nobody held anything.
    """
    pool = "PARTITION BY pool"
    own = f"quotient(cost, {_FINE})"
    all_unused = " + ".join(f"SUM({name})" for name in UNUSED)
    return [
        f"""CREATE TEMP TABLE b_pool AS SELECT u.*, COALESCE(g.held, 0) AS held FROM (
            SELECT COALESCE(n.pool, '') AS pool, {all_unused} AS unused FROM b_unused r
            LEFT JOIN b_node n ON n.node = r.node GROUP BY 1) u
            LEFT JOIN (SELECT pool, SUM({own}) AS held FROM b_group GROUP BY pool) g ON g.pool = u.pool""",
        f"""INSERT INTO b_extra SELECT k, 0, 0, 0, 0,
            (div(upto * unused, held) - div((upto - own) * unused, held)) * {_FINE}, 0
            FROM (SELECT g.k, div(p.unused, {_FINE}) AS unused, p.held, {own} AS own,
                      SUM({own}) OVER ({pool} ORDER BY k ROWS UNBOUNDED PRECEDING) AS upto
                  FROM (SELECT k, pool AS pool, cost FROM b_group) g JOIN b_pool p USING (pool) WHERE p.held > 0) x""",
        f"""INSERT INTO b_extra SELECT {of.unused} AS k,
            CASE WHEN p.held > 0 THEN 0 ELSE unallocated END, CASE WHEN p.held > 0 THEN 0 ELSE stranded END,
            CASE WHEN p.held > 0 THEN 0 ELSE absent END, host, 0, time
            FROM b_unused r LEFT JOIN b_node n ON n.node = r.node JOIN b_pool p ON p.pool = COALESCE(n.pool, '')""",
        f"""INSERT INTO b_extra
            SELECT MIN({of.unused}), MIN(p.unused - div(p.unused, {_FINE}) * {_FINE}), 0, 0, 0, 0, 0
            FROM b_unused r LEFT JOIN b_node n ON n.node = r.node JOIN b_pool p ON p.pool = COALESCE(n.pool, '')
            WHERE p.held > 0 GROUP BY p.pool""",
    ]


def rounded(store: Store, by: By, total: int, top: int) -> tuple[list[dict[str, Any]], dict[str, Any] | None, int]:
    """The lines in whole micro-units that add up to `total`, dearest first; sum and number of those beyond `top`."""
    micro, values = _micro(store, total)
    limit = f"LIMIT {top}" if top else ""
    store.run(f"CREATE TEMP TABLE b_shown AS SELECT k, {micro} AS micro FROM b_sum ORDER BY 2 DESC, k {limit}", values)
    count, shown = (int(store.rows(f"SELECT COUNT(*) FROM {table}")[0][0]) for table in ("b_sum", "b_shown"))
    few = count > shown and by in MANY  # nobody asks what each of the others did
    every = "b_whose" if by in SERVED else "b_row"
    if by in MANY:
        store.run(f"CREATE TEMP TABLE b_line AS {_sums(by, shown=few)}")
    names = CUTS[by].names
    label, table = "CAST(s.k AS VARCHAR), ''", ""
    if names:
        label, table = "COALESCE(x.key, ''), COALESCE(x.id, '')", f"LEFT JOIN ({names}) x ON x.k = s.k"
    columns = [f"l.{each}" for each in SUMS] + [f"m.{each}" for each in EXTRA]
    tokens = ", ".join(f"SUM({name}) AS {name}" for name in TOKENS)
    if by in SERVED:
        columns += [f"t.{each}" for each in TOKENS]
        table += f""" LEFT JOIN (SELECT k, {tokens} FROM b_tokens WHERE k IN (SELECT k FROM b_shown) GROUP BY k) t
            ON t.k = s.k"""
    sums = [f"COALESCE({name}, 0)" for name in columns]
    listed = store.rows(
        f"""SELECT {label}, s.micro, {", ".join(sums)} FROM b_shown s LEFT JOIN b_line l ON l.k = s.k
            LEFT JOIN b_more m ON m.k = s.k {table} ORDER BY s.micro DESC, s.k"""
    )
    lines = [_line(key, name, int(micro), row) for key, name, micro, *row in listed]
    if count == shown:
        return lines, None, 0
    whole = [
        *store.rows(f"SELECT {', '.join(f'SUM({name})' for name in SUMS)} FROM {every if few else 'b_line'}")[0],
        *store.rows(f"SELECT {', '.join(f'SUM({name})' for name in EXTRA)} FROM b_more")[0],
        *(store.rows(f"SELECT {tokens} FROM b_tokens")[0] if by in SERVED else ()),
    ]
    rest = [int(value or 0) - sum(int(row[place + 3]) for row in listed) for place, value in enumerate(whole)]
    return lines, _line("", "", total - sum(line["cost"] for line in lines), rest), count - shown


def _sums(by: By, *, shown: bool = False) -> str:
    """The sums of lines; shown: of those only. Whose a row is is looked up while it is short."""
    key, sums = CUTS[by].key, ", ".join(f"SUM({name}) AS {name}" for name in SUMS)
    among = f"WHERE {key} IN (SELECT k FROM b_shown)" if shown else ""
    if by in SERVED:
        return f"SELECT {key} AS k, {sums} FROM b_whose r {among} GROUP BY 1"
    paid = f"(SELECT r.*, {key} AS k FROM {_beside(by, 'b_paid')} {among})"
    return f"SELECT k, {sums} FROM ({_classed(paid, 'k,')}) r GROUP BY k"


def _micro(store: Store, total: int) -> tuple[str, list[object]]:
    """The whole micro-units of a line of b_sum, in SQL, and its parameters.

    Largest remainder: each line is rounded down, and what is missing goes to those that lost most; of those that lost
    as much, to the first by key. The line at that border is found instead of ranking them all.
    """
    short = total - int(store.rows("SELECT COALESCE(SUM(micro), 0) FROM b_sum")[0][0])
    if short <= 0:
        return "micro", []
    found = store.rows(f"SELECT lost FROM b_sum ORDER BY 1 DESC LIMIT 1 OFFSET {short - 1}")
    if not found:
        return "micro + 1", []
    border = int(found[0][0])
    more = int(store.rows(f"SELECT COUNT(*) FROM b_sum WHERE lost > {border}")[0][0])
    last = store.rows(f"SELECT k FROM b_sum WHERE lost = {border} ORDER BY k LIMIT 1 OFFSET {short - more - 1}")[0][0]
    return f"micro + CASE WHEN lost > {border} OR (lost = {border} AND k <= ?) THEN 1 ELSE 0 END", [last]


def _line(key: str, name: str, micro: int, values: list[Any]) -> dict[str, Any]:
    """A line: money in micro-units, its classes adding up to it; GPU time in milliseconds."""
    row = dict(zip(SUMS, map(int, values), strict=False))
    extra = dict(zip((*EXTRA, *TOKENS), map(int, values[len(SUMS) :]), strict=False))
    exact = {each: row[each] for each in CLASSES}
    exact["unmeasured"] = row["cost"] - sum(exact.values())
    exact |= {each: extra[each] for each in (*UNUSED, "host", "spread")}
    found = {each: value // MICRO for each, value in exact.items()}
    dearest = sorted(COST, key=lambda each: -(exact[each] % MICRO))
    for place in range(micro - sum(found.values())):
        found[dearest[place % len(dearest)]] += 1
    return {
        "key": key, "id": name, "cost": micro, **found, "starting": (row["starting"] + MICRO // 2) // MICRO,
        "gpu_ms": (row["time"] + extra["time"] + GPU_TIME // 2) // GPU_TIME,
        **{f"{name}_ms": (row[of] + GPU_TIME // 2) // GPU_TIME
           for name, of in (("held", "time"), ("known", "known"), ("used", "used"))},
        "seen_ms": row["seen"],
        "busy_ms": row["busy"], "sm_ms": row["sm"], "energy": row["energy"], "holds": row["holds"],
        **{each: extra.get(each, 0) for each in TOKENS},
    }  # fmt: skip
