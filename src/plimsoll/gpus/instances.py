"""GPUs of the well-known cloud instance types: how many of which model a node of that type has.

Sources: cluster-autoscaler's lists of AWS and Azure instance types (2026-01-22) for the counts of
those clouds, AWS's and Azure's pages for the model and for types younger than the lists, Google's
machine families, whose names end in the count or, for g2 and g4, follow the table below.
Types with a part of a GPU (g6f, NVads_A10_v5 and such) are left out: a node of one shows a vGPU.
"""

from __future__ import annotations


def _each(sku: str, types: dict[str, int]) -> dict[str, tuple[str, int]]:
    return {name: (sku, count) for name, count in types.items()}


def _sizes(family: str, sizes: str, count: int) -> dict[str, int]:
    return {f"{family}.{size}": count for size in sizes.split()}


_SINGLE = "xlarge 2xlarge 4xlarge 8xlarge 16xlarge"
_G_SIZES = ("12xlarge 24xlarge", "48xlarge")  # of g5, g6 and g6e: four and eight GPUs
_AWS = {
    **_each("V100-SXM2-16GB", {"p3.2xlarge": 1, "p3.8xlarge": 4, "p3.16xlarge": 8}),
    **_each("V100-SXM2-32GB", {"p3dn.24xlarge": 8}),
    **_each("A100-SXM4-40GB", {"p4d.24xlarge": 8}),
    **_each("A100-SXM4-80GB", {"p4de.24xlarge": 8}),
    **_each("H100-SXM5-80GB", {"p5.4xlarge": 1, "p5.48xlarge": 8}),
    **_each("H200-SXM-141GB", {"p5e.48xlarge": 8, "p5en.48xlarge": 8}),
    **_each("B200-180GB", {"p6-b200.48xlarge": 8}),
    **_each("B300", {"p6-b300.48xlarge": 8}),
    **_each("GB200", {"p6e-gb200.36xlarge": 4}),
    **_each("T4", {**_sizes("g4dn", _SINGLE, 1), "g4dn.12xlarge": 4, "g4dn.metal": 8}),
    **{
        name: found
        for family, sku in (("g5", "A10G"), ("g6", "L4"), ("g6e", "L40S"))
        for sizes, count in ((_SINGLE, 1), (_G_SIZES[0], 4), (_G_SIZES[1], 8))
        for name, found in _each(sku, _sizes(family, sizes, count)).items()
    },
    **_each("L4", {"gr6.4xlarge": 1, "gr6.8xlarge": 1}),
    **_each(
        "RTX-PRO-6000",
        {**_sizes("g7e", "2xlarge 4xlarge 8xlarge", 1), "g7e.12xlarge": 2, "g7e.24xlarge": 4, "g7e.48xlarge": 8},
    ),
}
_GOOGLE = {
    **_each("A100-SXM4-40GB", {**{f"a2-highgpu-{n}g": n for n in (1, 2, 4, 8)}, "a2-megagpu-16g": 16}),
    **_each("A100-SXM4-80GB", {f"a2-ultragpu-{n}g": n for n in (1, 2, 4, 8)}),
    **_each("H100-SXM5-80GB", {f"a3-highgpu-{n}g": n for n in (1, 2, 4, 8)}),
    **_each("H100-SXM5-80GB", {"a3-megagpu-8g": 8, "a3-edgegpu-8g": 8}),
    **_each("H200-SXM-141GB", {"a3-ultragpu-8g": 8}),
    **_each("B200-180GB", {"a4-highgpu-8g": 8}),
    **_each("GB200", {"a4x-highgpu-4g": 4}),
    **_each("L4", {f"g2-standard-{n}": 1 for n in (4, 8, 12, 16, 32)}),
    **_each("L4", {"g2-standard-24": 2, "g2-standard-48": 4, "g2-standard-96": 8}),
    **_each("RTX-PRO-6000", {"g4-standard-48": 1, "g4-standard-96": 2, "g4-standard-192": 4, "g4-standard-384": 8}),
}
_AZURE = {
    **_each("V100-PCIE-16GB", {"NC6s_v3": 1, "NC12s_v3": 2, "NC24s_v3": 4, "NC24rs_v3": 4}),
    **_each("V100-SXM2-32GB", {"ND40rs_v2": 8}),
    **_each("T4", {"NC4as_T4_v3": 1, "NC8as_T4_v3": 1, "NC16as_T4_v3": 1, "NC64as_T4_v3": 4}),
    **_each("A100-PCIE-80GB", {"NC24ads_A100_v4": 1, "NC48ads_A100_v4": 2, "NC96ads_A100_v4": 4}),
    **_each("A100-SXM4-40GB", {"ND96asr_v4": 8}),
    **_each("A100-SXM4-80GB", {"ND96amsr_A100_v4": 8}),
    **_each("H100-NVL-94GB", {"NC40ads_H100_v5": 1, "NCC40ads_H100_v5": 1, "NC80adis_H100_v5": 2}),
    **_each("H100-SXM5-80GB", {"ND96isr_H100_v5": 8}),
    **_each("H200-SXM-141GB", {"ND96isr_H200_v5": 8}),
    **_each("GB200", {"ND128isr_NDR_GB200_v6": 4}),
    **_each("GB300", {"ND128isr_GB300_v6": 4}),
}

INSTANCES: dict[str, tuple[str, int]] = {
    name.lower(): found
    for name, found in (*_AWS.items(), *_GOOGLE.items(), *((f"Standard_{n}", f) for n, f in _AZURE.items()))
}
"""Instance type in lower case to the name of its Sku and the GPUs per node."""
