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
from plimsoll.cost.bill import Bill, Line, NotConservedError, Query, bill
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lines import COST
from plimsoll.cost.lost import lost
from plimsoll.cost.price import Facts, Rate, Tariff
from plimsoll.cost.request import Weights
from plimsoll.cost.sample import HOUR
from plimsoll.spec.model import Platform

LIMIT = 200
DAY, WEEK = 24 * HOUR, 7 * 24 * HOUR
TOP = 20  # workloads: a cluster sees thousands of them a day
HEALTH = {
    "watching_seconds": "How long the meter has watched the cluster without a gap; 0 while it does not.",
    "last_round_seconds": "How long the last round of readings took.",
    "pages_failed": "Pages of exporters that could not be read in the last round.",
    "readings": "Devices that were read in the last round.",
    "holds_guessed": "Devices that pods hold by deduction, because nobody told which.",
}
T = TypeVar("T")


def page(
    ledger: Ledger,
    tariff: Tariff,
    platform: Platform | None,
    now: int,
    counters: Mapping[str, float],
    *,
    weights: Weights | None = None,
) -> str:
    """The whole page at a moment: `costs`, which takes as long as a few bills, and `health`, which costs nothing."""
    return costs(ledger, tariff, platform, now, weights=weights) + health(counters)


def health(counters: Mapping[str, float]) -> str:
    """How the meter does. counters: by the names of HEALTH; others are shown, too, as plimsoll_meter_<name>."""
    return text(
        Family(f"plimsoll_meter_{name}", HEALTH.get(name, "See docs/guides/meter.md."), (Sample(number(value)),))
        for name, value in counters.items()
    )


def costs(
    ledger: Ledger, tariff: Tariff, platform: Platform | None, now: int, *, weights: Weights | None = None
) -> str:
    """What the ledger says at a moment (milliseconds). Not while another thread uses the same store.

    weights: of tokens, where they were measured. Where lines do not add up to nodes, the page says only that.
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
        found += _bills(ledger, tariff, platform, now, weights or Weights())
    except NotConservedError:
        return text([*found, Family("plimsoll_cost_conserved", about, (Sample("0"),))])
    return text([*found, Family("plimsoll_cost_conserved", about, (Sample("1"),))])


def _bills(ledger: Ledger, tariff: Tariff, platform: Platform | None, now: int, weights: Weights) -> Iterator[Family]:
    terms = _terms(platform)

    def asked(by: str, began: int, top: int = LIMIT) -> Bill:
        return bill(ledger, tariff, Query(by=by, began=min(began, now - 1), ended=now, top=top, **terms))  # type: ignore[arg-type]

    began, ended = month(now)
    spent, day = asked("team", began), asked("team", now - DAY)
    yield _by_class("month_to_date", "Cost since the month began, UTC", spent)
    yield _by_class("last_day", "Cost of the last 24 hours", day)
    yield _by_class("last_hour", "Cost of the last hour", asked("team", now - HOUR))
    week = asked("team", now - WEEK)
    yield _by_team("cost_forecast_month", "What the month will cost if it goes on as in the last seven days.",
                   _forecast(spent, week, _since(ledger, now - WEEK), now, ended))  # fmt: skip
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
    yield from tokens(ledger, asked("model", now - DAY).lines, now - DAY, now, weights, LIMIT)


def _terms(platform: Platform | None) -> dict[str, str]:
    """How the declaration wants money divided."""
    declared = platform.observability.costs if platform else None
    return {"split": declared.split, "idle": declared.idle} if declared else {}


def month(now: int) -> tuple[int, int]:
    """The calendar month around a moment: its first one, and that of the next month. UTC."""
    day = datetime.fromtimestamp(now / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1)
    return round(day.timestamp() * 1000), round(after.timestamp() * 1000)


def _lines(found: Bill) -> Iterator[tuple[str, Line]]:
    for line in found.lines:
        yield line.key, line
    if found.others:
        yield OTHER, found.others


def _by_class(name: str, about: str, found: Bill) -> Family:
    """A bill by team, its lines by class: together the price of the nodes. No team: nobody's."""
    samples = [
        Sample(money(getattr(line, each)), {"team": team, "class": each})
        for team, line in _lines(found)
        for each in COST
        if getattr(line, each)
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


def _since(ledger: Ledger, began: int) -> int:
    """Since when the ledger knows anything, not before a moment."""
    first = ledger.store.rows("SELECT MIN(began) FROM watches")[0][0]
    return max(began, int(first or 0))


def _forecast(spent: Bill, week: Bill, since: int, now: int, ended: int) -> dict[str, int]:
    """By team: what the month cost so far, and for what is left of it the mean of the last seven days: each weekday
    counts once. A ledger that is younger has the mean of its own days."""
    lived = max(min(week.horizon, now) - since, 1)
    recent = {team: line.cost for team, line in _lines(week)}
    found = {team: line.cost for team, line in _lines(spent)}
    for team, cost in recent.items():
        found[team] = found.get(team, 0) + cost * max(ended - now, 0) // lived
    return {team: cost for team, cost in found.items() if team}


def _budgets(platform: Platform | None, spent: Bill) -> dict[str, int]:
    """By team that has one; of more than LIMIT those that spend most stand by themselves, as in the bills."""
    budgets = {team.name: int(team.budget.monthly) for team in platform.teams if team.budget} if platform else {}
    if len(budgets) <= LIMIT:
        return budgets
    return {team: budgets[team] for team, _ in _lines(spent) if team in budgets}


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
