from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.gpus import catalogue, mig
from plimsoll.gpus.model import Geometry, Profile
from plimsoll.gpus.placement import Misfit, Placement, feasible, maximal, place, room
from plimsoll.gpus.skus import SKUS

GEOMETRIES = list({id(sku.mig): sku.mig for sku in SKUS if sku.mig}.values())
SEVEN_SLICE = [cut for cut in GEOMETRIES if cut.compute == 7]


def names(cut: Geometry, *slices: int) -> list[str]:
    """Plain profiles by compute slices, the smallest memory of each."""
    found = {profile.compute_slices: profile.name for profile in reversed(cut.plain())}
    return [found[count] for count in slices]


def shape(cut: Geometry, layout: dict[str, int], *slices: int) -> tuple[int, ...]:
    return tuple(layout.get(name, 0) for name in names(cut, *slices))


def brute_force(cut: Geometry, layout: dict[str, int]) -> bool:
    """Every choice of starts for every instance, with no order and no cleverness."""
    instances = [mig.profile(cut, name) for name, count in layout.items() for _ in range(count)]
    profiles = [profile for profile in instances if profile]
    counts = Counter(profile.name for profile in profiles)
    if any(counts[profile.name] > profile.max_instances for profile in profiles):
        return False
    for of, most in (("compute_slices", cut.compute), ("ofa", cut.ofa), ("decoders", cut.decoders)):
        if sum(getattr(profile, of) for profile in profiles) > most:
            return False
    for starts in itertools.product(*(profile.starts for profile in profiles)):
        units = [unit for p, at in zip(profiles, starts, strict=True) for unit in range(at, at + p.size)]
        if len(units) == len(set(units)):
            return True
    return False


def layouts(cut: Geometry, most: int) -> st.SearchStrategy[dict[str, int]]:
    instances = st.lists(st.sampled_from([profile.name for profile in cut.profiles]), max_size=most)
    return instances.map(lambda drawn: dict(Counter(drawn)))


any_layout = st.sampled_from(GEOMETRIES).flatmap(lambda cut: st.tuples(st.just(cut), layouts(cut, 7)))


@pytest.mark.parametrize("cut", SEVEN_SLICE, ids=lambda cut: cut.profiles[-1].name)
def test_seven_slice_cards_have_77_layouts_of_which_28_are_full(cut: Geometry) -> None:
    assert len(feasible(cut)) == 77
    assert len(maximal(cut)) == 28


@pytest.mark.parametrize("cut", SEVEN_SLICE, ids=lambda cut: cut.profiles[-1].name)
def test_without_the_double_memory_profile_37_layouts_are_left(cut: Geometry) -> None:
    base = names(cut, 1, 2, 3, 4, 7)
    assert len(feasible(cut, base)) == 37
    assert {shape(cut, layout, 1, 2, 3, 4, 7) for layout in maximal(cut, base)} == {
        (7, 0, 0, 0, 0), (5, 1, 0, 0, 0), (4, 0, 1, 0, 0), (3, 2, 0, 0, 0), (3, 0, 0, 1, 0), (2, 1, 1, 0, 0),
        (1, 3, 0, 0, 0), (1, 1, 0, 1, 0), (0, 2, 1, 0, 0), (0, 0, 2, 0, 0), (0, 0, 1, 1, 0), (0, 0, 0, 0, 1),
    }  # fmt: skip


@pytest.mark.parametrize("cut", [mig.A30, mig.RTX_PRO_6000], ids=["A30", "RTX PRO 6000"])
def test_four_slice_cards_have_9_layouts_of_which_4_are_full(cut: Geometry) -> None:
    assert len(feasible(cut)) == 9
    assert {shape(cut, layout, 1, 2, 4) for layout in maximal(cut)} == {(4, 0, 0), (2, 1, 0), (0, 2, 0), (0, 0, 1)}


def test_no_layout_is_listed_twice() -> None:
    for cut in GEOMETRIES:
        everything = [profile.name for profile in cut.profiles]
        found = [tuple(sorted(layout.items())) for layout in feasible(cut, everything)]
        assert len(found) == len(set(found))


def test_four_small_ones_leave_room_for_a_3g_only_at_4() -> None:
    placed = place(mig.GB80, {"1g.10gb": 4, "3g.40gb": 1})
    assert isinstance(placed, Placement)
    assert {(each.profile, each.start) for each in placed.instances} == {
        ("1g.10gb", 0), ("1g.10gb", 1), ("1g.10gb", 2), ("1g.10gb", 3), ("3g.40gb", 4),
    }  # fmt: skip
    assert str(placed).endswith("1g.10gb at 3, 3g.40gb at 4")


def test_an_empty_layout_fits_and_leaves_all_room() -> None:
    assert place(mig.A30, {}) == Placement(())
    assert str(place(mig.A30, {"1g.6gb": 0})) == "no instances"
    assert room(mig.A30, {}) == {p.name: p.max_instances for p in mig.A30.profiles}


@settings(deadline=None)  # the reference tries everything, and takes its time
@given(any_layout)
def test_the_solver_agrees_with_trying_everything(drawn: tuple[Geometry, dict[str, int]]) -> None:
    cut, layout = drawn
    assert isinstance(place(cut, layout), Placement) == brute_force(cut, layout)


