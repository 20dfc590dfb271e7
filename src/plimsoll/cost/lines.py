"""From what holders pay to lines: classes of use, the cut that was asked for, whole micro-units that add up."""

from __future__ import annotations

from typing import Any, Literal

from plimsoll.cost.split import ABSENT, GPU_TIME, HOST, MICRO, STRANDED
from plimsoll.cost.store import Store

By = Literal["team", "namespace", "job", "workload", "model", "tenant", "pool", "sku", "node"]
HELD = ("productive", "low", "idle", "unmeasured")
UNUSED = ("unallocated", "stranded", "absent")
COST = (*HELD, *UNUSED, "host", "spread")
COUNTS = ("gpu_ms", "seen_ms", "busy_ms", "sm_ms", "energy", "requests", "prompt", "output")
_PARTS = 10**9  # of a hold, into which its classes are cut: money × milliseconds would outgrow 128 bits in a year
_FINE = MICRO // 1000
# What a line is called, and what tells two of one name apart. r: b_row, p: its pod, n: its node.
CUTS: dict[By, tuple[str, str]] = {
    "team": ("COALESCE(p.team, '')", "''"),
    "namespace": ("COALESCE(p.namespace, '')", "''"),
    "job": (
        "COALESCE(CASE WHEN p.job <> '' THEN p.job ELSE p.namespace || '/' || p.name END, '')",
        "COALESCE(CASE WHEN p.job <> '' THEN p.job_uid ELSE p.uid END, '')",
    ),
    "workload": (
        "COALESCE(CASE WHEN p.workload <> '' THEN p.workload ELSE p.namespace || '/' || p.name END, '')", "''",
    ),
    "model": ("CASE WHEN r.model <> '' THEN r.model ELSE COALESCE(p.model, '') END", "''"),
    "tenant": ("CASE WHEN r.model <> '' THEN r.tenant ELSE COALESCE(p.tenant, '') END", "''"),
    "pool": ("COALESCE(n.pool, '')", "''"),
    "sku": ("COALESCE(n.sku, '')", "''"),
    "node": ("COALESCE(n.name, '')", "COALESCE(n.uid, '')"),
}  # fmt: skip


def classes() -> list[str]:
    """One row per holder and device with its money by class, and one per unused slot: b_row.

    Class is by time: of a hold that was idle a third of the time it was held, a third of the money is idle.
    """
    spans = "SELECT pod, node, gpu, instance, SUM(ended - began) AS held, MIN(began) AS began, MAX(ended) AS ended"
    share = f"div(CAST({{0}} AS HUGEINT) * {_PARTS}, GREATEST(h.held, COALESCE(u.seen, 0)))"
    busy, low, seen = (
        share.format(f"COALESCE({text}, 0)") for text in ("u.seen - u.idle - u.low", "u.seen - u.idle", "u.seen")
    )
    part = f"div(cost * {{}}, {_PARTS})"
    zero = dict.fromkeys((*COST, "starting", *COUNTS), "0")
    paid = zero | {
        "productive": part.format("busy"),
        "low": f"{part.format('low')} - {part.format('busy')}",
        "idle": f"{part.format('seen')} - {part.format('low')}",
        "unmeasured": f"cost - {part.format('seen')}",
        "starting": part.format("starting"),
        "gpu_ms": "time", "seen_ms": "seen_ms", "busy_ms": "busy_ms", "sm_ms": "sm_ms", "energy": "energy",
    }  # fmt: skip
    named = {STRANDED: "stranded", ABSENT: "absent", HOST: "host"}
    free = zero | {name: f"CASE WHEN instance = {slot} THEN cost ELSE 0 END" for slot, name in named.items()}
    free |= {"unallocated": "CASE WHEN instance >= 0 THEN cost ELSE 0 END", "gpu_ms": "time"}

    def columns(of: dict[str, str]) -> str:
        return ", ".join(f"CAST({sql} AS HUGEINT) AS {name}" for name, sql in of.items())

    return [
        f"""CREATE TEMP TABLE b_row AS
            SELECT pod, node, '' AS model, '' AS tenant, {columns(paid)} FROM (
                SELECT p.pod, p.node, p.cost, p.time, {busy} AS busy, {low} AS low, {seen} AS seen,
                    {share.format("GREATEST(0, LEAST(COALESCE(m.moment, 0), h.ended) - h.began)")} AS starting,
                    COALESCE(u.seen, 0) AS seen_ms, COALESCE(u.busy, 0) AS busy_ms, COALESCE(u.sm, 0) AS sm_ms,
                    COALESCE(u.energy, 0) AS energy
                FROM b_paid p JOIN ({spans} FROM b_hold GROUP BY pod, node, gpu, instance) h
                    ON h.pod = p.pod AND h.node = p.node AND h.gpu = p.gpu AND h.instance = p.instance
                LEFT JOIN (SELECT gpu, instance, pod, SUM(seen) AS seen, SUM(idle) AS idle, SUM(low) AS low,
                               SUM(busy) AS busy, SUM(sm) AS sm, SUM(energy) AS energy
                           FROM b_used GROUP BY gpu, instance, pod) u
                    ON u.pod = p.pod AND u.gpu = p.gpu AND u.instance = p.instance
                LEFT JOIN (SELECT id, MIN(moment) AS moment FROM marks WHERE mark = 'running' GROUP BY id) m
                    ON m.id = p.pod) x""",
        f"INSERT INTO b_row SELECT 0, node, '', '', {columns(free)} FROM b_free",
    ]


