"""What dashboards share: choices above them, the host beside the GPUs."""

from __future__ import annotations

from plimsoll.pillars.observability.pack.grafana import Query, Variable

POOL = Variable("pool", "Pool", "plimsoll:node_pool:info", "pool")
NODE = Variable("node", "Node", 'plimsoll:node_pool:info{pool=~"$pool"}', "node")
NAMESPACE = Variable("namespace", "Namespace", "plimsoll:namespace_team:info", "namespace")
_HERE = 'on (node) group_left (pool) plimsoll:node_pool:info{pool=~"$pool"}'
_GPU_NODES = "plimsoll:node_gpu_allocatable:devices > 0"
LIVE = (
    "on (namespace, pod, uid) group_left () max by (namespace, pod, uid) "
    '(kube_pod_status_phase{phase=~"Pending|Running"} == 1)'
)


def in_pool(expr: str) -> str:
    """Series of nodes of the pools that are chosen."""
    return f"({expr} * {_HERE})"


def host(resource: str, used: str) -> tuple[Query, ...]:
    """CPU or memory of GPU nodes of the chosen pools: what there is, what is asked for, what is used."""
    asked = f'kube_pod_container_resource_requests{{resource="{resource}", node!=""}}'
    return (
        Query(
            f'sum({in_pool(f"""max by (node) (kube_node_status_allocatable{{resource="{resource}"}})""")} and on '
            f"(node) "
            f"{_GPU_NODES})",
            "there",
        ),
        Query(
            f"sum({in_pool(f'(max by (namespace, pod, uid, container, node) ({asked}) * {LIVE})')} and on (node) "
            f"{_GPU_NODES})",
            "asked for",
        ),
        Query(f"sum({in_pool(f'sum by (node) ({used})')} and on (node) {_GPU_NODES})", "used"),
    )


CPU = host("cpu", 'rate(container_cpu_usage_seconds_total{container!=""}[5m])')
MEMORY = host("memory", 'container_memory_working_set_bytes{container!=""}')
