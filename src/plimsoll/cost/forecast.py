"""What a month will have cost: what it cost so far, and for each day that is left the mean of its weekday.

Spending on GPUs follows the week: jobs and users rest at weekends. So a day that is left is taken to cost what the same
weekday cost in the last four weeks, on average; the mean is linear, so that the forecasts of teams add up to that of
the platform. Where a weekday was not seen yet, the mean of all days that were stands for it, and before the first whole
day what was spent so far, per time. Nothing here knows of growth, holidays or jobs that wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from typing import Literal, NamedTuple

from plimsoll.cost.window import DAY, Window, day

WEEKS = 4
Basis = Literal["weekdays", "days", "so far", "over"]
SAID = {
    "weekdays": "for each day that is left the mean of its weekday in the last four weeks",
    "days": "for each day that is left the mean of its weekday, or of all days where that weekday was not seen yet",
    "so far": "the same per hour as so far, for no whole day was seen yet",
    "over": "nothing: the month is over",
}


class Forecast(NamedTuple):
    """amount: micro-units, for the whole month. basis: what the days that are left were taken from."""

    amount: int
    basis: Basis


def history(now: int, reach: Window, ended: int) -> list[Window]:
    """The whole days before `now` that a forecast until `ended` looks at, of the last four weeks that a ledger reaches.

    Those of weekdays that are left; all where one of these was not seen yet. None where nothing is left.
    """
    days = list(Window(max(reach.began, now - now % DAY - 7 * WEEKS * DAY), now).days())
    left = {day(at).weekday() for at in range(now, min(ended, now + 7 * DAY), DAY)}
    if now < ended:
        left.add(day(min(ended - 1, now + 7 * DAY)).weekday())
    same = [each for each in days if day(each.began).weekday() in left]
    return same if left <= {day(each.began).weekday() for each in same} else days


def forecast(spent: int, days: Mapping[date, int], seen: Window, ended: int) -> Forecast:
    """What a month costs that ends at `ended`.

    spent: within `seen`, the part of the month that is over and was metered. days: what whole days cost, of `history`;
    a day that is missing was not seen.
    """
    if seen.ended >= ended:
        return Forecast(spent, "over")
    weekdays: dict[int, list[int]] = {}
    for each, cost in days.items():
        weekdays.setdefault(each.weekday(), []).append(cost)
    total = Fraction(spent)
    basis: Basis = "weekdays" if days else "so far"
    mean = Fraction(sum(days.values()), len(days)) if days else Fraction(spent * DAY, seen.span)
    at = seen.ended
    while at < ended:
        until = min(at - at % DAY + DAY, ended)
        same = weekdays.get(day(at).weekday())
        if same:
            expected = Fraction(sum(same), len(same))
        else:
            expected, basis = mean, "days" if days else basis
        total += expected * (until - at) / DAY
        at = until
    return Forecast(round(total), basis)
