"""Alerts on money, and on whoever records it."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.cost import NAMED
from plimsoll.pillars.observability.pack.model import Alert, Group

_LOGS = "kubectl logs -A -l app.kubernetes.io/component=meter --tail=50"
_SPENT = f"sum by (team) (plimsoll:cost_last_day:money{{{NAMED}}})"

MONEY = (
    Alert(
        name="TeamIdleBudget",
        severity="warning",
        # A tenth of a day's budget; of a team without one, three tenths of what it spent.
        expr=f"""
            (plimsoll:team_idle:ratio * on (team) {_SPENT}) > on (team) plimsoll:team_budget:money / 300
            or (plimsoll:team_idle:ratio > 0.3) * on (team) {_SPENT} unless on (team) plimsoll:team_budget:money""",
        lasts="2h",
        summary="Team {{ $labels.team }} paid {{ $value | humanize }} in a day for GPUs that did nothing",
        means="That is more than a tenth of what it may spend in a day; of a team without a budget, more than three "
        "tenths of what it spent. It held these GPUs, and nothing ran on them.",
        runbook=(
            "plimsoll cost --by workload --since 24h   # which ones hold and do nothing",
            "Dashboard Idle and poorly used GPUs: the pods, now",
        ),
    ),
    Alert(
        name="BudgetBurn",
        severity="warning",
        expr="plimsoll:team_forecast:money > on (team) plimsoll:team_budget:money",
        lasts="6h",
        summary="Team {{ $labels.team }} will spend {{ $value | humanize }} this month, which is beyond its budget",
        means="What it has spent since the month began, and for the days that are left the mean of the last seven.",
        runbook=(
            "plimsoll cost --by workload --since 7d   # what costs most",
            "Agree on another budget (teams[].budget), or lower its quota and borrowing",
        ),
    ),
    Alert(
        name="LostWorkHigh",
        severity="warning",
        expr=f"plimsoll:team_lost_work:money > on (team) 0.05 * {_SPENT}",
        lasts="1h",
        summary="Team {{ $labels.team }} lost work worth {{ $value | humanize }} in a day",
        means="More than a twentieth of what it spent went into pods that were evicted or preempted. At most that much "
        "was lost: what they had saved is not.",
        runbook=(
            "Dashboard Spot: interruptions by pool; dashboard Queues and teams: evictions by reason",
            "Checkpoint more often (spot.checkpoint.interval), or keep long jobs off spot (spot.never)",
        ),
    ),
    Alert(
        name="CostPerMtokRegression",
        severity="warning",
        expr="""
            max by (model) (plimsoll:model_million_tokens:money{kind="all"})
              > on (model) 1.3 * max by (model) (
                avg_over_time(plimsoll:model_million_tokens:money{kind="all"}[7d:1h] offset 1d))""",
        lasts="2h",
        summary="A million tokens of {{ $labels.model }} cost {{ $value | humanize }}, a third more than last week",
        means="All that its engines cost by all tokens of the day, against the mean of the seven days before: fewer "
        "requests on as many replicas, smaller batches, a slower version, or a dearer pool.",
        runbook=(
            "Dashboard Served models: requests, batches, replicas, before and after",
            "plimsoll cost inference   # how much of it is engines that did nothing",
        ),
    ),
    Alert(
        name="NodeUnpriced",
        severity="warning",
        expr="sum(max by (node) (plimsoll_node_unpriced)) > 0",
        lasts="1h",
        summary="{{ $value }} nodes have no price, so whoever uses them pays nothing",
        means="Neither platform.yaml nor the price book knows what they cost. Every bill is short of them.",
        runbook=(
            "Dashboard Cost reconciliation: which nodes, of which pool",
            "Give the pool a price: pools[].price, with its source and day",
        ),
    ),
    Alert(
        name="PriceBookStale",
        severity="warning",
        expr="max by (source) (plimsoll_price_age_days) > 90",
        lasts="1h",
        summary="A price that bills use is {{ $value }} days old: {{ $labels.source }}",
        means="Prices of GPUs change within months. What teams are told is as old as that.",
        runbook=("Look it up, and write it with its day: pools[].price.asOf",),
    ),
    Alert(
        name="CostNotConserved",
        severity="critical",
        expr="min(plimsoll_cost_conserved) < 1",
        lasts="5m",
        summary="The lines of a bill do not add up to the price of the nodes",
        means="That is a bug of Plimsoll's own. No bill is shown while it is so; what is recorded is not touched.",
        runbook=("plimsoll cost --by node   # says by how much", "Report it with the ledger, or with its export"),
    ),
)
"""What is paid, and for what."""

METER = (
    Alert(
        name="MeterDown",
        severity="critical",
        # What things cost is said by the one that watches the cluster; those on nodes say only how they do.
        expr="absent(plimsoll_meter_watching_seconds) or absent(plimsoll_cost_info)",
        lasts="15m",
        summary="Nobody records who uses which GPU",
        means="The meter that watches the cluster does not run, cannot say what things cost, or its page is not "
        "collected. Pods that begin and end while it is away are in no bill.",
        runbook=("kubectl get pods -A -l app.kubernetes.io/component=meter", _LOGS),
    ),
    Alert(
        name="MeterBlind",
        severity="critical",
        expr="""
            max(plimsoll_ledger_behind_seconds) > 900
            or count(plimsoll_meter_watching_seconds == 0) > 0
            or sum(plimsoll_meter_readings) == 0 and on () sum(plimsoll:node_gpu_allocatable:devices) > 0""",
        lasts="15m",
        summary="A meter runs and sees nothing",
        means="It cannot watch the cluster, cannot write its ledger, or reads no GPU though there are some. Nothing is "
        "billed beyond the last moment one watched; GPUs that none reads are billed without saying what they did.",
        runbook=(_LOGS, "Its account must list nodes and pods: kubectl describe clusterrole plimsoll-meter"),
    ),
    Alert(
        name="MeterMissesPages",
        severity="info",
        expr="sum(plimsoll_meter_pages_failed) > 0",
        lasts="1h",
        summary="{{ $value }} exporters have not answered the meter for an hour",
        means="What the GPUs of their nodes do is unmeasured: they are billed, and nobody learns whether they idle.",
        runbook=(
            _LOGS + "   # names the pages",
            "kubectl -n gpu-operator get pods -l app=nvidia-dcgm-exporter -o wide",
        ),
    ),
)
"""Who records it."""

COST_ALERTS = (
    Group(name="plimsoll-cost-alerts", rules=MONEY),
    Group(name="plimsoll-meter-alerts", rules=METER),
)
