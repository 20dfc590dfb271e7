"""The fake nodes of a lab, and the wait until what runs on them has settled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from plimsoll.errors import ClusterError, LabError
from plimsoll.kube.objects import Obj, condition, get, labels, mapping, name, namespace, number, text
from plimsoll.kube.yamldocs import documents
from plimsoll.lab import nodes, values
from plimsoll.lab.hardware.layout import CUT, written
from plimsoll.lab.run.addons import gpu_operator
from plimsoll.lab.run.cluster import Cluster
from plimsoll.spec import derive
from plimsoll.spec.model import Platform

_WORKERS = 8
_PATIENCE = 180.0  # seconds for each thing that is waited for
_PAUSE = 0.3
_NAMED = 5  # of what is late, in an error
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
        factory = cluster.settings.charts == "wait"
        wanted = _nodes_of(cluster.platform, factory) if cluster.platform else []
    await cluster.call(_create, cluster, wanted)


def _nodes_of(platform: Platform, factory: bool) -> list[Obj]:
    """The nodes of its pools, told their layout and sharing as whoever runs the platform would.

    They come with their GPUs cut as declared, as machines do that were in use before. Where charts are waited for,
    whoever installs them tells the nodes, and they come as from the factory.
    """
    made = nodes.nodes(platform)
    if factory:
        return made
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
    """Wait until everything is as it should be. Raises LabError that names what is not."""
    waits: list[tuple[str, Callable[[Cluster], list[str]]]] = [
        ("not Ready", _nodes),
        ("not available", _deployments),
        ("not available", _apis),
        ("without the GPUs declared", _without_gpus),
        ("not ready", _policies),
        ("not placed", _pods),
    ]
    for what, late in waits:
        await _none(cluster, late, what)


async def _none(cluster: Cluster, late: Callable[[Cluster], list[str]], what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while found := await _late(cluster, late):
        if time.monotonic() > end:
            more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
            raise LabError(f"{', '.join(found[:_NAMED])}{more}: still {what} after {_PATIENCE:.0f} s", where="lab")
        await asyncio.sleep(_PAUSE)


async def _late(cluster: Cluster, look: Callable[[Cluster], list[str]]) -> list[str]:
    try:
        return await cluster.call(look, cluster)
    except ClusterError as error:  # an API server that has just started
        return [str(error)]


def _nodes(cluster: Cluster) -> list[str]:
    found = cluster.client.list("v1/Node")
    return [f"node {name(each)}" for each in found if not _true(each, "Ready")]


def _without_gpus(cluster: Cluster) -> list[str]:
    """Nodes of the platform's pools that do not offer what the declaration says of them."""
    platform = cluster.platform
    if platform is None or not _operated(cluster):
        return []
    wanted = {pool.name: derive.per_node(pool) for pool in platform.pools}
    late = []
    for node in cluster.client.list("v1/Node"):
        pool = derive.pool_of(platform, labels(node))
        offered = mapping(node, "status", "allocatable")
        if pool and any(str(offered.get(resource)) != str(count) for resource, count in wanted[pool.name].items()):
            late.append(f"node {name(node)}")
    return late


def _deployments(cluster: Cluster) -> list[str]:
    found = cluster.client.list("apps/v1/Deployment")
    return [
        f"Deployment {namespace(each)}/{name(each)}"
        for each in found
        if number(each, "status", "availableReplicas") < number(each, "spec", "replicas")
    ]


def _apis(cluster: Cluster) -> list[str]:
    found = cluster.client.list("apiregistration.k8s.io/v1/APIService")
    return [f"API {name(each)}" for each in found if not _true(each, "Available")]


def _policies(cluster: Cluster) -> list[str]:
    if "gpu-operator" not in cluster.settings.addons or not _operated(cluster):
        return []
    found = cluster.client.list("nvidia.com/v1/ClusterPolicy")
    return [f"ClusterPolicy {name(each)}" for each in found if get(each, "status", "state") != "ready"]


def _operated(cluster: Cluster) -> bool:
    """False while somebody has yet to install the chart that brings the GPUs."""
    awaited = cluster.settings.charts == "wait" and "gpu-operator" in cluster.settings.addons
    return not awaited or bool(cluster.client.get("apps/v1/Deployment", "gpu-operator", gpu_operator.NAMESPACE))


def _pods(cluster: Cluster) -> list[str]:
    found = cluster.client.list("v1/Pod", fields="status.phase=Pending")
    return [f"pod {namespace(each)}/{name(each)}" for each in found]


def _true(obj: Obj, type_: str) -> bool:
    return text(condition(obj, type_), "status") == "True"
