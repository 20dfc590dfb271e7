"""Budgets of a month whose teams are known."""

from __future__ import annotations

import msgspec
import pytest

from plimsoll.cost.bill import Query
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.month import Budgets, budgets, limits
from plimsoll.cost.price import Tariff
from plimsoll.cost.window import Window
from plimsoll.errors import IncompleteError
from tests.unit.cost import months
from tests.unit.report import bills

HOURS = 30 * 24


def asked(month: Window = months.NOVEMBER, ledger: Ledger | None = None) -> Budgets:
    platform = months.platform()
    query = Query(by="node", began=month.began, ended=month.ended, top=1)
    return budgets(ledger or bills.ledger(), Tariff.of(platform), query, limits(platform))


def test_a_month_that_goes_on() -> None:
    """The service and the idler cost the same every hour; research rests at weekends."""
    found = asked()
    teams = {each.team: each for each in found.teams}
    assert sum(each.spent for each in found.teams) == found.spent
    assert found.forecast == pytest.approx(HOURS * 56_000_000, abs=5)
    assert teams["search"].forecast == HOURS * 10_000_000
    assert teams["idlers"].forecast == HOURS * 5_000_000
    assert (found.basis, found.days) == ("weekdays", 20)
    assert teams["search"].budget == 20_000_000_000
    assert not teams["search"].will_be_over
    assert teams["idlers"].budget is None
    # Until the 26th at noon research has trained 18 days, four of them Mondays.
    whole = 4 * 5_000_000 * 8
    monday = 4 * 2_000_000 * 5 + 4 * 5_000_000 * 3 - 4 * 5_000_000 // 6
    assert teams["research"].spent == pytest.approx(14 * whole + 4 * monday, abs=3)
    # Thursday afternoon is half of a Thursday; then a Friday and a Monday.
    assert teams["research"].forecast == pytest.approx(teams["research"].spent + 1.5 * whole + monday, abs=3)


def test_who_is_over_its_budget() -> None:
    team = msgspec.structs.replace(next(each for each in asked().teams if each.budget), spent=10, forecast=30)
    for budget, over, will_be in ((9, True, True), (10, False, True), (30, False, False), (None, False, False)):
        found = msgspec.structs.replace(team, budget=budget)
        assert (found.over, found.will_be_over) == (over, will_be)
        assert found.left == (None if budget is None else budget - 10)


def test_a_month_that_is_over_is_what_it_cost() -> None:
    found = asked(months.OCTOBER)
    assert found.basis == "over"
    assert [each.forecast for each in found.teams] == [each.spent for each in found.teams]
    assert found.spent == 31 * 24 * 56_000_000


def test_a_month_that_nobody_watched() -> None:
    with pytest.raises(IncompleteError, match="no meter watched"):
        asked(Window(0, months.OCTOBER.began))
