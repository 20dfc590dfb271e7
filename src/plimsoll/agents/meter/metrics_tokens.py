"""Of the meter's page: what tokens and requests cost, as `plimsoll cost inference` says it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction

from plimsoll.agents.meter.exposition import OTHER, Family, Sample, money
from plimsoll.cost.served import Served

_MILLION = 1_000_000


def tokens(rows: Iterable[Served], limit: int) -> Iterator[Family]:
    """Prices of tokens by model and of requests by model and tenant; the dearest `limit` of each stand by themselves.

    Time in which engines did nothing is in no token of kind prompt or output and in no request; kind `all` holds it.
    """
    rows = sorted(rows, key=lambda each: (-each.cost - each.idle, each.model, each.tenant))
    models: dict[str, list[Served]] = defaultdict(list)
    for each in rows:
        models[each.model].append(each)
    ranked = sorted(models, key=lambda model: -sum(each.cost + each.idle for each in models[model]))
    yield Family(
        "plimsoll_inference_cost_per_million_tokens",
        "What a million tokens cost in the last 24 hours: prompt tokens (cached ones counted), output tokens, and all "
        "tokens with the time in which engines did nothing.",
        tuple(sample for model in ranked[:limit] for sample in _million(model, models[model])),
    )
    asked = [each for each in rows if each.requests]
    samples = [
        Sample(_price(each.cost, each.requests), {"model": each.model, "tenant": each.tenant}) for each in asked[:limit]
    ]
    if asked[limit:]:
        cost, count = sum(each.cost for each in asked[limit:]), sum(each.requests for each in asked[limit:])
        samples.append(Sample(_price(cost, count), {"model": OTHER, "tenant": OTHER}))
    yield Family("plimsoll_inference_cost_per_request", "What a request cost in the last 24 hours.", tuple(samples))


def _million(model: str, tenants: list[Served]) -> Iterator[Sample]:
    prompt, output = sum(each.prompt for each in tenants), sum(each.output for each in tenants)
    costs = {
        "prompt": (sum(each.prompt_cost for each in tenants), prompt),
        "output": (sum(each.output_cost for each in tenants), output),
        "all": (sum(each.cost + each.idle for each in tenants), prompt + output),
    }
    for kind, (cost, count) in costs.items():
        if count and cost:
            yield Sample(_price(cost * _MILLION, count), {"model": model, "kind": kind})


def _price(cost: int, count: int) -> str:
    """Micro-units for one of `count`, to the billionth of a unit: requests cost less than a micro-unit at times."""
    return money(round(Fraction(cost * 1000, count)), digits=9)
