"""The published JSON of budgets: schema `plimsoll.dev/budget/v1`, described in docs/reference/budget.schema.json."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from plimsoll import __version__
from plimsoll.cost import month
from plimsoll.cost.forecast import SAID
from plimsoll.report.cost import budget, words
from plimsoll.report.cost.json import Prices, Span, Watched, encoded, money, prices, schema_of, span, watched

SCHEMA_VERSION = "plimsoll.dev/budget/v1"


class Team(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A team's month. team: "" for what no team's pod held. left: budget less spent. budget, left: null without one."""

    team: str
    spent: Decimal
    forecast: Decimal
    budget: Decimal | None
    left: Decimal | None
    over: bool
    will_be_over: bool


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The teams of a calendar month. spent, forecast: their sums. metered: the part of the month that is billed.

    basis: what the days that are left were taken from, in `method`, of so many days of history.
    """

    schema_version: str
    plimsoll: str
    month: Span
    metered: Span
    currency: str
    spent: Decimal
    forecast: Decimal
    basis: str
    method: str
    days: int
    teams: list[Team]
    coverage: float | None
    watched: Watched
    prices: Prices
    notes: list[str]


def schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return schema_of(Document)


def team(each: month.Team) -> Team:
    return Team(
        team=each.team,
        spent=words.exact(each.spent),
        forecast=words.exact(each.forecast),
        budget=money(each.budget),
        left=money(each.left),
        over=each.over,
        will_be_over=each.will_be_over,
    )


def render(found: month.Budgets) -> str:
    return encoded(
        Document(
            schema_version=SCHEMA_VERSION,
            plimsoll=__version__,
            month=span(found.month),
            metered=span(found.found.window),
            currency=found.found.bill.currency,
            spent=words.exact(found.spent),
            forecast=words.exact(found.forecast),
            basis=found.basis,
            method=SAID[found.basis],
            days=found.days,
            teams=[team(each) for each in found.teams],
            coverage=words.ratio(found.found.coverage),
            watched=watched(found.found),
            prices=prices(found.found),
            notes=budget.notes(found),
        )
    )
