"""The charges of one period: who had which class of time of which pool, in whole micro-units, as a table b_charge.

A bill is cut one way, a charge is cut every way at once: by team, namespace, job, model, labels, pool, SKU, capacity,
region, MIG profile and class of use. Class is by time, as in lines.py.
"""

from __future__ import annotations

from plimsoll.cost.lives import ABSENT, HOST, STRANDED
from plimsoll.cost.split import GPU_TIME, MICRO
from plimsoll.cost.store import Store

RATIO = 10**12  # into which the charge of a pool is cut among those who share it

POOL = ("pool", "sku", "capacity", "provider", "region", "instance_type")
WHOSE = ("team", "namespace", "model", "tenant", "labels")
NAMED = ("job", "job_uid", "workload", "name", "uid")  # of the holder; of a job, of whichever of its pods is first
KEYS = (*POOL, "profile", "class", *WHOSE, "holder")
MEASURED = ("busy", "energy")
COUNTED = ("requests", "prompt", "output")
TEXTS = (*POOL, "profile", "class", *WHOSE, *NAMED)
NUMBERS = ("micro", "ratio", "gpu_us", "busy_ms", "energy_mj", *COUNTED)
COLUMNS = ("place", *TEXTS, *NUMBERS)

_PER_US = GPU_TIME // 1000


def _pieces() -> str:
    """What each holder had of each device, cut by class: f1, f2, f3 milliseconds were productive, not idle, measured.

    What was measured is known per hold, not per class. Busy time is what was not idle, in proportion; energy is
    divided by the time measured.
    """
    f1, f2, f3 = (
        f"CAST(COALESCE({text}, 0) AS BIGINT)" for text in ("u.seen - u.idle - u.low", "u.seen - u.idle", "u.seen")
    )

    def cut(value: str, upto: str, whole: str) -> str:
        return f"div(CAST({value} AS HUGEINT) * {upto}, {whole})"

    def between(value: str, low: str, high: str, whole: str = "held") -> str:
        return f"{cut(value, high, whole)} - {cut(value, low, whole)}"

    def classes(value: str) -> str:
        spans = {"productive": ("0", "f1"), "low": ("f1", "f2"), "idle": ("f2", "f3"), "unmeasured": ("f3", "held")}
        return "CASE class " + " ".join(
            f"WHEN '{name}' THEN {between(value, low, high)}" for name, (low, high) in spans.items()
        ) + " END"  # fmt: skip

    busy = f"""CASE class WHEN 'productive' THEN CASE WHEN f2 > 0 THEN {cut("busy", "f1", "f2")} ELSE 0 END
        WHEN 'low' THEN CASE WHEN f2 > 0 THEN {between("busy", "f1", "f2", "f2")} ELSE 0 END
        WHEN 'idle' THEN CASE WHEN f2 = 0 AND f3 > 0 THEN busy ELSE 0 END ELSE 0 END"""
    energy = f"""CASE WHEN f3 = 0 THEN 0 ELSE CASE class WHEN 'productive' THEN {cut("energy", "f1", "f3")}
        WHEN 'low' THEN {between("energy", "f1", "f2", "f3")}
        WHEN 'idle' THEN {between("energy", "f2", "f3", "f3")} ELSE 0 END END"""
    names = ", ".join(f"('{name}')" for name in ("productive", "low", "idle", "unmeasured"))
    return f"""
        SELECT pod, node, gpu, instance, ended, class, {classes("cost")} AS cost, {classes("time")} AS time,
            {busy} AS busy, {energy} AS energy
        FROM (SELECT p.pod, p.node, p.gpu, p.instance, p.ended, p.cost, p.time, {f1} AS f1, {f2} AS f2, {f3} AS f3,
                  GREATEST(p.ended - p.began, {f3}) AS held,
                  CAST(COALESCE(u.busy, 0) AS BIGINT) AS busy, CAST(COALESCE(u.energy, 0) AS BIGINT) AS energy
              FROM b_paid p LEFT JOIN b_use u ON u.pod = p.pod AND u.gpu = p.gpu AND u.instance = p.instance) x
        CROSS JOIN (VALUES {names}) c(class)"""


