"""A month for finance and team leads: what its forms say alike, section by section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plimsoll.cost.bill import Line
from plimsoll.cost.lines import COST
from plimsoll.cost.month import Team
from plimsoll.cost.monthly import Monthly, weekly
from plimsoll.cost.statement import added, shortened
from plimsoll.cost.waits import Wait
from plimsoll.cost.window import text
from plimsoll.report.cost import budget, columns, inference, spenders, words
from plimsoll.report.view import amount

SPENDERS, WASTES = 10, 5
MEANINGS = {
    "productive": "held and busy",
    "low": "held and hardly used: less than 15 % of the GPU's cores active",
    "idle": "held, and busy less than 1 % of the time",
    "unmeasured": "held; nobody looked what was done",
    "unallocated": "free to be held",
    "stranded": "what MIG layouts leave over",
    "absent": "bought, and not shown by the node: starting, or broken",
    "host": "carved out for cores and memory",
    "spread": "unused GPUs, spread over those who held some",
}
REMEDIES = {
    "idle": "stop it while nothing runs, scale to zero, or give it a part of a GPU; `plimsoll diagnose` says why",
    "low": "larger batches, or a smaller GPU or MIG profile; `plimsoll diagnose` says why",
    "unallocated": "fewer nodes (nodes.min, the autoscaler), or more work",
    "stranded": "a layout that pending work fits: partition.mig.layout",
    "absent": "`plimsoll check` says what keeps GPUs from being offered",
    "spread": "see where GPUs are idle: `plimsoll cost --by pool`",
}


class Section(NamedTuple):
    """A heading with a table. texts: the columns that are no figures. total: the last row is one. said: below it."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    texts: tuple[int, ...] = (0,)
    total: bool = True
    said: tuple[str, ...] = ()


def title(found: Monthly) -> str:
    name = f"{words.plain(found.platform)}: " if found.platform else ""
    return f"{name}GPU cost of {text(found.budgets.month.began)[:7]}"


def sentence(found: Monthly) -> str:
    """The month in one line."""
    currency, whole = found.found.bill.currency, added(found.found.lines, "")
    wasted = (
        f", {words.waste(whole) / found.total:.0%} of it for GPUs that did little or nothing" if found.total else ""
    )
    said = [f"{words.money(found.total)} {currency} spent{wasted}"]
    if found.budgets.basis != "over":
        said.append(f"{words.money(found.budgets.forecast)} forecast for the whole month")
    if (busy := words.efficiency(whole)) is not None:
        said.append(f"held GPUs were busy {busy:.0%} of the time")
    over = sum(each.over or each.will_be_over for each in found.budgets.teams)
    if over:
        said.append(f"{amount(over, 'team is', 'teams are')} over budget, or will be")
    return "; ".join(said)


def sections(found: Monthly) -> list[Section]:
    """What there is something to say of."""
    every = [_teams(found), _classes(found), _pools(found), _spenders(found), _wastes(found), _inference(found),
             _waits(found), _spot(found)]  # fmt: skip
    return [each for each in every if each.rows]


def notes(found: Monthly) -> list[str]:
    return [words.balance(found.found), *budget.notes(found.budgets)]


def _teams(found: Monthly) -> Section:
    running = found.budgets.basis != "over"
    heads = ("TEAM", "SPENT", "SHARE", "LAST MONTH", "CHANGE", "FORECAST", "BUDGET", "LEFT", "EFF", "VS MEDIAN",
             "WASTE", "STATE")  # fmt: skip
    middle = found.fleet_median

    def row(name: str, team: Team, line: Line, before: int | None) -> tuple[str, ...]:
        busy = words.efficiency(line)
        beside = "" if busy is None or middle is None or not line.key else f"{(busy - middle) * 100:+.0f}"
        return (
            name, words.money(team.spent), words.percent(team.spent / found.total if found.total else None),
            "" if before is None else words.money(before),
            words.change(team.forecast if running else team.spent, before),
            words.money(team.forecast) if running else "", "" if team.budget is None else words.money(team.budget),
            "" if team.left is None else words.money(team.left), words.percent(busy), beside,
            words.money(words.waste(line)), budget.state(team),
        )  # fmt: skip

    rows = [
        row(budget.name(team), team, found.line(team.team), found.earlier(team.team)) for team in found.budgets.teams
    ]
    whole = Team(team="", spent=found.total, forecast=found.budgets.forecast)
    total = row("TOTAL", whole, added(found.found.lines, ""), found.before.bill.total if found.before else None)
    said = "CHANGE compares the forecast with last month. " if running else ""
    if middle is not None:
        said += f"VS MEDIAN: points of efficiency beside the median team, which is at {middle:.0%}."
    return Section("Teams", heads, [*rows, total], (0, 11), said=(said.strip(),) if said else ())


