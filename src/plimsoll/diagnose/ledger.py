"""Signals from a ledger: who held what, how it was used, how pods started and ended; and what all of that cost."""

from __future__ import annotations

from collections import defaultdict

import msgspec

from plimsoll.cost import lives, merge
from plimsoll.cost.bill import Bill, Query, bill
from plimsoll.cost.cuts import By
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lost import REASONS
from plimsoll.cost.price import Tariff
from plimsoll.cost.sample import IDLE, WHOLE
from plimsoll.cost.schema import USAGE
from plimsoll.cost.window import Window
from plimsoll.diagnose.held import Held
from plimsoll.diagnose.model import HOUR, MINUTE, Money, Value

SOURCE = "ledger"
WORKLOADS_MAX = 2_000  # the largest; what the others hold is little, and the bill has it
ROWS_MAX = 200_000
_QUIET = round((1 - IDLE) * 100)  # of 100: an hour that was idle for so much of it was not used
_DEVICE = "pod, gpu, instance"


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What a ledger says of a window. lives: of workloads by name, values beside their rows. skipped: workloads beyond
    the largest."""

    rows: list[Held]
    lives: dict[str, dict[str, Value]]
    teams: dict[str, dict[str, Value]]
    skipped: int


def read(ledger: Ledger, window: Window, *, checkpoint: int = 0) -> Read:
    """checkpoint: milliseconds between two checkpoints, 0 where that is not declared."""
    store, horizon = ledger.store, ledger.horizon()
    with store.reading():
        for sql in lives.lives(*window, horizon):
            store.run(sql)
        pending = ledger.pending(USAGE, *window)
        for sql in _tables(merge.within(USAGE, *window, pending=pending), window.began, min(horizon, window.ended)):
            store.run(sql)
        many = int(store.rows("SELECT COUNT(*) FROM d_all")[0][0])
        rows = [Held(*row) for row in store.rows(_ROWS)]
        found: dict[str, dict[str, Value]] = defaultdict(dict)
        _starts(ledger, window, found)
        _ends(ledger, window, checkpoint, found)
        return Read(rows=rows, lives=dict(found), teams=_teams(ledger), skipped=max(0, many - WORKLOADS_MAX))


def _tables(usage: str, began: int, until: int) -> list[str]:
    """The use of each device by each pod: d_use. Workloads: d_all, and the largest of them: d_top. Holds that are
    older than the window, did nothing in it and something before: d_earlier. Devices that had two holders at once:
    d_shared.
    """
    told = " UNION ALL ".join(
        f"SELECT pod, gpu, instance FROM {table.name} WHERE busy > 0 AND ended <= {began}"
        for table in (USAGE.table, USAGE.inbox)
    )
    sums = ", ".join(f"SUM(u.{name}) AS {name}" for name in USAGE.sums)
    before = "PARTITION BY node, gpu, instance ORDER BY began ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
    return [
        f"CREATE TEMP TABLE d_usage AS SELECT * FROM ({usage}) u WHERE pod <> 0",
        f"""CREATE TEMP TABLE d_active AS SELECT {_DEVICE}, MAX(ended) AS active FROM d_usage
            WHERE idle * 100 < seen * {_QUIET} GROUP BY {_DEVICE}""",
        f"""CREATE TEMP TABLE d_use AS SELECT u.pod, u.gpu, u.instance, COALESCE(a.active, 0) AS active, {sums},
            SUM(CASE WHEN u.began >= COALESCE(a.active, 0) THEN u.seen ELSE 0 END) AS quiet
            FROM d_usage u LEFT JOIN d_active a ON a.pod = u.pod AND a.gpu = u.gpu AND a.instance = u.instance
            GROUP BY u.pod, u.gpu, u.instance, a.active""",
        f"""CREATE TEMP TABLE d_earlier AS SELECT DISTINCT h.pod, h.gpu, h.instance FROM b_hold h
            LEFT JOIN d_use u ON u.pod = h.pod AND u.gpu = h.gpu AND u.instance = h.instance
            JOIN ({told}) o ON o.pod = h.pod AND o.gpu = h.gpu AND o.instance = h.instance
            WHERE h.began <= {began} AND COALESCE(u.busy, 0) = 0""",
        """CREATE TEMP TABLE d_all AS SELECT p.workload_id AS k, SUM((h.ended - h.began) * h.parts) AS time
            FROM b_hold h JOIN pods p ON p.id = h.pod GROUP BY 1""",
        f"CREATE TEMP TABLE d_top AS SELECT k FROM d_all ORDER BY time DESC, k LIMIT {WORKLOADS_MAX}",
        f"""CREATE TEMP TABLE d_shared AS SELECT DISTINCT node, gpu, instance FROM (
            SELECT node, gpu, instance, began, MAX(ended) OVER ({before}) AS reach FROM b_hold) h
            WHERE began < reach""",
        f"CREATE TEMP TABLE d_until AS SELECT CAST({until} AS BIGINT) AS until",
    ]


_NAME = "CASE WHEN p.workload = '' THEN p.namespace || '/' || p.name ELSE p.workload END"
_ROWS = f"""
    SELECT {_NAME}, p.job, p.name, p.team, p.model, n.name, n.sku, n.gpus, COALESCE(g.uuid, ''), COALESCE(i.name, ''),
        COALESCE(i.profile, ''), h.parts, s.gpu IS NOT NULL, h.began, h.ended, h.ended >= t.until, e.pod IS NOT NULL,
        COALESCE(u.seen, 0), COALESCE(u.idle, 0), COALESCE(u.busy, 0), COALESCE(u.sm, 0), COALESCE(u.tensor, 0),
        COALESCE(u.dram, 0), COALESCE(u.energy, 0), COALESCE(u.memory, 0), COALESCE(u.active, 0),
        COALESCE(u.quiet, 0), div(COALESCE(u.seen, 0), {MINUTE})
    FROM b_hold h JOIN pods p ON p.id = h.pod JOIN d_top w ON w.k = p.workload_id JOIN b_node n ON n.node = h.node
    CROSS JOIN d_until t
    LEFT JOIN (SELECT gpu, MIN(uuid) AS uuid FROM gpus GROUP BY gpu) g ON g.gpu = h.gpu
    LEFT JOIN (SELECT node, gpu, instance, MIN(name) AS name, MIN(profile) AS profile FROM instances
               GROUP BY node, gpu, instance) i ON i.node = h.node AND i.gpu = h.gpu AND i.instance = h.instance
    LEFT JOIN d_shared s ON s.node = h.node AND s.gpu = h.gpu AND s.instance = h.instance
    LEFT JOIN d_use u ON u.pod = h.pod AND u.gpu = h.gpu AND u.instance = h.instance
    LEFT JOIN d_earlier e ON e.pod = h.pod AND e.gpu = h.gpu AND e.instance = h.instance
    ORDER BY (h.ended - h.began) * h.parts DESC, p.uid, h.gpu, h.instance LIMIT {ROWS_MAX}"""


def _starts(ledger: Ledger, window: Window, found: dict[str, dict[str, Value]]) -> None:
    """How long pods that were scheduled in the window held their GPUs before they ran."""
    rows = ledger.store.rows(
        f"""SELECT {_NAME}, COUNT(*), SUM(m.moment - p.began) FROM pods p JOIN d_top w ON w.k = p.workload_id
            JOIN (SELECT id, MIN(moment) AS moment FROM marks WHERE mark = 'running' GROUP BY id) m ON m.id = p.id
            WHERE p.began >= {window.began} AND p.began < {window.ended} AND m.moment >= p.began GROUP BY 1"""
    )
    for name, count, waited in rows:
        found[name]["start.pods"] = Value(int(count), SOURCE, int(count))
        found[name]["start.minutes"] = Value(int(waited) / int(count) / MINUTE, SOURCE, int(count))


def _ends(ledger: Ledger, window: Window, checkpoint: int, found: dict[str, dict[str, Value]]) -> None:
    """Pods that were pushed out, and the GPU time that they can have lost."""
    reasons = ", ".join(f"'{reason}'" for reason in REASONS)
    span = f"LEAST(h.ended - h.began, {checkpoint})" if checkpoint else "h.ended - h.began"
    rows = ledger.store.rows(
        f"""SELECT {_NAME}, COUNT(DISTINCT p.id), SUM(({span}) * h.parts) FROM b_hold h JOIN pods p ON p.id = h.pod
            JOIN d_top w ON w.k = p.workload_id
            JOIN (SELECT DISTINCT id FROM marks WHERE kind = 'pod' AND mark = 'ended' AND why IN ({reasons})
                  AND moment > {window.began} AND moment <= {window.ended}) m ON m.id = p.id GROUP BY 1"""
    )
    for name, count, time in rows:
        found[name]["evictions"] = Value(int(count), SOURCE, int(count))
        found[name]["evictions.gpu_hours"] = Value(int(time) / WHOLE / HOUR, SOURCE, int(count))
        if checkpoint:
            found[name]["checkpoint.minutes"] = Value(checkpoint / MINUTE, "declaration")


def _teams(ledger: Ledger) -> dict[str, dict[str, Value]]:
    """The use of every team, of all its holds. Weighted by the part of a GPU that each is."""
    rows = ledger.store.rows(
        """SELECT p.team, SUM((h.ended - h.began) * h.parts), SUM(COALESCE(u.seen, 0) * h.parts),
            SUM(COALESCE(u.busy, 0) * h.parts), SUM(COALESCE(u.sm, 0) * h.parts)
            FROM b_hold h JOIN pods p ON p.id = h.pod
            LEFT JOIN d_use u ON u.pod = h.pod AND u.gpu = h.gpu AND u.instance = h.instance GROUP BY 1"""
    )
    everything = sum(int(time) for _, time, *_ in rows)
    found = {}
    for team, *sums in rows:
        time, seen, busy, sm = map(int, sums)
        if not team or not seen:
            continue
        values = {"busy.mean": busy / seen, "held.gpu_hours": time / WHOLE / HOUR, "held.share": time / everything}
        values |= {"sm.mean": sm / seen} if sm else {}
        samples, coverage = seen // WHOLE // MINUTE, min(seen / time, 1.0)
        found[team] = {name: Value(value, SOURCE, samples, coverage) for name, value in values.items()}
    return found


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What workloads, teams and nodes cost in the window. gpu_hour: micro-units, the mean of what was held."""

    currency: str
    total: int
    whole: Money
    by: dict[str, dict[str, Money]]
    unpriced: tuple[str, ...]


