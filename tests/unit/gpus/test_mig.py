from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.gpus import catalogue, mig
from plimsoll.gpus.model import Sku
from plimsoll.gpus.placement import Placement, place
from plimsoll.gpus.skus import SKUS

CAPABLE = [sku for sku in SKUS if sku.mig]


def sku(name: str) -> Sku:
    found = catalogue.find(name)
    assert found
    return found


@pytest.mark.parametrize(
    ("name", "profiles"),
    [
        ("A100-SXM4-40GB", "1g.5gb 1g.5gb+me 1g.10gb 2g.10gb 3g.20gb 4g.20gb 7g.40gb"),
        ("A100-PCIE-80GB", "1g.10gb 1g.10gb+me 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb"),
        ("H100-NVL-94GB", "1g.12gb 1g.12gb+me 1g.24gb 2g.24gb 3g.47gb 4g.47gb 7g.94gb"),
        ("GH200-96GB", "1g.12gb 1g.12gb+me 1g.24gb 2g.24gb 3g.48gb 4g.48gb 7g.96gb"),
        ("H200-SXM-141GB", "1g.18gb 1g.18gb+me 1g.35gb 2g.35gb 3g.71gb 4g.71gb 7g.141gb"),
        ("GH200-144GB", "1g.18gb 1g.18gb+me 1g.36gb 2g.36gb 3g.72gb 4g.72gb 7g.144gb"),
        ("B200-180GB", "1g.23gb 1g.23gb+me 1g.45gb 2g.45gb 3g.90gb 4g.90gb 7g.180gb"),
        ("GB200", "1g.23gb 1g.23gb+me 1g.47gb 2g.47gb 3g.93gb 4g.93gb 7g.186gb"),
        ("B300", "1g.34gb 1g.34gb+me 1g.67gb 2g.67gb 3g.135gb 4g.135gb 7g.269gb"),
        ("GB300", "1g.35gb 1g.35gb+me 1g.70gb 2g.70gb 3g.139gb 4g.139gb 7g.278gb"),
        ("A30", "1g.6gb 1g.6gb+me 2g.12gb 2g.12gb+me 4g.24gb"),
        (
            "RTX-PRO-6000",
            "1g.24gb 1g.24gb+me 1g.24gb+gfx 1g.24gb+me.all 1g.24gb-me "
            "2g.48gb 2g.48gb+gfx 2g.48gb+me.all 2g.48gb-me 4g.96gb 4g.96gb+gfx",
        ),
    ],
)
def test_profiles(name: str, profiles: str) -> None:
    cut = sku(name).mig
    assert cut
    assert [profile.name for profile in cut.profiles] == profiles.split()


def test_placements_are_those_the_driver_lists() -> None:
    """`nvidia-smi mig -lgipp` of an H100, an A30 and an RTX PRO 6000."""
    listed = {p.name: (p.starts, p.size) for cut in (mig.GB80, mig.A30, mig.RTX_PRO_6000) for p in cut.profiles}
    assert listed["1g.10gb"] == ((0, 1, 2, 3, 4, 5, 6), 1)
    assert listed["1g.20gb"] == ((0, 2, 4, 6), 2)
    assert listed["2g.20gb"] == ((0, 2, 4), 2)
    assert listed["3g.40gb"] == ((0, 4), 4)
    assert listed["4g.40gb"] == ((0,), 4)
    assert listed["7g.80gb"] == ((0,), 8)
    assert listed["1g.6gb"] == ((0, 1, 2, 3), 1)
    assert listed["2g.12gb"] == ((0, 2), 2)
    assert listed["1g.24gb-me"] == ((0, 3, 6, 9), 3)
    assert listed["2g.48gb"] == ((0, 6), 6)
    assert listed["4g.96gb"] == ((0,), 12)


@pytest.mark.parametrize("of", CAPABLE, ids=lambda of: of.name)
def test_as_many_as_a_profile_allows_fit_and_stay_on_the_axis(of: Sku) -> None:
    assert of.mig
    for profile in of.mig.profiles:
        assert all(start + profile.size <= of.mig.axis for start in profile.starts)
        assert isinstance(place(of, {profile.name: profile.max_instances}), Placement)


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("1g.10gb", "nvidia.com/mig-1g.10gb"),
        ("1g.10gb+me", "nvidia.com/mig-1g.10gb.me"),
        ("1g.24gb+gfx", "nvidia.com/mig-1g.24gb.gfx"),
        ("2g.48gb+me.all", "nvidia.com/mig-2g.48gb.me.all"),
        ("1g.24gb-me", "nvidia.com/mig-1g.24gb-me"),
    ],
)
def test_resource_names_there_and_back(name: str, resource: str) -> None:
    assert mig.resource_name(name) == resource
    assert mig.resource_name(name.replace("+", ".")) == resource
    assert mig.profile_of_resource(resource) == name
    assert mig.profile_of_resource(f"{resource}.shared") == name


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/mig-", "nvidia.com/mig-big", "amd.com/mig-1g.10gb"])
def test_other_resources_have_no_profile(resource: str) -> None:
    assert mig.profile_of_resource(resource) is None


