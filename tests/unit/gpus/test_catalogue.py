from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.gpus import catalogue
from plimsoll.gpus.instances import INSTANCES
from plimsoll.gpus.model import Sku
from plimsoll.gpus.skus import SKUS
from plimsoll.units import version


@pytest.mark.parametrize("sku", SKUS, ids=lambda sku: sku.name)
def test_rows_are_whole(sku: Sku) -> None:
    assert catalogue.find(sku.name) is sku
    assert sku.source
    assert sku.memory_mib > 8 * 1024
    assert sku.family in {"volta", "turing", "ampere", "ada-lovelace", "hopper", "blackwell"}
    assert all(re.fullmatch(r"[0-9A-F]{4}", device) for device in sku.pci)
    assert sku.pci
    assert bool(sku.mig) == bool(sku.mig_driver)
    assert not sku.mig or version(sku.mig_driver) >= (450,)
    assert not (sku.mig and sku.mig.inferred) or sku.inferred


@pytest.mark.parametrize("sku", [sku for sku in SKUS if sku.mig], ids=lambda sku: sku.name)
def test_the_whole_gpu_profile_says_the_memory_of_the_card(sku: Sku) -> None:
    """Profiles are named in GiB rounded; a wrong geometry on a row would be far off."""
    assert sku.mig
    named = float(re.sub(r".*g\.(\d+)gb.*", r"\1", sku.mig.plain()[-1].name))
    assert named == pytest.approx(sku.memory_mib / 1024, rel=0.025)


def test_names_and_devices_are_unique() -> None:
    names = [sku.name for sku in SKUS]
    devices = [device for sku in SKUS for device in sku.pci]
    assert len(names) == len(set(names))
    assert len(devices) == len(set(devices))


def test_no_mig_on_the_cards_that_have_none() -> None:
    for name in ("L4", "L40", "L40S", "T4", "A10", "A10G", "A40", "V100-SXM2-16GB", "RTX-A6000"):
        sku = catalogue.find(name)
        assert sku
        assert sku.mig is None


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("NVIDIA-A100-SXM4-40GB", "A100-SXM4-40GB"),
        ("A100-SXM4-40GB", "A100-SXM4-40GB"),
        ("NVIDIA-A100-SXM4-80GB", "A100-SXM4-80GB"),
        ("NVIDIA-A100-PCIE-40GB", "A100-PCIE-40GB"),
        ("NVIDIA-A100-80GB-PCIe", "A100-PCIE-80GB"),
        ("NVIDIA-A30", "A30"),
        ("NVIDIA-H100-80GB-HBM3", "H100-SXM5-80GB"),
        ("NVIDIA-H100-PCIe", "H100-PCIE-80GB"),
        ("NVIDIA-H100-NVL", "H100-NVL-94GB"),
        ("NVIDIA-GH200-480GB", "GH200-96GB"),
        ("NVIDIA-GH200-144G-HBM3e", "GH200-144GB"),
        ("NVIDIA-H20", "H20-96GB"),
        ("NVIDIA-H200", "H200-SXM-141GB"),
        ("NVIDIA-H200-NVL", "H200-NVL-141GB"),
        ("NVIDIA-B200", "B200-180GB"),
        ("NVIDIA-GB200", "GB200"),
        ("NVIDIA-B300-SXM6-AC", "B300"),
        ("NVIDIA-GB300", "GB300"),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "RTX-PRO-6000"),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Max-Q-Workstation-Edition", "RTX-PRO-6000"),
        ("NVIDIA-RTX-PRO-5000-Blackwell", "RTX-PRO-5000"),
        ("NVIDIA-RTX-PRO-4500-Blackwell-Server-Edition", "RTX-PRO-4500"),
        ("NVIDIA-L4", "L4"),
        ("NVIDIA-L40", "L40"),
        ("NVIDIA-L40S", "L40S"),
        ("NVIDIA-A10", "A10"),
        ("NVIDIA-A10G", "A10G"),
        ("Tesla-T4", "T4"),
        ("Tesla-V100-SXM2-32GB", "V100-SXM2-32GB"),
    ],
)
def test_the_label_of_a_card_names_its_sku(label: str, name: str) -> None:
    for product in (label, f"{label}-SHARED", f"{label}-MIG-1g.10gb", f"{label}-MIG-1g.10gb.me-SHARED"):
        sku = catalogue.from_product(product)
        assert sku
        assert sku.name == name
    assert catalogue.from_product(f"{label}-MIG-INVALID", 0) is catalogue.find(name)


@pytest.mark.parametrize("sku", SKUS, ids=lambda sku: sku.name)
def test_a_label_made_of_our_own_name_is_understood(sku: Sku) -> None:
    assert catalogue.from_product(f"NVIDIA-{sku.name}") is sku


