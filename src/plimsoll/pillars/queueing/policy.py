"""Settings of queues that do not do what they seem to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import get, name, number, text
from plimsoll.pillars.queueing.facts import block, cluster_queue_of, manager_config, state


def _fair_sharing(case: Case) -> bool | None:
    """Whether Kueue's Configuration turns fair sharing on; None where it was not found."""
    config = manager_config(case.snapshot)
    if config is None:
        return None
    found = block(config[1], "fairSharing")
    return found is not None and "enable: false" not in found  # v1beta1 had an `enable`


@check(
    "Q31", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_QUEUE, kinds.WORKLOAD),
    remedy="kubectl patch clusterqueue <name> --type merge"
    " -p '{\"spec\":{\"preemption\":{\"withinClusterQueue\":\"LowerPriority\"}}}'",
    source="kueue ClusterQueue.spec.preemption.withinClusterQueue, default Never",
)  # fmt: skip
def priorities_preempt(case: Case) -> Iterator[Finding]:
    """Priorities that are used also preempt.

    With `withinClusterQueue: Never`, the default, a priority only orders who waits. An urgent job
    still waits for the last unimportant one to end.
    """
    used: dict[str, set[int]] = defaultdict(set)
    for workload in case.snapshot.list(kinds.WORKLOAD):
        if state(workload) != "finished":
            used[cluster_queue_of(case.snapshot, workload)].add(number(workload, "spec", "priority"))
    for queue in case.snapshot.list(kinds.CLUSTER_QUEUE):
        within = text(queue, "spec", "preemption", "withinClusterQueue")
        levels = used.get(name(queue), set())
        if len(levels) > 1 and within in ("Never", "") and get(queue, "spec", "preemption") is not None:
            yield case.finding(
                queue,
                f"Workloads of ClusterQueue {name(queue)} have {len(levels)} priorities, but none preempts another",
                "spec.preemption.withinClusterQueue",
                seen={"priorities in use": ", ".join(map(str, sorted(levels)))},
                remedy=f"kubectl patch clusterqueue {name(queue)} --type merge"
                ' -p \'{"spec":{"preemption":{"withinClusterQueue":"LowerPriority"}}}\'',
            )


@check(
    "Q32", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_QUEUE, kinds.CONFIG_MAP),
    remedy="Take preemption.borrowWithinCohort out, or turn fairSharing off",
    source="kueue ClusterQueue.spec.preemption.borrowWithinCohort: classic preemption only",
)  # fmt: skip
def borrowing_preemption_applies(case: Case) -> Iterator[Finding]:
    """borrowWithinCohort is not set where fair sharing makes it void.

    Under fair sharing the shares decide who is preempted for a borrower. The setting stays in the
    spec and misleads whoever reads it.
    """
    for queue in case.snapshot.list(kinds.CLUSTER_QUEUE) if _fair_sharing(case) else ():
        policy = text(queue, "spec", "preemption", "borrowWithinCohort", "policy")
        if policy not in ("", "Never"):
            yield case.finding(
                queue,
                f"ClusterQueue {name(queue)} sets borrowWithinCohort {policy}, which fair sharing ignores",
                "spec.preemption.borrowWithinCohort.policy",
                remedy=f"kubectl edit clusterqueue {name(queue)}   # remove spec.preemption.borrowWithinCohort",
            )


@check(
    "Q33", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_QUEUE, kinds.CONFIG_MAP),
    remedy="Add to Kueue's Configuration: fairSharing: {preemptionStrategies: [LessThanOrEqualToFinalShare]}",
    source="kueue ClusterQueue.spec.fairSharing.weight; Configuration.fairSharing",
)  # fmt: skip
def weights_count(case: Case) -> Iterator[Finding]:
    """A fair-sharing weight is set only where fair sharing is on.

    Weights have no effect while the Configuration has no `fairSharing` block: teams that were
    promised twice the share get the same as the others.
    """
    if _fair_sharing(case) is not False:
        return
    for queue in case.snapshot.list(kinds.CLUSTER_QUEUE):
        weight = get(queue, "spec", "fairSharing", "weight")
        if weight is not None and str(weight) != "1":  # 1 is what everybody has
            yield case.finding(
                queue,
                f"ClusterQueue {name(queue)} has weight {weight}, but fair sharing is off",
                "spec.fairSharing.weight",
            )
