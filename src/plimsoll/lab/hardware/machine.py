"""Which GPUs a fake node has, and what node feature discovery reads off the machine."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from plimsoll.gpus import catalogue
from plimsoll.gpus.model import Sku
from plimsoll.kube.objects import Obj, annotations_of, labels, text
from plimsoll.lab.nodes import GPU

PCI = "feature.node.kubernetes.io/pci-10de.present"
_FEATURE = "feature.node.kubernetes.io/"
_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
_SAYS = re.compile(r"(?P<sku>.+)x(?P<count>[1-9][0-9]?)\Z")
_SYSTEMS = {"ubuntu": "ubuntu", "red hat": "rhel", "amazon": "amzn", "debian": "debian", "rocky": "rocky"}
_PRODUCTS = {
    "A100-PCIE-80GB": "NVIDIA-A100-80GB-PCIe",
    "A800-PCIE-80GB": "NVIDIA-A800-80GB-PCIe",
    "A800-PCIE-40GB": "NVIDIA-A800-40GB-PCIe",
    "H100-SXM5-80GB": "NVIDIA-H100-80GB-HBM3",
    "H100-PCIE-80GB": "NVIDIA-H100-PCIe",
    "H100-NVL-94GB": "NVIDIA-H100-NVL",
    "H800-SXM5-80GB": "NVIDIA-H800",
    "H800-PCIE-80GB": "NVIDIA-H800-PCIe",
    "H800-NVL-94GB": "NVIDIA-H800-NVL",
    "GH200-96GB": "NVIDIA-GH200-480GB",
    "GH200-144GB": "NVIDIA-GH200-144G-HBM3e",
    "H20-96GB": "NVIDIA-H20",
    "H200-SXM-141GB": "NVIDIA-H200",
    "H200-NVL-141GB": "NVIDIA-H200-NVL",
    "B200-180GB": "NVIDIA-B200",
    "B300": "NVIDIA-B300-SXM6-AC",
    "RTX-PRO-6000": "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
    "RTX-PRO-5000": "NVIDIA-RTX-PRO-5000-Blackwell",
    "RTX-PRO-4500": "NVIDIA-RTX-PRO-4500-Blackwell-Server-Edition",
    "T4": "Tesla-T4",
    **{f"V100-{form}": f"Tesla-V100-{form}" for form in ("SXM2-16GB", "SXM2-32GB", "PCIE-16GB", "PCIE-32GB")},
}


class Machine(msgspec.Struct, frozen=True):
    """The GPUs of one node."""

    sku: Sku
    gpus: int


def machine(node: Obj) -> Machine | None:
    """What is in a node: what its annotation says, else what its instance type has; None without a GPU we know."""
    return _machine(annotations_of(node).get(GPU, ""), text(labels(node), _INSTANCE_TYPE))


@lru_cache(maxsize=1024)
def _machine(said: str, instance_type: str) -> Machine | None:
    match = _SAYS.match(said)
    sku = catalogue.find(match["sku"]) if match else None
    if match and sku:
        return Machine(sku, int(match["count"]))
    known = catalogue.from_instance_type(instance_type)
    return Machine(*known) if known else None


def product(sku: Sku) -> str:
    """The card's name as `nvidia.com/gpu.product` has it."""
    return _PRODUCTS.get(sku.name, f"NVIDIA-{sku.name}")


def features(node: Obj, *, gpus: bool) -> dict[str, str]:
    """The labels of node feature discovery that anybody around GPUs reads. gpus: NVIDIA's PCI device shows."""
    kernel = text(node, "status", "nodeInfo", "kernelVersion")
    arm = text(node, "status", "nodeInfo", "architecture") == "arm64"
    found = {"cpu-model.vendor_id": "ARM" if arm else "Intel", **_kernel(kernel)}
    image = text(node, "status", "nodeInfo", "osImage")
    system = next((id_ for start, id_ in _SYSTEMS.items() if image.lower().startswith(start)), "")
    release = re.search(r"(\d+)(?:\.(\d+))?", image)
    if system and release:
        found["system-os_release.ID"] = system
        found["system-os_release.VERSION_ID"] = release[0]
        found["system-os_release.VERSION_ID.major"] = release[1]
        if release[2]:
            found["system-os_release.VERSION_ID.minor"] = release[2]
    made = {_FEATURE + key: value for key, value in found.items()}
    return {**made, PCI: "true"} if gpus else made


def _kernel(version: str) -> dict[str, str]:
    parts = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if not parts:
        return {}
    names = ("major", "minor", "revision")
    return {
        "kernel-version.full": version,
        **{f"kernel-version.{name}": part for name, part in zip(names, parts.groups(), strict=True)},
    }
