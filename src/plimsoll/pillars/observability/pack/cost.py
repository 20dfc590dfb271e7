"""What the meter's page says of money, as series that go on when its pod is another one."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.model import Group, Record

OTHERS = "(other)"  # as the page calls many teams together
NAMED = 'team!~"|[(]other[)]"'  # teams that stand by themselves


def _kept(record: str, metric: str, labels: str) -> Record:
    return Record(record=f"plimsoll:{record}", expr=f"max by ({labels}) ({metric})")


COST = Group(
    name="plimsoll-cost",
    rules=(
        _kept("cost_last_hour:money", "plimsoll_cost_last_hour", "team, class"),
        _kept("cost_last_day:money", "plimsoll_cost_last_day", "team, class"),
        _kept("cost_month:money", "plimsoll_cost_month_to_date", "team, class"),
        _kept("team_forecast:money", "plimsoll_cost_forecast_month", "team"),
        _kept("team_budget:money", "plimsoll_budget_month", "team"),
        _kept("team_lost_work:money", "plimsoll_lost_work_last_day", "team"),
        _kept("node_price:money_per_hour", "plimsoll_node_price_per_hour", "node, pool, source"),
        _kept("model_million_tokens:money", "plimsoll_inference_cost_per_million_tokens", "model, kind"),
        Record(
            record="plimsoll:team_idle:ratio",  # of what a team spent in a day, what it paid for GPUs that did nothing
            expr=f'sum by (team) (plimsoll:cost_last_day:money{{{NAMED}, class="idle"}}) '
            f"/ (sum by (team) (plimsoll:cost_last_day:money{{{NAMED}}}) > 0)",
        ),
    ),
)
