"""Windows of time as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import HOUR, Watch
from plimsoll.cost.window import DAY, Reach, Window, between, day, month, month_of, reach, since, text
from plimsoll.errors import InputError
from tests.unit.cost.truth import START

NOW = START + 12 * HOUR


def test_since_ends_now() -> None:
    assert since("7d", NOW) == Window(NOW - 7 * DAY, NOW)
    assert since("1h30m", NOW).span == 90 * 60_000
    assert since("999999d", NOW).began == 0


@pytest.mark.parametrize("wrong", ["", "7", "d", "-7d", "7 d", "0s", "week", "9" * 40 + "d", "\x1b[31m"])
def test_what_is_no_duration(wrong: str) -> None:
    with pytest.raises(InputError):
        since(wrong, NOW)


def test_between_two_days_moments_or_one_and_now() -> None:
    assert between("2026-11-01,2026-12-01", NOW) == month("2026-11")
    assert between("2025-12-01T01:00:00Z, 2025-12-01T03:00+01:00", NOW) == Window(START + HOUR, START + 2 * HOUR)
    assert between("2025-12-01,", NOW) == Window(START, NOW)


@pytest.mark.parametrize(
    "wrong",
    ["2026-11-01", ",", "x,y", "2026-12-01,2026-11-01", "2026-11-01,2026-11-01", "1969-01-01,2026-01-01",
     "0001-01-01T00:00:00+23:59,2026-01-01", "2026-13-01,", "9999-12-31,"],
)  # fmt: skip
def test_what_is_no_window(wrong: str) -> None:
    with pytest.raises(InputError):
        between(wrong, NOW)


def test_months() -> None:
    assert text(month("2026-02").began) == "2026-02-01T00:00:00Z"
    assert month("2026-02").span == 28 * DAY
    assert month("2028-02").span == 29 * DAY
    assert month("2026-12").ended == month("2027-01").began
    assert month_of(START) == month("2025-12")
    assert month_of(START - 1) == month("2025-11")
    for wrong in ("2026-13", "2026-1", "26-01", "2026-00", "2026-11-01", "9999-12", "٢٠٢٦-١١"):
        with pytest.raises(InputError):
            month(wrong)


@given(st.integers(0, 10**13), st.integers(0, 10**10))
def test_days_are_whole_and_in_the_window(began: int, span: int) -> None:
    window = Window(began, began + span)
    days = list(window.days())
    assert all(each.span == DAY and each.began % DAY == 0 for each in days)
    assert all(began <= each.began and each.ended <= window.ended for each in days)
    assert len(days) >= span // DAY - 1
    assert [day(each.began) for each in days] == sorted({day(each.began) for each in days})


def test_the_reach_of_a_ledger(ledger: Ledger) -> None:
    window = Window(START, START + 10 * HOUR)
    assert reach(ledger, window) == Reach(0, 0, 0, 0)
    for meter, began, ended in (("a", -5, 1), ("b", 0, 3), ("a", 2, 4), ("a", 6, 9), ("b", 7, 8)):
        ledger.write([Watch(meter=meter, began=START + began * HOUR, ended=START + ended * HOUR)])
    assert reach(ledger, window) == Reach(START - 5 * HOUR, START + 9 * HOUR, 7 * HOUR, 2 * HOUR)
    assert reach(ledger, Window(START + 4 * HOUR, START + 6 * HOUR)).watched == 0
    assert reach(ledger, Window(START + 4 * HOUR, START + 6 * HOUR)).gap == 2 * HOUR
