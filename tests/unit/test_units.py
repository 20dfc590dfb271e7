from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.units import count, moment, quantity, version


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("500m", Decimal("0.5")),
        ("64Gi", 64 * 2**30),
        ("1e3", 1000),
        ("1.5k", 1500),
        (".5", Decimal("0.5")),
        (3, 3),
    ],
)
def test_quantities(text: object, value: object) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize("text", ["", "eight", "8 Gi", "1e", "--1", "Gi", None, True, [], "9" * 400, "1e999", "٣"])
def test_what_is_no_quantity_is_none(text: object) -> None:
    assert quantity(text) is None


@given(st.text())
def test_no_text_makes_the_parsers_raise(text: str) -> None:
    quantity(text)
    count(text)
    moment(text)
    version(text)


def test_versions_compare_by_number() -> None:
    assert version("v25.10.1") > version("v25.3.2")
    assert version("570.148.08") == (570, 148, 8)
    assert version("devel-ubi8") == ()


def test_moments_are_utc() -> None:
    at = moment("2026-11-24T11:03:00.5+01:00")
    assert at is not None
    assert at.isoformat() == "2026-11-24T10:03:00.500000+00:00"
    assert moment("yesterday") is None
