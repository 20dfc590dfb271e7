"""The GPU models we know, one row each.

Memory is what NVML reports on a recorded card, ECC in its factory state; a row without a recording
says so in its source. PCI ids: the PCI ID Repository of 2026-08-22. Driver: the first version with
MIG for that GPU in the NVIDIA MIG User Guide v620. `product` is matched against the model part of
GFD's label, ignoring case; a size that GFD always writes may be left out where labels made by hand do.
"""

from __future__ import annotations

from plimsoll.gpus import mig
from plimsoll.gpus.model import Geometry, Sku

_RECORDED = "nvidia-smi of a card"
_DATASHEET = "nominal memory; no recording read"


def _ampere(name: str, memory: int, pci: tuple[str, ...], product: str, cut: Geometry, source: str = _RECORDED) -> Sku:
    driver = "460.73.01" if cut is mig.A30 else "450.80.02"
    return Sku(
        name=name, memory_mib=memory, capability=(8, 0), pci=pci, product=product, mig=cut, mig_driver=driver,
        source=source,
    )  # fmt: skip


def _hopper(
    name: str, memory: int, pci: tuple[str, ...], product: str, cut: Geometry, driver: str, source: str = _RECORDED
) -> Sku:
    return Sku(
        name=name, memory_mib=memory, capability=(9, 0), pci=pci, product=product, mig=cut, mig_driver=driver,
        inferred=cut.inferred or source is _DATASHEET, source=source,
    )  # fmt: skip


def _blackwell(
    name: str, memory: int, capability: tuple[int, int], pci: tuple[str, ...], product: str, cut: Geometry, driver: str
) -> Sku:
    return Sku(
        name=name, memory_mib=memory, capability=capability, pci=pci, product=product, mig=cut, mig_driver=driver,
        inferred=cut.inferred, source=_RECORDED,
    )  # fmt: skip


def _whole(name: str, memory: int, capability: tuple[int, int], pci: tuple[str, ...], product: str) -> Sku:
    """A GPU without MIG."""
    return Sku(name=name, memory_mib=memory, capability=capability, pci=pci, product=product, source=_RECORDED)


