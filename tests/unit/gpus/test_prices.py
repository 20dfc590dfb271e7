from __future__ import annotations

from datetime import date

import pytest

from plimsoll.gpus import catalogue, prices
from plimsoll.gpus.prices import BOOK, Price, lookup, micro


@pytest.mark.parametrize("price", BOOK, ids=lambda p: f"{p.provider}/{p.sku}/{p.capacity}/{p.instance_type}{p.region}")
def test_every_row_has_a_source_a_date_and_whole_money(price: Price) -> None:
    assert price.source
    assert date(2025, 1, 1) <= price.as_of <= date(2026, 11, 30)
    assert type(price.per_gpu) is int
    assert 0 < price.per_gpu_low <= price.per_gpu
    assert price.capacity in {"on-demand", "spot"}
    assert catalogue.find(price.sku)
    assert 100_000 < price.per_gpu < 50_000_000, "between 10 cents and 50 dollars an hour"


@pytest.mark.parametrize(
    "price", [price for price in BOOK if price.per_node], ids=lambda p: f"{p.instance_type}{p.region}"
)
def test_a_node_costs_what_its_gpus_cost(price: Price) -> None:
    found = catalogue.from_instance_type(price.instance_type)
    assert found
    sku, gpus = found
    assert sku.name == price.sku
    assert price.per_node == pytest.approx(price.per_gpu * gpus, abs=gpus)


def test_no_two_rows_say_the_same_thing() -> None:
    keys = [(p.provider, p.sku, p.capacity, p.instance_type, p.region) for p in BOOK]
    assert len(keys) == len(set(keys))


def test_spot_is_never_listed_above_on_demand() -> None:
    for spot in BOOK:
        whole = lookup(spot.sku, "on-demand", provider=spot.provider)
        assert spot.capacity != "spot" or (whole and spot.per_gpu < whole.per_gpu), spot


def test_the_most_specific_row_answers() -> None:
    def per_gpu(**where: str) -> int | None:
        found = lookup("H100-SXM5-80GB", "on-demand", **where)
        return found.per_gpu if found else None

    assert per_gpu() == 6_880_000
    assert per_gpu(provider="aws", instance_type="p5.48xlarge", region="ap-south-1") == 8_256_250
    assert per_gpu(provider="nebius") == 2_950_000
    assert per_gpu(provider="nebius", region="eu-north1") == 2_950_000, "the source names no region"
    assert per_gpu(provider="lambda", instance_type="gpu_2x_h100_sxm5") == 3_190_000
    assert per_gpu(provider="aws", region="eu-west-1") is None, "another region's price is not this one's"
    assert per_gpu(provider="azure") is None


def test_the_row_of_the_instance_type_goes_first() -> None:
    small = lookup("H100-SXM5-80GB", "on-demand", provider="aws", instance_type="p5.4xlarge", region="us-east-2")
    assert small
    assert (small.instance_type, small.region, small.per_node) == ("p5.4xlarge", "us-east-2", 6_880_000)
    other = lookup("H200-SXM-141GB", "on-demand", provider="aws", instance_type="p5e.48xlarge")
    assert other
    assert other.instance_type == "p5en.48xlarge", "the same GPU in another type is the nearest price there is"


def test_a_range_counts_with_its_upper_end() -> None:
    spot = lookup("H100-SXM5-80GB", "spot", provider="aws", region="us-west-2")
    assert spot
    assert (spot.per_gpu_low, spot.per_gpu) == (1_880_000, 2_840_000)
    assert lookup("H100-SXM5-80GB", "spot", provider="aws", region="eu-west-1") is None


def test_unknown_gpus_and_capacities_have_no_price() -> None:
    assert lookup("GB300", "on-demand") is None
    assert lookup("H100-SXM5-80GB", "reserved") is None


def test_money_is_whole_micro_dollars() -> None:
    assert micro("21.96") == 21_960_000
    assert micro("0.0000005") == 0
    assert micro("0.0000015") == 2


def test_a_row_goes_stale_after_ninety_days() -> None:
    row = next(price for price in BOOK if price.as_of == date(2026, 11, 1))
    assert not row.stale(row.as_of + prices.STALE_AFTER)
    assert row.stale(date(2027, 1, 31))
