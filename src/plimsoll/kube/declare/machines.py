"""What each GPU node is: its GPU model, how many, how it is paid for, and which pool its labels say it is of."""

from __future__ import annotations

from typing import NamedTuple

from plimsoll.gpus.catalogue import from_instance_type, from_product
from plimsoll.gpus.model import Sku
from plimsoll.kube import kinds
from plimsoll.kube.declare.sharing import PRODUCT, slices
from plimsoll.kube.declare.words import Notes, Say, valid
from plimsoll.kube.nodes import capacity, has_gpu, is_spot
from plimsoll.kube.objects import Obj, labels, name, text
from plimsoll.kube.snapshot import Snapshot
from plimsoll.spec.pools import POOL_LABEL, Capacity
from plimsoll.spec.values import LabelKey, LabelValue
from plimsoll.units import count

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
POOL_LABELS = (
    POOL_LABEL, "pool", "cloud.google.com/gke-nodepool", "eks.amazonaws.com/nodegroup", "karpenter.sh/nodepool",
    "agentpool", "kubernetes.azure.com/agentpool", INSTANCE_TYPE,
)  # fmt: skip
_RESERVED = {"karpenter.sh/capacity-type": "reserved", "eks.amazonaws.com/capacityType": "CAPACITY_BLOCK"}
_RESERVATION = "cloud.google.com/reservation-name"
# GKE's n1 machines take any GPU, so that their type does not tell which. Source: GKE, GPU platforms.
_GKE_ACCELERATOR = {
    "nvidia-tesla-t4": "Tesla-T4",
    "nvidia-tesla-v100": "Tesla-V100-SXM2-16GB",
    "nvidia-tesla-p100": "Tesla-P100-PCIE-16GB",
    "nvidia-tesla-p4": "Tesla-P4",
    "nvidia-l4": "NVIDIA-L4",
}

Place = tuple[str, str]
"""The label, key and value, that says which pool a node is of."""


class Machine(NamedTuple):
    """One GPU node. gpus: physical ones. place: None where no label says which pool it is of."""

    node: Obj
    sku: Sku
    gpus: int
    capacity: Capacity
    instance_type: str
    place: Place | None


def machines(snapshot: Snapshot, say: Say) -> list[Machine]:
    """Every GPU node whose GPUs are known, by name. What is said names the others."""
    found, unknown = [], []
    for node in sorted(snapshot.list(kinds.NODE), key=name):
        known = _gpus(node)
        if known and known[1]:
            found.append(_machine(node, *known))
        elif has_gpu(node):
            unknown.append(node)
    notes = Notes()
    joined: list[Machine] = []
    for node in unknown:
        place = _place(node)
        alike = {(each.sku.name, each.gpus): each for each in found if place and each.place == place}
        if len(alike) == 1:
            one = next(iter(alike.values()))
            joined.append(_machine(node, one.sku, one.gpus))
            notes.note(
                f"its GPUs do not show; taken for those of others labelled {'='.join(one.place or ())}", name(node)
            )
        else:
            notes.note(f"left out, for {_why(node)}", name(node))
    notes.tell(say)
    return sorted([*found, *joined], key=lambda each: name(each.node))


def _machine(node: Obj, sku: Sku, gpus: int) -> Machine:
    have = labels(node)
    how: Capacity = "on-demand"
    if is_spot(node):
        how = "spot"
    elif text(have, _RESERVATION) or any(have.get(key) == value for key, value in _RESERVED.items()):
        how = "reserved"
    return Machine(node, sku, gpus, how, text(have, INSTANCE_TYPE), _place(node))


def _place(node: Obj) -> Place | None:
    have = labels(node)
    return next(((key, have[key]) for key in POOL_LABELS if text(have, key) and usable(key, have[key])), None)


def usable(key: object, value: object) -> bool:
    """Whether a label can be part of a pool's nodeSelector."""
    return valid(key, LabelKey) and isinstance(value, str) and valid(value, LabelValue)


def _gpus(node: Obj) -> tuple[Sku, int] | None:
    """The GPU model of a node and how many it has (0: not told); None where the model is not known.

    A cloud's instance type knows how many there are even where one is broken; labels and capacity follow it.
    """
    have = labels(node)
    typed = from_instance_type(text(have, INSTANCE_TYPE))
    product = text(have, PRODUCT) or _GKE_ACCELERATOR.get(text(have, "cloud.google.com/gke-accelerator"), "")
    sku = from_product(product, count(have.get("nvidia.com/gpu.memory")) or None) if product else None
    if sku is None:
        return typed
    if typed and typed[0] is sku:
        return typed
    return sku, min(64, max(0, _counted(node, sku)))


def _counted(node: Obj, sku: Sku) -> int:
    have, advertised = labels(node), capacity(node)
    told = count(have.get("nvidia.com/gpu.count"))
    if single := slices(node, sku):
        return -(-(told or advertised.get("nvidia.com/gpu", 0)) // single[1])
    replicas = max(1, count(have.get("nvidia.com/gpu.replicas")))
    devices = max(advertised.get("nvidia.com/gpu", 0), advertised.get("nvidia.com/gpu.shared", 0))
    return told or count(have.get("karpenter.k8s.aws/instance-gpu-count")) or -(-devices // replicas)


def _why(node: Obj) -> str:
    have = labels(node)
    product, kind = text(have, PRODUCT), text(have, INSTANCE_TYPE)
    if _gpus(node):
        return "neither a label nor its capacity says how many GPUs it has"
    if product:
        return f"{product[:80]} is no GPU of the catalogue (`plimsoll schema` names those)"
    shown = f" and instance type {kind[:80]} is not one of those we know" if kind else ""
    return f"no label {PRODUCT} tells its GPU{shown}"
