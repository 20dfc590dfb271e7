"""The meter's own page of metrics: what things cost, by the ledger, and how the meter does.

All are gauges: a late record may lower what an earlier page said. A name that is unbounded in the cluster (teams,
nodes, tenants) is bounded here: the dearest LIMIT stand by themselves, the others together as OTHER.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import TypeVar

from plimsoll.agents.meter.exposition import OTHER, Family, Sample, money, number, text
from plimsoll.agents.meter.metrics_tokens import tokens
from plimsoll.cost import lives
from plimsoll.cost.bill import Bill, NotConservedError, Query, bill
from plimsoll.cost.forecast import forecast, history
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lines import COST
from plimsoll.cost.lost import lost
from plimsoll.cost.month import limits
from plimsoll.cost.price import Facts, Rate, Tariff
from plimsoll.cost.sample import HOUR
from plimsoll.cost.served import inference
from plimsoll.cost.window import DAY, Window, day, month_of, reach
from plimsoll.errors import IncompleteError
from plimsoll.spec.model import Platform

LIMIT = 200
TOP = 20  # workloads: a cluster sees thousands of them a day
HEALTH = {
    "watching_seconds": "How long the meter has watched the cluster without a gap; 0 while it does not.",
    "last_round_seconds": "How long the last round of readings took.",
    "pages_failed": "Pages of exporters that could not be read in the last round.",
    "readings": "Devices that were read in the last round.",
    "holds_guessed": "Devices that pods hold by deduction, because nobody told which.",
}
Past = dict[date, dict[str, int]]  # whole days: what each team cost, micro-units
Days = Callable[[Window], dict[str, int]]
T = TypeVar("T")


def page(
    ledger: Ledger,
    tariff: Tariff,
    platform: Platform | None,
    now: int,
    counters: Mapping[str, float],
    *,
    past: Past | None = None,
) -> str:
    """The whole page at a moment: `costs`, which takes as long as a few bills, and `health`, which costs nothing."""
    return costs(ledger, tariff, platform, now, past=past) + health(counters)


def health(counters: Mapping[str, float]) -> str:
    """How the meter does. counters: by the names of HEALTH; others are shown, too, as plimsoll_meter_<name>."""
    return text(
        Family(f"plimsoll_meter_{name}", HEALTH.get(name, "See docs/guides/meter.md."), (Sample(number(value)),))
        for name, value in counters.items()
    )


def costs(
    ledger: Ledger,
    tariff: Tariff,
    platform: Platform | None,
    now: int,
    *,
    past: Past | None = None,
) -> str:
    """What the ledger says at a moment (milliseconds). Not while another thread uses the same store.

    past: kept from one page to the next; without it, and on the first page of a day, all days of the last four weeks
    are billed. Where lines do not add up to nodes, the page says only that.
    """
    horizon = ledger.horizon()
    found = [
        Family("plimsoll_cost_info", "The currency of all money here.", (Sample("1", {"currency": tariff.currency}),)),
        Family(
            "plimsoll_ledger_behind_seconds",
            "How long ago a meter last watched, by the ledger; nothing is billed beyond.",
            (Sample(number(max(now - horizon, 0) / 1000)),) if horizon else (),
        ),
        *_nodes(ledger, tariff, horizon, now),
    ]
    about = "Whether the lines of all bills here add up to the price of the nodes (1)."
    try:
        found += _bills(ledger, tariff, platform, now, {} if past is None else past)
    except NotConservedError:
        return text([*found, Family("plimsoll_cost_conserved", about, (Sample("0"),))])
    return text([*found, Family("plimsoll_cost_conserved", about, (Sample("1"),))])


def _bills(ledger: Ledger, tariff: Tariff, platform: Platform | None, now: int, past: Past) -> Iterator[Family]:
    terms = _terms(platform)

    def asked(by: str, began: int, top: int = 0) -> Bill:
        return bill(ledger, tariff, Query(by=by, began=began, ended=now, top=top, **terms))  # type: ignore[arg-type]

    def whole(each: Window) -> dict[str, int]:
        found = bill(ledger, tariff, Query(by="team", began=each.began, ended=each.ended, **terms))  # type: ignore[arg-type]
        return {line.key: line.cost for line in found.lines}

    # A month that has only begun has no bill yet: at its first moment the one before is shown.
    spent, today = asked("team", month_of(now - 1).began), asked("team", now - DAY)
    yield _by_class("month_to_date", "Cost since the month began, UTC", spent)
    yield _by_class("last_day", "Cost of the last 24 hours", today)
    yield _by_class("last_hour", "Cost of the last hour", asked("team", now - HOUR))
    yield _by_team("cost_forecast_month", "What the month will have cost: the days that are left as their weekdays.",
                   _forecasts(ledger, spent, whole, past))  # fmt: skip
    yield _by_team("budget_month", "What a team may spend in a month.", _budgets(platform, spent))
    yield _by_team(
        "lost_work_last_day",
        "What pods cost that were pushed out in the last 24 hours, since their last checkpoint where its interval is "
        "declared: at most what was lost.",
        lost(ledger, tariff, Query(by="team", began=now - DAY, ended=now, **terms),  # type: ignore[arg-type]
             checkpoint=platform.spot.checkpoint.interval if platform else 0),
    )  # fmt: skip
    yield Family(
        "plimsoll_cost_workload_last_day",
        f"Cost of the last 24 hours of the {TOP} dearest workloads.",
        tuple(
            Sample(money(line.cost), {"workload": line.key})
            for line in asked("workload", now - DAY, TOP).lines
            if line.key and line.cost
        ),
    )
    try:
        served = inference(ledger, tariff, Query(by="served", began=now - DAY, ended=now, **terms)).rows  # type: ignore[arg-type]
    except IncompleteError:  # nobody watched in that time
        served = ()
    yield from tokens(served, LIMIT)


def _terms(platform: Platform | None) -> dict[str, str]:
    """How the declaration wants money divided."""
    declared = platform.observability.costs if platform else None
    return {"split": declared.split, "idle": declared.idle} if declared else {}


def _by_class(name: str, about: str, found: Bill) -> Family:
    """A bill by team, its lines by class: together the price of the nodes. No team: nobody's."""
    rows = [(line.key, {each: getattr(line, each) for each in COST}) for line in found.lines[:LIMIT]]
    others = {each: sum(getattr(line, each) for line in found.lines[LIMIT:]) for each in COST}
    samples = [
        Sample(money(cost), {"team": team, "class": each})
        for team, costs_of in (*rows, (OTHER, others))
        for each, cost in costs_of.items()
        if cost
    ]
    return Family(f"plimsoll_cost_{name}", f"{about}, by team and class; together the price of all nodes.",
                  tuple(samples))  # fmt: skip


