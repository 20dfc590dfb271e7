"""The nouns of this package: a GPU model, how MIG may cut it, and one MIG profile."""

from __future__ import annotations

import msgspec


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU instance profile.

    name: as NVML writes it (`1g.10gb`, `1g.10gb+me`, `1g.24gb-me`).
    compute_slices, memory_slices: its share of the GPU, in the GPU's own slices.
    size, starts: units it takes on the placement axis and where it may begin (`nvidia-smi mig -lgipp`).
    max_instances: how many one GPU holds.
    attributes: what follows the memory in the name, sign included (`+me`, `-me`, `+gfx`, `+me.all`).
    decoders, ofa: NVDECs and optical flow accelerators it takes. A GPU has one OFA, so of the
        profiles with media extensions only one can exist. NVDECs are 0 where they never run out first.
    """

    name: str
    compute_slices: int
    memory_slices: int
    size: int
    starts: tuple[int, ...]
    max_instances: int
    attributes: tuple[str, ...] = ()
    decoders: int = 0
    ofa: int = 0


class Geometry(msgspec.Struct, frozen=True, kw_only=True):
    """How MIG may cut one GPU.

    compute, memory: slices of each in the whole GPU. axis: length of the placement axis.
    aliases: (other name, name): what some drivers call a profile.
    inferred: the placements are those of its family, not read from a published listing.
    """

    compute: int
    memory: int
    axis: int
    profiles: tuple[Profile, ...]
    decoders: int = 0
    ofa: int = 1
    aliases: tuple[tuple[str, str], ...] = ()
    inferred: bool = False
    source: str

    def plain(self) -> tuple[Profile, ...]:
        """The profiles without attributes, smallest first."""
        return tuple(profile for profile in self.profiles if not profile.attributes)


class Sku(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU model.

    name: as platform.yaml writes it. memory_mib: as NVML reports the whole card.
    capability: CUDA compute capability. pci: device ids of vendor 10de, upper-case hex.
    product: regular expression for the model part of the label `nvidia.com/gpu.product`.
    mig: None where the GPU has no MIG. mig_driver: the first driver with MIG for it, "" if none.
    inferred: a value of this row follows from its family; `source` says which.
    """

    name: str
    memory_mib: int
    capability: tuple[int, int]
    pci: tuple[str, ...]
    product: str
    mig: Geometry | None = None
    mig_driver: str = ""
    inferred: bool = False
    source: str

    @property
    def family(self) -> str:
        """The architecture as the label `nvidia.com/gpu.family` writes it. Source: GFD's table of capabilities."""
        return _FAMILIES.get(self.capability) or _FAMILIES[self.capability[0], -1]


_FAMILIES = {
    (6, -1): "pascal",
    (7, -1): "volta",
    (7, 5): "turing",
    (8, -1): "ampere",
    (8, 9): "ada-lovelace",
    (9, -1): "hopper",
    (10, -1): "blackwell",
    (12, -1): "blackwell",
}