def charges() -> list[str]:
    """From b_paid, b_free, b_use, b_node and b_traffic to the charges as they are, before rounding: b_sum."""
    pool = ", ".join(f"n.{name}" for name in POOL)
    whose = ", ".join(f"p.{name}" for name in WHOSE)
    named = ", ".join(f"MIN({of}) AS {name}" for name, of in (
        ("job", "p.job"), ("job_uid", "p.job_uid"), ("workload", "p.workload"),
        ("name", "p.namespace || '/' || p.name"), ("uid", "p.uid"),
    ))  # fmt: skip
    sums = ", ".join(f"SUM(r.{name}) AS {name}" for name in ("cost", "time", *MEASURED))
    unused = f"CASE instance WHEN {STRANDED} THEN 'stranded' WHEN {ABSENT} THEN 'absent' WHEN {HOST} THEN 'host' ELSE "
    # A number of an instance comes back when its GPU is cut anew. Its record may be later than its first holder.
    lives = "OVER (PARTITION BY node, gpu, instance ORDER BY began)"
    first = f"CASE WHEN LAG(began) {lives} IS NULL THEN 0 ELSE began END"
    profile = f"""SELECT node, gpu, instance, profile, {first} AS began, LEAD(began) {lives} AS later FROM instances"""
    blank = ", ".join(f"'' AS {name}" for name in WHOSE)
    nobody = ", ".join(f"'' AS {name}" for name in NAMED)
    holder = "CASE WHEN p.job <> '' THEN p.job_id ELSE p.workload_id END"
    counted = ", ".join(f"SUM({name}) AS {name}" for name in COUNTED)
    zeros = ", ".join(f"0 AS {name}" for name in COUNTED)
    return [
        f"CREATE TEMP TABLE b_classed AS SELECT * FROM ({_pieces()}) x WHERE cost > 0 OR time > 0",
        f"""CREATE TEMP TABLE b_sum AS
            SELECT {pool}, COALESCE(i.profile, '') AS profile, r.class, {whose}, {holder} AS holder, {named},
                {sums}, {zeros}
            FROM b_classed r JOIN pods p ON p.id = r.pod JOIN b_node n ON n.node = r.node
            LEFT JOIN ({profile}) i ON i.node = r.node AND i.gpu = r.gpu AND i.instance = r.instance
                AND i.began < r.ended AND (i.later IS NULL OR r.ended <= i.later)
            GROUP BY {pool}, COALESCE(i.profile, ''), r.class, {whose}, {holder}
            UNION ALL
            SELECT {pool}, '', {unused} 'unallocated' END AS class, {blank}, 0 AS holder, {nobody},
                SUM(r.cost), SUM(r.time), 0, 0, {zeros}
            FROM b_free r JOIN b_node n ON n.node = r.node
            GROUP BY {pool}, {unused} 'unallocated' END HAVING SUM(r.cost) > 0 OR SUM(r.time) > 0
            UNION ALL
            SELECT {", ".join("''" for _ in POOL)}, '', '', '', '', model, tenant, '', 0, {nobody}, 0, 0, 0, 0,
                {counted}
            FROM b_traffic GROUP BY model, tenant HAVING SUM(requests + prompt + output) > 0""",
    ]


def rounded(store: Store, exact: int, carried: int) -> int:
    """Bring the money of b_sum to whole micro-units, in b_charge; what of it is carried to the next period.

    exact: the price of the nodes of this period. carried: what earlier periods left, below a micro-unit. A running sum
    is rounded, not each row: so all periods together make the bill of all of them, and no row is a micro-unit off.
    What divisions lost goes to the last row.
    """
    order = "ORDER BY place ROWS UNBOUNDED PRECEDING"
    pool = f"PARTITION BY {', '.join(POOL)}"
    sums = (("cost", "cost"), ("time", "time"))
    running = ", ".join(f"SUM({of}) OVER ({order}) AS {name}_upto" for of, name in sums)
    store.run(f"""CREATE TEMP TABLE b_placed AS SELECT *, {running} FROM (
        SELECT *, ROW_NUMBER() OVER (ORDER BY {", ".join(KEYS)}) AS place FROM b_sum) s""")
    last = int(store.rows("SELECT COALESCE(MAX(place), 0) FROM b_placed")[0][0])
    upto = f"CASE WHEN place = {last} THEN CAST({exact} AS HUGEINT) ELSE cost_upto END + {carried}"
    # Of a pool that costs nothing the time says who had how much of it.
    share = "CASE WHEN paid > 0 THEN micro ELSE gpu_us END"
    shares = f"SUM({share}) OVER ({pool} {order})"
    whole = f"SUM({share}) OVER ({pool})"
    store.run(f"""CREATE TEMP TABLE b_charge AS SELECT *,
        CASE WHEN whole > 0 THEN div(CAST(upto AS HUGEINT) * {RATIO}, CAST(whole AS HUGEINT))
            - div(CAST(upto - share AS HUGEINT) * {RATIO}, CAST(whole AS HUGEINT)) ELSE 0 END AS ratio FROM (
        SELECT *, {share} AS share, {shares} AS upto, {whole} AS whole FROM (
            SELECT *, SUM(micro) OVER ({pool}) AS paid FROM (
                SELECT place, {", ".join((*TEXTS, *COUNTED))}, busy AS busy_ms, energy AS energy_mj,
                    div({upto}, {MICRO}) - div(cost_upto - cost + {carried}, {MICRO}) AS micro,
                    div(time_upto, {_PER_US}) - div(time_upto - time, {_PER_US}) AS gpu_us FROM b_placed) a) b) c""")
    return (carried + exact) % MICRO
