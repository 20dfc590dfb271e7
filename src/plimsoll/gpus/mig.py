"""MIG: how each GPU may be cut, how profiles and their resources are named, and what mig-manager generates.

Sources: NVIDIA MIG User Guide (profiles, max instances, media engines), `nvidia-smi mig -lgipp`
listings of A100, H100, A30 and RTX PRO 6000 (placements), the GPU Operator's default-mig-parted-config
(names for GB200, GB300, B300 and GH200-144), mig-parted v0.15 (generated configs).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from plimsoll.gpus.model import Geometry, Profile, Sku

RESOURCE_PREFIX = "nvidia.com/mig-"
_NAME = re.compile(r"(?P<slices>[1-9])g\.(?P<memory>[1-9][0-9]{0,2})gb(?P<attributes>(?:[+.-](?:me|gfx)(?:\.all)?)*)\Z")
_GUIDE = "NVIDIA MIG User Guide, supported MIG profiles"
_OPERATOR = "GPU Operator v26.7, default-mig-parted-config"


def seven_slices(
    sizes: Sequence[int], source: str, *, inferred: bool = False, aliases: tuple[tuple[str, str], ...] = ()
) -> Geometry:
    """The geometry of the large data-centre GPUs, A100 to GB300.

    sizes: gigabytes in the names of 1g, double-memory 1g, 2g, 3g, 4g and 7g. The eighth memory
    slice has no compute slice of its own: only a 3g at 4, a double-memory 1g at 6 or a 7g reach it.
    """
    one, double, two, three, four, seven = sizes
    shapes = (
        (f"1g.{one}gb", 1, 1, (0, 1, 2, 3, 4, 5, 6), 7, ()),
        (f"1g.{one}gb+me", 1, 1, (0, 1, 2, 3, 4, 5, 6), 1, ("+me",)),
        (f"1g.{double}gb", 1, 2, (0, 2, 4, 6), 4, ()),
        (f"2g.{two}gb", 2, 2, (0, 2, 4), 3, ()),
        (f"3g.{three}gb", 3, 4, (0, 4), 2, ()),
        (f"4g.{four}gb", 4, 4, (0,), 1, ()),
        (f"7g.{seven}gb", 7, 8, (0,), 1, ()),
    )
    profiles = tuple(
        Profile(
            name=name,
            compute_slices=compute,
            memory_slices=size,
            size=size,
            starts=starts,
            max_instances=most,
            attributes=attributes,
            ofa=1 if attributes or compute == 7 else 0,
        )
        for name, compute, size, starts, most, attributes in shapes
    )
    return Geometry(compute=7, memory=8, axis=8, profiles=profiles, aliases=aliases, inferred=inferred, source=source)


def _universal(shapes: Sequence[tuple[str, int, int, str, int, int]], *, slices: int, unit: int) -> tuple[Profile, ...]:
    """Profiles of GPUs whose memory is cut like their compute.

    shapes: name without attributes, slices, max instances, attributes, decoders, OFAs.
    unit: units of the placement axis per slice; an instance starts at multiples of its own size.
    """
    return tuple(
        Profile(
            name=name + attribute,
            compute_slices=count,
            memory_slices=count,
            size=count * unit,
            starts=tuple(range(0, slices * unit, count * unit)),
            max_instances=most,
            attributes=(attribute,) if attribute else (),
            decoders=decoders,
            ofa=ofa,
        )
        for name, count, most, attribute, decoders, ofa in shapes
    )


A100_40GB = seven_slices((5, 10, 10, 20, 20, 40), _GUIDE)
# Some drivers name the whole GPU after what is left of its memory (NVIDIA/gpu-operator issue 351).
GB80 = seven_slices((10, 20, 20, 40, 40, 80), _GUIDE, aliases=(("7g.79gb", "7g.80gb"),))
GB94 = seven_slices((12, 24, 24, 47, 47, 94), _GUIDE)
GB96 = seven_slices((12, 24, 24, 48, 48, 96), _GUIDE)
GB141 = seven_slices((18, 35, 35, 71, 71, 141), f"{_GUIDE}; placements of its family", inferred=True)
GB144 = seven_slices((18, 36, 36, 72, 72, 144), f"{_OPERATOR}; placements of its family", inferred=True)
B200 = seven_slices((23, 45, 45, 90, 90, 180), f"{_GUIDE}; placements of its family", inferred=True)
GB200 = seven_slices(
    (23, 47, 47, 93, 93, 186),
    f"{_OPERATOR}; placements of its family",
    inferred=True,
    aliases=(("3g.95gb", "3g.93gb"), ("4g.95gb", "4g.93gb"), ("7g.189gb", "7g.186gb")),
)
B300 = seven_slices((34, 67, 67, 135, 135, 269), f"{_OPERATOR}; placements of its family", inferred=True)
GB300 = seven_slices((35, 70, 70, 139, 139, 278), f"{_OPERATOR}; placements of its family", inferred=True)
A30 = Geometry(
    compute=4,
    memory=4,
    axis=4,
    decoders=4,
    profiles=_universal(
        (
            ("1g.6gb", 1, 4, "", 0, 0),
            ("1g.6gb", 1, 1, "+me", 1, 1),
            ("2g.12gb", 2, 2, "", 2, 0),
            ("2g.12gb", 2, 1, "+me", 2, 1),
            ("4g.24gb", 4, 1, "", 4, 1),
        ),
        slices=4,
        unit=1,
    ),
    source=f"{_GUIDE}; nvidia-smi mig -lgipp",
)
RTX_PRO_6000 = Geometry(
    compute=4,
    memory=4,
    axis=12,
    decoders=4,
    profiles=_universal(
        (
            ("1g.24gb", 1, 4, "", 1, 0),
            ("1g.24gb", 1, 1, "+me", 1, 1),
            ("1g.24gb", 1, 4, "+gfx", 1, 0),
            ("1g.24gb", 1, 1, "+me.all", 4, 1),
            ("1g.24gb", 1, 4, "-me", 0, 0),
            ("2g.48gb", 2, 2, "", 2, 0),
            ("2g.48gb", 2, 2, "+gfx", 2, 0),
            ("2g.48gb", 2, 1, "+me.all", 4, 1),
            ("2g.48gb", 2, 2, "-me", 0, 0),
            ("4g.96gb", 4, 1, "", 4, 1),
            ("4g.96gb", 4, 1, "+gfx", 4, 1),
        ),
        slices=4,
        unit=3,
    ),
    source=f"{_GUIDE}; nvidia-smi mig -lgipp",
)
# An older edition of the guide cuts this card in quarters of 12 GB; the node itself has the last word.
RTX_PRO_5000 = Geometry(
    compute=2,
    memory=2,
    axis=2,
    decoders=3,
    profiles=_universal(
        (
            ("1g.24gb", 1, 2, "", 1, 0),
            ("1g.24gb", 1, 1, "+me", 1, 1),
            ("1g.24gb", 1, 2, "+gfx", 1, 0),
            ("1g.24gb", 1, 1, "+me.all", 3, 1),
            ("1g.24gb", 1, 2, "-me", 0, 0),
            ("2g.48gb", 2, 1, "", 3, 1),
            ("2g.48gb", 2, 1, "+gfx", 3, 1),
        ),
        slices=2,
        unit=1,
    ),
    inferred=True,
    source=f"{_GUIDE}; editions disagree, placements unpublished",
)
RTX_PRO_4500 = Geometry(
    compute=2,
    memory=2,
    axis=2,
    decoders=3,
    profiles=_universal(
        (
            ("1g.16gb", 1, 2, "", 1, 0),
            ("1g.16gb", 1, 2, "+gfx", 1, 0),
            ("1g.16gb", 1, 1, "+me.all", 3, 1),
            ("1g.16gb", 1, 2, "-me", 0, 0),
            ("2g.32gb", 2, 1, "", 3, 1),
            ("2g.32gb", 2, 1, "+gfx", 3, 1),
        ),
        slices=2,
        unit=1,
    ),
    inferred=True,
    source=f"{_GUIDE}; placements unpublished",
)


def geometry(of: Sku | Geometry) -> Geometry | None:
    """The geometry of a SKU, or the one given; None where the SKU has no MIG."""
    return of.mig if isinstance(of, Sku) else of


def canonical(name: str) -> str:
    """A profile name as NVML writes it: the label and resource form `1g.10gb.me` becomes `1g.10gb+me`."""
    match = _NAME.match(name)
    if not match or not match["attributes"].startswith("."):
        return name
    at = match.start("attributes")
    return f"{name[:at]}+{name[at + 1 :]}"


def profile(of: Sku | Geometry, name: str) -> Profile | None:
    """The profile that a name, its label form or an alias of it means on this GPU; None if it has none such."""
    cut = geometry(of)
    if cut is None:
        return None
    wanted = canonical(name)
    wanted = dict(cut.aliases).get(wanted, wanted)
    return next((each for each in cut.profiles if each.name == wanted), None)


def close(of: Sku | Geometry, name: str) -> list[str]:
    """Profiles of this GPU that a wrong name may have meant, best first: as many compute slices, then alike."""
    cut = geometry(of)
    names = [each.name for each in cut.profiles] if cut else []
    match = _NAME.match(name)
    same = [each for each in names if match and each.startswith(f"{match['slices']}g.")]
    return difflib.get_close_matches(canonical(name), same or names, n=3, cutoff=0.0 if same else 0.5)


def resource_name(name: str | Profile) -> str:
    """The extended resource a node advertises for a profile with the mixed strategy: `nvidia.com/mig-1g.10gb.me`.

    The `+` is no character of a resource name and becomes `.`; `-me` stays (device plugin v0.20).
    """
    return RESOURCE_PREFIX + (name.name if isinstance(name, Profile) else canonical(name)).replace("+", ".")


def profile_of_resource(resource: str) -> str | None:
    """The profile name behind `nvidia.com/mig-1g.10gb.me` (`1g.10gb+me`), shared or not; None for another resource."""
    if not resource.startswith(RESOURCE_PREFIX):
        return None
    name = resource.removeprefix(RESOURCE_PREFIX).removesuffix(".shared")
    return canonical(name) if _NAME.match(name) else None


def layout_of_config(of: Sku | Geometry, config: str) -> dict[str, int] | None:
    """Instances per GPU of a config that mig-manager generates for this GPU, by profile name; None if there is no such.

    `all-disabled` (MIG off) and `all-enabled` (MIG on, nothing created) both give {}.
    A name the user gave to a profile (`all-7g.79gb`) is kept: it is what that driver advertises.
    """
    cut = geometry(of)
    if config in ("all-disabled", "all-enabled"):
        return {}
    if cut is None or not config.startswith("all-"):
        return None
    if config == "all-balanced":
        return _balanced(cut)
    name = config.removeprefix("all-")
    found = profile(cut, name) if "+" not in name else None  # the generated names never hold a `+`
    return {canonical(name): found.max_instances} if found else None


def config_names(of: Sku | Geometry) -> list[str]:
    """Every config name that mig-manager generates for this GPU."""
    cut = geometry(of)
    if cut is None:
        return ["all-disabled", "all-enabled"]
    balanced = ["all-balanced"] if _balanced(cut) else []
    return ["all-disabled", "all-enabled", *balanced, *(f"all-{p.name.replace('+', '.')}" for p in cut.profiles)]


_BALANCED = {7: {1: 2, 2: 1, 3: 1}, 4: {1: 2, 2: 1}}
"""Instances by compute slices, for GPUs of 7 and of 4 slices; mig-parted balances no other."""


def _balanced(cut: Geometry) -> dict[str, int] | None:
    counts = _BALANCED.get(cut.compute)
    if counts is None:
        return None
    smallest: dict[int, Profile] = {}
    for each in cut.plain():
        known = smallest.get(each.compute_slices)
        if known is None or each.max_instances > known.max_instances:
            smallest[each.compute_slices] = each
    return {smallest[slices].name: count for slices, count in counts.items()}
