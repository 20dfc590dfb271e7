"""Kueue's queues. Every replica of Kueue exports the same gauges, so the largest of them is the value."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.model import Group, Record

_FLAVOR = "cohort, cluster_queue, flavor, resource"


def _quota(name: str) -> Record:
    return Record(
        record=f"plimsoll:queue_{name}:devices",
        expr=f'max by ({_FLAVOR}) (kueue_cluster_queue_{_METRIC[name]}{{resource=~"nvidia.com/.+"}})',
    )


_METRIC = {"quota": "nominal_quota", "used": "resource_usage", "reserved": "resource_reservation"}

QUEUES = Group(
    name="plimsoll-queues",
    rules=(
        Record(
            record="plimsoll:queue_pending:workloads",
            expr="max by (cluster_queue, status) (kueue_pending_workloads)",
        ),
        Record(
            record="plimsoll:queue_admitted:workloads",
            expr="max by (cluster_queue) (kueue_admitted_active_workloads)",
        ),
        *(_quota(name) for name in _METRIC),
        Record(
            record="plimsoll:cohort_free:devices",
            expr="sum by (cohort, flavor, resource) (plimsoll:queue_quota:devices) "
            "- sum by (cohort, flavor, resource) (plimsoll:queue_reserved:devices)",
        ),
        Record(
            record="plimsoll:queue_admission_wait:p95_seconds",
            expr="histogram_quantile(0.95, sum by (cluster_queue, le) "
            "(rate(kueue_admission_wait_time_seconds_bucket[1h])))",
        ),
    ),
)
