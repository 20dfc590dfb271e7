"""Check on GPUs a machine should have and does not: GPU060."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.gpus.catalogue import from_instance_type
from plimsoll.kube import kinds
from plimsoll.kube.nodes import capacity, gpu_nodes
from plimsoll.kube.objects import Obj, labels, name, text
from plimsoll.pillars.operator.checks.offer import shortfalls
from plimsoll.units import count

_BOARD = re.compile(r"SXM|HBM3|\bB[23]00\b", re.I)  # soldered to boards of four or eight
_NO_BOARD_HAS = (3, 5, 6, 7)
_INSTANCE = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")


class _Expectation(NamedTuple):
    gpus: int
    why: str
    severity: Severity | None = None


@check("GPU060", Severity.ERROR, Layer.CAPACITY, reads=(kinds.NODE,),
       remedy="on the node: nvidia-smi -L\nkubectl get nodes -L nvidia.com/gpu.count,node.kubernetes.io/instance-type",
       source="gpu-operator troubleshooting (XID 79); NVSentinel gpu.count.expected")  # fmt: skip
def machine_has_all_gpus(case: Case) -> Iterator[Finding]:
    """Every node has as many GPUs as its machine type has.

    A GPU that fell off the bus before the plugin and feature discovery started is counted by
    nobody: capacity, allocatable and labels agree on seven. Only the machine type, the pool
    in platform.yaml or a health agent knows that there were eight. You pay for the eighth.
    """
    for node in gpu_nodes(case.snapshot):
        have = _present(node)
        if name(node) in shortfalls(case.snapshot) or not have:
            continue  # its numbers are wrong in another way already, or say nothing about whole GPUs
        wanted = _expected(case, node, have[0])
        if wanted is None or have[0] >= wanted.gpus:
            continue
        yield case.finding(
            node,
            f"{name(node)} has {have[0]} GPUs where {wanted.why} has {wanted.gpus}",
            have[1],
            "metadata.labels[node.kubernetes.io/instance-type]",
            "metadata.labels[nvidia.com/gpu.product]",
            affects=[f"node/{name(node)}"],
            remedy=f"on {name(node)}: lspci -d 10de:; nvidia-smi -L; dmesg | grep -iE 'xid|fallen off'\n"
            f"kubectl cordon {name(node)}\nwhen its jobs have ended reboot it; if the GPU stays away replace it "
            f"(cloud: delete the node) or open a hardware ticket\nit is back: kubectl uncordon {name(node)}",
            severity=wanted.severity,
        )


def _present(node: Obj) -> tuple[int, str] | None:
    """Whole GPUs a node shows, and where; None where its numbers are of slices or shares."""
    tags, have = labels(node), capacity(node)
    current = text(tags, "nvsentinel.dgxc.nvidia.com/gpu.count.current")
    if current.isdecimal():
        return int(current), "metadata.labels[nvsentinel.dgxc.nvidia.com/gpu.count.current]"
    if "-MIG-" in text(tags, "nvidia.com/gpu.product") or tags.get("nvidia.com/vgpu.present") == "true":
        return None
    if gpus := count(tags.get("nvidia.com/gpu.count")):
        return gpus, "metadata.labels[nvidia.com/gpu.count]"
    plain = {resource for resource, amount in have.items() if amount}
    if plain == {"nvidia.com/gpu"} and "nvidia.com/gpu.replicas" not in tags:
        return have["nvidia.com/gpu"], "status.capacity[nvidia.com/gpu]"
    return None


def _expected(case: Case, node: Obj, have: int) -> _Expectation | None:
    """How many GPUs a machine should have, from the best source there is; None where nothing says."""
    tags = labels(node)
    told = text(tags, "nvsentinel.dgxc.nvidia.com/gpu.count.expected")
    if told.isdecimal():
        return _Expectation(int(told), "NVSentinel says that it")
    kind = next((text(tags, key) for key in _INSTANCE if key in tags), "")
    if known := from_instance_type(kind):
        return _Expectation(known[1], f"a {kind}")
    if pool := _declared(case, tags, kind):
        return pool
    product = text(tags, "nvidia.com/gpu.product")
    if have in _NO_BOARD_HAS and _BOARD.search(product):
        full = 4 if have == 3 else 8
        return _Expectation(full, f"a board of {product}", Severity.WARNING)  # a machine may have been cut up
    return None


def _declared(case: Case, tags: dict[str, str], kind: str) -> _Expectation | None:
    """What platform.yaml says of the pool this node belongs to by its labels, or else by its machine type."""
    pools = case.platform.pools if case.platform is not None else ()
    own = [pool for pool in pools if pool.selector.items() <= tags.items()]
    own = own or [pool for pool in pools if kind and pool.instance_type == kind]
    return _Expectation(own[0].gpus_per_node, f"pool {own[0].name} of platform.yaml") if own else None
