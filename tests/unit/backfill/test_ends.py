"""When things ended, where kube-state-metrics and exporters say it in a roundabout way, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from plimsoll.cost.ledger import Ledger
from tests.unit.backfill.past import HOUR, MINUTE, SCRAPE, SECOND, START
from tests.unit.backfill.test_backfill import PRICE, ROUND, agrees, ask, empty, fill, pod, small
from tests.unit.kube.promserver import Exposed, serving

ENDS = "SELECT kind, moment, exact, why FROM marks WHERE mark = 'ended' ORDER BY moment"


def filled(folder: Path, samples: Iterable[Exposed], hours: int, began: int = START) -> Ledger:
    ledger = empty()
    with serving(folder, samples) as url:
        fill(ledger, url, hours, began=began)
    return ledger


def test_both_stores(ledger: Ledger, tmp_path: Path) -> None:
    past = small(pod("a", 0.5, 1.5, "GPU-0"), pod("b", 1, 2, "GPU-1"), hours=3)
    with serving(tmp_path, past.samples(START, START + 3 * HOUR)) as url:
        fill(ledger, url, 3)
        agrees(ledger, past, 3)
        fill(ledger, url, 3, again=True)
        agrees(ledger, past, 3)


def test_a_container_that_stopped_is_not_the_end_of_its_pod(tmp_path: Path) -> None:
    past = small(pod("job", 0.5, 2.5, "GPU-0"), hours=3)
    sidecar = [
        ("kube_pod_completion_time", {"namespace": "blue", "pod": "job", "uid": "job", "container": "x"}, at / 1000,
         START / 1000 + 3000)
        for at in range(START + HOUR, START + 2 * HOUR, SCRAPE)
    ]  # fmt: skip
    agrees(filled(tmp_path, [*past.samples(START, START + 3 * HOUR), *sidecar], 3), past, 3)


def test_a_pod_that_failed_without_a_word_of_its_containers(tmp_path: Path) -> None:
    past = small(pod("evicted", 0.5, 2, "GPU-0"), hours=3)
    told: list[Exposed] = []
    for name, labels, at, value in past.samples(START, START + 3 * HOUR):
        if name == "kube_pod_completion_time":
            told.append(("kube_pod_status_reason", {**labels, "reason": "Evicted"}, at, 1.0))
        elif labels.get("phase") in ("Succeeded", "Failed"):
            swapped = {"Succeeded": "Failed", "Failed": "Succeeded"}[labels["phase"]]
            told.append((name, {**labels, "phase": swapped}, at, value))
        else:
            told.append((name, labels, at, value))
    ledger = filled(tmp_path, told, 3)
    ((kind, moment, exact, why),) = ledger.store.rows(ENDS)
    assert (kind, exact, why) == ("pod", 0, "Evicted")
    assert 0 <= moment - past.truth.pods[0].ended <= ROUND


def test_a_pod_that_is_missed_over_midnight_and_is_back_has_not_ended(tmp_path: Path) -> None:
    """One of several shards of kube-state-metrics was away; the others went on."""
    past = small(hours=40)
    away = START + 24 * HOUR - 20 * MINUTE, START + 24 * HOUR + 20 * MINUTE
    told = [
        each for each in past.samples(START + 20 * HOUR, START + 40 * HOUR)
        if not (each[1].get("pod") == "long-0" and each[0].startswith("kube") and away[0] <= each[2] * 1000 < away[1])
    ]  # fmt: skip
    ledger = filled(tmp_path, told, 40, began=START + 20 * HOUR)
    agrees(ledger, past, 40, began=START + 20 * HOUR)


def test_a_pod_that_ended_while_nobody_looked_ends_when_it_is_missed(tmp_path: Path) -> None:
    past = small(pod("gone", 20, 23.9, "GPU-0"), pod("stays", 20, 30, "GPU-1"), hours=28)
    past.deleted = {"gone"}
    past.silent = ((START + round(23.5 * HOUR), START + 25 * HOUR),)  # over midnight: two pieces must agree
    ledger = filled(tmp_path, past.samples(START + 22 * HOUR, START + 28 * HOUR), 28, began=START + 22 * HOUR)
    (end,) = ledger.store.rows(ENDS)
    assert end[0::2] == ("pod", 0)
    assert 0 <= end[1] - (START + 25 * HOUR) <= ROUND


def test_a_gpu_that_its_exporter_no_longer_shows_is_absent(tmp_path: Path) -> None:
    past = small(pod("one", 0.5, 1.5, "GPU-0"), pod("two", 0.5, 1, "GPU-1"), hours=4)
    node = past.truth.nodes[0]
    node.cuts["GPU-1"] = [(node.began, START + 2 * HOUR, ())]
    ledger = filled(tmp_path, past.samples(START, START + 4 * HOUR), 4)
    agrees(ledger, past, 4, but=float(Fraction(PRICE * ROUND, HOUR)))
    nobody = {line.id: line for line in ask(ledger, START, START + 4 * HOUR).lines}[""]
    assert abs(nobody.absent - PRICE) < Fraction(PRICE * ROUND, HOUR)


def test_a_node_that_went_ends_with_the_first_scrape_without_it(tmp_path: Path) -> None:
    past, other = small(pod("one", 0.5, 1.5, "GPU-0"), hours=4), small(hours=4)
    node, stays = past.truth.nodes[0], other.truth.nodes[0]
    node.ended = START + 2 * HOUR + 5 * SECOND
    stays.uid = "stays"
    stays.cuts = {"GPU-9": stays.cuts["GPU-0"]}
    past.truth.nodes.append(stays)
    ledger = filled(tmp_path, past.samples(START, START + 4 * HOUR), 4)
    ends = [row for row in ledger.store.rows(ENDS) if row[0] == "node"]
    assert len(ends) == 1
    assert 0 <= ends[0][1] - node.ended <= ROUND
