"""From what a person wrote or a node says to the GPU model it means."""

from __future__ import annotations

import difflib
import re
from functools import lru_cache

from plimsoll.gpus.instances import INSTANCES
from plimsoll.gpus.model import Sku
from plimsoll.gpus.skus import SKUS

_BY_NAME = {sku.name: sku for sku in SKUS}
_PRODUCTS = tuple((re.compile(sku.product, re.IGNORECASE), sku) for sku in SKUS)
_VENDOR = re.compile(r"(?:NVIDIA|Tesla)-", re.IGNORECASE)
_MIG = re.compile(r"-MIG-(?:INVALID|[0-9]+g\..*)\Z")
_MEMORY_SLACK = 0.15  # drivers report 1-2 % less than nominal, cards without ECC 6 % more; 40 and 80 GB are far apart


def find(name: str) -> Sku | None:
    """The SKU of exactly this name, or None; `close` has suggestions."""
    return _BY_NAME.get(name)


def close(name: str) -> list[str]:
    """At most five SKU names that a wrong one may have meant, best first: `H100` and `h100 sxm` give all H100s."""
    wanted = re.sub(r"[\s_]+", "-", name.strip()).upper().removeprefix("NVIDIA-")
    alike = difflib.get_close_matches(wanted, _BY_NAME, n=5, cutoff=0.5)
    same = [sku for sku in _BY_NAME if wanted and (sku.startswith(wanted) or sku.split("-")[0] == wanted.split("-")[0])]
    return sorted(same, key=lambda sku: alike.index(sku) if sku in alike else len(alike))[:5] or alike


def model_of(product: str) -> str:
    """The model part of a `nvidia.com/gpu.product` label: no vendor, no `-SHARED`, no MIG profile."""
    return _VENDOR.sub("", _MIG.sub("", product.removesuffix("-SHARED")), count=1)


@lru_cache(maxsize=1024)
def from_product(label: str, memory_mib: int | None = None) -> Sku | None:
    """The SKU behind a node's labels `nvidia.com/gpu.product` and `nvidia.com/gpu.memory`, or None if unknown.

    The memory decides only between models the product does not tell apart, and only where it is
    that of the whole card: with the single MIG strategy the label is about the slice. A vGPU
    (`GRID-A100-40C`, `NVIDIA-A10-24Q`) is none of our SKUs: it has no MIG and not the card's memory.
    """
    model = model_of(label)
    if model.upper().startswith("GRID"):
        return None
    found = [sku for pattern, sku in _PRODUCTS if pattern.fullmatch(model)]
    if len(found) == 1:
        return found[0]
    if not found or not memory_mib or _MIG.search(label.removesuffix("-SHARED")):
        return None
    nearest = min(found, key=lambda sku: abs(sku.memory_mib - memory_mib))
    return nearest if abs(nearest.memory_mib - memory_mib) <= _MEMORY_SLACK * nearest.memory_mib else None


def from_instance_type(name: str) -> tuple[Sku, int] | None:
    """The GPU model of a cloud instance type and how many a node of it has; None where we are not sure."""
    found = INSTANCES.get(name.lower())
    return (_BY_NAME[found[0]], found[1]) if found else None
