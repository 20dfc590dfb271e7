"""Values with units."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.spec.values import Duration, Interval, Money, Portion, Quantity, Rate


@pytest.mark.parametrize(
    ("text", "ms", "written"),
    [("60ms", 60, "60ms"), ("90s", 90_000, "90s"), ("15m", 900_000, "15m"), ("1h30m", 5_400_000, "90m"),
     ("24h", 86_400_000, "1d"), ("400d", 34_560_000_000, "400d"), ("1m500ms", 60_500, "60500ms"), ("0s", 0, "0s")],
)  # fmt: skip
def test_durations(text: str, ms: int, written: str) -> None:
    duration = Duration.read(text)
    assert duration == ms
    assert duration.seconds == ms / 1000
    assert str(duration) == duration.write() == written


@given(st.integers(0, 10**11))
def test_a_duration_reads_back(ms: int) -> None:
    assert Duration.read(Duration(ms).write()) == ms


def test_auto_is_an_interval_of_its_own() -> None:
    assert Interval.read("auto").auto
    assert Interval.read("auto").write() == "auto"
    assert not Interval.read("15m").auto
    assert Interval.read("15m").write() == "15m"


@pytest.mark.parametrize(("raw", "micro"), [(55.04, 55_040_000), (120000, 120_000_000_000), (0.1, 100_000), (0, 0)])
def test_money_is_whole_micro_units(raw: float, micro: int) -> None:
    assert Money.read(raw) == micro
    assert Money.read(raw).write() == raw


def test_money_reads_as_its_units() -> None:
    assert Money.read(55.04).units == Decimal("55.04")
    assert str(Money.read(120000.5)) == "120,000.50"


@given(st.integers(0, 10**15))
def test_money_reads_back_to_the_micro_unit(micro: int) -> None:
    assert Money.read(Money(micro).write()) == micro


@pytest.mark.parametrize(
    ("raw", "total", "count"), [("10%", 100, 10), ("10%", 5, 1), ("25%", 9, 3), (3, 100, 3), ("100%", 7, 7)]
)
def test_portions(raw: Any, total: int, count: int) -> None:
    assert Portion.read(raw).of(total) == count
    assert Portion.read(raw).write() == raw


@pytest.mark.parametrize(
    ("text", "per_second"), [("20/s", 20), ("0.5/s", 0.5), ("300/m", 5), ("3600/h", 1), ("1/d", 1 / 86400)]
)
def test_rates(text: str, per_second: float) -> None:
    assert Rate.read(text).per_second == per_second
    assert Rate.read(text).write() == text


@pytest.mark.parametrize(
    ("raw", "value"), [(8, 8), ("500m", Decimal("0.5")), ("64Gi", 64 * 2**30), ("1.5", Decimal("1.5"))]
)
def test_quantities(raw: Any, value: Any) -> None:
    assert Quantity.read(raw).value == value
    assert Quantity.read(raw).write() == raw
