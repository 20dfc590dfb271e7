"""What a node is, offers and refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, condition, get, items, labels, mapping, name, selects, text
from plimsoll.kube.pods import Trouble, is_gpu
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.units import count

DRA_DRIVER = "gpu.nvidia.com"
PCI_LABELS = (
    "feature.node.kubernetes.io/pci-10de.present",
    "feature.node.kubernetes.io/pci-0302_10de.present",
    "feature.node.kubernetes.io/pci-0300_10de.present",
)
SPOT_LABELS = {
    "karpenter.sh/capacity-type": "spot",
    "eks.amazonaws.com/capacityType": "SPOT",
    "cloud.google.com/gke-spot": "true",
    "cloud.google.com/gke-preemptible": "true",
    "kubernetes.azure.com/scalesetpriority": "spot",
}


def has_gpu(node: Obj) -> bool:
    """Whether anything says that this node has NVIDIA GPUs: its PCI bus, the operator or its capacity."""
    have = labels(node)
    if have.get("nvidia.com/gpu.present") == "true" or any(have.get(label) == "true" for label in PCI_LABELS):
        return True
    return "nvidia.com/gpu.product" in have or any(is_gpu(resource) for resource in mapping(node, "status", "capacity"))


@fact
def gpu_nodes(snapshot: Snapshot) -> tuple[Obj, ...]:
    """Every node that has GPUs, by name."""
    return tuple(sorted((node for node in snapshot.list(kinds.NODE) if has_gpu(node)), key=name))


@fact
def dra_nodes(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """The ResourceSlices with GPUs that NVIDIA's DRA driver publishes, by node name."""
    found: dict[str, list[Obj]] = {}
    for part in snapshot.list(kinds.RESOURCE_SLICE):
        if text(part, "spec", "driver") == DRA_DRIVER and items(part, "spec", "devices"):
            found.setdefault(text(part, "spec", "nodeName"), []).append(part)
    return found


def capacity(node: Obj) -> dict[str, int]:
    """GPU devices the device plugin has registered, healthy or not, by resource name. Keys at 0 stay."""
    return _gpus(mapping(node, "status", "capacity"))


def allocatable(node: Obj) -> dict[str, int]:
    """GPU devices pods can be given, by resource name. Keys at 0 stay."""
    return _gpus(mapping(node, "status", "allocatable"))


def _gpus(resources: dict[str, str]) -> dict[str, int]:
    return {resource: count(resources[resource]) for resource in _gpus_among(tuple(resources))}


@lru_cache(maxsize=1024)  # every node of a pool lists the same resources
def _gpus_among(resources: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(filter(is_gpu, resources)))


def is_ready(node: Obj) -> bool | None:
    """Whether the kubelet reports Ready; None where the node carries no such condition."""
    status = text(condition(node, "Ready"), "status")
    return None if not status else status == "True"


_DEVICE = re.compile(
    r"nvidia-container|nvidia driver|cuda driver|nvml|no cuda[- ](capable|gpus)|infer device type|not yet initialized"
    r"|uncorrectable|\bxid\b|nvlink|nvswitch|fallen off|no such device|failed to create (shim|containerd) task",
    re.IGNORECASE,
)


def may_explain(node: Obj | None, why: Trouble) -> bool:
    """Whether a pod's trouble may come from the node it is bound to; a node that was not read may.

    A program that crashes by itself on a node whose other GPUs fail, and an image that cannot be
    pulled, are faults of their own: the node would hide them from who has to mend them.
    """
    if node is None or is_ready(node) is False or not any(allocatable(node).values()):
        return why.state != "image"
    if why.state == "crash":
        return bool(_DEVICE.search(why.message))
    return why.state != "image"


@fact
def autoscaled(snapshot: Snapshot) -> bool:
    """Whether nodes of a kind that is not there now may appear on demand.

    Karpenter, GKE's node pools, and a cluster-autoscaler that shows itself. A managed one of another
    cloud does not show in the API.
    """
    return (
        bool(snapshot.list(kinds.NODE_POOL))
        or snapshot.get(kinds.CONFIG_MAP, "cluster-autoscaler-status", "kube-system") is not None
        or any("cluster-autoscaler" in name(each) for each in snapshot.list(kinds.DEPLOYMENT))
        or any(
            "karpenter" in key or "gke-nodepool" in key for node in snapshot.list(kinds.NODE) for key in labels(node)
        )
    )


def is_spot(node: Obj) -> bool:
    have = labels(node)
    return any(have.get(key) == value for key, value in SPOT_LABELS.items())


def untolerated(node: Obj, tolerations: list[Obj], *, daemon: bool = False) -> list[Obj]:
    """The NoSchedule and NoExecute taints of a node that no toleration covers.

    `daemon`: also grant what the DaemonSet controller adds to its pods.
    Source: Kubernetes `ToleratesTaint`; DaemonSet automatic tolerations.
    """
    return refusing(items(node, "spec", "taints"), tolerations, daemon=daemon)


def refusing(taints: Iterable[Obj], tolerations: list[Obj], *, daemon: bool = False) -> list[Obj]:
    """Those of some taints that `untolerated` would name."""
    granted = _DAEMON if daemon else ()
    return [
        taint
        for taint in taints
        if taint.get("effect") in ("NoSchedule", "NoExecute")
        and text(taint, "key") not in granted
        and not any(_tolerates(toleration, taint) for toleration in tolerations)
    ]


_DAEMON = frozenset(
    f"node.kubernetes.io/{each}"
    for each in ("not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable")
)


def _tolerates(toleration: Obj, taint: Obj) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint.get("key"):
        return False
    return toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or "")


def selected(node: Obj, pod: Obj) -> bool:
    """Whether a pod's (or template's) nodeSelector and required node affinity accept a node."""
    have = labels(node)
    for key, value in mapping(pod, "spec", "nodeSelector").items():
        if have.get(key) != value:
            return False
    if not get(pod, "spec", "affinity"):
        return True
    affinity = mapping(pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    terms = items(affinity, "nodeSelectorTerms")
    if not terms:
        return True
    return any(
        (term.get("matchExpressions") or term.get("matchFields"))
        and selects({"matchExpressions": term.get("matchExpressions")}, have)
        and selects({"matchExpressions": term.get("matchFields")}, {"metadata.name": name(node)})
        for term in terms
    )


def accepts(node: Obj, pod: Obj) -> bool:
    """Whether a pod may run on a node as far as selectors, affinity, taints and cordon say."""
    if get(node, "spec", "unschedulable"):
        return False
    return selected(node, pod) and not untolerated(node, items(pod, "spec", "tolerations"))
