"""Of the meter's page: what tokens and requests cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from plimsoll.agents.meter.exposition import OTHER, Family, Sample, money
from plimsoll.cost import merge, schema
from plimsoll.cost.bill import Line
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.request import Weights, work

_MILLION = 1_000_000


class _Used(NamedTuple):
    """What a model answered for a tenant."""

    tenant: str
    requests: int
    prompt: int
    cached: int
    output: int


def tokens(
    ledger: Ledger, models: Iterable[Line], began: int, ended: int, weights: Weights, limit: int
) -> Iterator[Family]:
    """What tokens of a model, and requests of its tenants, cost between two moments.

    models: the lines of the bill by model. Time in which engines did nothing is in no token of kind prompt or output
    and in no request; kind `all` holds it: all that the model cost, by all its tokens.
    """
    used = _used(ledger, began, ended)
    million: list[Sample] = []
    requests: list[tuple[int, int, str, str]] = []  # cost, requests, model, tenant
    for place, line in enumerate(models):
        tenants = used.get(line.key, [])
        if not line.key or not line.cost or not tenants:
            continue
        works = [work(weights, each.prompt, each.cached, each.output) for each in tenants]
        paid, done = line.cost - line.idle, sum(works)
        if place < limit:
            million += _million(line, tenants, paid, done, weights)
        requests += [
            (paid * each_work // done if done else 0, each.requests, line.key, each.tenant)
            for each, each_work in zip(tenants, works, strict=True)
            if each.requests
        ]
    yield Family("plimsoll_inference_cost_per_million_tokens",
                 "What a million tokens cost in the last 24 hours: prompt tokens that were computed, output tokens, "
                 "and all tokens, with the time engines did nothing.", tuple(million))  # fmt: skip
    ranked = sorted(requests, key=lambda each: (-each[0], each[2:]))
    samples = [
        Sample(money(cost // count), {"model": model, "tenant": tenant})
        for cost, count, model, tenant in ranked[:limit]
    ]
    if ranked[limit:]:
        cost, count = sum(each[0] for each in ranked[limit:]), sum(each[1] for each in ranked[limit:])
        samples.append(Sample(money(cost // count), {"model": OTHER, "tenant": OTHER}))
    yield Family("plimsoll_inference_cost_per_request", "What a request cost in the last 24 hours.", tuple(samples))


def _million(line: Line, tenants: list[_Used], paid: int, done: int, weights: Weights) -> Iterator[Sample]:
    """Prices of a million tokens: those by kind times the tokens of each are what the model's tenants paid."""
    for kind, unit in (("prompt", work(weights, _MILLION, 0, 0)), ("output", work(weights, 0, 0, _MILLION))):
        if done and unit:
            yield Sample(money(paid * unit // done), {"model": line.key, "kind": kind})
    every = sum(each.prompt + each.output for each in tenants)
    if every:
        yield Sample(money(line.cost * _MILLION // every), {"model": line.key, "kind": "all"})


def _used(ledger: Ledger, began: int, ended: int) -> dict[str, list[_Used]]:
    source = merge.within(schema.TOKENS, began, ended, pending=ledger.pending(schema.TOKENS, began, ended))
    rows = ledger.store.rows(
        f"""SELECT model, tenant, SUM(requests), SUM(prompt), SUM(cached), SUM(output)
            FROM ({source}) t GROUP BY model, tenant ORDER BY model, tenant"""  # noqa: S608  our own columns and numbers
    )
    found: dict[str, list[_Used]] = defaultdict(list)
    for model, tenant, *sums in rows:
        found[model].append(_Used(tenant, *map(int, sums)))
    return found