def _by_team(name: str, about: str, amounts: Mapping[str, int]) -> Family:
    kept, rest = _bounded(amounts.items(), lambda item: item[1])
    samples = [Sample(money(amount), {"team": team}) for team, amount in kept]
    if rest:
        samples.append(Sample(money(sum(amount for _, amount in rest)), {"team": OTHER}))
    return Family(f"plimsoll_{name}", about, tuple(samples))


def _bounded(items: Iterable[T], size: Callable[[T], int]) -> tuple[list[T], list[T]]:
    """The LIMIT largest, and the others; the order of items that are as large stays."""
    ranked = sorted(items, key=size, reverse=True)
    return ranked[:LIMIT], ranked[LIMIT:]


def _forecasts(ledger: Ledger, spent: Bill, days: Days, past: Past) -> dict[str, int]:
    """By team what the month will have cost. Days that are over are billed once, and once more on the next day: late
    records may have changed them."""
    now, month = spent.query.ended, month_of(spent.query.began)
    reached = reach(ledger, month)
    seen = Window(month.began, now).within(reached.whole)
    if seen.span <= 0:
        return {}
    known = history(seen.ended, reached.whole, month.ended)
    if {day(each.began) for each in known} != set(past):
        past.clear()
        past.update({day(each.began): days(each) for each in known})
    costs_of = {line.key: line.cost for line in spent.lines}
    return {
        team: forecast(
            costs_of.get(team, 0), {at: costs.get(team, 0) for at, costs in past.items()}, seen, month.ended
        ).amount
        for team in {*costs_of, *(each for costs in past.values() for each in costs)}
        if team
    }


def _budgets(platform: Platform | None, spent: Bill) -> dict[str, int]:
    """By team that has one; of more than LIMIT those that spend most."""
    budgets = limits(platform)
    if len(budgets) <= LIMIT:
        return budgets
    return {line.key: budgets[line.key] for line in spent.lines[:LIMIT] if line.key in budgets}


def _nodes(ledger: Ledger, tariff: Tariff, horizon: int, now: int) -> Iterator[Family]:
    """What each node that is there costs now, by whom, and how old that figure is."""
    rates = _rates(ledger, tariff, horizon) if horizon else []
    priced = [(node, rate, rate.per_hour) for node, rate in rates if rate.per_hour]
    kept, rest = _bounded(priced, lambda each: each[2])
    prices = [
        Sample(money(each), {"node": node.name, "pool": node.pool, "source": rate.source}) for node, rate, each in kept
    ]
    others: dict[tuple[str, str], int] = {}
    for node, rate, each in rest:
        others[node.pool, rate.source] = others.get((node.pool, rate.source), 0) + each
    prices += [
        Sample(money(each), {"node": OTHER, "pool": pool, "source": source})
        for (pool, source), each in sorted(others.items())[:LIMIT]
    ]
    yield Family("plimsoll_node_price_per_hour", "What a node costs an hour, and who says so.", tuple(prices))
    free = [node for node, rate in rates if not rate.per_hour]
    named = [Sample("1", {"node": node.name, "pool": node.pool}) for node in free[:LIMIT]]
    if free[LIMIT:]:
        named.append(Sample(str(len(free) - LIMIT), {"node": OTHER}))
    yield Family("plimsoll_node_unpriced", "A node that costs nothing in the bill, for nobody knows its price.",
                 tuple(named))  # fmt: skip
    today = datetime.fromtimestamp(now / 1000, UTC).date()
    ages = {rate.source: _days(rate.as_of, today) for _, rate, _ in priced if rate.as_of}
    oldest, _ = _bounded(ages.items(), lambda item: item[1])
    yield Family("plimsoll_price_age_days", "How long ago a price in use was true.",
                 tuple(Sample(str(age), {"source": source}) for source, age in oldest))  # fmt: skip


def _days(as_of: date, today: date) -> int:
    return max((today - as_of).days, 0)


def _rates(ledger: Ledger, tariff: Tariff, horizon: int) -> list[tuple[Facts, Rate]]:
    """The nodes that were there when a meter last watched, by name, and their price then."""
    store = ledger.store
    with store.reading():
        for sql in lives.lives(horizon - 1, horizon, horizon)[:2]:  # nodes; nobody asks who held them
            store.run(sql)
        observed = lives.quotes(store)
        nodes = sorted(lives.facts(store), key=lambda node: (node.name, node.uid))
    return [(node, tariff.rates(node, observed)[-1]) for node in nodes]
