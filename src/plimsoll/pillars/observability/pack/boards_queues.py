"""The dashboard of queues and teams."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.grafana import Board, Panel, Query, Row, Step, Variable

_QUEUE = 'cluster_queue=~"$queue"'
QUEUES = Board(
    uid="plimsoll-queues",
    title="Queues and teams",
    about="What each team is promised, uses, borrows and waits for.",
    variables=(Variable("queue", "Queue", "plimsoll:queue_pending:workloads", "cluster_queue"),),
    rows=(
        Row(
            "Waiting",
            (
                Panel(
                    title="Jobs that wait",
                    about="active: in line. inadmissible: tried, and not before something changes.",
                    stack=True,
                    queries=(Query(f"plimsoll:queue_pending:workloads{{{_QUEUE}}}", "{{cluster_queue}} {{status}}"),),
                ),
                Panel(
                    title="Wait of admitted jobs",
                    about="95 of a hundred jobs admitted in the last hour waited no longer.",
                    unit="s",
                    queries=(Query(f"plimsoll:queue_admission_wait:p95_seconds{{{_QUEUE}}}", "{{cluster_queue}}"),),
                ),
                Panel(
                    title="Jobs that run",
                    about="Admitted and not finished.",
                    stack=True,
                    queries=(Query(f"plimsoll:queue_admitted:workloads{{{_QUEUE}}}", "{{cluster_queue}}"),),
                ),
            ),
        ),
        Row(
            "Quota",
            (
                Panel(
                    title="Quota in use",
                    about="Above 1 a team borrows; others get it back on demand.",
                    unit="percentunit",
                    queries=(
                        Query(
                            f"plimsoll:queue_reserved:devices{{{_QUEUE}}} / (plimsoll:queue_quota:devices > 0)",
                            "{{cluster_queue}} {{flavor}} {{resource}}",
                        ),
                    ),
                ),
                Panel(
                    title="Free in the cohort",
                    about="Quota that nobody uses. Beside jobs that wait: borrowing limits, or shapes that do not fit.",
                    stack=True,
                    queries=(Query("plimsoll:cohort_free:devices", "{{flavor}} {{resource}}"),),
                ),
                Panel(
                    title="Share beyond quota",
                    about="How much a team borrowed, for its weight; who is lowest goes first.",
                    queries=(
                        Query(
                            f"max by (cluster_queue) (kueue_cluster_queue_weighted_share{{{_QUEUE}}})",
                            "{{cluster_queue}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Trouble",
            (
                Panel(
                    title="Evictions",
                    about="In an hour, by reason.",
                    stack=True,
                    queries=(
                        Query(
                            f"sum by (cluster_queue, reason) (increase(kueue_evicted_workloads_total{{{_QUEUE}}}[1h]))",
                            "{{cluster_queue}} {{reason}}",
                        ),
                    ),
                ),
                Panel(
                    title="Preemptions",
                    about="In an hour, by the queue that pushed out.",
                    stack=True,
                    queries=(
                        Query(
                            "sum by (preempting_cluster_queue, reason) (increase(kueue_preempted_workloads_total[1h]))",
                            "{{preempting_cluster_queue}} {{reason}}",
                        ),
                    ),
                ),
                Panel(
                    title="Queues that are closed",
                    about="Not active: they admit nothing.",
                    kind="stat",
                    steps=(Step(1, "red"),),
                    queries=(
                        Query(
                            'count(max by (cluster_queue) (kueue_cluster_queue_status{status="active"}) == 0) '
                            "or vector(0)"
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Teams",
            (
                Panel(
                    title="Devices held",
                    about="By team and kind.",
                    stack=True,
                    width=12,
                    queries=(Query("plimsoll:team_gpu_held:devices", "{{team}} {{resource}}"),),
                ),
                Panel(
                    title="Busy",
                    about="Mean over the devices its pods hold.",
                    unit="percentunit",
                    most=1,
                    width=12,
                    queries=(Query("plimsoll:team_gpu_busy:ratio", "{{team}}"),),
                ),
            ),
        ),
    ),
)
