"""One job: when it waited, started and ran, what each of its pods cost, and the work that was lost."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Literal

import msgspec

from plimsoll.cost import lines
from plimsoll.cost.bill import Query, divided, watched
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lost import REASONS
from plimsoll.cost.price import Tariff
from plimsoll.cost.request import share
from plimsoll.cost.split import GPU_TIME, MICRO, Split
from plimsoll.errors import IncompleteError, InputError

GONE = "node gone"  # why a pod ended of which only the end of its node was told
_NAMES_MAX = 5
_NAME = "CASE WHEN job = '' THEN namespace || '/' || name ELSE job END"


class Found(msgspec.Struct, frozen=True):
    """A job of the ledger. key: its number there. name: `namespace/name`. uid: of the job, or of a pod that has none.

    others: how many jobs of that name there are beside it.
    """

    key: int
    name: str
    uid: str
    others: int = 0


class PodRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one pod of a job did. Moments in milliseconds; None where that was not told, or not yet.

    devices: how many it held. ended: None while it runs. why: it ended, as the cluster says; "" for no reason told.
    cost: micro-units; of it starting until its containers ran, and lost where it was pushed out.
    held_ms, known_ms, used_ms: GPU time, see bill.Line.
    """

    name: str
    uid: str
    node: str
    devices: int
    created: int | None
    scheduled: int
    ran: int | None
    ended: int | None
    why: str
    cost: int
    starting: int
    lost: int
    held_ms: int
    known_ms: int
    used_ms: int

    @property
    def evicted(self) -> bool:
        """Whether it was pushed out before it was done."""
        return self.ended is not None and self.why in (*REASONS, GONE)


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a job's life: queued before its first pod had a node, starting until containers ran, running."""

    name: Literal["queued", "starting", "running"]
    began: int
    ended: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job, over its whole life so far. pods: as they began. cost: their sum.

    ended: None while a pod of it runs. upto: until when it is billed. checkpoint: milliseconds between checkpoints that
    lost work is counted from, 0 for none: all that the pod did is lost.
    """

    found: Found
    team: str
    workload: str
    model: str
    pods: tuple[PodRow, ...]
    phases: tuple[Phase, ...]
    ended: int | None
    upto: int
    checkpoint: int
    currency: str
    sources: tuple[str, ...]
    unpriced: tuple[str, ...]

    @property
    def cost(self) -> int:
        return sum(pod.cost for pod in self.pods)

    @property
    def lost(self) -> int:
        return sum(pod.lost for pod in self.pods)

    @property
    def starting(self) -> int:
        return sum(pod.starting for pod in self.pods)


def find(ledger: Ledger, name: str, uid: str = "") -> Found:
    """The job `namespace/name`, or the only one of a bare name; of several the newest. A pod without a job is one.

    Raises InputError where there is none, or several namespaces have it.
    """
    if not ledger.horizon():
        raise IncompleteError("the ledger is empty: no meter has written to it")
    bare = "/" not in name
    wanted = f"strpos({_NAME}, '/') > 0 AND substr({_NAME}, strpos({_NAME}, '/') + 1) = ?" if bare else f"{_NAME} = ?"
    values: list[object] = [name]
    if uid:
        wanted += " AND CASE WHEN job = '' THEN uid ELSE job_uid END = ?"
        values.append(uid)
    rows = ledger.store.rows(
        f"""SELECT job_id, MIN({_NAME}), MAX(CASE WHEN job = '' THEN uid ELSE job_uid END), MAX(began) AS newest
            FROM pods WHERE {wanted} GROUP BY job_id ORDER BY newest DESC, job_id""",
        values,
    )
    if not rows:
        which = f"{name[:300]!r}" + (f" with the uid {uid[:100]!r}" if uid else "")
        raise InputError(
            f"the ledger has no job {which}", hint="`plimsoll cost --by job --since 7d` lists those of a week."
        )
    names = sorted({row[1] for row in rows})
    if len(names) > 1:
        more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
        raise InputError(f"several jobs are called {name[:300]!r}",
                         hint=f"Name one with its namespace: {', '.join(names[:_NAMES_MAX])}{more}")  # fmt: skip
    number, title, own, _ = rows[0]
    return Found(number, title, own, len(rows) - 1)


def job(ledger: Ledger, tariff: Tariff, found: Found, *, split: Split = "measured", checkpoint: int = 0) -> Job:
    """What a job did and cost from its first pod's schedule until it ended, or the meters' last moment; of the time
    before a meter first watched it costs nothing here, as in every bill.

    checkpoint: milliseconds between two checkpoints: a pod that was pushed out lost at most its last so many. 0: all.
    """
    store = ledger.store
    with store.reading():
        horizon = ledger.horizon()
        told = _told(ledger, found.key, horizon)
        began = min(row["began"] for row in told)
        ended = max(began + 1, *(min(row["ended"] or horizon, horizon) for row in told))
        query = watched(ledger, Query(by="job", began=began, ended=ended, split=split))
        rates = divided(ledger, tariff, query, horizon)
        for sql in lines.classes():
            store.run(sql)
        rows = store.rows(
            """SELECT r.pod, SUM(r.cost), SUM(r.starting), SUM(r.time), SUM(r.known), SUM(r.used), COUNT(*)
                FROM b_row r JOIN pods p ON p.id = r.pod WHERE p.job_id = ? GROUP BY r.pod ORDER BY r.pod""",
            [found.key],
        )
        nodes = {name for (name,) in store.rows(
            """SELECT DISTINCT n.name FROM b_hold h JOIN pods p ON p.id = h.pod JOIN b_node n ON n.node = h.node
                WHERE p.job_id = ?""", [found.key])}  # fmt: skip
    money = {pod: tuple(map(int, of)) for pod, *of in rows}
    micro = _micro([money.get(row["id"], (0,))[0] for row in told])
    pods = tuple(_pod(row, money.get(row["id"]), cost, checkpoint, horizon)
                 for row, cost in zip(told, micro, strict=True))  # fmt: skip
    mine = [(node, rate) for node, rate in rates if node.name in nodes]
    first = told[0]
    over = all(pod.ended is not None for pod in pods)
    return Job(
        found=found, team=first["team"], workload=first["workload"], model=first["model"], pods=pods,
        phases=tuple(_phases(pods, ended)), ended=max(pod.ended or 0 for pod in pods) if over else None, upto=ended,
        checkpoint=checkpoint, currency=tariff.currency,
        sources=tuple(sorted({rate.source for _, rate in mine if rate.per_hour is not None})),
        unpriced=tuple(sorted({node.name for node, rate in mine if rate.per_hour is None})),
    )  # fmt: skip


def _told(ledger: Ledger, key: int, horizon: int) -> list[dict[str, Any]]:
    """The pods of a job with what was told of them, as they began; `ended` None while one runs."""
    store = ledger.store
    columns = ("id", "uid", "namespace", "name", "team", "workload", "model", "created", "began", "node")
    named = ", ".join(f"p.{name}" for name in columns[:-1])
    rows = store.rows(
        f"""SELECT {named}, COALESCE(n.name, ''), p.node FROM pods p LEFT JOIN nodes n ON n.id = p.node
            WHERE p.job_id = ? ORDER BY p.began, p.name, p.uid""",
        [key],
    )
    marks: dict[int, list[tuple[str, int, int, str]]] = defaultdict(list)
    mine = "SELECT id FROM pods WHERE job_id = ? UNION SELECT node FROM pods WHERE job_id = ?"
    told = store.rows(f"SELECT id, mark, moment, exact, why FROM marks WHERE id IN ({mine})", [key, key])
    for id_, mark, moment, exact, why in told:
        marks[id_].append((mark, moment, exact, why))
    found = []
    for *values, node in rows:
        pod = dict(zip(columns, values, strict=True))
        # The one that the cluster told goes first, then the earliest: as the bill has it.
        own = min(((-exact, moment, why) for mark, moment, exact, why in marks[pod["id"]] if mark == "ended"),
                  default=None)  # fmt: skip
        lost = min((moment for mark, moment, _, _ in marks[node] if mark == "ended"), default=None)
        pod["ended"], pod["why"] = (own[1], own[2]) if own else (None, "")
        if lost is not None and (pod["ended"] is None or lost < pod["ended"]):
            pod["ended"], pod["why"] = lost, pod["why"] or GONE
        if pod["ended"] is not None and pod["ended"] > horizon:
            pod["ended"] = horizon
        pod["ran"] = min((moment for mark, moment, _, _ in marks[pod["id"]] if mark == "running"), default=None)
        found.append(pod)
    return found


def _micro(exact: list[int]) -> list[int]:
    """Whole micro-units that are as these and add up to their sum, rounded."""
    return share((sum(exact) + MICRO // 2) // MICRO, exact) if any(exact) else [0] * len(exact)


def _pod(told: dict[str, Any], money: tuple[int, ...] | None, cost: int, checkpoint: int, horizon: int) -> PodRow:
    _, starting, time, known, used, devices = money or (0, 0, 0, 0, 0, 0)
    row = PodRow(
        name=told["name"], uid=told["uid"], node=told["node"], devices=devices, created=told["created"] or None,
        scheduled=told["began"], ran=told["ran"], ended=told["ended"], why=told["why"], cost=cost,
        starting=min((starting + MICRO // 2) // MICRO, cost), lost=0,
        held_ms=(time + GPU_TIME // 2) // GPU_TIME, known_ms=(known + GPU_TIME // 2) // GPU_TIME,
        used_ms=(used + GPU_TIME // 2) // GPU_TIME,
    )  # fmt: skip
    if not row.evicted:
        return row
    span = (row.ended or horizon) - row.scheduled
    return msgspec.structs.replace(row, lost=cost * checkpoint // span if 0 < checkpoint < span else cost)


def _phases(pods: tuple[PodRow, ...], upto: int) -> list[Phase]:
    """Those that lasted, one after another. A job whose pods were never seen running is starting until its end."""
    created = min((pod.created for pod in pods if pod.created), default=None)
    scheduled = min(pod.scheduled for pod in pods)
    ran = min((pod.ran for pod in pods if pod.ran), default=None)
    ended = min(max(pod.ended if pod.ended is not None else upto for pod in pods), upto)
    marks = [("queued", created or scheduled), ("starting", scheduled), ("running", min(ran or ended, ended))]
    ends = [scheduled, marks[2][1], ended]
    return [
        Phase(name=name, began=began, ended=end)  # type: ignore[arg-type]  # one of its names
        for (name, began), end in zip(marks, ends, strict=True)
        if began < end
    ]
