"""What a source tells of a device at one moment. Sources: dcgm-exporter's pages, the driver (NVML), the kubelet."""

from __future__ import annotations

import msgspec

Pod = tuple[str, str]  # namespace and name: what sources know of a pod


class Share(msgspec.Struct, frozen=True):
    """What one of several pods did on a device. busy: 0 to 1 of the device's time. memory_mib: its own."""

    pod: Pod
    busy: float | None = None
    memory_mib: float | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU, or one MIG instance, at one moment. None is not read: it is not 0.

    node: its name. gpu: UUID of the whole GPU, for an instance too. instance: GPU instance id as text, "" for a whole
    GPU. profile: of the instance, `1g.10gb`. cut: this is a GPU in MIG mode, which is held by its instances alone.
    busy, sm, tensor, dram: 0 to 1 of the device's time. watts, joules (a counter) are of the whole GPU.
    holders: pods that hold it, where the source says so.
    shares: what each of several holders did, where the source can tell them apart.
    """

    node: str
    gpu: str
    instance: str = ""
    profile: str = ""
    model: str = ""
    cut: bool = False
    busy: float | None = None
    sm: float | None = None
    tensor: float | None = None
    dram: float | None = None
    watts: float | None = None
    joules: float | None = None
    memory_mib: float | None = None
    memory_total_mib: float | None = None
    holders: tuple[Pod, ...] = ()
    shares: tuple[Share, ...] = ()

    @property
    def device(self) -> tuple[str, str]:
        return self.gpu, self.instance
