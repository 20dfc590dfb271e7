"""The fake nodes of a lab: what a kubelet and the cloud would write about the machines of a platform's pools.

Nothing of NVIDIA's and nothing of NFD's: that is the hardware process's to write. It is told what is in
a node by the annotation `lab.plimsoll.dev/gpu: <GPU of the catalogue>x<count>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from plimsoll.errors import InputError
from plimsoll.gpus.instances import INSTANCES
from plimsoll.kube.objects import Obj, mapping, text
from plimsoll.kube.yamldocs import documents
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool, Taint

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
GPU = "lab.plimsoll.dev/gpu"
FAKE = {"kwok.x-k8s.io/node": "fake"}
KUBELET = "v1.36.3"
OS_IMAGE, OS_ID, OS_VERSION = "Ubuntu 22.04.5 LTS", "ubuntu", "22.04"
KERNEL = "6.8.0-1029-aws"
REGION = "lab-1"  # of a platform that does not say where it stands
_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
_ZONE, _REGION, _HOSTNAME = "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "kubernetes.io/hostname"
_SPOT = {
    "eks": {"eks.amazonaws.com/capacityType": "SPOT"},
    "gke": {"cloud.google.com/gke-spot": "true"},
    "aks": {"kubernetes.azure.com/scalesetpriority": "spot"},
}
_SPOT_ELSEWHERE = {"karpenter.sh/capacity-type": "spot"}
_CPUS, _MEMORY_GIB, _DISK_GIB = 24, 250, 384  # that come with one GPU in the clouds' eight-GPU machines
_SYSTEM = (16, 64, 200)  # of a node for controllers
_KEPT_MIB = 4096  # of a node's memory, for the kubelet and the system
_DOMAIN = 4  # nodes in the narrowest topology domain, and domains in each wider one


def nodes(platform: Platform, *, extra_cpu_nodes: int = 2) -> list[Obj]:
    """The nodes of a platform's pools, `<pool>-<i>`, then `cpu-0`, … for controllers.

    A pool has its fewest nodes. Where that is none, nothing in a lab would add any when a job asks: it
    has all it may have, or a single one if it is a spot pool, whose machines come and go.
    """
    made: list[Obj] = []
    for pool in platform.pools:
        labels, taints = _pool_labels(platform, pool), [_taint(each) for each in pool.taints]
        arm = pool.gpu.startswith(("GB", "GH"))  # the superchips' own processor
        size = tuple(pool.gpus_per_node * each for each in (_CPUS, _MEMORY_GIB, _DISK_GIB))
        for index in range(pool.nodes.min or (1 if pool.capacity == "spot" else pool.nodes.max)):
            node = _node(f"{pool.name}-{index}", len(made), {**labels, **_domains(pool, index)}, size, arm=arm)
            node["metadata"]["annotations"][GPU] = f"{pool.gpu}x{pool.gpus_per_node}"
            if taints:
                node["spec"] = {"taints": taints}
            made.append(node)
    place = _place(platform)
    for index in range(extra_cpu_nodes):
        made.append(_node(f"cpu-{index}", len(made), place, _SYSTEM))
    return made


def nodes_from(text_: str) -> list[Obj]:
    """Node manifests of a YAML file, made fake; what a status leaves out is filled in.

    Raises InputError for text that is no YAML, a document that is no Node, and a name that is missing or comes twice.
    """
    made: dict[str, Obj] = {}
    for place, entry in _entries(text_):
        title = text(entry, "metadata", "name")
        if title and not _NAME.fullmatch(title):
            raise InputError(f"no name that a node can have: {title[:60]}", where=place)
        if entry.get("kind") != "Node" or entry.get("apiVersion") != "v1" or not title or title in made:
            why = "a second Node of this name" if title in made else "not a v1 Node with a name"
            raise InputError(why, where=place, hint="a file of nodes holds v1 Node manifests and nothing else")
        made[title] = _completed(entry, title, len(made))
    if not made:
        raise InputError("no Node in it", where="nodes file", hint="a file of nodes holds v1 Node manifests")
    return list(made.values())


def _entries(text_: str) -> Iterator[tuple[str, Obj]]:
    """Every object of the documents with its place; lists are opened."""
    for line, document in documents(text_, "nodes file"):
        place = f"nodes file:{line}"
        if document is None:
            continue
        if not isinstance(document, dict):
            raise InputError("not a Kubernetes object", where=place, hint="a file of nodes holds v1 Node manifests")
        listed = document.get("items") if str(document.get("kind", "")).endswith("List") else None
        for entry in listed if isinstance(listed, list) else [document]:
            yield place, entry if isinstance(entry, dict) else {}


def _completed(entry: Obj, title: str, index: int) -> Obj:
    """A manifest as a fake node: its own words win over ours."""
    ours = _node(title, index, {}, _SYSTEM, arm=text(entry, "metadata", "labels", "kubernetes.io/arch") == "arm64")
    said, status = mapping(entry, "metadata"), mapping(entry, "status")
    capacity = {**ours["status"]["capacity"], **mapping(status, "capacity")}
    reserved = {} if mapping(status, "capacity") else ours["status"]["allocatable"]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": title,
            "labels": {**ours["metadata"]["labels"], **mapping(said, "labels")},
            "annotations": {**mapping(said, "annotations"), **FAKE},
        },
        **({"spec": entry["spec"]} if mapping(entry, "spec") else {}),
        "status": {
            **ours["status"],
            **status,
            "capacity": capacity,
            "allocatable": {**capacity, **reserved, **mapping(status, "allocatable")},
            "nodeInfo": {**ours["status"]["nodeInfo"], **mapping(status, "nodeInfo")},
        },
    }


def _node(title: str, index: int, labels: dict[str, str], size: tuple[int, ...], *, arm: bool = False) -> Obj:
    """A node of `size` CPUs, GiB of memory and GiB of disk. index: unique; its address follows from it."""
    cpus, memory, disk = size
    architecture = "arm64" if arm else "amd64"
    capacity = {"cpu": str(cpus), "memory": f"{memory}Gi", "ephemeral-storage": f"{disk}Gi", "pods": "250"}
    status: dict[str, Any] = {
        "addresses": [
            {"type": "InternalIP", "address": f"10.{32 + (index >> 16)}.{index >> 8 & 255}.{index & 255}"},
            {"type": "Hostname", "address": title},
        ],
        "capacity": capacity,
        "allocatable": {**capacity, "memory": f"{memory * 1024 - _KEPT_MIB}Mi"},
        "nodeInfo": {
            "architecture": architecture,
            "bootID": f"boot-{title}",
            "containerRuntimeVersion": "containerd://2.1.4",
            "kernelVersion": KERNEL,
            "kubeProxyVersion": KUBELET,
            "kubeletVersion": KUBELET,
            "machineID": title,
            "operatingSystem": "linux",
            "osImage": OS_IMAGE,
            "systemUUID": title,
        },
    }
    own = {"kubernetes.io/arch": architecture, "kubernetes.io/os": "linux", _HOSTNAME: title}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": title, "labels": {**own, **labels}, "annotations": dict(FAKE)},
        "status": status,
    }


def _place(platform: Platform) -> dict[str, str]:
    region = platform.cluster.region or REGION
    return {_REGION: region, _ZONE: f"{region}a"}


def _pool_labels(platform: Platform, pool: Pool) -> dict[str, str]:
    """What every node of the pool carries, its place in the cluster's topology apart."""
    labels = _place(platform)
    machine = pool.instance_type or _instance_type(platform.cluster.provider, pool)
    if machine:
        labels[_INSTANCE_TYPE] = machine
    if pool.capacity == "spot":
        labels.update(_SPOT.get(platform.cluster.provider, _SPOT_ELSEWHERE))
    return {**labels, **pool.selector}


def _instance_type(provider: str, pool: Pool) -> str:
    """A machine of the cloud that has just these GPUs; "" where it has none, or is no cloud we know."""
    found = (name for name, has in INSTANCES.items() if has == (pool.gpu, pool.gpus_per_node))
    return next((name for name in found if _cloud(name) == provider), "")


def _cloud(machine: str) -> str:
    """Whose instance type a name of the catalogue is."""
    return "eks" if "." in machine else "aks" if machine.startswith("standard_") else "gke"


def _domains(pool: Pool, index: int) -> dict[str, str]:
    """The labels of a node's topology levels, the narrowest domain of four nodes, each wider one of four domains."""
    levels = [each for each in pool.topology.levels if each not in (_HOSTNAME, _ZONE, _REGION)] if pool.topology else []
    return {
        level: f"{pool.name}-{level.rpartition('/')[2][:20]}-{index // _DOMAIN**depth}"
        for depth, level in enumerate(reversed(levels), 1)
        if level not in pool.selector
    }


def _taint(taint: Taint) -> Obj:
    value = {"value": taint.value} if taint.value else {}
    return {"key": taint.key, **value, "effect": taint.effect}
