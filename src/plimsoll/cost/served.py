"""What inference cost: by model and tenant, per request and per token, and what idle engines cost beside it."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import msgspec

from plimsoll.cost import merge
from plimsoll.cost.bill import Line, Query
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.request import Weights, share
from plimsoll.cost.schema import TOKENS
from plimsoll.cost.statement import Statement, statement
from plimsoll.cost.window import Window

_MILLION = 1_000_000


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A model and a tenant of it; tenant "": whom nobody named. Money in micro-units.

    cost: of the work of its tokens, prompt_cost and output_cost together. idle: its part, by cost, of what the engines
    cost while they did nothing. prompt: prompt tokens, cached ones too; cached: as far as that is told, 0 to 1.
    """

    model: str
    tenant: str
    requests: int
    prompt: int
    output: int
    cached: float
    cost: int
    prompt_cost: int
    idle: int

    @property
    def output_cost(self) -> int:
        return self.cost - self.prompt_cost

    @property
    def per_request(self) -> Fraction | None:
        """Micro-units of work per request; None without one."""
        return Fraction(self.cost, self.requests) if self.requests else None

    @property
    def per_million_prompt(self) -> Fraction | None:
        """Micro-units per million prompt tokens, cached ones counted: they cost nothing and make the others cheap."""
        return Fraction(self.prompt_cost * _MILLION, self.prompt) if self.prompt else None

    @property
    def per_million_output(self) -> Fraction | None:
        return Fraction(self.output_cost * _MILLION, self.output) if self.output else None


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    """All that models cost. found: the whole bill, of which this is a part; its `weighed` says what tokens weigh."""

    found: Statement
    rows: tuple[Served, ...]

    @property
    def cost(self) -> int:
        return sum(each.cost for each in self.rows)

    @property
    def idle(self) -> int:
        return sum(each.idle for each in self.rows)


def inference(ledger: Ledger, tariff: Tariff, query: Query) -> Inference:
    """The query's window by model and tenant; what it cuts by is of no matter.

    Raises IncompleteError where no meter watched any of it.
    """
    query = msgspec.structs.replace(query, by="served", idle="shown", top=0)
    found = statement(ledger, tariff, query, compare=False)
    cached = _cached(ledger, found.window)
    weights = {each.model: each.weights for each in found.bill.weighed}
    models: dict[str, list[Line]] = defaultdict(list)
    for line in found.bill.lines:
        if line.key:
            models[line.key].append(line)
    rows = [
        row for model, lines in models.items() for row in _model(model, lines, weights.get(model, Weights()), cached)
    ]
    rows.sort(key=lambda each: (-each.cost - each.idle, each.model, each.tenant))
    return Inference(found=found, rows=tuple(rows))


def _model(model: str, lines: list[Line], weights: Weights, cached: dict[tuple[str, str], float]) -> list[Served]:
    """The tenants of a model. Its idle money is divided by cost; where there is none, it stays where it was."""
    costs = [line.cost - line.idle for line in lines]
    idles = share(sum(line.idle for line in lines), costs) if any(costs) else [line.idle for line in lines]
    found = []
    for line, cost, idle in zip(lines, costs, idles, strict=True):
        if not (cost or idle or line.requests or line.prompt or line.output):
            continue
        ratio = cached.get((model, line.id), cached.get((model, ""), 0.0))
        fresh, answered = round(line.prompt * (1 - ratio)) * weights.prompt, line.output * weights.output
        part = Fraction(fresh) / (Fraction(fresh) + Fraction(answered)) if fresh + answered else Fraction(0)
        found.append(
            Served(model=model, tenant=line.id, requests=line.requests, prompt=line.prompt, output=line.output,
                   cached=ratio, cost=cost, prompt_cost=round(cost * part), idle=idle)
        )  # fmt: skip
    return found


def _cached(ledger: Ledger, window: Window) -> dict[tuple[str, str], float]:
    """Of prompt tokens, the part that was cached: by model and tenant, and of all of a model by the tenant ""."""
    source = merge.within(TOKENS, *window, pending=ledger.pending(TOKENS, *window))
    rows = ledger.store.rows(
        f"""SELECT model, tenant, SUM(prompt), SUM(cached) FROM (
                SELECT model, tenant, prompt, cached FROM ({source}) t
                UNION ALL SELECT model, tenant, prompt, cached FROM requests WHERE ended > ? AND began < ?) b
            GROUP BY model, tenant""",
        list(window),
    )
    sums: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for model, tenant, prompt, cached in rows:
        for key in {(model, tenant), (model, "")}:
            sums[key] = sums[key][0] + int(prompt), sums[key][1] + int(cached)
    return {key: min(cached / prompt, 1.0) for key, (prompt, cached) in sums.items() if prompt}