@pytest.mark.parametrize(
    "label",
    [
        "GRID-A100-40C",
        "GRID-A100-4C",
        "NVIDIA-A10-24Q",
        "NVIDIA-L40S-48Q",
        "NVIDIA-RTX-PRO-5000-72GB-Blackwell",
        "NVIDIA-H20-3e",
        "NVIDIA-GeForce-RTX-4090",
        "NVIDIA",
        "",
        "-SHARED",
        "-MIG-1g.10gb",
    ],
)
def test_vgpus_and_other_cards_are_unknown(label: str) -> None:
    assert catalogue.from_product(label, 40960) is None


def test_memory_tells_apart_what_a_label_does_not() -> None:
    def name(label: str, memory: int | None) -> str | None:
        sku = catalogue.from_product(label, memory)
        return sku.name if sku else None

    assert name("NVIDIA-A100-SXM4", 40536) == "A100-SXM4-40GB"
    assert name("NVIDIA-A100-SXM4", 81251) == "A100-SXM4-80GB"
    assert name("NVIDIA-A100-SXM4", None) is None
    assert name("NVIDIA-A100-SXM4", 65536) is None, "the 64 GB card of one customer is neither"
    assert name("Tesla-V100-SXM2", 16160) == "V100-SXM2-16GB"
    assert name("NVIDIA-A100-SXM4-MIG-7g.40gb", 40192) is None, "the memory of a slice says nothing of the card"
    assert name("NVIDIA-H100-80GB-HBM3-MIG-1g.10gb", 9984) == "H100-SXM5-80GB"


@pytest.mark.parametrize(
    ("wrong", "first"),
    [
        ("H100", {"H100-SXM5-80GB", "H100-PCIE-80GB", "H100-NVL-94GB"}),
        ("h100 sxm", {"H100-SXM5-80GB"}),
        ("H100-SXM-80GB", {"H100-SXM5-80GB"}),
        ("A100-SXM-80GB", {"A100-SXM4-80GB"}),
        ("NVIDIA-L4S", {"L4", "L40S"}),
        ("rtx pro 6000", {"RTX-PRO-6000"}),
        ("H20", {"H20-96GB"}),
    ],
)
def test_a_wrong_name_gets_suggestions(wrong: str, first: set[str]) -> None:
    assert catalogue.find(wrong) is None
    assert catalogue.close(wrong)[0] in first
    assert set(catalogue.close(wrong)) >= first
    assert len(catalogue.close(wrong)) <= 5


def test_nonsense_gets_none() -> None:
    assert catalogue.close("") == []
    assert catalogue.close("Quantum-9000") == []


@given(st.text())
def test_no_text_makes_the_readers_raise(text: str) -> None:
    catalogue.find(text)
    catalogue.close(text)
    catalogue.from_product(text, 1)
    catalogue.from_instance_type(text)


@pytest.mark.parametrize(
    ("instance", "name", "gpus"),
    [
        ("p4d.24xlarge", "A100-SXM4-40GB", 8),
        ("p4de.24xlarge", "A100-SXM4-80GB", 8),
        ("p5.48xlarge", "H100-SXM5-80GB", 8),
        ("p5.4xlarge", "H100-SXM5-80GB", 1),
        ("p6-b200.48xlarge", "B200-180GB", 8),
        ("g4dn.12xlarge", "T4", 4),
        ("g4dn.xlarge", "T4", 1),
        ("g5.16xlarge", "A10G", 1),
        ("g5.24xlarge", "A10G", 4),
        ("g6.8xlarge", "L4", 1),
        ("g6.48xlarge", "L4", 8),
        ("g6e.12xlarge", "L40S", 4),
        ("g7e.12xlarge", "RTX-PRO-6000", 2),
        ("a2-highgpu-4g", "A100-SXM4-40GB", 4),
        ("a2-ultragpu-8g", "A100-SXM4-80GB", 8),
        ("a3-megagpu-8g", "H100-SXM5-80GB", 8),
        ("g2-standard-32", "L4", 1),
        ("g2-standard-24", "L4", 2),
        ("Standard_NC24ads_A100_v4", "A100-PCIE-80GB", 1),
        ("standard_nc80adis_h100_v5", "H100-NVL-94GB", 2),
        ("Standard_ND96isr_H100_v5", "H100-SXM5-80GB", 8),
        ("Standard_ND96asr_v4", "A100-SXM4-40GB", 8),
    ],
)
def test_instance_types(instance: str, name: str, gpus: int) -> None:
    found = catalogue.from_instance_type(instance)
    assert found
    assert (found[0].name, found[1]) == (name, gpus)


@pytest.mark.parametrize(
    "instance", ["m7i.12xlarge", "g6f.large", "Standard_NV6ads_A10_v5", "g4ad.xlarge", "n1-standard-8"]
)
def test_types_without_a_whole_nvidia_gpu_are_unknown(instance: str) -> None:
    assert catalogue.from_instance_type(instance) is None


def test_every_instance_type_has_a_known_sku_and_gpus() -> None:
    for name, (sku, gpus) in INSTANCES.items():
        assert catalogue.find(sku), name
        assert gpus in (1, 2, 4, 8, 16), name
