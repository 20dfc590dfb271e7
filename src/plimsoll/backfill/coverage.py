"""What of the metrics is there, and what cannot be told without the others."""

from __future__ import annotations

from collections.abc import Collection, Set

from plimsoll.backfill import engines, gauges, ksm
from plimsoll.backfill.devices import PRESENCE
from plimsoll.backfill.state import Summary
from plimsoll.kube.prometheus import printable
from plimsoll.spec.model import Platform

# Each needs one of its metrics.
_NEEDS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((ksm.REQUESTS, ksm.CLAIMS), "no pod is billed: nobody says who asked for GPUs"),
    (("kube_pod_info",), "no pod is billed: nobody says on which node they were"),
    (("kube_pod_status_scheduled_time", "kube_pod_start_time", "kube_pod_created"),
     "no pod is billed: nobody says when they began"),
    (("kube_pod_status_scheduled_time",), "pods are billed from their start, not from their schedule"),
    (("kube_pod_completion_time",), "pods end when they were missed, up to a scrape late"),
    (("kube_pod_status_phase",), "pods that ended are billed until they were deleted"),
    (("kube_pod_container_state_started",), "time from schedule to start is not shown"),
    (("kube_node_created",), "nodes are billed from when they were seen first"),
    (("kube_node_status_capacity",), "nodes of no known pool have as many GPUs as were seen"),
    (("kube_pod_labels",), "jobs of several pods and teams are told by owners and namespaces only"),
    (tuple(name for kind in PRESENCE for name in kind), "which GPU a pod held is worked out; all is unmeasured"),
    (tuple(name for name, metric in gauges.NAMES.items() if metric.field in ("busy", "util")),
     "all GPU time is unmeasured: nobody says what GPUs did"),
    (tuple(name for name, metric in gauges.NAMES.items() if metric.field == "sm"),
     "little use is told by busy time: dcgm-exporter does not collect DCGM_FI_PROF_SM_ACTIVE by itself"),
    (tuple(name for name, metric in gauges.NAMES.items() if metric.field in ("joules", "watts")), "energy is not told"),
    (tuple(engines.COUNTERS), "tokens of models are not told"),
)  # fmt: skip
_OTHERS = ("kube_node_.*", "kube_pod_.*", "kube_job_created", ksm.SPACES)
WANTED = "|".join((*_OTHERS, *(name for kind in PRESENCE for name in kind), *gauges.NAMES, *engines.COUNTERS))


def missing(there: Set[str]) -> list[str]:
    """In the order of what it costs to lack it."""
    return [f"{' or '.join(names[:2])}: {lost}" for names, lost in _NEEDS if there.isdisjoint(names)]


def notes(summary: Summary, hosts: Collection[str], platform: Platform | None) -> list[str]:
    """What whoever reads the bill should know."""
    counts = summary.counts
    found = []
    if counts["holds by elimination"]:
        found.append(f"{counts['holds by elimination']} holds of devices were worked out, {counts['holds named']} were "
                     "told by exporters; where devices are shared, the former may be of another one")  # fmt: skip
    if counts["pools unknown"] and platform is not None:
        found.append("some nodes are of no declared pool: kube-state-metrics does not show the labels that select them "
                     "(--metric-labels-allowlist=nodes=[…]); --context or --snapshot tells them")  # fmt: skip
    elif counts["pools guessed"]:
        found.append("pools were told by GPU model and number: kube-state-metrics does not show the labels that select "
                     "them (--metric-labels-allowlist=nodes=[…])")  # fmt: skip
    if counts["nodes without a uid"]:
        found.append(f"{counts['nodes without a uid']} nodes go by name and moment of making: kube-state-metrics tells "
                     "no uids. Before a meter writes into the same ledger, backfill with --context: nodes that are "
                     "still there would be billed twice")  # fmt: skip
    if hosts:
        found.append(f"GPUs of hosts that are no nodes are left out: {printable(', '.join(sorted(hosts)[:5]))}")
    return found
