"""Who holds which devices and what they do: nodes, pools, teams. Devices come from kube-state-metrics.

A pod holds its devices from when it is scheduled, while it still pulls its image, until it has ended; its requests stay
exported until it is deleted. Pods are told apart by uid, since names come again.
"""

from __future__ import annotations

from plimsoll.pillars.observability.pack.model import Group, Record
from plimsoll.pillars.observability.pack.promql import GPU_RESOURCE, UNIT

_POD = "namespace, pod, uid"
_REQUESTS = f"""
    sum by ({_POD}, node, resource) (
      max by ({_POD}, container, node, resource) (kube_pod_container_resource_requests{{{GPU_RESOURCE}, node!=""}})
    ) * on ({_POD}) group_left ()
    max by ({_POD}) (kube_pod_status_phase{{phase=~"Pending|Running"}} == 1)"""
_HELD = "sum by (node, resource) (plimsoll:pod_gpu_held:devices)"
_ALLOCATABLE = f"max by (node, resource) (kube_node_status_allocatable{{{GPU_RESOURCE}}})"


def _by_pool(what: str) -> str:
    return f"sum by (pool, resource) ({what} * on (node) group_left (pool) plimsoll:node_pool:info)"


def _by_team(aggregate: str, what: str, more: str = "") -> str:
    return f"{aggregate} by (team{more}) ({what} * on (namespace) group_left (team) plimsoll:namespace_team:info)"


FLEET = Group(
    name="plimsoll-fleet",
    rules=(
        Record(record="plimsoll:pod_gpu_held:devices", expr=_REQUESTS),
        Record(record="plimsoll:node_gpu_allocatable:devices", expr=_ALLOCATABLE),
        Record(
            record="plimsoll:node_gpu_free:devices",
            expr=f"plimsoll:node_gpu_allocatable:devices - on (node, resource) {_HELD} "
            "or plimsoll:node_gpu_allocatable:devices",
        ),
        Record(record="plimsoll:pool_gpu_allocatable:devices", expr=_by_pool("plimsoll:node_gpu_allocatable:devices")),
        Record(
            record="plimsoll:pool_gpu_held:devices",
            expr=_by_pool("(plimsoll:node_gpu_allocatable:devices - plimsoll:node_gpu_free:devices)"),
        ),
        Record(
            record="plimsoll:pool_gpu_allocation:ratio",
            expr="plimsoll:pool_gpu_held:devices / (plimsoll:pool_gpu_allocatable:devices > 0)",
        ),
        Record(
            record="plimsoll:team_gpu_held:devices",
            expr=_by_team("sum", "plimsoll:pod_gpu_held:devices", ", resource"),
        ),
        Record(
            record="plimsoll:pod_gpu_busy:ratio",  # of the whole device, where several pods share it
            expr=f"plimsoll:gpu_holder:info * on ({UNIT}) group_left () max by ({UNIT}) (plimsoll:gpu_busy:ratio)",
        ),
        Record(record="plimsoll:team_gpu_busy:ratio", expr=_by_team("avg", "plimsoll:pod_gpu_busy:ratio")),
        Record(record="plimsoll:node_gpu_busy:ratio", expr="avg by (node) (plimsoll:gpu_busy:ratio)"),
    ),
)
