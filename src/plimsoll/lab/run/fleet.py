"""The fake nodes of a lab, and the wait until what runs on them has settled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from plimsoll.kube.objects import Obj, condition, get, labels, mapping, number, text
from plimsoll.kube.yamldocs import documents
from plimsoll.lab import nodes, values
from plimsoll.lab.hardware.layout import CUT, written
from plimsoll.lab.run.cluster import Cluster
from plimsoll.spec import derive
from plimsoll.spec.model import Platform

_WORKERS = 8
DEFAULT_PLATFORM = """\
apiVersion: plimsoll.dev/v1
kind: Platform
metadata: {name: lab}
pools:
  - {name: h100, gpu: H100-SXM5-80GB, gpusPerNode: 8, nodes: {min: 2, max: 2}}
teams:
  - {name: research, quota: {h100: 16}}
"""


async def create(cluster: Cluster) -> None:
    """Create the nodes of the platform's pools, or of the file of Nodes that was given."""
    if cluster.settings.nodes:
        wanted = nodes.nodes_from(cluster.settings.nodes)
    else:
        wanted = _nodes_of(cluster.platform) if cluster.platform else []
    await cluster.call(_create, cluster, wanted)


def _nodes_of(platform: Platform) -> list[Obj]:
    """The nodes of its pools, told their layout and sharing as whoever runs the platform would.

    They come with their GPUs cut as declared, as machines do that were in use before.
    """
    made = nodes.nodes(platform)
    for node in made:
        pool = derive.pool_of(platform, labels(node))
        if pool:
            node["metadata"]["labels"].update(values.node_labels(pool))
        if pool and (layout := values.layout(pool)):
            node["metadata"]["annotations"][CUT] = written([layout] * pool.gpus_per_node)
    return made


def _create(cluster: Cluster, wanted: list[Obj]) -> None:
    """Each in one server-side apply, then its status: the API server drops what a plain write says of it."""

    def one(node: Obj) -> None:
        cluster.client.apply(node)
        cluster.client.patch(
            "v1/Node", text(node, "metadata", "name"), {"status": node["status"]}, subresource="status"
        )

    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(one, wanted))


async def apply(cluster: Cluster) -> None:
    """Apply the manifests that were given, in their order."""
    found = documents(cluster.settings.manifests, "manifests")
    await cluster.apply([document for _line, document in found if document])


async def settled(cluster: Cluster) -> None:
    """Wait until nodes are Ready, what the add-ons deployed is available, and the ClusterPolicy is ready."""
    await cluster.until(lambda: _nodes_ready(cluster), "every node Ready")
    await cluster.until(lambda: _deployments_ready(cluster), "every Deployment available")
    await cluster.until(lambda: _apis_available(cluster), "every aggregated API available")
    await cluster.until(lambda: _gpus_offered(cluster), "every GPU offered", patience=180.0)
    if "gpu-operator" in cluster.settings.addons:
        await cluster.until(lambda: _policy_ready(cluster), "ClusterPolicy ready", patience=120.0)
    await cluster.until(lambda: _pods_placed(cluster), "every pod placed", patience=120.0)


def _nodes_ready(cluster: Cluster) -> bool:
    found = cluster.client.list("v1/Node")
    return all(text(condition(node, "Ready"), "status") == "True" for node in found)


def _gpus_offered(cluster: Cluster) -> bool:
    """Whether every node of the platform's pools offers what the declaration says of it."""
    platform = cluster.platform
    if platform is None:
        return True
    wanted = {pool.name: derive.per_node(pool) for pool in platform.pools}
    for node in cluster.client.list("v1/Node"):
        pool = derive.pool_of(platform, labels(node))
        offered = mapping(node, "status", "allocatable")
        if pool and any(str(offered.get(resource)) != str(count) for resource, count in wanted[pool.name].items()):
            return False
    return True


def _deployments_ready(cluster: Cluster) -> bool:
    found = cluster.client.list("apps/v1/Deployment")
    return all(number(each, "status", "availableReplicas") >= number(each, "spec", "replicas") for each in found)


def _apis_available(cluster: Cluster) -> bool:
    found = cluster.client.list("apiregistration.k8s.io/v1/APIService")
    return all(text(condition(each, "Available"), "status") == "True" for each in found)


def _policy_ready(cluster: Cluster) -> bool:
    found = cluster.client.list("nvidia.com/v1/ClusterPolicy")
    return bool(found) and all(get(each, "status", "state") == "ready" for each in found)


def _pods_placed(cluster: Cluster) -> bool:
    return not cluster.client.list("v1/Pod", fields="status.phase=Pending")
