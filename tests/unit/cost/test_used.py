"""GPU time that was held, measured and busy, in whole GPUs."""

from __future__ import annotations

from random import Random

import pytest

from plimsoll.cost.bill import Query, bill
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import HOUR, WHOLE, Hold, Instance, measured
from tests.unit.cost.test_shares import END, TARIFF, node, pod
from tests.unit.cost.truth import START, generate, part


def hours(ledger: Ledger) -> dict[str, tuple[float, float, float]]:
    found = bill(ledger, TARIFF, Query(by="team", began=START, ended=END)).lines
    return {line.key: (line.held_ms / HOUR, line.known_ms / HOUR, line.used_ms / HOUR) for line in found if line.key}


def test_a_whole_gpu_is_used_as_it_is_busy_and_known_as_it_is_seen(ledger: Ledger) -> None:
    ledger.write([*node(), *pod("a", 0, 4)])
    ledger.write([measured("g0", "", "a", START, START + HOUR, 0.5), measured("g0", "", "a", END, END + HOUR, 1.0)])
    assert hours(ledger) == {"a": pytest.approx((4, 1, 0.5))}


def test_an_instance_is_a_part_of_a_gpu(ledger: Ledger) -> None:
    share = part("1g.10gb")
    ledger.write([*node(), Instance(node="n", gpu="g0", instance="7", profile="1g.10gb", parts=share, began=START)])
    ledger.write(pod("a", 0, 4, "g1"))
    ledger.write([Hold(pod="a", node="n", gpu="g0", instance="7", parts=share, began=START)])
    ledger.write([measured("g0", "7", "a", START, START + 4 * HOUR, 1.0)])
    held, known, used = hours(ledger)["a"]
    assert held == pytest.approx(4 + 4 * share / WHOLE)
    assert known == used == pytest.approx(4 * share / WHOLE)


def test_sharers_use_no_more_than_they_pay_for(ledger: Ledger) -> None:
    ledger.write([*node(), *pod("a", 0, 4), *pod("b", 0, 4)])
    ledger.write([measured("g0", "", name, START, START + 4 * HOUR, busy) for name, busy in (("a", 0.6), ("b", 0.2))])
    found = hours(ledger)
    assert found["a"] == pytest.approx((3, 3, 2.4))  # it pays for three quarters of the GPU
    assert found["b"] == pytest.approx((1, 1, 0.8))


@pytest.mark.parametrize("seed", range(4))
def test_no_more_is_measured_than_held_nor_used_than_measured(seed: int) -> None:
    from plimsoll.cost.store import open_store

    truth = generate(Random(seed), nodes=3, pods=20)
    ledger = Ledger(open_store(":memory:"))
    ledger.write(truth.records())
    found = bill(ledger, TARIFF, Query(by="job", began=START, ended=truth.horizon)).lines
    assert any(line.used_ms for line in found)
    for line in found:
        assert 0 <= line.known_ms <= line.held_ms + 1
        assert line.used_ms <= line.held_ms + 1
        assert line.held_ms <= line.gpu_ms + 1
