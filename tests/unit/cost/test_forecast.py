"""Forecasts of a month on series whose end is known."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.cost.forecast import WEEKS, forecast, history
from plimsoll.cost.sample import HOUR
from plimsoll.cost.window import DAY, Window, day, month

NOVEMBER = month("2026-11")


def series(cost: list[int], now: int) -> tuple[int, dict[date, int], int]:
    """A platform that costs so much on each weekday, Monday first: spent this month, days of history, the whole month.

    A day costs evenly through its hours.
    """

    def of(window: Window) -> int:
        total, at = 0, window.began
        while at < window.ended:
            until = min(at - at % DAY + DAY, window.ended)
            total += cost[day(at).weekday()] * (until - at) // DAY
            at = until
        return total

    days = history(now, Window(0, now), NOVEMBER.ended)
    return of(Window(NOVEMBER.began, now)), {day(each.began): of(each) for each in days}, of(NOVEMBER)


@given(
    cost=st.lists(st.integers(0, 10**12).map(lambda each: each * 24), min_size=7, max_size=7),
    hours=st.integers(1, 30 * 24 - 1),
)
def test_a_week_that_repeats_is_forecast_exactly(cost: list[int], hours: int) -> None:
    now = NOVEMBER.began + hours * HOUR
    spent, days, whole = series(cost, now)
    assert forecast(spent, days, Window(NOVEMBER.began, now), NOVEMBER.ended) == (whole, "weekdays")


@given(st.integers(1, 10**12), st.integers(1, 30 * 24 - 1))
def test_without_a_whole_day_it_goes_on_as_so_far(per_hour: int, hours: int) -> None:
    seen = Window(NOVEMBER.began, NOVEMBER.began + hours * HOUR)
    found = forecast(per_hour * hours, {}, seen, NOVEMBER.ended)
    assert found == (per_hour * 30 * 24, "so far")


def test_weekdays_that_were_not_seen_cost_as_the_others() -> None:
    now = NOVEMBER.began + 3 * DAY  # Sunday to Tuesday were seen
    days = {date(2026, 11, 1) + timedelta(days=at): cost for at, cost in enumerate((10, 40, 70))}
    found = forecast(120, days, Window(NOVEMBER.began, now), NOVEMBER.ended)
    sundays, mondays, tuesdays = 4, 4, 3  # that are left: 8, 15, 22, 29; 9, 16, 23, 30; 10, 17, 24
    others = 27 - sundays - mondays - tuesdays
    assert found == (120 + sundays * 10 + mondays * 40 + tuesdays * 70 + others * 40, "days")


def test_a_month_that_is_over_is_what_it_cost() -> None:
    assert forecast(5, {date(2026, 11, 1): 9}, NOVEMBER, NOVEMBER.ended) == (5, "over")


def test_the_mean_of_a_weekday_is_over_four_weeks() -> None:
    now = NOVEMBER.began + 29 * DAY  # Monday the 30th is left
    mondays = [date(2026, 11, 2) + timedelta(weeks=at) for at in range(4)]
    found = forecast(0, dict(zip(mondays, (1, 2, 3, 6), strict=True)), Window(NOVEMBER.began, now), NOVEMBER.ended)
    assert found == (3, "weekdays")


@pytest.mark.parametrize("hour", [0, 1, 23])
def test_the_history_is_of_whole_days_of_four_weeks_that_were_metered(hour: int) -> None:
    now = NOVEMBER.began + 20 * DAY + hour * HOUR
    days = history(now, Window(0, now), NOVEMBER.ended)
    assert len(days) == 7 * WEEKS
    assert days[-1].ended == NOVEMBER.began + 20 * DAY
    assert len(history(now, Window(NOVEMBER.began + 1, now), NOVEMBER.ended)) == 19


def test_the_history_is_of_weekdays_that_are_left() -> None:
    noon = NOVEMBER.began + 28 * DAY + 12 * HOUR  # Sunday the 29th: half of it and a Monday are left
    days = history(noon, Window(0, noon), NOVEMBER.ended)
    assert {day(each.began).weekday() for each in days} == {6, 0}
    assert len(days) == 2 * WEEKS
    late = Window(noon - 3 * DAY, noon)  # no Monday was seen: all days stand for it
    assert [day(each.began).weekday() for each in history(noon, late, NOVEMBER.ended)] == [4, 5]
    assert history(NOVEMBER.ended, Window(0, NOVEMBER.ended), NOVEMBER.ended) == []


@given(
    st.lists(st.lists(st.integers(0, 10**9), min_size=28, max_size=28), min_size=1, max_size=5),
    st.integers(1, 30 * 24 - 1),
)
def test_forecasts_of_teams_add_up_to_that_of_the_platform(teams: list[list[int]], hours: int) -> None:
    seen = Window(NOVEMBER.began, NOVEMBER.began + hours * HOUR)
    dates = [day(each.began) for each in history(seen.ended, Window(0, seen.ended), NOVEMBER.ended)]
    teams = [team[: len(dates)] for team in teams]
    each = [forecast(sum(team), dict(zip(dates, team, strict=True)), seen, NOVEMBER.ended).amount for team in teams]
    days = [sum(costs) for costs in zip(*teams, strict=True)]
    whole = forecast(sum(map(sum, teams)), dict(zip(dates, days, strict=True)), seen, NOVEMBER.ended).amount
    assert abs(sum(each) - whole) <= len(teams)
