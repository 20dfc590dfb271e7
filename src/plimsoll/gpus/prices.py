"""A dated price book: what an hour of a GPU was listed at, by whom, where and when.

These are snapshots, not quotes: web pages of one year disagree threefold on one instance type.
A price in platform.yaml always goes before one from here; a row older than `STALE_AFTER` deserves a warning.
Left out: figures from blogs, and Google's accelerator machines in the catalogue below, whose rows
hold the host without its GPUs.

Money is whole micro-dollars (1 USD = 1,000,000) per hour.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import msgspec

STALE_AFTER = timedelta(days=90)
_MICRO = 1_000_000
_READ = date(2026, 11, 1)  # November 2026; the catalogue's rows carry no day of their own


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """One list price.

    capacity: `on-demand` or `spot` (no list of reserved prices is public).
    instance_type: "" where the source names only the GPU.
    region: a region, "us-" for all regions that begin so, or "" where the source names none.
    per_gpu: micro-USD per GPU-hour; of a range the upper end, so that a budget made of it holds.
    per_gpu_low: the lower end of a range, else the same.
    per_node: micro-USD per node-hour, where the source prices nodes.
    as_of: the day the row was read from its source.
    """

    provider: str
    sku: str
    capacity: str
    instance_type: str = ""
    region: str = ""
    per_gpu: int
    per_gpu_low: int
    per_node: int | None = None
    source: str
    as_of: date

    def stale(self, today: date) -> bool:
        return today - self.as_of > STALE_AFTER


def micro(usd: str) -> int:
    """Whole micro-dollars of a decimal dollar amount, half to even."""
    return int((Decimal(usd) * _MICRO).to_integral_value())


def _node(provider: str, sku: str, instance_type: str, gpus: int, usd: str, regions: str, source: str) -> list[Price]:
    """On-demand rows for a node price, one per region."""
    node = micro(usd)
    return [
        Price(
            provider=provider, sku=sku, capacity="on-demand", instance_type=instance_type, region=region,
            per_gpu=round(node / gpus), per_gpu_low=round(node / gpus), per_node=node, source=source, as_of=_READ,
        )
        for region in regions.split()
    ]  # fmt: skip


def _gpu(
    provider: str, sku: str, capacity: str, usd: str, source: str, *, instance_type: str = "", region: str = ""
) -> Price:
    """A row for a GPU price or, as `low–high`, a range."""
    low, _, high = usd.partition("–")
    return Price(
        provider=provider, sku=sku, capacity=capacity, instance_type=instance_type, region=region,
        per_gpu=micro(high or low), per_gpu_low=micro(low), source=source, as_of=_READ,
    )  # fmt: skip


_AWS, _LAMBDA, _NEBIUS, _RUNPOD = (
    f"skypilot-org/skypilot-catalog v8, {folder}/vms.csv @{commit}"
    for folder, commit in (("aws", "e385a0d"), ("lambda", "95eaf48"), ("nebius", "0082b04"), ("runpod", "46062ac"))
)
_HOME = "us-east-1 us-east-2"

BOOK: tuple[Price, ...] = (
    *_node("aws", "A100-SXM4-40GB", "p4d.24xlarge", 8, "21.96", _HOME, _AWS),
    *_node("aws", "A100-SXM4-80GB", "p4de.24xlarge", 8, "27.45", _HOME, _AWS),
    *_node("aws", "H100-SXM5-80GB", "p5.48xlarge", 8, "55.04", _HOME, _AWS),
    *_node("aws", "H100-SXM5-80GB", "p5.48xlarge", 8, "66.05", "ap-south-1", _AWS),
    *_node("aws", "H100-SXM5-80GB", "p5.48xlarge", 8, "68.8", "ap-northeast-1 us-west-1", _AWS),
    *_node("aws", "H100-SXM5-80GB", "p5.48xlarge", 8, "71.55", "ap-southeast-2", _AWS),
    *_node("aws", "H100-SXM5-80GB", "p5.48xlarge", 8, "75.96", "ap-southeast-3", _AWS),
    *_node("aws", "H100-SXM5-80GB", "p5.4xlarge", 1, "6.88", _HOME, _AWS),
    *_node("aws", "H200-SXM-141GB", "p5en.48xlarge", 8, "63.296", _HOME, _AWS),
    *_node("aws", "B200-180GB", "p6-b200.48xlarge", 8, "113.93", _HOME, _AWS),
    *_node("aws", "V100-SXM2-16GB", "p3.8xlarge", 4, "12.24", _HOME, _AWS),
    _gpu("aws", "A100-SXM4-40GB", "spot", "0.79–1.76", _AWS, region="us-"),
    _gpu("aws", "A100-SXM4-80GB", "spot", "1.22–1.78", _AWS, region="us-"),
    _gpu("aws", "H100-SXM5-80GB", "spot", "1.88–2.84", _AWS, region="us-"),
    _gpu("aws", "H200-SXM-141GB", "spot", "2.01–3.15", _AWS, region="us-"),
    _gpu("aws", "B200-180GB", "spot", "2.39–5.82", _AWS, region="us-"),
    _gpu("aws", "V100-SXM2-16GB", "spot", "0.40–1.27", _AWS, region="us-"),
    Price(
        provider="gcp",
        sku="H100-SXM5-80GB",
        capacity="on-demand",
        instance_type="a3-highgpu-8g",
        region="us-central1",
        per_gpu=round(micro("82.525") / 8),
        per_gpu_low=round(micro("82.525") / 8),
        per_node=micro("82.525"),
        source="Google Cloud catalogue, as used by published spot simulations with H100 traces",
        as_of=date(2025, 10, 22),
    ),
    _gpu("lambda", "A100-SXM4-40GB", "on-demand", "1.29", _LAMBDA, instance_type="gpu_8x_a100"),
    _gpu("lambda", "A100-SXM4-80GB", "on-demand", "1.79", _LAMBDA),
    _gpu("lambda", "H100-SXM5-80GB", "on-demand", "3.29", _LAMBDA, instance_type="gpu_1x_h100_sxm5"),
    _gpu("lambda", "H100-SXM5-80GB", "on-demand", "3.19", _LAMBDA, instance_type="gpu_2x_h100_sxm5"),
    _gpu("lambda", "H100-PCIE-80GB", "on-demand", "2.49", _LAMBDA),
    _gpu("lambda", "V100-SXM2-16GB", "on-demand", "0.55", _LAMBDA, instance_type="gpu_8x_v100"),
    _gpu("lambda", "A10", "on-demand", "0.75", _LAMBDA),
    _gpu("lambda", "RTX-A6000", "on-demand", "0.80", _LAMBDA),
    _gpu("nebius", "H100-SXM5-80GB", "on-demand", "2.95", _NEBIUS),
    _gpu("nebius", "H100-SXM5-80GB", "spot", "1.25", _NEBIUS),
    _gpu("nebius", "H200-SXM-141GB", "on-demand", "3.50", _NEBIUS),
    _gpu("nebius", "H200-SXM-141GB", "spot", "1.45", _NEBIUS),
    _gpu("nebius", "B200-180GB", "on-demand", "5.50", _NEBIUS),
    _gpu("nebius", "L40S", "on-demand", "1.55–2.75", _NEBIUS),
    _gpu("runpod", "A100-PCIE-80GB", "on-demand", "1.64", _RUNPOD),
    _gpu("runpod", "A100-PCIE-80GB", "spot", "0.82", _RUNPOD),
)


def lookup(
    sku: str,
    capacity: str,
    *,
    provider: str | None = None,
    instance_type: str | None = None,
    region: str | None = None,
) -> Price | None:
    """The most specific price of a SKU, or None if the book has none.

    provider and region, where given, must be the row's: prices of one instance type differ by 40 %
    between regions. Of what is left a row of the instance type goes first, then one that names
    the region rather than a group of regions or none, then the book's order. A row of
    another instance type still answers: its price per GPU is the nearest there is.
    """
    found = [
        price
        for price in BOOK
        if price.sku == sku
        and price.capacity == capacity
        and provider in (None, price.provider)
        and (region is None or _within(region, price.region))
    ]
    return min(found, key=lambda price: (price.instance_type != instance_type, price.region != region), default=None)


def _within(region: str, row: str) -> bool:
    return row in ("", region) or (row.endswith("-") and region.startswith(row))
