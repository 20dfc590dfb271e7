"""The GPU models we know, one row each.

Memory: what NVML reports for the whole card, in MiB, ECC in its factory state; the row's source says
whether we read it off a card. PCI ids: the PCI ID Repository of 2026-08-22. Driver: the first with MIG
for that GPU in the NVIDIA MIG User Guide v620. `product` is matched against the model part of GFD's
label, ignoring case; sizes that GFD always writes may be missing, as in labels made by hand.
"""

from __future__ import annotations

from plimsoll.gpus import mig
from plimsoll.gpus.model import Geometry, Sku

_READ = "memory read from nvidia-smi output of a card"
_REPORTED = "memory as drivers commonly report it; no output read"
_TWIN = "memory and MIG of the model it was derived from"

_Cut = tuple[Geometry, str] | None
"""MIG geometry and the first driver with MIG for the GPU."""


def _sku(
    name: str, memory: int, capability: tuple[int, int], pci: str, product: str, cut: _Cut = None, source: str = _READ
) -> Sku:
    return Sku(
        name=name,
        memory_mib=memory,
        capability=capability,
        pci=tuple(pci.split()),
        product=product,
        mig=cut[0] if cut else None,
        mig_driver=cut[1] if cut else "",
        inferred=source == _TWIN or bool(cut and cut[0].inferred),
        source=source,
    )


_A100_40, _A100_80 = (mig.A100_40GB, "450.80.02"), (mig.GB80, "450.80.02")
_H100_80, _H100_94 = (mig.GB80, "525.85.12"), (mig.GB94, "525.85.12")
_H200 = (mig.GB141, "550.90.07")

SKUS: tuple[Sku, ...] = (
    # Ampere with MIG
    _sku("A100-SXM4-40GB", 40960, (8, 0), "20B0", r"A100-SXM4(-40GB)?", _A100_40),
    _sku("A100-SXM4-80GB", 81920, (8, 0), "20B2", r"A100-SXM4(-80GB)?", _A100_80, _REPORTED),
    _sku("A100-PCIE-40GB", 40960, (8, 0), "20B1 20F1", r"A100-PCIE(-40GB)?", _A100_40, _REPORTED),
    _sku("A100-PCIE-80GB", 81920, (8, 0), "20B5", r"A100-80GB-PCIE|A100-PCIE(-80GB)?", _A100_80, _REPORTED),
    _sku("A800-SXM4-80GB", 81920, (8, 0), "20F3", r"A800-SXM4(-80GB)?", _A100_80, _TWIN),
    _sku("A800-PCIE-80GB", 81920, (8, 0), "20F5", r"A800-80GB-PCIE|A800-PCIE-80GB", _A100_80, _TWIN),
    _sku("A800-PCIE-40GB", 40960, (8, 0), "20F6", r"A800-40GB-(PCIE|ACTIVE)|A800-PCIE-40GB", _A100_40, _TWIN),
    _sku("A30", 24576, (8, 0), "20B7", r"A30", (mig.A30, "460.73.01"), _REPORTED),
    # Hopper
    _sku("H100-SXM5-80GB", 81559, (9, 0), "2330", r"H100-80GB-HBM3|H100-SXM5-80GB", _H100_80),
    _sku("H100-PCIE-80GB", 81559, (9, 0), "2331", r"H100-PCIE(-80GB)?", _H100_80, _REPORTED),
    _sku("H100-NVL-94GB", 95830, (9, 0), "2321", r"H100-NVL(-94GB)?", _H100_94),
    _sku("H800-SXM5-80GB", 81559, (9, 0), "2324", r"H800|H800-SXM5-80GB", _H100_80, _TWIN),
    _sku("H800-PCIE-80GB", 81559, (9, 0), "2322", r"H800-PCIE(-80GB)?", _H100_80, _TWIN),
    _sku("H800-NVL-94GB", 95830, (9, 0), "233A", r"H800-NVL(-94GB)?", _H100_94, _TWIN),
    # The superchip's product name tells the memory of its CPU, 120 or 480 GB, not of the GPU.
    _sku("GH200-96GB", 97871, (9, 0), "2342", r"GH200-(120GB|480GB|96GB)", (mig.GB96, "525.85.12")),
    _sku("GH200-144GB", 146831, (9, 0), "2348", r"GH200-144GB?(-HBM3E)?", (mig.GB144, "525.85.12")),
    _sku("H20-96GB", 97871, (9, 0), "2329", r"H20(-96GB)?", (mig.GB96, "535.161.07")),
    _sku("H200-SXM-141GB", 143771, (9, 0), "2335", r"H200(-SXM5?-141GB|-141GB-HBM3E)?", _H200),
    _sku("H200-NVL-141GB", 143771, (9, 0), "233B", r"H200-NVL(-141GB)?", _H200, _REPORTED),
    # Blackwell
    _sku("B200-180GB", 183359, (10, 0), "2901", r"B200(-180GB)?", (mig.B200, "570.133.20")),
    _sku("GB200", 189471, (10, 0), "2941", r"GB200", (mig.GB200, "570.133.20")),
    _sku("B300", 275040, (10, 3), "3182", r"B300(-SXM6(-AC)?)?", (mig.B300, "580.82.07"), _REPORTED),
    _sku("GB300", 284208, (10, 3), "31C2 31C3", r"GB300", (mig.GB300, "595.58.03")),
    _sku(
        "RTX-PRO-6000",
        97887,
        (12, 0),
        "2BB1 2BB4 2BB5",
        r"RTX-PRO-6000(-BLACKWELL(-SERVER|(-MAX-Q)?-WORKSTATION)-EDITION)?",
        (mig.RTX_PRO_6000, "575.51.03"),
        _REPORTED,
    ),
    # The 72 GB card of the same device id is another model; its product name has the size.
    _sku("RTX-PRO-5000", 48935, (12, 0), "2BB3", r"RTX-PRO-5000(-BLACKWELL)?", (mig.RTX_PRO_5000, "575.57.08")),
    _sku(
        "RTX-PRO-4500",
        32623,
        (12, 0),
        "2C31 2C3A",
        r"RTX-PRO-4500(-BLACKWELL(-SERVER-EDITION)?)?",
        (mig.RTX_PRO_4500, "575.64"),
        _REPORTED,
    ),
    # Without MIG
    _sku("L4", 23034, (8, 9), "27B8", r"L4"),
    _sku("L40", 46068, (8, 9), "26B5", r"L40", source=_REPORTED),
    _sku("L40S", 46068, (8, 9), "26B9", r"L40S"),
    _sku("A10", 23028, (8, 6), "2236", r"A10", source=_REPORTED),
    _sku("A10G", 23028, (8, 6), "2237", r"A10G"),
    _sku("A40", 46068, (8, 6), "2235", r"A40", source=_REPORTED),
    _sku("RTX-A6000", 49140, (8, 6), "2230", r"RTX-A6000", source=_REPORTED),
    _sku("T4", 15360, (7, 5), "1EB8", r"T4"),
    _sku("V100-SXM2-16GB", 16384, (7, 0), "1DB1", r"V100-SXM2(-16GB)?"),
    _sku("V100-SXM2-32GB", 32768, (7, 0), "1DB5", r"V100-SXM2(-32GB)?", source=_REPORTED),
    _sku("V100-PCIE-16GB", 16384, (7, 0), "1DB4", r"V100-PCIE(-16GB)?", source=_REPORTED),
    _sku("V100-PCIE-32GB", 32768, (7, 0), "1DB6", r"V100-PCIE(-32GB)?", source=_REPORTED),
)
