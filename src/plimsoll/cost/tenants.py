"""The price of engines divided among those whose requests they answered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from plimsoll.cost import merge, schema
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lines import SUMS, TOKENS
from plimsoll.cost.request import Weights, share, work
from plimsoll.cost.store import Store


def divide(ledger: Ledger, began: int, ended: int, weights: Weights, *, by_tenant: bool) -> None:
    """Put requests and tokens into b_tokens; by_tenant: engines whose tokens are known give way to their tenants.

    What an engine cost is divided by the work of the tokens of the window. The time in which it did nothing is
    nobody's: it stays with the tenant "".
    """
    store = ledger.store
    source = merge.within(schema.TOKENS, began, ended, pending=ledger.pending(schema.TOKENS, began, ended))
    rows = store.rows(
        f"""SELECT model, tenant, SUM(requests), SUM(prompt), SUM(cached), SUM(output)
            FROM ({source}) t GROUP BY model, tenant ORDER BY model, tenant"""
    )
    tokens: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for model, *row in rows:
        tokens[model].append(tuple(row))
    texts = (("model", "VARCHAR"), ("tenant", "VARCHAR"), *((name, "HUGEINT") for name in TOKENS))
    listed = [(model, tenant, requests, prompt, output)
              for model, of in tokens.items() for tenant, requests, prompt, _, output in of]  # fmt: skip
    _insert(store, "b_tokens", texts, [dict(zip((name for name, _ in texts), row, strict=True)) for row in listed])
    if by_tenant:
        found = [row for model, of in tokens.items() for row in _tenants(store, model, of, weights)]
        kinds = (("pod", "BIGINT"), ("node", "BIGINT"), ("model", "VARCHAR"), ("tenant", "VARCHAR"))
        _insert(store, "b_row", (*kinds, *((name, "HUGEINT") for name in SUMS)), found)


def _tenants(store: Store, model: str, tokens: list[tuple[Any, ...]], weights: Weights) -> list[dict[str, Any]]:
    """Rows of tenants in the place of the rows of a model's pods, which are deleted."""
    own = "pod IN (SELECT id FROM pods WHERE model = ?)"
    sums = ", ".join(f"SUM({name})" for name in SUMS)
    nodes = store.rows(f"SELECT node, {sums} FROM b_row WHERE {own} GROUP BY node ORDER BY node", (model,))
    store.run(f"DELETE FROM b_row WHERE {own}", (model,))
    works = [work(weights, prompt, cached, output) for _, _, prompt, cached, output in tokens]
    found: list[dict[str, Any]] = []
    for node, *values in nodes:
        row = {name: int(value) for name, value in zip(SUMS, values, strict=True)}
        idle = row.pop("idle")
        time = row["time"] * idle // row["cost"] if row["cost"] else 0
        nobody = {"cost": idle, "idle": idle, "time": time, "known": min(time, row["known"])}
        found.append({"node": node, "model": model, **nobody})
        row |= {"cost": row["cost"] - idle, "time": row["time"] - time, "known": row["known"] - nobody["known"]}
        shares = {name: share(value, works) for name, value in row.items()}
        found += [
            {"node": node, "model": model, "tenant": tenant, **{name: of[place] for name, of in shares.items()}}
            for place, (tenant, *_) in enumerate(tokens)
        ]
    return found


def _insert(store: Store, table: str, columns: Iterable[tuple[str, str]], rows: list[dict[str, Any]]) -> None:
    """Rows into a temporary table. Money has more than 64 bits: everything travels as text."""
    if not rows:
        return
    columns = list(columns)
    values = ", ".join(f"CAST(UNNEST(CAST(? AS VARCHAR[])) AS {kind})" for _, kind in columns)
    lists = [[str(row.get(name, "" if kind == "VARCHAR" else 0)) for row in rows] for name, kind in columns]
    store.run(f"INSERT INTO {table} ({', '.join(name for name, _ in columns)}) SELECT {values}", lists)