def cut(by: By, *, spread: bool) -> list[str]:
    """The lines: b_line. spread: unused time is carried by those who held the pool's GPUs, as they held them."""
    key, name = CUTS[by]
    sums = ", ".join(f"SUM({column}) AS {column}" for column in (*COST, "starting", *COUNTS))
    groups = f"""CREATE TEMP TABLE b_group AS
        SELECT key, id, pool, {sums}, COUNT(DISTINCT one) AS pods FROM (
            SELECT {key} AS key, {name} AS id, COALESCE(n.pool, '') AS pool, NULLIF(r.pod, 0) AS one, r.*
            FROM b_row r LEFT JOIN pods p ON p.id = r.pod LEFT JOIN b_node n ON n.node = r.node) x
        GROUP BY key, id, pool"""
    total = " + ".join(COST)
    statements = [groups]
    if spread:
        statements += _spread()
    columns = ", ".join(f"SUM({column}) AS {column}" for column in (*COST, "starting", *COUNTS, "pods"))
    lines = f"SELECT key, id, {columns} FROM b_group GROUP BY key, id"
    return [*statements, f"CREATE TEMP TABLE b_line AS SELECT *, {total} AS cost FROM ({lines}) l"]


def _spread() -> list[str]:
    """Unused money of each pool given to its holders in thousandths of a micro-unit, none lost: by running sums."""
    held = " + ".join(HELD)
    unused = " + ".join(UNUSED)
    kept = ", ".join(
        ["key", "id", "pool", *HELD]
        # What is less than a thousandth stays where it is, and so does all where nobody held anything.
        + [f"CASE WHEN held = 0 THEN {name} WHEN '{name}' = '{UNUSED[0]}' THEN rest ELSE 0 END" for name in UNUSED]
        + ["host", f"spread + CASE WHEN held = 0 THEN 0 ELSE given * {_FINE} END", "starting", *COUNTS, "pods"]
    )
    names = ", ".join(["key", "id", "pool", *COST, "starting", *COUNTS, "pods"])
    window = "(PARTITION BY pool ORDER BY key, id ROWS UNBOUNDED PRECEDING)"
    return [
        f"""CREATE TEMP TABLE b_share AS SELECT *,
            CASE WHEN held = 0 THEN 0 ELSE div(upto * unused, held) - div((upto - own) * unused, held) END AS given
            FROM (SELECT g.*, div({held}, {_FINE}) AS own, SUM(div({held}, {_FINE})) OVER {window} AS upto,
                SUM(div({held}, {_FINE})) OVER (PARTITION BY pool) AS held,
                div(SUM({unused}) OVER (PARTITION BY pool), {_FINE}) AS unused,
                CASE WHEN ROW_NUMBER() OVER (PARTITION BY pool ORDER BY key, id) = 1
                     THEN SUM({unused}) OVER (PARTITION BY pool)
                          - div(SUM({unused}) OVER (PARTITION BY pool), {_FINE}) * {_FINE} ELSE 0 END AS rest
                FROM b_group g) x""",
        "DELETE FROM b_group",
        f"INSERT INTO b_group ({names}) SELECT {kept} FROM b_share",
    ]


def rounded(store: Store, total: int, top: int) -> tuple[list[dict[str, Any]], dict[str, Any] | None, int]:
    """The lines in whole micro-units that add up to `total`, dearest first; the sum and number of those beyond `top`.

    Largest remainder: each line is rounded down, and what is missing goes to those that lost most.
    """
    short = total - int(store.rows(f"SELECT COALESCE(SUM(div(cost, {MICRO})), 0) FROM b_line")[0][0])
    store.run(
        f"""CREATE TEMP TABLE b_round AS SELECT *, ROW_NUMBER() OVER (ORDER BY micro DESC, key, id) AS place FROM (
            SELECT *, div(cost, {MICRO}) + CASE WHEN ROW_NUMBER() OVER (
                ORDER BY cost - div(cost, {MICRO}) * {MICRO} DESC, key, id) <= {short} THEN 1 ELSE 0 END AS micro
            FROM b_line) l"""
    )
    names = ("micro", *COST, "starting", *COUNTS, "pods")
    shown = f"WHERE place <= {top}" if top else ""
    listed = store.rows(f"SELECT key, id, {', '.join(names)} FROM b_round {shown} ORDER BY place")
    lines = [_whole(dict(zip(("key", "id", *names), row, strict=True))) for row in listed]
    count = int(store.rows("SELECT COUNT(*) FROM b_round")[0][0])
    if not top or count <= top:
        return lines, None, 0
    sums = ", ".join(f"SUM({name})" for name in names)
    others = store.rows(f"SELECT {sums} FROM b_round WHERE place > {top}")[0]
    return lines, _whole({"key": "", "id": "", **dict(zip(names, others, strict=True))}), count - top


def _whole(row: dict[str, Any]) -> dict[str, Any]:
    """A line's money in micro-units, its classes adding up to it; its GPU time in milliseconds."""
    micro = int(row.pop("micro"))
    exact = {name: int(row[name]) for name in COST}
    found = {name: value // MICRO for name, value in exact.items()}
    dearest = sorted(COST, key=lambda name: -(exact[name] % MICRO))
    for place in range(micro - sum(found.values())):
        found[dearest[place % len(dearest)]] += 1
    others = {name: int(row[name] or 0) for name in (*COUNTS, "pods")}
    others["gpu_ms"] = (others["gpu_ms"] + GPU_TIME // 2) // GPU_TIME
    return {"key": row["key"], "id": row["id"], "cost": micro, **found, **others,
            "starting": int(row["starting"]) // MICRO}  # fmt: skip
