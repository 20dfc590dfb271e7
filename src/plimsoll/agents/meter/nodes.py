"""What the ledger keeps of a node."""

from __future__ import annotations

from plimsoll.cost.sample import Node
from plimsoll.gpus import catalogue
from plimsoll.gpus.model import Sku
from plimsoll.kube import nodes
from plimsoll.kube.objects import Obj, labels, mapping, name, text
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import POOL_LABEL, Pool
from plimsoll.units import count, moment, quantity

_POOLS = (  # labels that name a pool where no declaration does
    POOL_LABEL, "karpenter.sh/nodepool", "eks.amazonaws.com/nodegroup", "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
)  # fmt: skip
_PROVIDERS = {"aws": "aws", "gce": "gcp", "azure": "azure"}  # the scheme of spec.providerID, as the price book says it
_TYPE, _REGION = "node.kubernetes.io/instance-type", "topology.kubernetes.io/region"
_GPUS_MAX = 64
_AMOUNT_MAX = 1 << 40  # no machine has as much, and a database takes it
LABELS = (  # that `record` reads
    *_POOLS, _TYPE, _REGION, *nodes.SPOT_LABELS, "nvidia.com/gpu.product", "nvidia.com/gpu.memory",
    "nvidia.com/gpu.count", "nvidia.com/gpu.replicas", "nvidia.com/mig.strategy",
)  # fmt: skip


def record(node: Obj, platform: Platform | None, seen: int = 0) -> Node | None:
    """The node as it is billed, or None while nothing says that it has GPUs or how many it is bought with.

    seen: GPUs that a source told of, where nothing else tells how many there are.

    A node that is just joining says it only once its driver runs, unless its pool or its instance type is known; what
    is written then counts from its beginning all the same.
    """
    have, capacity = labels(node), mapping(node, "status", "capacity")
    pool = derive.pool_of(platform, have) if platform else None
    known = catalogue.from_instance_type(text(have, _TYPE))
    began, uid = millis(text(node, "metadata", "creationTimestamp")), text(node, "metadata", "uid")
    sku, gpus = _sku(have, pool, known), _gpus(node, pool, known) or min(seen, _GPUS_MAX)
    if not (began > 0 and uid and gpus > 0):
        return None
    scheme = text(node, "spec", "providerID").partition("://")[0]
    return Node(
        uid=uid, name=name(node), pool=pool.name if pool else next((have[key] for key in _POOLS if have.get(key)), ""),
        sku=sku, capacity=pool.capacity if pool else "spot" if nodes.is_spot(node) else "on-demand",
        provider=_PROVIDERS.get(scheme, ""), region=text(have, _REGION), instance_type=text(have, _TYPE), gpus=gpus,
        cpu_milli=_amount(capacity.get("cpu"), 1000), memory_mib=_amount(capacity.get("memory"), 1 / (1 << 20)),
        began=began,
    )  # fmt: skip


def millis(said: object) -> int:
    """An RFC 3339 time in milliseconds since 1970; 0 where it is none."""
    found = moment(said)
    return round(found.timestamp() * 1000) if found else 0


def replicas(node: Obj, resource: str) -> int:
    """How many pods one device is given out to, by the unshared name of its resource."""
    return max(count(labels(node).get(f"{resource}.replicas")), 1)


def single(node: Obj) -> bool:
    """Whether MIG instances are given out as whole GPUs (strategy `single`)."""
    have = labels(node)
    return have.get("nvidia.com/mig.strategy") == "single" and "-MIG-" in text(have, "nvidia.com/gpu.product")


def _sku(have: dict[str, str], pool: Pool | None, known: tuple[Sku, int] | None) -> str:
    product = text(have, "nvidia.com/gpu.product")
    found = catalogue.from_product(product, count(have.get("nvidia.com/gpu.memory")) or None)
    if found is None and pool is not None:
        return pool.gpu
    found = found or (known[0] if known else None)
    return found.name if found else catalogue.model_of(product)


def _gpus(node: Obj, pool: Pool | None, known: tuple[Sku, int] | None) -> int:
    """Whole GPUs it is bought with. What it counts itself may lack broken ones, so what it is sold as goes first."""
    if pool is not None:
        return pool.gpus_per_node
    if known is not None:
        return known[1]
    told = count(labels(node).get("nvidia.com/gpu.count"))
    if single(node) or told <= 0:  # the label then counts instances
        told = 0 if single(node) else _whole(node)
    return min(told, _GPUS_MAX)


def _whole(node: Obj) -> int:
    offered = nodes.capacity(node)
    shared = offered.get("nvidia.com/gpu.shared", 0)
    return (offered.get("nvidia.com/gpu", 0) or shared) // replicas(node, "nvidia.com/gpu")


def _amount(said: object, factor: float) -> int:
    found = quantity(said)
    return int(min(max(float(found) * factor, 0), _AMOUNT_MAX)) if found is not None else 0
