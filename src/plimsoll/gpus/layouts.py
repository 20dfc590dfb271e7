"""Which MIG layout suits what is wanted of many equal GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from plimsoll.gpus import mig
from plimsoll.gpus.model import Geometry, Sku
from plimsoll.gpus.placement import maximal

Layout = dict[str, int]
"""Instances per GPU, by profile name."""


def advise(of: Sku | Geometry, wanted: Mapping[str, int], gpus: int, *, single: bool = False) -> Layout:
    """The layout to give each of `gpus` GPUs so that instances in `wanted` numbers are there; {} without MIG.

    wanted: instances on all GPUs together, by profile, in every form `mig.profile` reads. What no layout can
    cover in full is covered as far as its memory goes. Then, in this order: least of the GPU left uncut, an even
    surplus over what is wanted, the profiles as the geometry orders them. Instances nobody wants are not made; where
    nothing is wanted, each GPU is one instance. single: all instances of one profile.
    """
    cut = mig.geometry(of)
    if cut is None:
        return {}
    need = _need(cut, wanted) or {cut.plain()[-1].name: 1}
    groups = [[name] for name in need] if single else [list(need)]
    candidates = [layout for names in groups for layout in maximal(cut, names)]
    return max(candidates, key=lambda layout: _worth(cut, layout, need, gpus))


def _need(cut: Geometry, wanted: Mapping[str, int]) -> dict[str, int]:
    """What is wanted by the geometry's own names, in its order; names it lacks are left out."""
    asked: dict[str, int] = {}
    for name, count in wanted.items():
        if (profile := mig.profile(cut, name)) and count > 0:
            asked[profile.name] = asked.get(profile.name, 0) + count
    return {profile.name: asked[profile.name] for profile in cut.profiles if profile.name in asked}


def _worth(
    cut: Geometry, layout: Layout, need: Mapping[str, int], gpus: int
) -> tuple[int, int, list[Fraction], list[int]]:
    """A key by which the better of two layouts is the greater one."""
    sizes = {profile.name: profile for profile in cut.profiles}
    covered = sum(min(layout.get(name, 0) * gpus, count) * sizes[name].memory_slices for name, count in need.items())
    used = sum(n * (sizes[name].memory_slices + sizes[name].compute_slices) for name, n in layout.items())
    surplus = sorted(Fraction(layout.get(name, 0) * gpus, count) for name, count in need.items())
    return covered, used, surplus, [layout.get(profile.name, 0) for profile in cut.profiles]