def _classes(found: Monthly) -> Section:
    whole = added(found.found.lines, "")
    rows = [
        (name, words.money(getattr(whole, name)), words.percent(getattr(whole, name) / found.total), MEANINGS[name])
        for name in COST
        if getattr(whole, name)
    ]
    if rows:
        rows.append(("TOTAL", words.money(found.total), "100%", ""))
    said: tuple[str, ...] = ()
    if whole.starting:
        said = (f"Of what was held, {words.money(whole.starting)} was before containers ran: images, waiting.",)
    return Section("Where the money went", ("CLASS", "COST", "SHARE", "MEANS"), rows, (0, 3), said=said)


def _pools(found: Monthly) -> Section:
    shown = tuple(each for each in columns.NARROW if each is not columns.CHANGE)
    return Section("Pools", ("POOL", *(each.head for each in shown)), columns.rows(found.pools, shown))


def _spenders(found: Monthly) -> Section:
    keep = [place for place, head in enumerate(spenders.HEADS) if head != "TREND"]
    rows = [tuple(row[place] for place in keep) for row in spenders.rows(shortened(found.workloads, SPENDERS))]
    return Section("Biggest spenders", tuple(spenders.HEADS[place] for place in keep), rows, (1, 5))


def wastes(found: Monthly) -> list[tuple[str, str, int]]:
    """Who, class and money of what was wasted most."""
    every = [
        (words.name(line, "workload"), name, int(getattr(line, name)))
        for line in found.workloads.bill.lines
        for name in REMEDIES
        if getattr(line, name)
    ]
    return sorted(every, key=lambda each: (-each[2], each[0], each[1]))[:WASTES]


def _wastes(found: Monthly) -> Section:
    rows = [
        (who, words.CAUSES[name], words.money(cost), words.money(weekly(cost, found.found.window)), REMEDIES[name])
        for who, name, cost in wastes(found)
    ]
    return Section("Largest wastes", ("WHO", "WHAT", "COST", "PER WEEK", "DO"), rows, (0, 1, 4), total=False)


def _inference(found: Monthly) -> Section:
    rows = inference.rows(found.inference) if found.inference.rows else []
    return Section("Inference", inference.HEADS, rows, inference.TEXTS)


def _waits(found: Monthly) -> Section:
    def row(each: Wait) -> tuple[str, ...]:
        queued, starting = ([words.span(part) for part in pair] if pair else ["", ""]
                            for pair in (each.queued, each.starting))  # fmt: skip
        line = found.line(each.team)
        team = words.plain(each.team) or "(no team)"
        return (team, f"{each.pods:,}", *queued, *starting, words.money(line.starting))

    heads = ("TEAM", "PODS", "WAIT P50", "P95", "START P50", "P95", "START COST")
    said = ("WAIT: from a pod's making to its node. START: from there until its containers ran; it is paid for.",)
    return Section("Waiting and starting", heads, [row(each) for each in found.waits], total=False, said=said)


def _spot(found: Monthly) -> Section:
    spot = found.spot
    if not spot.paid and not found.lost:
        return Section("Spot", (), [])
    gone = sum(found.lost.values())
    since = f"their last checkpoint, at most {words.span(found.checkpoint)}" if found.checkpoint else "they began"
    rows = [
        ("spot nodes cost", words.money(spot.paid)),
        ("on demand they would have cost", words.money(spot.on_demand) if spot.sources else "unknown"),
        ("saved", words.money(spot.saved) if spot.sources else "unknown"),
        (f"lost with pods that were pushed out, since {since}", words.money(gone)),
    ]
    said = [f"On demand: {words.listed(spot.sources)}."] if spot.sources else []
    if spot.unknown:
        said.append(f"Not compared, for nobody knows their price on demand: {words.listed(spot.unknown)}.")
    if found.lost:
        teams = sorted(found.lost.items(), key=lambda item: -item[1])
        said.append(
            "Lost by " + words.listed([f"{name or '(no team)'} {words.money(cost)}" for name, cost in teams]) + "."
        )
    return Section("Spot", ("WHAT", found.found.bill.currency), rows, total=False, said=tuple(said))
