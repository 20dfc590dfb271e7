"""The published JSON of a month: schema `plimsoll.dev/month/v1`, described in docs/reference/month.schema.json."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from plimsoll import __version__
from plimsoll.cost.forecast import SAID
from plimsoll.cost.lines import COST
from plimsoll.cost.monthly import Monthly, weekly
from plimsoll.cost.statement import added
from plimsoll.cost.waits import Wait
from plimsoll.report.cost import budget_json, inference_json, monthly, words
from plimsoll.report.cost import json as cost_json
from plimsoll.report.cost.json import Prices, Row, Span, Watched, encoded, money, prices, schema_of, span, watched

SCHEMA_VERSION = "plimsoll.dev/month/v1"


class Team(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A team's month: its budget, and its line of the bill. lastMonth: null where the ledger does not hold all of it.

    lost: with pods that were pushed out.
    """

    budget: budget_json.Team
    line: Row
    last_month: Decimal | None
    lost: Decimal


class Waits(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Pods of a team that were scheduled in the month: seconds that half and 95 % of them waited at most, for a node
    and then for their containers; null where neither was told.
    """

    team: str
    pods: int
    queued_p50: float | None
    queued_p95: float | None
    starting_p50: float | None
    starting_p95: float | None


class Spot(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Spot nodes. compared: cost of those whose price on demand is known; unknown: names of the others."""

    cost: Decimal
    compared: Decimal
    on_demand: Decimal
    saved: Decimal
    unknown: tuple[str, ...]
    sources: tuple[str, ...]
    lost: Decimal
    checkpoint_seconds: float | None


class Waste(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was wasted most: a workload, and the class of its money."""

    who: str
    cause: str
    cost: Decimal
    per_week: Decimal
    remedy: str


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A calendar month. total: the price of all nodes; teams, classes and pools each add up to it.

    metered: the part of the month that is billed. efficiencyMedian: of the teams. workloads: the dearest alone.
    """

    schema_version: str
    plimsoll: str
    platform: str
    month: Span
    metered: Span
    currency: str
    total: Decimal
    forecast: Decimal
    method: str
    teams: list[Team]
    classes: dict[str, Decimal]
    starting: Decimal
    efficiency_median: float | None
    pools: list[Row]
    workloads: list[Row]
    wastes: list[Waste]
    inference: list[inference_json.Row]
    waits: list[Waits]
    spot: Spot
    coverage: float | None
    watched: Watched
    prices: Prices
    notes: list[str]


def schema() -> dict[str, Any]:
    """The JSON Schema of the document."""
    return schema_of(Document)


def render(found: Monthly) -> str:
    whole, month = added(found.found.lines, ""), found.budgets
    return encoded(
        Document(
            schema_version=SCHEMA_VERSION,
            plimsoll=__version__,
            platform=found.platform,
            month=span(month.month),
            metered=span(found.found.window),
            currency=found.found.bill.currency,
            total=words.exact(found.total),
            forecast=words.exact(month.forecast),
            method=SAID[month.basis],
            teams=_teams(found),
            classes={name: words.exact(getattr(whole, name)) for name in COST},
            starting=words.exact(whole.starting),
            efficiency_median=words.ratio(found.fleet_median),
            pools=[cost_json.row(line, None) for line in found.pools.bill.lines],
            workloads=[cost_json.row(line, None) for line in found.workloads.bill.lines[: monthly.SPENDERS]],
            wastes=_wastes(found),
            inference=[inference_json.row(each) for each in found.inference.rows],
            waits=[_waits(each) for each in found.waits],
            spot=_spot(found),
            coverage=words.ratio(found.found.coverage),
            watched=watched(found.found),
            prices=prices(found.found),
            notes=monthly.notes(found),
        )
    )


def _teams(found: Monthly) -> list[Team]:
    return [
        Team(
            budget=budget_json.team(each),
            line=cost_json.row(found.line(each.team), found.earlier(each.team)),
            last_month=money(found.earlier(each.team)),
            lost=words.exact(found.lost.get(each.team, 0)),
        )
        for each in found.budgets.teams
    ]


def _wastes(found: Monthly) -> list[Waste]:
    return [
        Waste(
            who=who,
            cause=name,
            cost=words.exact(cost),
            per_week=words.exact(weekly(cost, found.found.window)),
            remedy=monthly.REMEDIES[name],
        )
        for who, name, cost in monthly.wastes(found)
    ]


def _waits(each: Wait) -> Waits:
    queued, starting = (
        tuple(part / 1000 for part in pair) if pair else (None, None) for pair in (each.queued, each.starting)
    )
    return Waits(
        team=each.team,
        pods=each.pods,
        queued_p50=queued[0],
        queued_p95=queued[1],
        starting_p50=starting[0],
        starting_p95=starting[1],
    )


def _spot(found: Monthly) -> Spot:
    spot = found.spot
    return Spot(
        cost=words.exact(spot.paid),
        compared=words.exact(spot.compared),
        on_demand=words.exact(spot.on_demand),
        saved=words.exact(spot.saved),
        unknown=spot.unknown,
        sources=spot.sources,
        lost=words.exact(sum(found.lost.values())),
        checkpoint_seconds=found.checkpoint / 1000 or None,
    )
