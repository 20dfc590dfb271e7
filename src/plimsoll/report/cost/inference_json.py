"""The published JSON of inference: schema `plimsoll.dev/inference/v1`, in docs/reference/inference.schema.json."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from plimsoll import __version__
from plimsoll.cost.served import Inference, Served
from plimsoll.report.cost import inference, words
from plimsoll.report.cost.json import Prices, Span, Watched, encoded, prices, schema_of, span, watched

SCHEMA_VERSION = "plimsoll.dev/inference/v1"


class Row(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A model and a tenant of it; tenant "": whom nobody named. cost: of the work of its tokens; idle: beside it.

    cachedRatio: of the prompt tokens. per…: of `cost`, null where there is nothing to divide by.
    """

    model: str
    tenant: str
    requests: int
    prompt_tokens: int
    cached_ratio: float
    output_tokens: int
    cost: Decimal
    prompt_cost: Decimal
    output_cost: Decimal
    idle: Decimal
    per_request: Decimal | None
    per_million_prompt_tokens: Decimal | None
    per_million_output_tokens: Decimal | None


class Weight(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What tokens of a model weigh. source: given, fitted or default. intervals, residual: of the fit."""

    model: str
    prompt: float
    output: float
    source: str
    intervals: int
    residual: float | None


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What models cost. cost, idle: sums of the rows. total: of the whole bill, training and unused GPUs too."""

    schema_version: str
    plimsoll: str
    window: Span
    currency: str
    cost: Decimal
    idle: Decimal
    total: Decimal
    rows: list[Row]
    weights: list[Weight]
    coverage: float | None
    watched: Watched
    prices: Prices
    notes: list[str]


def schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return schema_of(Document)


def render(found: Inference) -> str:
    bill = found.found.bill
    return encoded(
        Document(
            schema_version=SCHEMA_VERSION,
            plimsoll=__version__,
            window=span(found.found.window),
            currency=bill.currency,
            cost=words.exact(found.cost),
            idle=words.exact(found.idle),
            total=words.exact(bill.total),
            rows=[row(each) for each in found.rows],
            weights=[
                Weight(model=each.model, prompt=each.weights.prompt, output=each.weights.output, source=each.source,
                       intervals=each.intervals, residual=each.residual)
                for each in bill.weighed
            ],
            coverage=words.ratio(found.found.coverage),
            watched=watched(found.found),
            prices=prices(found.found),
            notes=inference.notes(found),
        )
    )  # fmt: skip


def row(each: Served) -> Row:
    return Row(
        model=each.model,
        tenant=each.tenant,
        requests=each.requests,
        prompt_tokens=each.prompt,
        cached_ratio=round(each.cached, 6),
        output_tokens=each.output,
        cost=words.exact(each.cost),
        prompt_cost=words.exact(each.prompt_cost),
        output_cost=words.exact(each.output_cost),
        idle=words.exact(each.idle),
        per_request=inference.exact(each.per_request),
        per_million_prompt_tokens=inference.exact(each.per_million_prompt),
        per_million_output_tokens=inference.exact(each.per_million_output),
    )
