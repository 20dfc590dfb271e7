"""What a node costs at each instant, and what a token does."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.cost.price import Facts, Tariff, owned
from plimsoll.cost.request import Fit, Interval, Weights, fit, fitted, share, sums, work
from plimsoll.cost.sample import HOUR, Quote
from plimsoll.spec.load import load
from tests.unit.cost.truth import START

ROOT = Path(__file__).parents[3]


def facts(**more: object) -> Facts:
    values: dict[str, object] = {
        "node": 1, "uid": "n", "name": "n", "pool": "p", "sku": "H100-SXM5-80GB", "capacity": "on-demand",
        "provider": "aws", "region": "us-east-1", "instance_type": "p5.48xlarge", "gpus": 8, "cpu_milli": 0,
        "memory_mib": 0, "began": START, "ended": START + HOUR, **more,
    }  # fmt: skip
    return Facts(**values)  # type: ignore[arg-type]


def test_a_declared_price_goes_before_the_book() -> None:
    (rate,) = Tariff({"p": (1_000_000, "contract")}).rates(facts(), {})
    assert (rate.per_hour, rate.source) == (1_000_000, "contract")
    (rate,) = Tariff().rates(facts(), {})
    assert rate.per_hour == 55_040_000
    assert "price book" in rate.source


def test_nodes_that_are_owned_cost_what_an_hour_of_them_takes() -> None:
    text = """
pools:
  - name: p
    gpu: H100-SXM5-80GB
    gpusPerNode: 8
    nodes: {max: 4}
    price:
      owned: {capex: 280000, years: 5, watts: 6500, pue: 1.3, perKwh: 0.14, upkeep: 8766}
      source: order 4711
      asOf: 2026-01-15
teams:
  - {name: a}
"""
    (rate,) = Tariff.of(load(text.encode(), "platform.yaml")).rates(facts(), {})
    assert rate.per_hour == round(280_000_000_000 / (5 * 8766) + 6.5 * 1.3 * 140_000) + 1_000_000
    assert rate.source == "platform.yaml, 2026-01-15: order 4711"


def test_another_instance_type_is_priced_by_its_gpus() -> None:
    (rate,) = Tariff().rates(facts(instance_type="p5.24xlarge", gpus=4), {})
    assert rate.per_hour == 4 * 6_880_000


@pytest.mark.parametrize(
    "more", [{"region": "mars-1"}, {"provider": ""}, {"capacity": "reserved"}, {"sku": "H900"}, {"region": ""}]
)
def test_a_price_of_something_else_is_no_price(more: dict[str, object]) -> None:
    (rate,) = Tariff().rates(facts(**more), {})
    assert rate.per_hour is None


def test_the_book_is_in_dollars() -> None:
    assert Tariff(currency="EUR").rates(facts(), {})[0].per_hour is None


def test_the_declaration_makes_a_tariff() -> None:
    path = ROOT / "examples" / "practice" / "platform.yaml"
    tariff = Tariff.of(load(path.read_bytes(), path.name))
    assert tariff.pools["h100"] == (55_040_000, "platform.yaml, 2026-11-01: list price")
    assert (tariff.provider, tariff.region, tariff.currency) == ("aws", "us-east-1", "USD")


def test_a_price_knows_its_day() -> None:
    path = ROOT / "examples" / "practice" / "platform.yaml"
    declared = Tariff.of(load(path.read_bytes(), path.name))
    assert declared.rates(facts(pool="h100"), {})[0].as_of == date(2026, 11, 1)
    listed = Tariff().rates(facts(), {})[0]
    assert f"price book, {listed.as_of}: " in listed.source
    seen = Quote(scope="p", moment=START, per_hour=1, source="seen")
    assert Tariff().rates(facts(), {"p": [seen]})[0].as_of == date(2025, 12, 1)
    assert Tariff({"p": (1, "contract")}).rates(facts(), {})[0].as_of is None


@given(st.lists(st.tuples(st.sampled_from(["n", "p", "x"]), st.integers(-HOUR, 2 * HOUR)), max_size=6))
def test_rates_leave_no_gap(at: list[tuple[str, int]]) -> None:
    quotes: dict[str, list[Quote]] = {}
    for place, (scope, moment) in enumerate(at):
        quotes.setdefault(scope, []).append(Quote(scope=scope, moment=START + moment, per_hour=place, source="s"))
    rates = Tariff().rates(facts(), quotes)
    assert rates[0].began == START
    assert rates[-1].ended == START + HOUR
    assert all(a.ended == b.began for a, b in pairwise(rates))
    assert all(rate.began < rate.ended for rate in rates)


def test_owned_hardware() -> None:
    dollars = 1_000_000
    # 263 k$ over three years is 10 $/h; 10 kW at PUE 1.5 and 0.10 $/kWh 1.50 $/h; 0.50 $/h of upkeep.
    found = owned(capex=262_980 * dollars, years=3, watts=10_000, pue=1.5, per_kwh=100_000, upkeep=500_000)
    assert found == 12 * dollars


def test_the_work_of_tokens_is_fitted() -> None:
    seen = [Interval(2 * p + 9 * o, p, o) for p, o in ((100, 5), (10, 80), (500, 500), (0, 3))]
    found = fit(seen)
    assert found is not None
    assert found == pytest.approx((2, 9))


def test_work_is_never_negative_and_unknown_where_nothing_tells() -> None:
    found = fit([Interval(10, 10, 0), Interval(8, 10, 10), Interval(20, 20, 1)])
    assert found is not None
    assert found.output == 0 < found.prompt
    assert fit([Interval(10, 10, 20), Interval(20, 20, 40)]) is None  # always in one proportion
    assert fit([]) is None


@given(st.integers(0, 10**30), st.lists(st.integers(0, 10**12), min_size=1, max_size=30))
def test_shares_are_whole_and_add_up(total: int, works: list[int]) -> None:
    found = share(total, works)
    assert sum(found) == total
    assert all(part >= 0 for part in found)
    if any(works):
        assert all(
            abs(part - total * each / sum(works)) <= 1 + total * 1e-9 for part, each in zip(found, works, strict=True)
        )


def test_cached_prompt_tokens_are_no_work() -> None:
    weights = Weights(1, 4)
    assert work(weights, 100, 100, 0) == 0
    assert work(weights, 100, 60, 0) == work(weights, 0, 0, 10)


def test_a_fit_says_how_far_it_can_be_believed() -> None:
    exact = fitted(sums([Interval(2 * p + 9 * o, p, o) for p in range(10, 50, 10) for o in (1, 20, 70)]))
    assert exact is not None
    assert (exact.intervals, exact.good) == (12, True)
    assert exact.residual == pytest.approx(0, abs=1e-9)
    never_changes = fitted(sums([Interval(100, p, o) for p in range(10, 50, 10) for o in (1, 20, 70)]))
    assert never_changes is not None
    assert (never_changes.residual, never_changes.good) == (1, False)
    assert not Fit(Weights(1, 2), 11, 0).good  # too few
    assert not Fit(Weights(0, 2), 99, 0).good  # prompts are never free
