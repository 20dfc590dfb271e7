"""The published JSON of a bill: schema `plimsoll.dev/cost/v1`, described in docs/reference/cost.schema.json.

Money is a number with six decimals, exact: read it as a decimal, not as a float.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from plimsoll import __version__
from plimsoll.cost.bill import Line
from plimsoll.cost.lines import COST
from plimsoll.cost.statement import Statement
from plimsoll.cost.window import Window, text
from plimsoll.report.cost import words

SCHEMA_VERSION = "plimsoll.dev/cost/v1"
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """From a moment until before another, UTC."""

    began: str = msgspec.field(name="from")
    until: str


class Prices(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where prices come from. stale: one is older than the price book allows. unpriced: nodes that have none."""

    sources: tuple[str, ...]
    stale: bool
    unpriced: tuple[str, ...]


class Watched(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What meters watched. share: of the window, 0 to 1. longestGapSeconds: in the window."""

    first: str
    last: str
    share: float
    longest_gap_seconds: float


class Row(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A line. cost: the sum of `classes`. starting: of the held, before containers ran. idle, waste: sums of classes.

    before: cost of this key in the window before, null where that is unknown. efficiency: of the measured GPU time the
    part in which it was busy. coverage: of the held GPU time the part that was measured. cause: the class that most of
    the unused money is of.
    """

    key: str
    id: str
    cost: Decimal
    classes: dict[str, Decimal]
    starting: Decimal
    idle: Decimal
    waste: Decimal
    cause: str
    before: Decimal | None
    gpu_hours: float
    held_hours: float
    measured_hours: float
    used_hours: float
    efficiency: float | None
    coverage: float | None
    energy_kwh: float
    devices: int
    requests: int
    prompt_tokens: int
    output_tokens: int


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A bill. total: the price of all nodes, which is the sum of lines and others. rest: how many others there are.

    window: what is billed, of what was asked for. previous: total of the window of that length before it.
    coverage: of all held GPU time the part that was measured.
    """

    schema_version: str
    plimsoll: str
    by: str
    window: Span
    asked: Span
    currency: str
    total: Decimal
    previous: Decimal | None
    lines: list[Row]
    others: Row | None
    rest: int
    split: str
    idle: str
    coverage: float | None
    watched: Watched
    prices: Prices
    notes: list[str]


def schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return schema_of(Document)


def schema_of(document: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON Schema of a document with money in it."""
    found: dict[str, Any] = numeric(msgspec.json.schema(document))
    return found


def numeric(schema: Any) -> Any:
    """A schema in which decimals are numbers, as they are written."""
    if isinstance(schema, list):
        return [numeric(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "decimal":
        return {**{key: each for key, each in schema.items() if key != "format"}, "type": "number"}
    return {key: numeric(each) for key, each in schema.items()}


def encoded(document: msgspec.Struct) -> str:
    return msgspec.json.format(_ENCODER.encode(document), indent=2).decode() + "\n"


def span(window: Window) -> Span:
    return Span(began=text(window.began), until=text(window.ended))


def money(micro: int | None) -> Decimal | None:
    return None if micro is None else words.exact(micro)


def render(found: Statement) -> str:
    bill = found.bill
    return encoded(
        Document(
            schema_version=SCHEMA_VERSION,
            plimsoll=__version__,
            by=bill.query.by,
            window=span(found.window),
            asked=span(found.asked),
            currency=bill.currency,
            total=words.exact(bill.total),
            previous=money(found.earlier),
            lines=[row(line, found.before(line)) for line in bill.lines],
            others=row(bill.others, None) if bill.others else None,
            rest=bill.rest,
            split=bill.query.split,
            idle=bill.query.idle,
            coverage=words.ratio(found.coverage),
            watched=watched(found),
            prices=prices(found),
            notes=words.notes(found),
        )
    )


def prices(found: Statement) -> Prices:
    return Prices(sources=found.bill.sources, stale=found.bill.stale, unpriced=found.bill.unpriced)


def watched(found: Statement) -> Watched:
    reach = found.reach
    return Watched(
        first=text(reach.first), last=text(reach.last), share=found.watched, longest_gap_seconds=reach.gap / 1000
    )


def row(line: Line, before: int | None) -> Row:
    return Row(
        key=line.key,
        id=line.id,
        cost=words.exact(line.cost),
        classes={name: words.exact(getattr(line, name)) for name in COST},
        starting=words.exact(line.starting),
        idle=words.exact(words.idle(line)),
        waste=words.exact(words.waste(line)),
        cause=words.cause(line),
        before=money(before),
        gpu_hours=words.in_hours(line.gpu_ms),
        held_hours=words.in_hours(line.held_ms),
        measured_hours=words.in_hours(line.known_ms),
        used_hours=words.in_hours(line.used_ms),
        efficiency=words.ratio(words.efficiency(line)),
        coverage=words.ratio(words.coverage(line)),
        energy_kwh=round(words.energy(line), 6),
        devices=line.holds,
        requests=line.requests,
        prompt_tokens=line.prompt,
        output_tokens=line.output,
    )
