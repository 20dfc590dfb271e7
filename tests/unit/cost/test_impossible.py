"""What cannot be does not end the ledger: sums beyond all bounds, a disk that is full."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from plimsoll.cost.bill import Query, bill
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.sample import HOUR, RATE_MAX, Gpu, Hold, Node, Pod, Quote, Tokens, Usage, Watch
from plimsoll.cost.store import open_store
from plimsoll.errors import ClusterError

T = 495_000 * HOUR


@pytest.mark.parametrize("wrong", [2**62, 10**20, -1, -(10**20)])
def test_a_sum_that_cannot_be_is_not_counted_and_spoils_no_bill(ledger: Ledger, wrong: int) -> None:
    of = {"model": "m", "pod": "p", "requests": 1, "prompt": 7, "output": wrong}
    ledger.write([
        Watch(meter="m", began=T, ended=T + 2 * HOUR), Node(uid="n", name="n", gpus=1, began=T),
        Gpu(node="n", gpu="G", began=T), Quote(scope="n", moment=0, per_hour=1_000_000, source="test"),
        Pod(uid="p", namespace="s", name="p", node="n", model="m", began=T), Hold(pod="p", node="n", gpu="G", began=T),
        Usage(gpu="G", pod="p", began=T, ended=T + HOUR, seen=HOUR, busy=HOUR, memory=wrong, energy=wrong),
        Tokens(**of, began=T, ended=T + 15_000), Tokens(**of, began=T + 15_000, ended=T + 30_000),  # type: ignore[arg-type]
    ])  # fmt: skip
    for _ in range(2):
        for by in ("team", "model", "tenant", "request"):
            found = bill(ledger, Tariff(), Query(by=by, began=T, ended=T + 2 * HOUR))
            assert found.total == sum(line.cost for line in found.lines) == 2_000_000
            if by == "model":
                assert [(line.prompt, line.output) for line in found.lines if line.key] == [(14, 0)]
        ledger.seal(T + 3 * HOUR)
    assert ledger.store.rows("SELECT seen, busy, memory, energy FROM usage") == [(HOUR, HOUR, 0, 0)]


def test_the_largest_sums_that_may_be_can_be_billed(ledger: Ledger) -> None:
    most = RATE_MAX * HOUR
    rows = [Usage(gpu="G", pod="p", began=T, ended=T + HOUR, seen=HOUR, busy=HOUR, memory=most, energy=most),
            Usage(gpu="G", pod="p", began=T + 1, ended=T + HOUR, seen=HOUR - 1, memory=most - RATE_MAX)]  # fmt: skip
    ledger.write(rows)
    ledger.seal(T + HOUR)
    ledger.write(rows)
    ledger.seal(T + HOUR)
    assert ledger.store.rows("SELECT memory, energy FROM usage") == [(most, most)]


def test_a_full_disk_is_said_in_one_sentence_and_spoils_nothing(tmp_path: Path) -> None:
    place = tmp_path / "ledger.duckdb"
    store = open_store(place)
    Ledger(store).write([Watch(meter="m", began=T, ended=T + 1)])
    store.close()
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (place.stat().st_size, before[1]))
    store = open_store(place)
    try:
        with pytest.raises(ClusterError, match=r"the ledger's file cannot be used: .*"):
            Ledger(store).write([Usage(gpu=f"G{n}", began=T, ended=T + 9, seen=9) for n in range(20_000)])
    finally:
        store.close()
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    store = open_store(place)
    assert store.rows("SELECT COUNT(*) FROM usage_inbox") == [(0,)]
    assert Ledger(store).horizon() == T + 1
    store.close()
