"""The extended resources a node advertises: what the device plugin makes of its GPUs.

Sources: device plugin internal/rm and cmd/mps (strategies, sharing), kubelet devicemanager (capacity and allocatable).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from plimsoll.gpus import mig
from plimsoll.lab.hardware.layout import Cut
from plimsoll.lab.hardware.sharing import Sharing

GPU = "nvidia.com/gpu"


class Devices(msgspec.Struct, frozen=True):
    """Devices by resource name. healthy: those pods can be given."""

    registered: dict[str, int]
    healthy: dict[str, int]


class Failure(msgspec.Struct, frozen=True):
    """Why the plugin ends."""

    reason: str


def devices(cut: Sequence[Cut], strategy: str, sharing: Sharing, *, lost: int = 0) -> Devices | Failure:
    """What a plugin registers for GPUs that are cut like this. lost: how many of them, the last ones, are ill."""
    parents = [each for each in cut if each is not None]
    if strategy == "single" and parents:
        wrong = mismatch(cut)
        if wrong:
            return Failure(wrong)
    if sharing.strategy == "mps" and (strategy == "mixed" or parents or any(name != GPU for name in sharing.replicas)):
        return Failure("MPS sharing is not supported with MIG devices or the mixed MIG strategy")
    each_gpu = [_shared(_of_one(each, strategy), sharing) for each in cut]
    well = len(each_gpu) - lost
    return Devices(_sum(each_gpu), {**dict.fromkeys(_sum(each_gpu), 0), **_sum(each_gpu[: max(well, 0)])})


def mismatch(cut: Sequence[Cut]) -> str:
    """What the single strategy refuses: it wants one kind of instance on every GPU."""
    if any(each is None for each in cut):
        return "all devices on the node must be configured with the same migEnabled value"
    if not all(cut):
        return "at least one device with migEnabled=true was not configured correctly: it has no MIG devices"
    if len({profile for each in cut if each for profile in each}) > 1:
        return "more than one MIG device type present on node"
    return ""


def _of_one(cut: Cut, strategy: str) -> dict[str, int]:
    """Devices of one GPU."""
    if cut is None or strategy == "none":
        return {GPU: 1}
    if strategy == "single":
        return {GPU: sum(cut.values())}
    return {mig.resource_name(profile): count for profile, count in cut.items()}


def _shared(found: dict[str, int], sharing: Sharing) -> dict[str, int]:
    made = {}
    for name, count in found.items():
        replicas = sharing.replicas.get(name, 1)
        made[name + (".shared" if replicas > 1 and sharing.renamed else "")] = count * replicas
    return made


def _sum(parts: Sequence[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total
