"""The tables of a ledger, alike in DuckDB and PostgreSQL. Numbers that stand for names: `sample.key`."""

from __future__ import annotations

import msgspec

VERSION = 1


class Table(msgspec.Struct, frozen=True):
    """A table. key: columns that tell two records apart; () where whole rows may repeat (see merge.py).

    A column is a BIGINT unless it is named among `texts`.
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    texts: frozenset[str] = frozenset()

    def kind(self, column: str) -> str:
        return "VARCHAR" if column in self.texts else "BIGINT"

    @property
    def ddl(self) -> str:
        columns = [f"{name} {self.kind(name)} NOT NULL" for name in self.columns]
        if self.key:
            columns.append(f"PRIMARY KEY ({', '.join(self.key)})")
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({', '.join(columns)})"

    def insert(self, into: str = "") -> str:
        """A statement whose parameters are one list of values per column."""
        values = ", ".join(f"UNNEST(CAST(? AS {self.kind(name)}[]))" for name in self.columns)
        once = " ON CONFLICT DO NOTHING" if self.key and not into else ""
        return f"INSERT INTO {into or self.name} ({', '.join(self.columns)}) SELECT {values}{once}"


def _table(name: str, columns: str, key: str = "", texts: str = "") -> Table:
    return Table(name, tuple(columns.split()), tuple(key.split()), frozenset(texts.split()))


class Flow(msgspec.Struct, frozen=True):
    """A table of intervals that are summed, and its inbox. own: whose interval it is. sums: what adds up."""

    table: Table
    inbox: Table
    own: tuple[str, ...]
    sums: tuple[str, ...]


def _flow(name: str, own: str, sums: str, texts: str = "") -> Flow:
    columns = f"{own} began ended {sums}"
    return Flow(_table(name, columns, texts=texts), _table(f"{name}_inbox", columns, texts=texts),
                tuple(own.split()), tuple(sums.split()))  # fmt: skip


NODES = _table("nodes", "id uid name pool sku capacity provider region instance_type gpus cpu_milli memory_mib began",
               "id", "uid name pool sku capacity provider region instance_type")  # fmt: skip
GPUS = _table("gpus", "id node gpu uuid began", "id began", "uuid")
INSTANCES = _table("instances", "id node gpu instance name profile parts began", "id began", "name profile")
PODS = _table(
    "pods",
    "id uid namespace name node team job job_uid job_id workload workload_id model tenant labels created began",
    "id",
    "uid namespace name team job job_uid workload model tenant labels",
)
HOLDS = _table("holds", "id pod device node gpu instance parts weight began", "id")
MARKS = _table("marks", "id kind mark moment exact why", "id mark moment exact", "kind mark why")
QUOTES = _table("quotes", "scope moment per_hour source", "scope moment", "scope source")
CURSORS = _table("cursors", "meter name value", "meter name", "meter name value")
WATCHES = _table("watches", "meter began ended", "meter began ended", "meter")
REQUESTS = _table("requests", "id name model tenant began ended prompt cached output", "id", "name model tenant")
USAGE = _flow("usage", "gpu instance pod", "seen idle low busy sm tensor dram energy memory")
TOKENS = _flow("tokens", "model tenant pod", "requests prompt cached output", "model tenant")

FLOWS = (USAGE, TOKENS)
TABLES = (NODES, GPUS, INSTANCES, PODS, HOLDS, MARKS, QUOTES, CURSORS, WATCHES, REQUESTS,
          *(table for flow in FLOWS for table in (flow.table, flow.inbox)))  # fmt: skip
