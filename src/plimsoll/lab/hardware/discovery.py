"""The labels of GPU feature discovery.

Source: device plugin internal/lm. Multiprocessors of a slice: NVIDIA's white papers, by architecture.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from plimsoll.gpus import mig
from plimsoll.gpus.model import Profile
from plimsoll.lab.hardware.devices import GPU, mismatch
from plimsoll.lab.hardware.layout import Cut
from plimsoll.lab.hardware.machine import Machine, product
from plimsoll.lab.hardware.sharing import Sharing

OWNED = re.compile(
    r"nvidia\.com/(gfd\..*|cuda\..*|mig-.*|mig\.(capable|strategy)|mps\.capable"
    r"|gpu\.(product|count|replicas|sharing-strategy|memory|family|compute\..*|machine|mode|clique|multiprocessors"
    r"|slices\..*|engines\..*))\Z"
)
"""The labels it writes, and takes away again."""
_RUNTIME = ((595, "13.2"), (590, "13.1"), (580, "13.0"), (575, "12.9"), (570, "12.8"), (565, "12.7"), (560, "12.6"),
            (555, "12.5"), (550, "12.4"), (545, "12.3"), (535, "12.2"), (530, "12.1"), (525, "12.0"))  # fmt: skip
_SLICE = {8: 14, 9: 16, 10: 18, 12: 46}
"""Multiprocessors of one compute slice, by major compute capability."""


def found(
    machine: Machine, cut: Sequence[Cut], strategy: str, sharing: Sharing, *, driver: str, place: str, since: int
) -> dict[str, str]:
    """All the labels for GPUs that are cut like this.

    cut: of the GPUs that are there. driver: its version. place: the name of the machine's type. since: when discovery
    started, in seconds since 1970.
    """
    sku, enabled = machine.sku, [each for each in cut if each is not None]
    card, shared = product(sku), sharing.strategy
    labels = {
        "gfd.timestamp": str(since),
        "gpu.machine": place,
        "gpu.mode": "graphics" if sku.name.startswith("RTX") else "compute",
        "mig.capable": _bool(sku.mig is not None),
        "mps.capable": _bool(shared == "mps" and not enabled),
        **_versions(driver),
        "gpu.family": sku.family,
        "gpu.compute.major": str(sku.capability[0]),
        "gpu.compute.minor": str(sku.capability[1]),
        "gpu.memory": str(sku.memory_mib),
    }
    whole = len(enabled) < len(cut)
    labels.update(_counted("gpu", GPU, card, len(cut), sharing if whole else None))
    if strategy != "none":
        labels["mig.strategy"] = strategy
    if strategy == "mixed":
        for profile, count in _instances(cut).items():
            key = mig.resource_name(profile).removeprefix("nvidia.com/")
            labels.update(_slice(machine, key, profile, count, sharing))
    elif strategy == "single" and enabled:
        labels.update(_single(machine, cut, sharing, card))
    return {f"nvidia.com/{key}": value for key, value in labels.items()}


def _single(machine: Machine, cut: Sequence[Cut], sharing: Sharing, card: str) -> dict[str, str]:
    """With the single strategy the labels of the GPU speak of its slices, or of a layout the strategy refuses."""
    if mismatch(cut):
        return {"gpu.product": f"{card}-MIG-INVALID", "gpu.count": "0", "gpu.replicas": "0", "gpu.memory": "0"}
    ((profile, count),) = _instances(cut).items()
    return _slice(machine, "gpu", profile, count, sharing)


def _slice(machine: Machine, key: str, profile: str, count: int, sharing: Sharing) -> dict[str, str]:
    """Labels of one kind of MIG instance."""
    resource = f"nvidia.com/{key}"
    name = f"{product(machine.sku)}-MIG-{profile.replace('+', '.')}"
    return {**_counted(key, resource, name, count, sharing), **_attributes(machine, key, profile)}


def _attributes(machine: Machine, key: str, profile: str) -> dict[str, str]:
    sku = machine.sku
    known: Profile | None = mig.profile(sku, profile)
    if known is None or sku.mig is None:
        return {}
    made = {
        "memory": sku.memory_mib * known.memory_slices // sku.mig.memory,
        "multiprocessors": _SLICE.get(sku.capability[0], 14) * known.compute_slices,
        "slices.gi": known.compute_slices,
        "slices.ci": known.compute_slices,
        "engines.copy": max(1, known.memory_slices),
        "engines.decoder": known.decoders,
        "engines.encoder": 0,
        "engines.jpeg": known.ofa,
        "engines.ofa": known.ofa,
    }
    return {f"{key}.{name}": str(value) for name, value in made.items()}


def _counted(key: str, resource: str, name: str, count: int, sharing: Sharing | None) -> dict[str, str]:
    """Product, count and replicas of one resource. sharing: None where every GPU is cut, so that none is shared."""
    replicas = sharing.replicas.get(resource, 1) if sharing else 0
    shared = sharing is not None and replicas > 1
    return {
        f"{key}.product": f"{name}-SHARED" if shared and sharing and not sharing.renamed else name,
        f"{key}.count": str(count),
        f"{key}.replicas": str(replicas),
        f"{key}.sharing-strategy": sharing.strategy if shared and sharing else "none",
    }


def _instances(cut: Sequence[Cut]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in cut:
        for profile, count in (each or {}).items():
            total[profile] = total.get(profile, 0) + count
    return total


def _versions(driver: str) -> dict[str, str]:
    parts = [*driver.split("."), "", ""][:3]
    branch = int(parts[0]) if parts[0].isdecimal() else 0
    runtime = next((cuda for since, cuda in _RUNTIME if branch >= since), "11.8")
    major, _, minor = runtime.partition(".")
    made = {"cuda.runtime.major": major, "cuda.runtime.minor": minor}
    for old, new, part in zip(("major", "minor", "rev"), ("major", "minor", "revision"), parts, strict=True):
        made[f"cuda.driver.{old}"] = made[f"cuda.driver-version.{new}"] = part
    return {
        **made,
        "cuda.driver-version.full": driver,
        "cuda.runtime-version.full": runtime,
        "cuda.runtime-version.major": major,
        "cuda.runtime-version.minor": minor,
    }


def _bool(value: bool) -> str:
    return "true" if value else "false"
