"""What was lost with pods that were pushed out."""

from __future__ import annotations

import pytest

from plimsoll.cost.bill import Query
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lost import REASONS, lost
from plimsoll.cost.sample import HOUR, Ended
from tests.unit.cost.test_shares import END, GPU, TARIFF, node, pod
from tests.unit.cost.truth import START

DAY = Query(by="team", began=START, ended=END)


def gone(name: str, hour: float, why: str) -> Ended:
    return Ended(kind="pod", subject=(name,), moment=START + round(hour * HOUR), why=why)


@pytest.mark.parametrize(("checkpoint", "hours"), [(0, 3), (HOUR // 2, 0.5), (4 * HOUR, 3)])
def test_a_pod_that_was_pushed_out_lost_what_it_did_since_its_checkpoint(
    ledger: Ledger, checkpoint: int, hours: float
) -> None:
    ledger.write([*node(), *pod("a", 1, None), gone("a", 4, "PreemptionByScheduler")])
    assert lost(ledger, TARIFF, DAY, checkpoint=checkpoint) == {"a": round(hours * GPU)}


@pytest.mark.parametrize("why", ["", "Completed", "OOMKilled"])
def test_one_that_ended_by_itself_lost_nothing(ledger: Ledger, why: str) -> None:
    ledger.write([*node(), *pod("a", 1, None), gone("a", 4, why)])
    assert lost(ledger, TARIFF, DAY) == {}


def test_only_what_ended_in_the_window_counts_and_only_what_it_cost_there(ledger: Ledger) -> None:
    ledger.write([*node("gold", 8), *pod("a", 0, None), *pod("b", 0, None, "g1"), *pod("c", 2, None, "g2")])
    ledger.write([gone("a", 1, "Evicted"), gone("b", 3, "Evicted"), gone("c", 9, "Evicted")])
    window = Query(by="team", began=START + 2 * HOUR, ended=START + 4 * HOUR)
    assert lost(ledger, TARIFF, window) == {"b": GPU}


def test_reasons_are_told_once_however_often_they_were_written(ledger: Ledger) -> None:
    ledger.write([*node(), *pod("a", 1, None), *(gone("a", 4, why) for why in REASONS)])
    assert lost(ledger, TARIFF, DAY) == {"a": 3 * GPU}