@pytest.mark.parametrize("of", CAPABLE, ids=lambda of: of.name)
def test_every_profile_is_found_by_each_of_its_names(of: Sku) -> None:
    assert of.mig
    for profile in of.mig.profiles:
        assert mig.profile(of, profile.name) is profile
        assert mig.profile(of, profile.name.replace("+", ".")) is profile
        assert mig.resource_name(profile) == mig.resource_name(profile.name)
        assert len(mig.resource_name(profile).partition("/")[2]) <= 63
    for alias, name in of.mig.aliases:
        found = mig.profile(of, alias)
        assert found
        assert found.name == name


def test_a_wrong_profile_gets_suggestions_of_its_size_first() -> None:
    assert mig.close(mig.GB80, "3g.20gb") == ["3g.40gb"]
    assert set(mig.close(mig.GB80, "1g.5gb")) == {"1g.10gb", "1g.10gb+me", "1g.20gb"}
    assert mig.close(mig.GB80, "2g20gb")[0] == "2g.20gb"
    assert mig.close(mig.GB80, "") == []
    assert mig.close(sku("L4"), "1g.10gb") == []


def test_the_generated_configs_of_a_seven_slice_gpu() -> None:
    h100 = sku("H100-SXM5-80GB")
    assert {name: mig.layout_of_config(h100, name) for name in mig.config_names(h100)} == {
        "all-disabled": {},
        "all-enabled": {},
        "all-balanced": {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1},
        "all-1g.10gb": {"1g.10gb": 7},
        "all-1g.10gb.me": {"1g.10gb+me": 1},
        "all-1g.20gb": {"1g.20gb": 4},
        "all-2g.20gb": {"2g.20gb": 3},
        "all-3g.40gb": {"3g.40gb": 2},
        "all-4g.40gb": {"4g.40gb": 1},
        "all-7g.80gb": {"7g.80gb": 1},
    }


def test_balanced_is_for_seven_and_for_four_slices() -> None:
    assert mig.layout_of_config(mig.A30, "all-balanced") == {"1g.6gb": 2, "2g.12gb": 1}
    assert mig.layout_of_config(mig.RTX_PRO_6000, "all-balanced") == {"1g.24gb": 2, "2g.48gb": 1}
    assert mig.layout_of_config(mig.RTX_PRO_5000, "all-balanced") is None
    assert "all-balanced" not in mig.config_names(mig.RTX_PRO_5000)


@pytest.mark.parametrize("of", CAPABLE, ids=lambda of: of.name)
def test_every_generated_config_fits(of: Sku) -> None:
    for name in mig.config_names(of):
        layout = mig.layout_of_config(of, name)
        assert layout is not None
        assert isinstance(place(of, layout), Placement)


@pytest.mark.parametrize("config", ["all-1g.5gb", "all-1g.10gb+me", "all-", "balanced", "", "all-all-balanced"])
def test_configs_nobody_generates_are_unknown(config: str) -> None:
    assert mig.layout_of_config(mig.GB80, config) is None


def test_a_driver_s_own_name_for_a_profile_is_kept() -> None:
    assert mig.layout_of_config(mig.GB80, "all-7g.79gb") == {"7g.79gb": 1}


def test_a_gpu_without_mig_has_only_the_two_configs_without_instances() -> None:
    l4 = sku("L4")
    assert mig.config_names(l4) == ["all-disabled", "all-enabled"]
    assert mig.layout_of_config(l4, "all-balanced") is None
    assert mig.profile(l4, "1g.10gb") is None


@given(st.text())
def test_no_text_makes_the_readers_raise(text: str) -> None:
    mig.canonical(text)
    mig.profile(mig.GB80, text)
    mig.close(mig.GB80, text)
    mig.profile_of_resource(mig.RESOURCE_PREFIX + text)
    mig.layout_of_config(mig.GB80, text)
    mig.layout_of_config(mig.GB80, f"all-{text}")
