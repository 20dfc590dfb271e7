"""Which device a name means: device plugins of NVIDIA and GKE, shares of them, MIG, DRA."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.agents.meter.inventory import Gpu, Instance, Place, place

WHOLE, CUT = "GPU-b4895dbf-9350-2524-a89b-98161ddd9fe4", "GPU-5a3ad8a4-5a77-4a6b-9d5f-0a5a3d1f0c11"
FIRST, SECOND = "MIG-9d14fb21-4ae1-546f-a636-011582899c39", "MIG-0f709664-740c-52b0-ae79-3e4c9ede6d3b"
GONE = "MIG-ffffffff-740c-52b0-ae79-3e4c9ede6d3b"
# The numbers of device files need not be those the driver counts by.
GPUS = (
    Gpu(WHOLE, index=0, minor=3),
    Gpu(CUT, 1, 0, "", True, (Instance("2", "3g.40gb", (FIRST, SECOND), 4), Instance("9", "1g.10gb", ("M",), 0))),
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        (WHOLE, Place(WHOLE, "", "")),
        (f"{WHOLE}::3", Place(WHOLE, "", "3")),
        ("GPU-00000000-0000-0000-0000-000000000000", Place("GPU-00000000-0000-0000-0000-000000000000", "", "")),  # lost
        (FIRST, Place(CUT, "2", "")),
        (SECOND, Place(CUT, "2", "")),  # of one instance two containers may hold a part each
        (f"{SECOND}::1", Place(CUT, "2", "1")),
        (GONE, None),
        (f"MIG-{CUT}/9/0", Place(CUT, "9", "")),
        (f"MIG-{CUT}/9/0::2", Place(CUT, "9", "2")),
        ("nvidia3", Place(WHOLE, "", "")),
        ("nvidia3/vgpu1", Place(WHOLE, "", "1")),
        ("nvidia0/gi9", Place(CUT, "9", "")),
        ("nvidia0/gi9/vgpu4", Place(CUT, "9", "4")),
        ("nvidia7", None),
        ("gpu-3", Place(WHOLE, "", "")),
        ("gpu-8", None),
        ("gpu-0-mig-3g40gb-9-4", Place(CUT, "2", "")),
        ("gpu-0-mig-1g10gb-me-20-0", Place(CUT, "9", "")),
        ("gpu-0-mig-19-4-1", Place(CUT, "2", "")),
        ("gpu-0-mig-1g10gb-19-5", None),
        ("gpu-vfio-0", None),
        ("mlx5_0", None),
        ("", None),
        ("GPU-b4895dbf", None),
        (f"{WHOLE}-0", None),  # of a scheduler that picks the GPU itself, whatever the kubelet was told
        (f"{WHOLE}::", None),
        (f"{WHOLE}::3::4", None),
        ("nvidia" + "9" * 5000, None),
    ],
)
def test_what_a_name_means(name: str, meant: Place | None) -> None:
    assert place(name, GPUS) == meant


def test_without_an_inventory_only_names_that_say_it_themselves() -> None:
    assert place(WHOLE, ()) == Place(WHOLE, "", "")
    assert place(FIRST, ()) is None
    assert place("nvidia3", ()) is None


def test_an_instance_that_does_not_say_where_it_starts_is_not_guessed() -> None:
    gpu = Gpu(CUT, 0, 0, cut=True, instances=(Instance("9", "1g.10gb", (FIRST,)),))
    assert place("gpu-0-mig-1g10gb-19-4", (gpu,)) is None


@given(st.text() | st.from_regex(r"(GPU-|MIG-|nvidia|gpu-)[0-9a-f/:-]*", fullmatch=True))
def test_any_name_is_read(name: str) -> None:
    found = place(name, GPUS)
    assert found is None or found.gpu.startswith("GPU-")
