"""A past that is known, told to a real Prometheus, read back, and billed: the bill is the past's."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from random import Random

import pytest

from plimsoll.backfill.run import Job, run
from plimsoll.backfill.state import Summary
from plimsoll.cost.bill import Bill, Query, bill
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.store import open_store
from plimsoll.kube.prometheus import Prometheus
from tests.unit.backfill.past import HOUR, START, Past, generate
from tests.unit.cost.truth import TARIFF
from tests.unit.kube.promserver import serving


def filled(url: str, hours: int, **more: object) -> tuple[Ledger, Summary]:
    ledger = Ledger(open_store(":memory:"))
    with Prometheus(url) as server:
        summary = run(server, ledger, Job(began=START, ended=START + hours * HOUR, **more))  # type: ignore[arg-type]
    return ledger, summary


def ask(ledger: Ledger, hours: int, by: str = "job") -> Bill:
    return bill(ledger, TARIFF, Query(by=by, began=START, ended=START + hours * HOUR, split="even"))  # type: ignore[arg-type]


def agrees(answer: Bill, past: Past, hours: int) -> None:
    exact = past.truth.exact(START, START + hours * HOUR, weighted=False)
    lines = {line.id: line for line in answer.lines}
    assert abs(answer.total - sum(exact.values(), Fraction())) <= 1
    wrong = {pod.uid: (lines[pod.uid].cost if pod.uid in lines else 0, float(exact[pod.uid]))
             for pod in past.truth.pods
             if abs((lines[pod.uid].cost if pod.uid in lines else 0) - exact[pod.uid]) >= 1}  # fmt: skip
    assert not wrong
    for unused in ("unallocated", "stranded", "absent"):
        assert abs(getattr(lines[""], unused) - exact[unused]) < 2


@pytest.mark.parametrize(("seed", "form", "new"), [(1, "exported", False), (2, "honored", True)])
def test_every_pod_pays_exactly_its_part(tmp_path: Path, seed: int, form: str, new: bool) -> None:
    past = generate(Random(seed), hours=6)
    past.form, past.new = form, new  # type: ignore[assignment]
    with serving(tmp_path, past.samples(START, START + 6 * HOUR)) as url:
        ledger, _ = filled(url, 6)
        agrees(ask(ledger, 6), past, 6)
