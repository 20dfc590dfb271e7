"""What inference cost, in both kinds of ledger."""

from __future__ import annotations

from fractions import Fraction

import pytest

from plimsoll.cost.bill import Query
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.request import Weights
from plimsoll.cost.sample import HOUR, Tokens, measured
from plimsoll.cost.served import Inference, inference
from plimsoll.cost.window import DAY
from tests.unit.cost import months
from tests.unit.cost.test_shares import GPU, TARIFF, node, pod
from tests.unit.cost.truth import START


def ask(ledger: Ledger, hours: int = 4, **more: object) -> Inference:
    return inference(ledger, TARIFF, Query(by="team", began=START, ended=START + hours * HOUR, top=1, **more))  # type: ignore[arg-type]


def tokens(tenant: str = "", **counts: int) -> Tokens:
    return Tokens(model="m", tenant=tenant, pod="e", began=START, ended=START + HOUR, **counts)


def engine(ledger: Ledger, busy: float = 0.5) -> None:
    """An engine that works for an hour, does nothing for three."""
    ledger.write([*node(), *pod("e", 0, 4, model="m")])
    ledger.write([measured("g0", "", "e", START, START + HOUR, busy),
                  measured("g0", "", "e", START + HOUR, START + 4 * HOUR, 0.0)])  # fmt: skip


def test_tenants_pay_for_the_work_of_their_tokens_and_idle_stands_beside_it(ledger: Ledger) -> None:
    engine(ledger)
    ledger.write([tokens("a", requests=10, prompt=6000, output=1500), tokens("b", requests=4, prompt=6000)])
    found = ask(ledger, weights=Weights(1, 4))
    rows = {row.tenant: row for row in found.rows}
    assert rows["a"].cost == pytest.approx(GPU * 2 / 3, abs=1)
    assert found.cost == GPU
    assert found.idle == 3 * GPU
    assert abs(rows["a"].idle - 2 * GPU) <= 3
    assert rows["a"].prompt_cost == pytest.approx(GPU / 3, abs=1)
    assert rows["b"].prompt_cost == rows["b"].cost
    assert rows["b"].per_request == Fraction(rows["b"].cost, 4)
    assert rows["b"].per_million_output is None
    assert rows["a"].per_million_prompt == Fraction(rows["a"].prompt_cost * 10**6, 6000)


def test_cached_prompt_tokens_make_the_prompt_cheap(ledger: Ledger) -> None:
    engine(ledger)
    ledger.write([tokens("a", requests=1, prompt=8000, cached=6000, output=500)])
    (row,) = ask(ledger, weights=Weights(1, 4)).rows
    assert row.cached == 0.75
    assert row.prompt_cost == pytest.approx(GPU / 2, abs=1)
    assert row.per_million_prompt == Fraction(row.prompt_cost * 10**6, 8000)


def test_what_nobody_named_is_served_too(ledger: Ledger) -> None:
    engine(ledger)
    ledger.write([tokens(requests=3, prompt=300, output=100)])
    (row,) = ask(ledger).rows
    assert (row.tenant, row.requests, row.cost, row.idle) == ("", 3, GPU, 3 * GPU)


def test_an_engine_that_nobody_asked_is_idle_money(ledger: Ledger) -> None:
    ledger.write([*node(), *pod("e", 0, 4, model="m"), measured("g0", "", "e", START, START + 4 * HOUR, 0.0)])
    (row,) = ask(ledger).rows
    assert (row.cost, row.idle, row.per_request) == (0, 4 * GPU, None)


def test_a_cluster_without_models_has_none(ledger: Ledger) -> None:
    ledger.write([*node(), *pod("a", 0, 4)])
    assert ask(ledger).rows == ()


def test_weeks_of_a_service(ledger: Ledger) -> None:
    """Twelve hours of two GPUs a day at five an hour each, two thirds of them web's."""
    ledger.write(months.records(months.OCTOBER.began + 7 * DAY))
    query = Query(by="served", began=months.OCTOBER.began, ended=months.OCTOBER.began + 7 * DAY)
    found = inference(ledger, Tariff.of(months.platform()), query)
    rows = {row.tenant: row for row in found.rows}
    assert rows["web"].cost == pytest.approx(7 * 12 * 10_000_000 * 2 / 3, abs=3)
    assert rows["web"].requests == 7 * 2400
    assert found.cost == found.idle == 7 * 12 * 10_000_000
