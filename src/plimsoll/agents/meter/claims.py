"""What a pod asks for, in units: whole GPUs and MIG profiles, by extended resources or by claims (DRA)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from plimsoll.gpus import mig
from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.nodes import DRA_DRIVER
from plimsoll.kube.objects import Obj, items, mapping, name, namespace, text
from plimsoll.kube.pods import gpu_requests

GPU = "gpu"
_WHOLE = "nvidia.com/gpu"
_MOST = 4096  # devices of a unit that a node may give out; anybody may ask for more, and each is sought a place for
Parts = Callable[[str], int]


class Allocated(NamedTuple):
    """A device that a claim was given. instance: its MIG UUID; profile: of it, "" for a whole GPU."""

    gpu: str
    instance: str = ""
    profile: str = ""

    @property
    def unit(self) -> str:
        return mig.canonical(self.profile) if self.profile else GPU


def unit(resource: str) -> str:
    """`gpu` or a MIG profile, of an extended resource."""
    profile = mig.profile_of_resource(resource.removesuffix(".shared"))
    return mig.canonical(profile) if profile else GPU


def resource(of: str) -> str:
    """The unshared name of the extended resource of a unit."""
    return _WHOLE if of == GPU else mig.resource_name(of)


class Claims:
    """Claims and what they were given, as watches tell of them."""

    def __init__(self) -> None:
        self._slices: dict[str, dict[tuple[str, str], Allocated]] = {}  # by slice: by pool and device
        self._claims: dict[tuple[str, str], tuple[set[str], list[tuple[str, str]]]] = {}  # users, and pool and device

    def take(self, kind: Kind, obj: Obj, *, gone: bool) -> set[str]:
        """A ResourceClaim or ResourceSlice as it is now; uids of the pods it may matter to."""
        if kind == kinds.RESOURCE_SLICE:
            self._slices.pop(name(obj), None)
            if not gone and text(obj, "spec", "driver") == DRA_DRIVER:
                self._slices[name(obj)] = dict(_devices(obj))
            return {uid for users, _ in self._claims.values() for uid in users}
        key = namespace(obj), name(obj)
        if gone:
            self._claims.pop(key, None)
            return set()
        users = {text(each, "uid") for each in items(obj, "status", "reservedFor") if text(each, "resource") == "pods"}
        given = [
            (text(each, "pool"), text(each, "device"))
            for each in items(obj, "status", "allocation", "devices", "results")
            if text(each, "driver") == DRA_DRIVER
        ]
        self._claims[key] = users, given
        return users

    def asks(self, pod: Obj) -> bool:
        """Whether a pod asks for GPUs, or may: its claims are known only once they were allocated."""
        return bool(gpu_requests(pod) or items(pod, "spec", "resourceClaims"))

    def devices(self, uid: str) -> list[Allocated]:
        """What the claims of a pod were given, as far as it is known."""
        found = []
        for users, given in self._claims.values():
            if uid in users:
                for each in given:
                    device = next((of[each] for of in self._slices.values() if each in of), None)
                    if device is not None and device not in found:
                        found.append(device)
        return found

    def amounts(self, pod: Obj) -> dict[str, int]:
        """What a pod holds, by unit."""
        found: dict[str, int] = {}
        for each, amount in gpu_requests(pod).items():
            if amount > 0:
                found[unit(each)] = min(found.get(unit(each), 0) + amount, _MOST)
        for device in self.devices(text(pod, "metadata", "uid")):
            found[device.unit] = found.get(device.unit, 0) + 1
        return found


def _devices(part: Obj) -> Iterator[tuple[tuple[str, str], Allocated]]:
    """The GPUs and MIG instances of a ResourceSlice. Attributes: those that NVIDIA's DRA driver publishes."""
    pool = text(part, "spec", "pool", "name")
    for device in items(part, "spec", "devices"):
        have = mapping(device, "attributes") or mapping(device, "basic", "attributes")
        said = {key.rpartition("/")[2]: text(value, "string") for key, value in have.items()}
        uuid, title = said.get("uuid", ""), text(device, "name")
        if said.get("type") == "mig" and said.get("parentUUID"):
            yield (pool, title), Allocated(said["parentUUID"], uuid or title, said.get("profile", ""))
        elif uuid:
            yield (pool, title), Allocated(uuid)
