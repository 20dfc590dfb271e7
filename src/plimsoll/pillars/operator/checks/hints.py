"""What tells that a node has GPUs before anything has looked: its machine type, the pool's own labels."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from plimsoll.kube import kinds
from plimsoll.kube.nodes import allocatable, dra_nodes, has_gpu, is_ready
from plimsoll.kube.objects import Obj, condition, get, labels, mapping, name, text
from plimsoll.kube.operands import GATE, OPT_OUT, cluster_policy, operator_deployment
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.operator.checks.offer import shortfalls
from plimsoll.units import moment

YOUNG = timedelta(minutes=10)  # discovery, driver, toolkit and plugin need minutes on a fresh node
NFD = "feature.node.kubernetes.io/"
_POOL_LABELS = (
    "cloud.google.com/gke-accelerator",
    "k8s.amazonaws.com/accelerator",
    "karpenter.k8s.aws/instance-gpu-count",
    "karpenter.azure.com/sku-gpu-count",
)
_MACHINE = re.compile(
    r"(p[2-6][a-z0-9-]*|g[3-6][a-z0-9]*|gr6)\.[a-z0-9-]+\Z"  # AWS
    r"|(a2|a3|a4|a4x|g2|g4)-[a-z]+gpu[a-z0-9-]*\Z|g2-standard-\d+\Z"  # Google
    r"|Standard_N[CDV]\d[A-Za-z0-9_]*\Z",  # Azure
)
GOING = (  # taints of a node that its cloud or an autoscaler takes away
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "aws-node-termination-handler/spot-itn",
    "aws-node-termination-handler/asg-lifecycle-termination",
    "cloud.google.com/impending-node-termination",
)
_OTHER_MAKES = ("amd", "tpu", "ct", "inf", "trn", "neuron", "gaudi", "habana")
_NOT_NVIDIA = re.compile(r"g4ad\.|MI300|V710|NV\d+as_v4")  # AMD GPUs under the same families


def hint(node: Obj) -> str:
    """The label that says a node's machine has NVIDIA GPUs, as `key=value`; "" if none does."""
    have = labels(node)
    maker = text(have, "karpenter.k8s.aws/instance-gpu-manufacturer")
    if text(have, "kubernetes.io/os") == "windows" or maker not in ("", "nvidia"):
        return ""  # the operator serves Linux nodes with NVIDIA GPUs
    for key in _POOL_LABELS:
        value = text(have, key)
        if value and value != "0" and not value.startswith(_OTHER_MAKES):
            return f"{key}={value}"
    machine = text(have, "node.kubernetes.io/instance-type")
    if _MACHINE.match(machine) and not _NOT_NVIDIA.search(machine):
        return f"node.kubernetes.io/instance-type={machine}"
    return ""


def fresh(node: Obj, now: datetime | None) -> bool:
    """Whether a node was created or became ready within the last minutes. An unknown age is not fresh."""
    times = (
        moment(text(node, "metadata", "creationTimestamp")),
        moment(condition(node, "Ready").get("lastTransitionTime")),
    )
    began = max((each for each in times if each), default=None)
    return now is not None and began is not None and timedelta() <= now - began < YOUNG


def robbed(snapshot: Snapshot, node: str) -> bool:
    """Whether a node offers no GPU and nothing excuses it: then even a young trouble is worth its name."""
    wrong = shortfalls(snapshot).get(node)
    return wrong is not None and wrong.severity is None and wrong.kind in ("absent", "gone", "dead")


def works(snapshot: Snapshot, node: Obj) -> bool:
    """Whether a node offers a GPU in any form, or is meant not to."""
    have = labels(node)
    if any(allocatable(node).values()) or name(node) in dra_nodes(snapshot):
        return True
    return have.get(OPT_OUT) == "false" or text(have, "nvidia.com/gpu.workload.config").startswith("vm-")


@fact
def machines(snapshot: Snapshot) -> tuple[Obj, ...]:
    """Every node that has GPUs or whose machine type says so, by name."""
    return tuple(sorted((each for each in snapshot.list(kinds.NODE) if has_gpu(each) or hint(each)), key=name))


@fact
def dead(snapshot: Snapshot) -> tuple[Obj, ...]:
    """The machines with GPUs that have had time, are Ready and readable, and offer none."""
    return tuple(
        node
        for node in machines(snapshot)
        if mapping(node, "status", "allocatable")
        and not works(snapshot, node)
        and not fresh(node, snapshot.taken_at)
        and is_ready(node) is not False
    )


def adopted(node: Obj) -> bool:
    """Whether the operator has given a node its deploy labels."""
    return any(key.startswith(GATE) and key != OPT_OUT for key in labels(node))


def installed(snapshot: Snapshot) -> Obj | None:
    """What shows that somebody installed the GPU Operator: its ClusterPolicy, GPUCluster or Deployment."""
    found = cluster_policy(snapshot) or operator_deployment(snapshot)
    return found or next(iter(snapshot.list(kinds.GPU_CLUSTER)), None)


def tell(node: Obj) -> str:
    """What shows that a node has GPUs, for a title."""
    seen = next((key for key in sorted(labels(node)) if key.startswith(f"{NFD}pci-") and "10de" in key), "")
    return hint(node) or (f"{seen}={get(node, 'metadata', 'labels', seen)}" if seen else "its GPU labels")
