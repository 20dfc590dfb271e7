"""The dashboard of money: whether it adds up, where it goes, and what it is worked out from."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.grafana import Board, Panel, Query, Row, Step, Variable

_TEAM = 'team=~"$team"'
_MODEL = 'model=~"$model"'
_KNOWN = {"USD", "EUR", "GBP", "JPY", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "INR", "KRW", "BRL", "ZAR"}
"""Those that Grafana has a sign for."""


def cost(currency: str) -> Board:
    """In the currency of the bills."""
    unit = f"currency{currency}" if currency in _KNOWN else f"currency:{currency} "
    return Board(
        uid="plimsoll-cost",
        title="Cost reconciliation",
        about="What GPUs cost, whom, and whether all of it adds up to the price of the nodes. Made of the meter's "
        "ledger; plimsoll cost says the same, by job and by any other cut.",
        variables=(
            Variable("team", "Team", "plimsoll:cost_month:money", "team"),
            Variable("model", "Model", "plimsoll:model_million_tokens:money", "model"),
        ),
        rows=(
            Row("Does it add up?", _sums(unit)),
            Row("Where it goes", _use(unit)),
            Row("Budgets", _budgets(unit)),
            Row("Inference", _inference(unit)),
            Row("Prices", _prices(unit)),
            Row("The meter", _METER),
        ),
    )


def _sums(unit: str) -> tuple[Panel, ...]:
    def stat(title: str, about: str, expr: str, *, of: str = "short", steps: tuple[Step, ...] = ()) -> Panel:
        return Panel(
            title=title, about=about, kind="stat", unit=of, width=4, height=4, queries=(Query(expr),), steps=steps
        )

    return (
        stat("Lines, last hour", "All that teams and nobody were charged in the last hour.",
             "sum(plimsoll:cost_last_hour:money)", of=unit),
        stat("Nodes, an hour", "What all nodes cost an hour by their prices now. Nodes that came or went "
             "within the hour make a difference to the lines.", "sum(plimsoll:node_price:money_per_hour)", of=unit),
        stat("Bills that do not add up", "Lines against the price of the nodes. 1: a bug of Plimsoll.",
             "1 - min(plimsoll_cost_conserved)", steps=(Step(1, "red"),)),
        stat("Nodes without a price", "Their GPUs are used for nothing, by the bill.",
             "sum(max by (node) (plimsoll_node_unpriced)) or vector(0)", steps=(Step(1, "orange"),)),
        stat("Oldest price in use", "Prices of GPUs change within months.", "max(plimsoll_price_age_days)", of="d",
             steps=(Step(90, "orange"),)),
        stat("Ledger behind", "How long ago a meter last watched. Nothing is billed beyond.",
             "min(plimsoll_ledger_behind_seconds)", of="s", steps=(Step(900, "red"),)),
    )  # fmt: skip


def _use(unit: str) -> tuple[Panel, ...]:
    return (
        Panel(
            title="Lines and nodes",
            about="What an hour's lines add up to, and the price of the nodes. They part where nodes come and go.",
            unit=unit,
            queries=(
                Query("sum(plimsoll:cost_last_hour:money)", "lines"),
                Query("sum(plimsoll:node_price:money_per_hour)", "nodes"),
            ),
        ),
        Panel(
            title="By class, last hour",
            about="productive and low: used. idle: held, and nothing ran. unallocated, stranded, absent: nobody could "
            "or did hold it.",
            unit=unit,
            stack=True,
            queries=(Query("sum by (class) (plimsoll:cost_last_hour:money)", "{{class}}"),),
        ),
        Panel(
            title="By team, last hour",
            about="Without a team: what nobody held.",
            unit=unit,
            stack=True,
            queries=(Query(f"sum by (team) (plimsoll:cost_last_hour:money{{{_TEAM}}})", "{{team}}"),),
        ),
        Panel(
            title="Top spenders, last day",
            about="The dearest workloads.",
            kind="bargauge",
            unit=unit,
            queries=(Query("topk(10, max by (workload) (plimsoll_cost_workload_last_day))", "{{workload}}"),),
        ),
        Panel(
            title="Paid for GPUs that did nothing, last day",
            about="Held by the team's pods, and busy less than 1 % of the time.",
            kind="bargauge",
            unit=unit,
            queries=(
                Query(f'topk(10, sum by (team) (plimsoll:cost_last_day:money{{class="idle", {_TEAM}}}))', "{{team}}"),
            ),
        ),
        Panel(
            title="Work that was lost, last day",
            about="What pods cost that were evicted or preempted, since their last checkpoint where its interval is "
            "declared: at most what was lost.",
            kind="bargauge",
            unit=unit,
            queries=(Query(f"topk(10, plimsoll:team_lost_work:money{{{_TEAM}}})", "{{team}}"),),
        ),
    )


def _budgets(unit: str) -> tuple[Panel, ...]:
    return (
        Panel(
            title="Forecast, of the budget",
            about="What the month will have cost, against what the team may spend. Above 1 it will be beyond.",
            kind="bargauge",
            unit="percentunit",
            steps=(Step(0.9, "yellow"), Step(1, "red")),
            queries=(
                Query(
                    f"plimsoll:team_forecast:money{{{_TEAM}}} / on (team) (plimsoll:team_budget:money > 0)", "{{team}}"
                ),
            ),
        ),
        Panel(
            title="Month to date, forecast, budget",
            about="By team. The forecast takes the days that are left as their weekdays were in the last four weeks.",
            kind="table",
            unit=unit,
            width=16,
            queries=(
                Query(f"sum by (team) (plimsoll:cost_month:money{{{_TEAM}}})"),
                Query(f"plimsoll:team_forecast:money{{{_TEAM}}}"),
                Query(f"plimsoll:team_budget:money{{{_TEAM}}}"),
            ),
        ),
    )


def _inference(unit: str) -> tuple[Panel, ...]:
    return (
        Panel(
            title="A million tokens",
            about="prompt and output: what they cost while engines worked. all: all that the model cost by all its "
            "tokens, so idle replicas show here.",
            unit=unit,
            width=12,
            queries=(Query(f"plimsoll:model_million_tokens:money{{{_MODEL}}}", "{{model}} {{kind}}"),),
        ),
        Panel(
            title="A request, by tenant",
            about="Mean of the last day, the dearest twenty.",
            kind="bargauge",
            unit=unit,
            width=12,
            queries=(
                Query(
                    f"topk(20, max by (model, tenant) (plimsoll_inference_cost_per_request{{{_MODEL}}}))",
                    "{{model}} {{tenant}}",
                ),
            ),
        ),
    )


def _prices(unit: str) -> tuple[Panel, ...]:
    return (
        Panel(
            title="Prices in use",
            about="What a node of each pool costs an hour, and who says so.",
            kind="table",
            unit=unit,
            width=16,
            queries=(Query("max by (pool, source) (plimsoll:node_price:money_per_hour)"),),
        ),
        Panel(
            title="Nodes without a price",
            about="Give their pool one: pools[].price.",
            kind="table",
            queries=(Query("max by (node, pool) (plimsoll_node_unpriced)"),),
        ),
    )


_METER = tuple(
    Panel(title=title, about=about, unit=unit, width=6, queries=(Query(expr, legend),))
    for title, about, unit, expr, legend in (
        ("Devices read", "GPUs and MIG instances in a round.", "short", "sum(plimsoll_meter_readings)", "devices"),
        ("Pages that could not be read", "What their GPUs do is unmeasured.", "short",
         "sum(plimsoll_meter_pages_failed)", "pages"),
        ("A round takes", "The slowest meter.", "s", "max(plimsoll_meter_last_round_seconds)", "seconds"),
        ("Devices held by deduction", "No source told which device a pod holds.", "short",
         "sum(plimsoll_meter_holds_guessed)", "holds"),
    )
)  # fmt: skip
