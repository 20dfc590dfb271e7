"""The GPUs and MIG instances of a node, and which of them the name of a device means.

Names that kubelets keep for containers:

    GPU-<uuid>, MIG-<uuid>                  NVIDIA's device plugin; `::3` behind it is one of several shares
    MIG-GPU-<uuid>/<gpu instance>/<compute instance>    with drivers before R470
    nvidia0, nvidia0/gi1, nvidia0/vgpu2, nvidia0/gi1/vgpu2    GKE's device plugin, by the number of /dev/nvidia0
    gpu-0, gpu-0-mig-1g10gb-19-4            NVIDIA's DRA driver, by the same number: profile, its id, first memory slice
    gpu-0-mig-19-4-1                        older ones of it: id of the profile, first memory slice, slices

Sources: NVIDIA/k8s-device-plugin internal/rm (v0.20), GoogleCloudPlatform/container-engine-accelerators
pkg/gpu/nvidia/gpusharing, kubernetes-sigs/dra-driver-nvidia-gpu cmd/gpu-kubelet-plugin/deviceinfo.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from plimsoll.agents.meter.reading import Pod
from plimsoll.kube.nodes import DRA_DRIVER

if TYPE_CHECKING:
    from plimsoll.agents.meter.podresources import Held  # needs gRPC

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_N = "[0-9]{1,9}"
_PLUGIN = re.compile(rf"(?P<id>(?:GPU|MIG)-{_UUID})(?:::(?P<share>{_N}))?\Z")
_OLD_MIG = re.compile(rf"MIG-(?P<gpu>GPU-{_UUID})/(?P<instance>{_N})/{_N}(?:::(?P<share>{_N}))?\Z")
_GKE = re.compile(rf"nvidia(?P<minor>{_N})(?:/gi(?P<instance>{_N}))?(?:/vgpu(?P<share>{_N}))?\Z")
_DRA = re.compile(rf"gpu-(?P<minor>{_N})\Z")
_DRA_MIG = re.compile(rf"gpu-(?P<minor>{_N})-mig-(?:[1-9]g{_N}gb.*-{_N}-(?P<start>{_N})|{_N}-(?P<old>{_N})-{_N})\Z")

_PROFILE = re.compile(r"\bMIG (?:[1-9]c\.)?([1-9]g\.[0-9]+gb(?:[+-][a-z.]+)?)")
_MIB, _GIB = 1 << 20, 1 << 30


class Instance(msgspec.Struct, frozen=True):
    """A MIG GPU instance. id: its number on its GPU, as text. profile: as the driver says, `1g.10gb`.

    uuids: of its compute instances, `MIG-…`: what containers are given. start: its first memory slice, if told.
    """

    id: str
    profile: str
    uuids: tuple[str, ...]
    start: int | None = None


class Gpu(msgspec.Struct, frozen=True):
    """A GPU. minor: the number of its device file. cut: it is in MIG mode."""

    uuid: str
    index: int
    minor: int
    model: str = ""
    cut: bool = False
    instances: tuple[Instance, ...] = ()


class Place(NamedTuple):
    """What a name means. gpu: UUID. instance: "" for the whole GPU. share: which of several, "" if there are none."""

    gpu: str
    instance: str
    share: str


def place(device: str, gpus: Sequence[Gpu]) -> Place | None:
    """What a device's name means on a node with these GPUs; None where it is no GPU, or one that is not known here.

    A whole GPU named by its UUID needs no inventory: it is held also while the driver has lost it.
    """
    found = _PLUGIN.match(device)
    if found and found["id"].startswith("GPU-"):
        return Place(found["id"], "", found["share"] or "")
    if found:
        return next(
            (Place(gpu.uuid, each.id, found["share"] or "")
             for gpu in gpus for each in gpu.instances if found["id"] in each.uuids), None,
        )  # fmt: skip
    found = _OLD_MIG.match(device)
    if found:
        return Place(found["gpu"], found["instance"], found["share"] or "")
    found = _GKE.match(device) or _DRA.match(device)
    if found:
        said = found.groupdict()
        uuid = next((gpu.uuid for gpu in gpus if gpu.minor == int(found["minor"])), None)
        return Place(uuid, said.get("instance") or "", said.get("share") or "") if uuid else None
    found = _DRA_MIG.match(device)
    return _started(gpus, int(found["minor"]), int(found["start"] or found["old"])) if found else None


def holders(held: Iterable[Held], gpus: Sequence[Gpu]) -> dict[tuple[str, str], tuple[Pod, ...]]:
    """The pods that hold each GPU (UUID and "") or instance (UUID and its id), each once, in order of their names."""
    found: dict[tuple[str, str], set[Pod]] = {}
    for each in held:
        if each.claim and each.resource != DRA_DRIVER:
            continue  # other vendors' devices have such names too
        meant = place(each.device, gpus)
        if meant:
            found.setdefault((meant.gpu, meant.instance), set()).add((each.namespace, each.pod))
    return {device: tuple(sorted(pods)) for device, pods in found.items()}


def _started(gpus: Sequence[Gpu], minor: int, start: int) -> Place | None:
    """The instance that begins at a memory slice: there is at most one."""
    return next(
        (Place(gpu.uuid, each.id, "") for gpu in gpus if gpu.minor == minor for each in gpu.instances
         if each.start == start), None,
    )  # fmt: skip


def profile_in(name: str) -> str:
    """The profile of the GPU instance in the name of a MIG device (`NVIDIA H200 MIG 1g.18gb`); "" if there is none.

    Of a compute instance that is a part of it (`2c.3g.71gb`), too.
    """
    found = _PROFILE.search(name)
    return found[1] if found else ""


def profile_of(slices: int, mib: int, total: int) -> str:
    """The name of a profile, of an instance's compute slices and MiB and its GPU's bytes: drivers may give none.

    Its gigabytes are eighths of the GPU's, rounded up (NVIDIA/go-nvlib pkg/nvlib/device/mig_profile.go).
    """
    eighths = -(-mib * _MIB * 8 // total)
    return f"{slices}g.{(eighths * -(-total // _GIB) + 4) // 8}gb"
