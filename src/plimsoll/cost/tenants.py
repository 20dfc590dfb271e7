"""The price of engines divided among those whose requests they answered."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from plimsoll.cost import merge
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lines import COST, COUNTS
from plimsoll.cost.request import Weights, share, work
from plimsoll.cost.schema import TOKENS
from plimsoll.cost.store import Store

_SUMS = (*COST, "starting", *COUNTS)
_TOKENS = ("requests", "prompt", "output")


def divide(ledger: Ledger, began: int, ended: int, weights: Weights, *, by_tenant: bool) -> None:
    """Put requests and tokens into b_row; by_tenant: engines whose tokens are known give way to their tenants.

    What an engine cost is divided by the work of the tokens of the window. The time in which it did nothing is
    nobody's: it stays with the tenant "".
    """
    store = ledger.store
    source = merge.within(TOKENS, began, ended, pending=ledger.pending(TOKENS, began, ended))
    rows = store.rows(
        f"""SELECT model, tenant, SUM(requests), SUM(prompt), SUM(cached), SUM(output)
            FROM ({source}) t GROUP BY model, tenant ORDER BY model, tenant"""
    )
    tokens: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for model, *row in rows:
        tokens[model].append(tuple(row))
    found: list[dict[str, Any]] = []
    for model, of in tokens.items():
        if by_tenant:
            found += _tenants(store, model, of, weights)
        found += [
            {"node": 0, "model": model, "tenant": tenant, **dict(zip(_TOKENS, (requests, prompt, output), strict=True))}
            for tenant, requests, prompt, _, output in of
        ]
    _insert(store, found)


def _tenants(store: Store, model: str, tokens: list[tuple[Any, ...]], weights: Weights) -> list[dict[str, Any]]:
    """Rows of tenants in the place of the rows of a model's pods, which are deleted."""
    own = "pod IN (SELECT id FROM pods WHERE model = ?)"
    sums = ", ".join(f"SUM({name})" for name in _SUMS)
    nodes = store.rows(f"SELECT node, {sums} FROM b_row WHERE {own} GROUP BY node ORDER BY node", (model,))
    store.run(f"DELETE FROM b_row WHERE {own}", (model,))
    works = [work(weights, prompt, cached, output) for _, _, prompt, cached, output in tokens]
    found: list[dict[str, Any]] = []
    for node, *values in nodes:
        row = {name: int(value) for name, value in zip(_SUMS, values, strict=True)}
        cost = sum(row[name] for name in COST)
        idle = {"idle": row.pop("idle"), "gpu_ms": 0}
        if cost:
            idle["gpu_ms"] = row["gpu_ms"] * idle["idle"] // cost
            row["gpu_ms"] -= idle["gpu_ms"]
        found.append({"node": node, "model": model, "tenant": "", **idle})
        shares = {name: share(value, works) for name, value in row.items()}
        found += [
            {"node": node, "model": model, "tenant": tenant, **{name: of[place] for name, of in shares.items()}}
            for place, (tenant, *_) in enumerate(tokens)
        ]
    return found


def _insert(store: Store, rows: list[dict[str, Any]]) -> None:
    """Rows of nobody's pods into b_row. Money has more than 64 bits: it travels as text."""
    if not rows:
        return
    kinds = {"node": "BIGINT", "model": "VARCHAR", "tenant": "VARCHAR"}
    names = [*kinds, *_SUMS]
    values = ", ".join(f"CAST(UNNEST(CAST(? AS VARCHAR[])) AS {kinds.get(name, 'HUGEINT')})" for name in names)
    columns = [[str(row.get(name, 0)) for row in rows] for name in names]
    store.run(f"INSERT INTO b_row (pod, {', '.join(names)}) SELECT 0, {values}", columns)
