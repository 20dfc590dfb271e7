"""The layout that suits what is wanted of many GPUs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.gpus import catalogue
from plimsoll.gpus.layouts import advise
from plimsoll.gpus.model import Geometry
from plimsoll.gpus.placement import Placement, place, room
from plimsoll.gpus.skus import SKUS

GEOMETRIES = list({id(sku.mig): sku.mig for sku in SKUS if sku.mig}.values())
A100 = catalogue.find("A100-SXM4-80GB")


def demands(cut: Geometry) -> st.SearchStrategy[dict[str, int]]:
    return st.dictionaries(st.sampled_from([each.name for each in cut.profiles]), st.integers(0, 120), max_size=4)


demanded = st.sampled_from(GEOMETRIES).flatmap(lambda cut: st.tuples(st.just(cut), demands(cut), st.integers(1, 16)))


@settings(max_examples=150, deadline=None)
@given(demanded)
def test_it_fits_and_covers_what_any_layout_could(drawn: tuple[Geometry, dict[str, int], int]) -> None:
    cut, wanted, gpus = drawn
    layout = advise(cut, wanted, gpus)
    assert isinstance(place(cut, layout), Placement)
    least = {name: -(-count // gpus) for name, count in wanted.items() if count}
    if isinstance(place(cut, least), Placement):
        assert all(layout.get(name, 0) >= count for name, count in least.items())


@settings(max_examples=150, deadline=None)
@given(demanded)
def test_nothing_that_is_wanted_could_be_added(drawn: tuple[Geometry, dict[str, int], int]) -> None:
    cut, wanted, gpus = drawn
    layout = advise(cut, wanted, gpus)
    asked = [name for name, count in wanted.items() if count]
    assert not set(room(cut, layout)) & set(asked)
    assert not asked or set(layout) <= set(asked)


@settings(max_examples=100, deadline=None)
@given(demanded)
def test_single_has_one_profile(drawn: tuple[Geometry, dict[str, int], int]) -> None:
    cut, wanted, gpus = drawn
    layout = advise(cut, wanted, gpus, single=True)
    assert len(layout) == 1
    assert isinstance(place(cut, layout), Placement)


@pytest.mark.parametrize(
    ("wanted", "layout"),
    [
        ({"1g.10gb": 16, "2g.20gb": 8, "3g.40gb": 8}, {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}),
        ({"1g.10gb": 16, "3g.40gb": 4}, {"1g.10gb": 4, "3g.40gb": 1}),  # nothing uncut
        ({"3g.40gb": 1}, {"3g.40gb": 2}),  # nobody may use a 1g beside them
        ({"1g.10gb.me": 8, "1g.10gb": 8}, {"1g.10gb": 6, "1g.10gb+me": 1}),  # the form of labels
        ({"1g.10gb": 100, "7g.80gb": 4}, {"1g.10gb": 7}),  # not both: as much memory as goes
        ({"9g.1gb": 3}, {"7g.80gb": 1}),  # no profile of this GPU
        ({}, {"7g.80gb": 1}),
    ],
)
def test_layouts_of_eight_gpus(wanted: dict[str, int], layout: dict[str, int]) -> None:
    assert A100 is not None
    assert advise(A100, wanted, 8) == layout


def test_a_gpu_without_mig_has_none() -> None:
    l4 = catalogue.find("L4")
    assert l4 is not None
    assert advise(l4, {"1g.10gb": 1}, 8) == {}
