"""The ledger: records in, each counted once; merged, and forgotten when they are old."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from plimsoll.cost import merge
from plimsoll.cost.sample import (
    HOUR,
    Ended,
    Gpu,
    Hold,
    Instance,
    Node,
    Pod,
    Quote,
    Record,
    Request,
    Running,
    Tokens,
    Usage,
    Watch,
    by_hour,
    key,
)
from plimsoll.cost.schema import (
    FLOWS,
    GPUS,
    HOLDS,
    INSTANCES,
    MARKS,
    NODES,
    PODS,
    QUOTES,
    REQUESTS,
    TABLES,
    TOKENS,
    USAGE,
    VERSION,
    WATCHES,
    Flow,
    Table,
)
from plimsoll.cost.store import Store
from plimsoll.errors import InputError

BATCH = 50_000  # rows in one statement
_DAY = 24 * HOUR
Row = tuple[Any, ...]


class Keeper(msgspec.Struct, frozen=True, kw_only=True):
    """Who keeps a ledger in a role, until when: of two meters that guess, each may guess otherwise.

    now, until: milliseconds since 1970. after: a keeper that is known to be gone before his time was over.
    """

    role: str
    holder: str
    now: int
    until: int
    after: str = ""


class KeptError(InputError):
    """Somebody else keeps the ledger."""

    def __init__(self, what: str, holder: str) -> None:
        super().__init__(what, hint="One is enough: stop the other, or wait until it has ended.")
        self.holder = holder


class Ledger:
    """A store with the rules of the ledger. Any method may be called again after it failed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        found = store.rows("SELECT MAX(version) FROM plimsoll_ledger")[0][0]
        if found > VERSION:
            raise InputError(f"the ledger has version {found}, this Plimsoll reads up to {VERSION}", hint="Upgrade it.")

    def write(
        self,
        records: Iterable[Record],
        meter: str = "",
        cursors: Mapping[str, str] | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        """Add records; all of them or, where this fails, none. Those that are there already change nothing.

        meter, cursors: with them, where this meter stands: what it has to know to go on, by names of its own.
        keeper: who writes; raises KeptError where somebody else keeps the ledger in the same role.
        """
        rows: dict[str, list[Row]] = defaultdict(list)
        for record in records:
            for table, row in _rows(record):
                rows[table.name].append(row)
        with self.store.writing():
            if keeper is not None:
                self._keep(keeper)
            for table in TABLES:
                found = rows.get(table.name, [])
                for start in range(0, len(found), BATCH):
                    batch = found[start : start + BATCH]
                    self.store.run(table.insert(), [list(column) for column in zip(*batch, strict=True)])
            for name, value in sorted((cursors or {}).items()):
                self.store.run(
                    """INSERT INTO cursors (meter, name, value) VALUES (?, ?, ?)
                       ON CONFLICT (meter, name) DO UPDATE SET value = excluded.value""", (meter, name, value)
                )  # fmt: skip

    def _keep(self, keeper: Keeper) -> None:
        """Keep the ledger until a moment. Whoever kept it may be overtaken once his time is over."""
        mine = msgspec.json.encode(keeper).decode()
        self.store.run("INSERT INTO cursors (meter, name, value) VALUES (?, 'keeper', ?) ON CONFLICT DO NOTHING",
                       (keeper.role, mine))  # fmt: skip
        # The update locks the row first, so of two at once the second sees what the first one wrote.
        self.store.run("UPDATE cursors SET value = value WHERE meter = ? AND name = 'keeper'", (keeper.role,))
        said = self.store.rows("SELECT value FROM cursors WHERE meter = ? AND name = 'keeper'", (keeper.role,))[0][0]
        other = msgspec.json.decode(said, type=Keeper)
        if other.holder not in (keeper.holder, keeper.after) and other.until > keeper.now:
            raise KeptError(f"another meter keeps this ledger: {other.holder}", other.holder)
        self.store.run("UPDATE cursors SET value = ? WHERE meter = ? AND name = 'keeper'", (mine, keeper.role))

    def cursors(self, meter: str) -> dict[str, str]:
        """Where a meter stood when it wrote last."""
        return dict(self.store.rows("SELECT name, value FROM cursors WHERE meter = ?", (meter,)))

    def first(self) -> int:
        """The first moment at which a meter watched; 0 where none ever did."""
        return int(self.store.rows("SELECT COALESCE(MIN(began), 0) FROM watches")[0][0])

    def horizon(self) -> int:
        """The last moment at which a meter watched; 0 where none ever did."""
        return int(self.store.rows("SELECT COALESCE(MAX(ended), 0) FROM watches")[0][0])

    def pending(self, flow: Flow, began: int, ended: int) -> bool:
        """Whether the inbox of a flow holds anything between two moments."""
        sql = f"SELECT 1 FROM {flow.inbox.name} WHERE ended > ? AND began < ? LIMIT 1"
        return bool(self.store.rows(sql, (began, ended)))

    def seal(self, before: int) -> None:
        """Merge what the inboxes hold up to a moment: one row per owner and hour, if nothing is missing between.

        Late records are welcome after it: they are merged with what is there. Day by day, to need little memory.
        """
        for flow in FLOWS:
            sql = f"SELECT MIN(began) FROM {flow.inbox.name} WHERE ended <= ?"
            while (first := self.store.rows(sql, (before,))[0][0]) is not None:
                # To the end of that day; a row ends in the hour it begins in, so none stays behind.
                self._seal(flow, min(before, first - first % _DAY + _DAY))
        with self.store.merging():
            self.store.run(f"CREATE TEMP TABLE work AS {merge.islands('SELECT * FROM watches', 'meter')}")
            self.store.run("DELETE FROM watches")
            self.store.run("INSERT INTO watches (meter, began, ended) SELECT meter, began, ended FROM work")
            self.store.run("DROP TABLE work")

    def _seal(self, flow: Flow, before: int) -> None:
        inbox, table, columns = flow.inbox.name, flow.table.name, merge.columns(flow)
        with self.store.merging():
            self.store.run(f"CREATE TEMP TABLE work AS SELECT {columns} FROM {inbox} WHERE ended <= {before}")
            first, last = self.store.rows("SELECT MIN(began), MAX(began) FROM work")[0]
            if first is not None:
                near = f"t.began >= {first - first % HOUR} AND t.began < {last - last % HOUR + HOUR}"
                touched = f"FROM {table} t WHERE {near} AND {merge.met(flow, 't', 'work')}"
                self.store.run(f"INSERT INTO work SELECT {columns} {touched}")
                self.store.run(f"DELETE {touched}".replace(f"DELETE FROM {table} t", f"DELETE FROM {table} AS t"))
                merged = merge.runs(merge.once("SELECT * FROM work", flow), flow)
                order = ", ".join((*flow.own, "began"))
                self.store.run(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM ({merged}) m ORDER BY {order}")
                self.store.run(f"DELETE FROM {inbox} WHERE ended <= {before}")
            self.store.run("DROP TABLE work")

    def forget(self, before: int) -> None:
        """Delete what ended before a moment. What a later bill needs stays: lives that reach beyond, current prices."""
        ended = f"SELECT id FROM marks WHERE mark = 'ended' AND moment <= {before}"
        with self.store.merging():
            for flow in FLOWS:
                for table in (flow.table, flow.inbox):
                    self.store.run(f"DELETE FROM {table.name} WHERE ended <= {before}")
            self.store.run(f"DELETE FROM holds WHERE id IN ({ended}) OR pod IN ({ended})")
            self.store.run(f"DELETE FROM pods WHERE id IN ({ended})")
            # A GPU or instance may come back: only its lives that a mark closed in time go.
            for name in ("gpus", "instances"):
                closed = f"SELECT 1 FROM marks m WHERE m.id = {name}.id AND m.moment >= {name}.began"
                self.store.run(
                    f"DELETE FROM {name} WHERE node IN ({ended}) OR EXISTS ({closed} AND m.moment <= {before})"
                )
            self.store.run(f"DELETE FROM nodes WHERE id IN ({ended})")
            lives = " UNION ALL ".join(
                f"SELECT id FROM {name}" for name in ("nodes", "gpus", "instances", "pods", "holds")
            )
            self.store.run(f"DELETE FROM marks WHERE moment <= {before} AND id NOT IN ({lives})")
            newest = f"SELECT MAX(q.moment) FROM quotes q WHERE q.scope = quotes.scope AND q.moment <= {before}"
            self.store.run(f"DELETE FROM quotes WHERE moment < ({newest})")
            self.store.run(f"DELETE FROM watches WHERE ended <= {before}")
            self.store.run(f"DELETE FROM requests WHERE ended <= {before}")


def _rows(record: Record) -> Sequence[tuple[Table, Row]]:
    """The rows that a record is."""
    match record:
        case Usage():
            return [
                (USAGE.inbox, (key(each.gpu), key(each.instance), key(each.pod), *msgspec.structs.astuple(each)[3:]))
                for each in by_hour(record) if isinstance(each, Usage)
            ]  # fmt: skip
        case Tokens():
            return [
                (TOKENS.inbox, (each.model, each.tenant, key(each.pod), each.began, each.ended,
                                *(getattr(each, name) for name in TOKENS.sums)))
                for each in by_hour(record) if isinstance(each, Tokens)
            ]  # fmt: skip
        case Node(uid=uid):
            return [(NODES, (key(uid), *msgspec.structs.astuple(record)))]
        case Gpu(node=node, gpu=gpu):
            return [(GPUS, (key(node, gpu), key(node), key(gpu), gpu, record.began))]
        case Instance(node=node, gpu=gpu, instance=instance):
            return [(INSTANCES, (key(node, gpu, instance), key(node), key(gpu), key(instance), instance,
                                 record.profile, record.parts, record.began))]  # fmt: skip
        case Pod(uid=uid):
            labels = msgspec.json.encode(record.labels, order="sorted").decode()
            row = msgspec.structs.astuple(msgspec.structs.replace(record, labels={}))
            values = dict(zip(record.__struct_fields__, row, strict=True)) | {
                "id": key(uid), "node": key(record.node), "labels": labels,
                "job_id": key(record.job, record.job_uid) if record.job else key(uid),
                "workload_id": key(record.workload) if record.workload else key(uid)}  # fmt: skip
            return [(PODS, tuple(values[name] for name in PODS.columns))]
        case Hold(pod=pod, node=node, gpu=gpu, instance=instance):
            device = key(node, gpu, instance) if instance else key(node, gpu)
            return [(HOLDS, (key(pod, gpu, instance, "hold"), key(pod), device, key(node), key(gpu), key(instance),
                             record.parts, max(record.weight, 1), record.began))]  # fmt: skip
        case Ended(kind=kind):
            names = (*record.subject, "hold") if kind == "hold" else record.subject
            return [(MARKS, (key(*names), kind, "ended", record.moment, int(record.exact), record.why))]
        case Running(pod=pod):
            return [(MARKS, (key(pod), "pod", "running", record.moment, 1, ""))]
        case Quote():
            return [(QUOTES, msgspec.structs.astuple(record))]
        case Watch():
            return [(WATCHES, msgspec.structs.astuple(record))]
        case Request(id=name, model=model, tenant=tenant, began=began):
            number = key(name, model, tenant, str(began))
            return [(REQUESTS, (number, *msgspec.structs.astuple(record)))]