@given(any_layout)
def test_a_placement_is_the_layout_without_overlap_at_allowed_starts(drawn: tuple[Geometry, dict[str, int]]) -> None:
    cut, layout = drawn
    placed = place(cut, layout)
    if isinstance(placed, Misfit):
        return
    profiles = {profile.name: profile for profile in cut.profiles}
    units = [unit for each in placed.instances for unit in range(each.start, each.start + each.size)]
    assert len(units) == len(set(units))
    assert all(0 <= unit < cut.axis for unit in units)
    assert all(each.start in profiles[each.profile].starts for each in placed.instances)
    assert Counter(each.profile for each in placed.instances) == Counter(layout)


@given(any_layout, st.data())
def test_what_fits_still_fits_with_an_instance_less(
    drawn: tuple[Geometry, dict[str, int]], data: st.DataObject
) -> None:
    cut, layout = drawn
    if not layout or isinstance(place(cut, layout), Misfit):
        return
    gone = data.draw(st.sampled_from(sorted(layout)))
    assert isinstance(place(cut, {**layout, gone: layout[gone] - 1}), Placement)


@given(any_layout)
def test_room_is_what_can_be_added_and_no_more(drawn: tuple[Geometry, dict[str, int]]) -> None:
    cut, layout = drawn
    placed = place(cut, layout)
    left = room(cut, layout)
    base = layout
    if isinstance(placed, Misfit):
        assert left == {}
        base, left = placed.fits, placed.room
        assert isinstance(place(cut, base), Placement)
        assert all(count <= layout[name] for name, count in base.items())
    for profile in cut.profiles:
        more = left.get(profile.name, 0)
        have = base.get(profile.name, 0)
        assert isinstance(place(cut, {**base, profile.name: have + more}), Placement)
        assert isinstance(place(cut, {**base, profile.name: have + more + 1}), Misfit)


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ({"1g.5gb": 1}, "H100-SXM5-80GB has no MIG profile 1g.5gb; it has 1g.20gb, 1g.10gb, 1g.10gb+me"),
        ({"whole": 1}, "H100-SXM5-80GB has no MIG profile whole; it has 1g.10gb, 1g.20gb, 2g.20gb"),
        ({"2g.20gb": 4}, "one GPU holds at most 3 instances of 2g.20gb, and 4 are asked for"),
        ({"1g.10gb+me": 2}, "one GPU holds at most 1 instance of 1g.10gb+me, and 2 are asked for"),
        ({"4g.40gb": 1, "2g.20gb": 2}, "2×2g.20gb + 1×4g.40gb need 8 compute slices, and the GPU has 7"),
        ({"3g.40gb": 2, "1g.10gb": 1}, "1×1g.10gb + 2×3g.40gb need 9 memory slices, and the GPU has 8"),
        ({"1g.10gb": -1}, "-1 instances of 1g.10gb are asked for; ask for 0 or more"),
        ({"1g.10gb": 10**12}, "one GPU holds at most 7 instances of 1g.10gb, and 1000000000000 are asked for"),
    ],
)
def test_a_misfit_says_why(layout: dict[str, int], reason: str) -> None:
    sku = catalogue.find("H100-SXM5-80GB")
    assert sku
    misfit = place(sku, layout)
    assert isinstance(misfit, Misfit)
    assert str(misfit).startswith(reason)


def test_a_misfit_says_what_would_still_fit() -> None:
    misfit = place(mig.GB80, {"4g.40gb": 1, "2g.20gb": 2})
    assert isinstance(misfit, Misfit)
    assert misfit.fits == {"4g.40gb": 1, "2g.20gb": 1}
    assert misfit.room == {"1g.10gb": 1, "1g.10gb+me": 1, "1g.20gb": 1}


def test_slices_enough_but_no_start_left() -> None:
    odd = Profile(name="1g.6gb", compute_slices=1, memory_slices=1, size=1, starts=(1,), max_instances=2)
    two = Profile(name="2g.12gb", compute_slices=2, memory_slices=2, size=2, starts=(0,), max_instances=1)
    cut = Geometry(compute=4, memory=4, axis=4, profiles=(odd, two), source="made up")
    misfit = place(cut, {"1g.6gb": 1, "2g.12gb": 1})
    assert isinstance(misfit, Misfit)
    assert misfit.reason == (
        "no arrangement of 1×1g.6gb + 1×2g.12gb has free memory slices for all of them: "
        "1g.6gb takes 1 and starts only at 1"
    )


def test_a_gpu_without_mig_fits_nothing() -> None:
    l4 = catalogue.find("L4")
    assert l4
    assert place(l4, {"1g.10gb": 1}) == Misfit("L4 has no MIG", {}, {})
    assert (room(l4, {}), feasible(l4), maximal(l4)) == ({}, [], [])


def test_media_engines_are_shared_out() -> None:
    """One instance with all engines leaves only instances without any."""
    assert isinstance(place(mig.RTX_PRO_6000, {"1g.24gb+me.all": 1, "1g.24gb-me": 3}), Placement)
    misfit = place(mig.RTX_PRO_6000, {"1g.24gb+me.all": 1, "1g.24gb": 1})
    assert str(misfit) == "1×1g.24gb + 1×1g.24gb+me.all need 5 video decoders, and the GPU has 4"
    both = place(mig.A30, {"1g.6gb+me": 1, "2g.12gb+me": 1})
    assert str(both) == "1×1g.6gb+me + 1×2g.12gb+me need 2 optical flow accelerators, and the GPU has 1"


def test_other_names_of_a_profile_count_as_that_profile() -> None:
    assert place(mig.GB80, {"7g.79gb": 1}) == place(mig.GB80, {"7g.80gb": 1})
    assert isinstance(place(mig.GB80, {"1g.10gb.me": 1, "1g.10gb+me": 1}), Misfit)
