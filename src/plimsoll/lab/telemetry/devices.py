"""The GPUs and MIG instances of a node, from what its labels, annotations and capacity say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from plimsoll.gpus import catalogue, mig, placement
from plimsoll.gpus.model import Sku
from plimsoll.kube.objects import Obj, labels, mapping, text
from plimsoll.lab.telemetry.annotations import GPU, stated
from plimsoll.units import count

WHOLE = "nvidia.com/gpu"
_STATED = re.compile(r"([A-Za-z0-9-]+)x(\d{1,2})")
_SLICES = re.compile(r"-MIG-(.+)")
_DASHED = re.compile(r"([AV]\d+)-(SXM\d|PCIE)-(\d+GB)", re.IGNORECASE)  # models with dashes of their own
_DEFAULT_MIB = 81559
_MOST = 1024  # devices of a node: a hostile capacity stays cheap


class Device(msgspec.Struct, frozen=True):
    """A GPU, or a MIG instance of one: what one series of the exporter is about.

    gpu: index. instance: GPU instance id, None for a GPU as a whole. profile: `1g.10gb`, "" for a whole GPU.
    share: of the GPU's compute. memory_mib: its own. resource: what pods ask for to get it, unshared name.
    replicas: pods that may hold it at one time. empty: MIG is on and no instance has been made.
    """

    gpu: int
    instance: int | None = None
    profile: str = ""
    share: float = 1.0
    memory_mib: int = _DEFAULT_MIB
    resource: str = WHOLE
    replicas: int = 1
    empty: bool = False


class Inventory(msgspec.Struct, frozen=True):
    """What is in a node. model: as NVML names it. devices: by index of the GPU, then as they are cut."""

    model: str
    memory_mib: int
    gpus: int
    devices: tuple[Device, ...]


def inventory(node: Obj) -> Inventory:
    """The GPUs of a node; none of them where nothing says that it has any."""
    have, capacity = labels(node), mapping(node, "status", "capacity")
    product = text(have, "nvidia.com/gpu.product")
    told = _STATED.fullmatch(stated(node, GPU))
    sku = (catalogue.find(told[1]) if told else None) or catalogue.from_product(
        product, count(have.get("nvidia.com/gpu.memory")) or None
    )
    memory = sku.memory_mib if sku else count(have.get("nvidia.com/gpu.memory")) or _DEFAULT_MIB
    model = _model(product or (f"NVIDIA-{sku.name}" if sku else ""))
    slices = _SLICES.search(product.removesuffix("-SHARED"))
    amounts = _amounts(capacity, have, slices[1] if slices else "")
    cut = {resource: number for resource, (number, _) in amounts.items() if resource != WHOLE}
    whole = amounts.get(WHOLE, (0, 1))[0]
    gpus = int(told[2]) if told else 0 if slices else count(have.get("nvidia.com/gpu.count"))
    layouts = _layouts(sku, tuple(sorted(cut.items())), max(gpus - whole, 0)) if cut else ()
    gpus = min(max(gpus, whole + len(layouts)), _MOST)
    if not cut:  # MIG may be on with nothing made yet; then GPUs without a device of their own are whole all the same
        whole = gpus
    devices: list[Device] = []
    replicas = {resource: number for resource, (_, number) in amounts.items()}
    for index in range(gpus):
        layout = layouts[index] if index < len(layouts) else ()
        if layout:
            devices += (_instance(sku, memory, index, each, replicas, single=bool(slices)) for each in layout)
        elif index >= gpus - whole:
            devices.append(Device(index, memory_mib=memory, replicas=replicas.get(WHOLE, 1)))
        else:
            devices.append(Device(index, memory_mib=memory, resource="", empty=True))
    return Inventory(model, memory, gpus, tuple(devices[:_MOST]))


def _model(product: str) -> str:
    """`NVIDIA H100 80GB HBM3` from the label `NVIDIA-H100-80GB-HBM3-SHARED`."""
    bare = _SLICES.sub("", product.removesuffix("-SHARED"))
    kept = _DASHED.sub(lambda found: "\0".join(found.groups()), bare)
    return kept.replace("-", " ").replace("\0", "-") or "NVIDIA GPU"


def _amounts(capacity: Mapping[str, object], have: Mapping[str, str], slices: str) -> dict[str, tuple[int, int]]:
    """Devices and replicas of each by the unshared name of the resource. slices: profile with the single strategy."""
    found: dict[str, tuple[int, int]] = {}
    for advertised in sorted(capacity):
        resource = advertised.removesuffix(".shared")
        profile = mig.profile_of_resource(resource)
        if resource != WHOLE and profile is None:
            continue
        number = min(count(capacity[advertised]), _MOST)
        replicas = max(count(have.get(f"{resource}.replicas")), 1)
        own = -(-number // replicas)
        name = mig.resource_name(slices) if slices and resource == WHOLE else resource
        if own and (name == WHOLE or mig.profile_of_resource(name)):
            before = found.get(name, (0, 1))
            found[name] = (before[0] + own, max(before[1], replicas))
    return found


def _instance(
    sku: Sku | None, memory: int, gpu: int, at: tuple[str, int, int], replicas: dict[str, int], *, single: bool
) -> Device:
    resource, start, size = at
    profile = mig.profile_of_resource(resource) or resource
    known = mig.profile(sku, profile) if sku else None
    cut = sku.mig if sku else None
    axis = cut.axis if cut else 8
    share = known.compute_slices / cut.compute if known and cut else 1 / 7
    part = known.memory_slices / cut.memory if known and cut else 1 / 8
    # NVML numbers instances as a binary tree over the placement axis: the whole GPU 0, halves 1 and 2, quarters from 3.
    identity = max(axis // max(size, 1) - 1, 0) + start // max(size, 1)
    asked = WHOLE if single else resource
    return Device(gpu, identity, profile, share, int(memory * part), asked, replicas.get(resource, 1))


Layout = tuple[tuple[str, int, int], ...]  # resource, start and size of each instance of one GPU


@lru_cache(maxsize=512)
def _layouts(sku: Sku | None, totals: tuple[tuple[str, int], ...], gpus: int) -> tuple[Layout, ...]:
    """One layout for each GPU such that together they hold the instances; even if they can be, else filled in turn.

    gpus: 0 where nothing tells how many there are.
    """
    wanted = dict(totals)
    if sku is None or sku.mig is None or any(mig.profile_of_resource(each) is None for each in wanted):
        flat = [(resource, 1) for resource, number in totals for _ in range(number)]
        return tuple(
            tuple((resource, at, size) for at, (resource, size) in enumerate(flat[first : first + 7]))
            for first in range(0, len(flat), 7)
        )
    if gpus and all(number % gpus == 0 for number in wanted.values()):
        even = _placed(sku, {resource: number // gpus for resource, number in wanted.items()})
        if even is not None:
            return (even,) * gpus
    made: list[Layout] = []
    left = {resource: number for resource, number in wanted.items() if _placed(sku, {resource: 1}) is not None}
    order = sorted(left, key=lambda each: (-_size(sku, each), each))
    while any(left.values()):
        layout: dict[str, int] = {}
        for resource in order:
            while left[resource] and _placed(sku, {**layout, resource: layout.get(resource, 0) + 1}) is not None:
                layout[resource] = layout.get(resource, 0) + 1
                left[resource] -= 1
        made.append(_placed(sku, layout) or ())
    return tuple(made)


def _size(sku: Sku, resource: str) -> int:
    found = mig.profile(sku, mig.profile_of_resource(resource) or "")
    return found.size if found else 0


def _placed(sku: Sku, layout: Mapping[str, int]) -> Layout | None:
    profiles = {mig.profile_of_resource(resource) or "": number for resource, number in layout.items()}
    found = placement.place(sku, profiles)
    if isinstance(found, placement.Misfit):
        return None
    known = {resource: mig.profile(sku, mig.profile_of_resource(resource) or "") for resource in layout}
    resources = {
        profile.name: resource for resource, profile in known.items() if profile
    }  # a driver may say it otherwise
    return tuple((resources[each.profile], each.start, each.size) for each in found.instances)
