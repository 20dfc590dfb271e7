"""Alerts on Kueue and on the GPU Operator."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.model import Alert, Group

_QUEUE = "kubectl describe clusterqueue {{ $labels.cluster_queue }}"


def _increase(metric: str, by: str, window: str) -> str:
    """How often something was counted. Replicas of Kueue count what they did while they led, so all of them add up; a
    replica that is scraped twice does not."""
    return f"sum by ({by}) (max by ({by}, instance) (increase({metric}[{window}])))"


QUEUEING = (
    Alert(
        name="QueueWaitsBesideFreeQuota",
        severity="warning",
        expr="""
            sum by (cluster_queue) (plimsoll:queue_pending:workloads{status="active"}) > 0
            and on (cluster_queue) (
              sum by (cluster_queue) (plimsoll:queue_reserved:devices) < sum by (cluster_queue)
                (plimsoll:queue_quota:devices)
            )""",
        lasts="30m",
        summary="Jobs wait in queue {{ $labels.cluster_queue }} beside quota of its own that is free",
        means="The head of the queue does not fit into what is left, asks for another flavor, or waits for an "
        "admission "
        "check; in strict order everything behind it waits too.",
        runbook=(
            "kubectl get workloads -A --sort-by=.metadata.creationTimestamp | grep {{ $labels.cluster_queue }}",
            "plimsoll check   # names the reason for each waiting workload",
        ),
    ),
    Alert(
        name="QueueJobsNeverFit",
        severity="warning",
        expr='max by (cluster_queue) (plimsoll:queue_pending:workloads{status="inadmissible"}) > 0',
        lasts="2h",
        summary="{{ $value }} jobs in queue {{ $labels.cluster_queue }} cannot be admitted as things are",
        means="Kueue tried and gave up until something changes: they ask for more than quota and borrowing allow, or "
        "for a "
        "resource that no flavor has.",
        runbook=(_QUEUE, "plimsoll check   # names the reason for each", "Raise the quota, or tell the owner"),
    ),
    Alert(
        name="QueueWaitLong",
        severity="info",
        expr="plimsoll:queue_admission_wait:p95_seconds > 14400",
        lasts="15m",
        summary="One job in twenty waited more than {{ $value | humanizeDuration }} in queue {{ "
        "$labels.cluster_queue }}",
        means="Jobs admitted in the last hour had waited for hours. Either demand is above the quota, or borrowers "
        "do not "
        "give back.",
        runbook=(
            "Dashboard Queues and teams: who holds what, and beyond which quota",
            "Turn on queueing.preemption, shorten jobs, or add nodes",
        ),
    ),
    Alert(
        name="QueueEvictsOften",
        severity="warning",
        expr=_increase("kueue_evicted_workloads_total", "cluster_queue, reason", "1h") + " > 10",
        lasts="10m",
        summary="{{ $value | humanize }} evictions in an hour from {{ $labels.cluster_queue }}: {{ $labels.reason }}",
        means="Jobs are started and stopped again and again. Each time they lose what they did since their last "
        "checkpoint, and the time to start.",
        runbook=(
            "Preempted: two teams reclaim from each other; look at borrowing and priorities",
            "PodsReadyTimeout: images, nodes that do not come, or gangs that do not fit",
            _QUEUE,
        ),
    ),
    Alert(
        name="QueueJobsDoNotStart",
        severity="warning",
        expr=_increase('kueue_evicted_workloads_total{reason="PodsReadyTimeout"}', "cluster_queue", "1h") + " > 0",
        lasts="5m",
        summary="Jobs of {{ $labels.cluster_queue }} were admitted, and their pods did not become ready in time",
        means="Their quota was given back, and they queue again. What keeps one gang from starting keeps the next "
        "one, too.",
        runbook=(
            "kubectl get events -A --field-selector reason=FailedScheduling",
            "Image pulls longer than queueing.waitForPodsReady: raise it, or pull ahead",
        ),
    ),
    Alert(
        name="QueueClosed",
        severity="critical",
        expr='max by (cluster_queue) (kueue_cluster_queue_status{status="active"}) == 0',
        lasts="10m",
        summary="Queue {{ $labels.cluster_queue }} admits nothing",
        means="It is not active: a flavor or admission check it names does not exist, or it was stopped.",
        runbook=(_QUEUE + "   # status.conditions says why", "plimsoll plan   # what should be there"),
    ),
    Alert(
        name="QueueNotMeasured",
        severity="warning",
        expr="absent(kueue_build_info)",
        lasts="30m",
        summary="Nobody measures Kueue",
        means="Kueue is down, or its metrics are not collected. Nobody would be told that jobs have stopped being "
        "admitted.",
        runbook=(
            "kubectl -n kueue-system get pods",
            "Its metrics are on port 8443, over TLS, for whoever may get /metrics: ClusterRole kueue-metrics-reader",
        ),
    ),
)

OPERATOR = (
    Alert(
        name="GpuOperatorFails",
        severity="warning",
        expr="max(gpu_operator_reconciliation_status) < 1",
        lasts="30m",
        summary="The GPU Operator has not been ready for half an hour",
        means="Status {{ $value }}: 0 an operand is not ready, -1 there is no ClusterPolicy, -2 an error in the "
        "operator. "
        "New nodes get no driver, and changes do not arrive.",
        runbook=(
            "kubectl get clusterpolicy",
            "plimsoll check   # names the operand and the node",
            "The operator's logs",
        ),
    ),
    Alert(
        name="GpuDriverUpgradeFailed",
        severity="warning",
        expr="max(gpu_operator_nodes_upgrades_failed) > 0",
        lasts="5m",
        summary="The driver upgrade of {{ $value }} nodes failed",
        means="These nodes stay cordoned, and count against the number of nodes that may be out at a time.",
        runbook=(
            "kubectl get nodes -l nvidia.com/gpu-driver-upgrade-state=upgrade-failed",
            "Mend the cause, then label the node upgrade-required again",
        ),
    ),
    Alert(
        name="GpuOperandsWait",
        severity="warning",
        expr="""max by (namespace, pod, reason) (kube_pod_container_status_waiting_reason{
            reason=~"CrashLoopBackOff|ImagePullBackOff|ErrImagePull|CreateContainerConfigError|RunContainerError"}
            and on (namespace, pod) kube_pod_info{created_by_kind="DaemonSet",
              created_by_name=~"nvidia-.*|gpu-feature-discovery|.*node-feature-discovery.*"})""",
        lasts="15m",
        summary="{{ $labels.namespace }}/{{ $labels.pod }} does not run: {{ $labels.reason }}",
        means="A part of the GPU stack of one node is missing. While it is the driver, the toolkit or the device "
        "plugin, no "
        "GPU pod starts there.",
        runbook=(
            "kubectl -n {{ $labels.namespace }} describe pod {{ $labels.pod }}",
            "kubectl -n {{ $labels.namespace }} logs {{ $labels.pod }} --previous",
            "plimsoll check",
        ),
    ),
)

QUEUE_ALERTS = (
    Group(name="plimsoll-queue-alerts", rules=QUEUEING),
    Group(name="plimsoll-operator-alerts", rules=OPERATOR),
)
