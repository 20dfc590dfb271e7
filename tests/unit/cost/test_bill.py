"""The bill against a truth that is known to the millisecond."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from random import Random
from typing import get_args

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from plimsoll.cost.bill import Bill, Query, bill, price
from plimsoll.cost.cuts import By
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lines import COST
from plimsoll.cost.sample import HOUR, Record
from plimsoll.cost.split import Split
from plimsoll.cost.store import open_store
from tests.unit.cost.truth import START, TARIFF, Truth, generate

BYS: tuple[By, ...] = get_args(By)
SEVERAL = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def opened(records: list[Record]) -> Ledger:
    ledger = Ledger(open_store(":memory:"))
    ledger.write(records)
    return ledger


def ask(ledger: Ledger, by: By, began: int, ended: int, split: Split = "even", idle: str = "shown") -> Bill:
    query = Query(by=by, began=began, ended=ended, split=split, idle="spread" if idle == "spread" else "shown")
    return bill(ledger, TARIFF, query)


def close(found: int, exact: Fraction) -> bool:
    """Less than a micro-unit apart: as near as whole ones that must add up can be."""
    return abs(found - exact) < 1


def agrees(ledger: Ledger, truth: Truth, began: int, ended: int, split: Split) -> None:
    exact = truth.exact(began, ended, weighted=split == "requested")
    answer = ask(ledger, "job", began, ended, split)
    assert abs(answer.total - sum(exact.values(), Fraction())) <= Fraction(1, 2)
    jobs: dict[str, Fraction] = defaultdict(Fraction)
    for pod in truth.pods:
        jobs[f"{pod.job}-uid" if pod.job else pod.uid] += exact[pod.uid]
    lines = {line.id: line for line in answer.lines}
    for name, cost in jobs.items():
        assert close(lines[name].cost if name in lines else 0, cost), name
    for unused in ("unallocated", "stranded", "absent"):
        assert abs(getattr(lines[""], unused) - exact[unused]) < 2  # a class of a line: one more for its own rounding


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("split", ["even", "requested"])
def test_every_job_pays_exactly_its_part(seed: int, split: Split) -> None:
    truth = generate(Random(seed), nodes=3, pods=25)
    agrees(opened(truth.records()), truth, START + HOUR + 17, START + 25 * HOUR + 3, split)


@pytest.mark.parametrize("seed", range(100, 103))
def test_both_stores_agree_with_the_truth(ledger: Ledger, seed: int) -> None:
    truth = generate(Random(seed), nodes=3, pods=25)
    ledger.write(truth.records())
    agrees(ledger, truth, START + HOUR + 17, START + 25 * HOUR + 3, "requested")


@SEVERAL
@given(
    seed=st.integers(0, 2**32),
    began=st.integers(-5 * HOUR, 29 * HOUR),
    span=st.integers(1, 35 * HOUR),
    by=st.sampled_from(BYS),
    split=st.sampled_from(get_args(Split)),
    idle=st.sampled_from(["shown", "spread"]),
)
def test_lines_add_up_to_the_price_of_the_nodes(
    seed: int, began: int, span: int, by: By, split: Split, idle: str
) -> None:
    truth = generate(Random(seed), nodes=2, pods=12)
    window = START + began, START + began + span
    ledger = opened(truth.records())
    answer = ask(ledger, by, *window, split, idle)
    assert price(ledger, TARIFF, answer.query) == answer.total
    exact = sum(truth.exact(*window, weighted=False).values(), Fraction())
    assert sum(line.cost for line in answer.lines) == answer.total
    assert abs(answer.total - exact) <= Fraction(1, 2)
    for line in answer.lines:
        assert line.cost == sum(getattr(line, name) for name in COST)
        assert all(getattr(line, name) >= 0 for name in COST)


@settings(SEVERAL, max_examples=8)
@given(seed=st.integers(0, 2**32), cut=st.integers(1, 20))
@example(seed=57, cut=3)
def test_order_and_repetition_of_records_do_not_matter(seed: int, cut: int) -> None:
    random = Random(seed)
    truth = generate(random, nodes=2, pods=10)
    records = truth.records()
    plain = ask(opened(records), "job", START, truth.horizon, "measured")
    again = [*records, *random.sample(records, len(records) // 2)]
    random.shuffle(again)
    ledger = Ledger(open_store(":memory:"))
    for start in range(0, len(again), len(again) // cut + 1):
        ledger.write(again[start : start + len(again) // cut + 1])
        if random.random() < 0.3:
            ledger.seal(START + random.randrange(0, 30 * HOUR))
    assert ask(ledger, "job", START, truth.horizon, "measured").lines == plain.lines


@pytest.mark.parametrize("seed", range(6))
def test_a_window_is_the_sum_of_its_parts(seed: int) -> None:
    truth = generate(Random(seed), nodes=2, pods=12)
    ledger = opened(truth.records())
    whole = ask(ledger, "team", START, truth.horizon)
    middle = START + 11 * HOUR + 12345
    halves = [ask(ledger, "team", START, middle), ask(ledger, "team", middle, truth.horizon)]
    assert abs(whole.total - sum(half.total for half in halves)) <= 1
    for line in whole.lines:
        parts = sum(each.cost for half in halves for each in half.lines if each.key == line.key)
        assert abs(line.cost - parts) <= 2


@pytest.fixture
def sealed() -> Iterator[tuple[Ledger, Truth]]:
    truth = generate(Random(7), nodes=3, pods=20)
    ledger = opened(truth.records())
    yield ledger, truth
    ledger.store.close()


def test_sealing_changes_no_bill(sealed: tuple[Ledger, Truth]) -> None:
    ledger, truth = sealed
    before = [ask(ledger, by, START + 99, truth.horizon, "measured").lines for by in BYS]
    ledger.seal(truth.horizon)
    assert ledger.store.rows("SELECT COUNT(*) FROM usage_inbox") == [(0,)]
    assert [ask(ledger, by, START + 99, truth.horizon, "measured").lines for by in BYS] == before


def test_the_dearest_lines_and_the_sum_of_the_others(sealed: tuple[Ledger, Truth]) -> None:
    ledger, truth = sealed
    every = ask(ledger, "job", START, truth.horizon)
    few = bill(ledger, TARIFF, Query(by="job", began=START, ended=truth.horizon, split="even", top=3))
    assert few.lines == every.lines[:3]
    assert few.others is not None
    assert few.rest == len(every.lines) - 3
    assert few.others.cost == sum(line.cost for line in every.lines[3:])
    assert [line.cost for line in every.lines] == sorted((line.cost for line in every.lines), reverse=True)