SKUS: tuple[Sku, ...] = (
    # Ampere with MIG
    _ampere("A100-SXM4-40GB", 40960, ("20B0",), r"A100-SXM4?(-40GB)?", mig.A100_40GB),
    _ampere("A100-SXM4-80GB", 81920, ("20B2",), r"A100-SXM4?(-80GB)?", mig.GB80),
    _ampere("A100-PCIE-40GB", 40960, ("20B1", "20F1"), r"A100-PCIE(-40GB)?", mig.A100_40GB),
    _ampere("A100-PCIE-80GB", 81920, ("20B5",), r"A100-80GB-PCIE|A100-PCIE(-80GB)?", mig.GB80),
    _ampere("A800-SXM4-80GB", 81920, ("20F3",), r"A800-SXM4(-80GB)?", mig.GB80, _DATASHEET),
    _ampere("A800-PCIE-80GB", 81920, ("20F5",), r"A800-80GB-PCIE|A800-PCIE-80GB", mig.GB80, _DATASHEET),
    _ampere("A800-PCIE-40GB", 40960, ("20F6",), r"A800-40GB-(PCIE|ACTIVE)|A800-PCIE-40GB", mig.A100_40GB, _DATASHEET),
    _ampere("A30", 24576, ("20B7",), r"A30", mig.A30),
    # Hopper
    _hopper("H100-SXM5-80GB", 81559, ("2330",), r"H100-80GB-HBM3|H100-SXM5-80GB", mig.GB80, "525.85.12"),
    _hopper("H100-PCIE-80GB", 81559, ("2331",), r"H100-PCIE(-80GB)?", mig.GB80, "525.85.12"),
    _hopper("H100-NVL-94GB", 95830, ("2321",), r"H100-NVL(-94GB)?", mig.GB94, "525.85.12"),
    _hopper("H800-SXM5-80GB", 81559, ("2324",), r"H800|H800-SXM5-80GB", mig.GB80, "525.85.12", _DATASHEET),
    _hopper("H800-PCIE-80GB", 81559, ("2322",), r"H800-PCIE(-80GB)?", mig.GB80, "525.85.12", _DATASHEET),
    _hopper("H800-NVL-94GB", 95830, ("233A",), r"H800-NVL(-94GB)?", mig.GB94, "525.85.12", _DATASHEET),
    # The superchip's product name tells the memory of the CPU, 120 or 480 GB, not of the GPU.
    _hopper("GH200-96GB", 97871, ("2342",), r"GH200-(120GB|480GB|96GB)", mig.GB96, "525.85.12"),
    _hopper("GH200-144GB", 147456, ("2348",), r"GH200-144GB?(-HBM3E)?", mig.GB144, "525.85.12", _DATASHEET),
    _hopper("H20-96GB", 97871, ("2329",), r"H20(-96GB)?", mig.GB96, "535.161.07"),
    _hopper("H200-SXM-141GB", 143771, ("2335",), r"H200(-SXM5?-141GB|-141GB-HBM3E)?", mig.GB141, "550.90.07"),
    _hopper("H200-NVL-141GB", 143771, ("233B",), r"H200-NVL(-141GB)?", mig.GB141, "550.90.07"),
    # Blackwell
    _blackwell("B200-180GB", 183359, (10, 0), ("2901",), r"B200(-180GB)?", mig.B200, "570.133.20"),
    _blackwell("GB200", 189471, (10, 0), ("2941",), r"GB200", mig.GB200, "570.133.20"),
    _blackwell("B300", 275040, (10, 3), ("3182",), r"B300(-SXM6(-AC)?)?", mig.B300, "580.82.07"),
    _blackwell("GB300", 284208, (10, 3), ("31C2", "31C3"), r"GB300", mig.GB300, "595.58.03"),
    _blackwell(
        "RTX-PRO-6000",
        97887,
        (12, 0),
        ("2BB1", "2BB4", "2BB5"),
        r"RTX-PRO-6000(-BLACKWELL(-SERVER|(-MAX-Q)?-WORKSTATION)-EDITION)?",
        mig.RTX_PRO_6000,
        "575.51.03",
    ),
    # The 72 GB card of the same name and device id is another model: its product says so.
    _blackwell("RTX-PRO-5000", 48935, (12, 0), ("2BB3",), r"RTX-PRO-5000(-BLACKWELL)?", mig.RTX_PRO_5000, "575.57.08"),
    _blackwell(
        "RTX-PRO-4500",
        32623,
        (12, 0),
        ("2C31", "2C3A"),
        r"RTX-PRO-4500(-BLACKWELL(-SERVER-EDITION)?)?",
        mig.RTX_PRO_4500,
        "575.64",
    ),
    # Without MIG
    _whole("L4", 23034, (8, 9), ("27B8",), r"L4"),
    _whole("L40", 46068, (8, 9), ("26B5",), r"L40"),
    _whole("L40S", 46068, (8, 9), ("26B9",), r"L40S"),
    _whole("A10", 23028, (8, 6), ("2236",), r"A10"),
    _whole("A10G", 23028, (8, 6), ("2237",), r"A10G"),
    _whole("A40", 46068, (8, 6), ("2235",), r"A40"),
    _whole("RTX-A6000", 49140, (8, 6), ("2230",), r"RTX-A6000"),
    _whole("T4", 15360, (7, 5), ("1EB8",), r"T4"),
    _whole("V100-SXM2-16GB", 16384, (7, 0), ("1DB1",), r"V100-SXM2(-16GB)?"),
    _whole("V100-SXM2-32GB", 32768, (7, 0), ("1DB5",), r"V100-SXM2(-32GB)?"),
    _whole("V100-PCIE-16GB", 16384, (7, 0), ("1DB4",), r"V100-PCIE(-16GB)?"),
    _whole("V100-PCIE-32GB", 32768, (7, 0), ("1DB6",), r"V100-PCIE(-32GB)?"),
)