def costs(ledger: Ledger, tariff: Tariff, window: Window, split: Query) -> Costs:
    """split: a query whose way to divide prices is used."""
    found: dict[str, dict[str, Money]] = {}

    def cut(by: By, top: int = 0) -> Bill:
        query = msgspec.structs.replace(split, by=by, began=window.began, ended=window.ended, idle="shown", top=top)
        answer = bill(ledger, tariff, query)
        found[by] = _money(answer)
        return answer

    whole = cut("node")
    cut("team")
    cut("workload", 3 * WORKLOADS_MAX)
    lines = [*whole.lines, *([whole.others] if whole.others else [])]
    money = Money(cost=sum(each.cost for each in lines), gpu_ms=sum(each.gpu_ms for each in lines))
    return Costs(currency=whole.currency, total=whole.total, whole=money, by=found, unpriced=whole.unpriced)


def _money(of: Bill) -> dict[str, Money]:
    """By key; things of one name are one subject here."""
    found: dict[str, Money] = {}
    for line in of.lines:
        if not line.key:
            continue
        have = found.get(line.key, Money(cost=0, gpu_ms=0))
        found[line.key] = Money(
            cost=have.cost + line.cost, gpu_ms=have.gpu_ms + line.gpu_ms, idle=have.idle + line.idle,
            low=have.low + line.low, starting=have.starting + line.starting,
            unused=have.unused + line.unallocated + line.stranded,
        )  # fmt: skip
    return found
