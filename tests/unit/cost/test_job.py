"""One job, pod by pod, in both kinds of ledger."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from plimsoll.cost.bill import Query, bill
from plimsoll.cost.job import GONE, Job, find, job
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import HOUR, Ended, Gpu, Node, Record, Running, measured
from plimsoll.cost.store import open_store
from plimsoll.errors import IncompleteError, InputError
from tests.unit.cost.test_shares import END, GPU, TARIFF, node, pod
from tests.unit.cost.truth import START, generate
from tests.unit.cost.truth import TARIFF as TARIFF_OF_TRUTH


def member(uid: str, began: int, ended: int | None, gpu: str = "g0", run: str = "1", **more: Any) -> list[Record]:
    own = {"job": "ns/train", "job_uid": f"train-{run}", "team": "red", "created": START + began * HOUR - 60_000}
    return pod(uid, began, ended, gpu, **{**own, **more})


def gone(uid: str, hour: int, why: str, exact: bool = True) -> Ended:
    return Ended(kind="pod", subject=(uid,), moment=START + hour * HOUR, why=why, exact=exact)


def ask(ledger: Ledger, name: str = "ns/train", uid: str = "", **more: Any) -> Job:
    return job(ledger, TARIFF, find(ledger, name, uid), **more)


def test_each_pod_pays_for_its_time(ledger: Ledger) -> None:
    ledger.write([*node("gold", 8), *member("a", 1, 4), *member("b", 1, 5, "g1"), *pod("other", 0, None, "g2")])
    ledger.write([Running(pod="a", moment=START + 2 * HOUR), Running(pod="b", moment=START + 3 * HOUR)])
    ledger.write([measured("g0", "", "a", START + 2 * HOUR, START + 4 * HOUR, 0.5)])
    found = ask(ledger)
    assert [(each.uid, each.cost, each.starting, each.lost) for each in found.pods] == [
        ("a", 3 * GPU, GPU, 0),
        ("b", 4 * GPU, 2 * GPU, 0),
    ]
    assert (found.cost, found.starting, found.ended) == (7 * GPU, 3 * GPU, START + 5 * HOUR)
    assert (found.pods[0].held_ms, found.pods[0].used_ms) == (3 * HOUR, HOUR)
    assert [(each.name, each.ended - each.began) for each in found.phases] == [
        ("queued", 60_000),
        ("starting", HOUR),
        ("running", 3 * HOUR),
    ]


def test_a_job_that_runs_is_billed_until_meters_watched(ledger: Ledger) -> None:
    ledger.write([*node(), *member("a", 4, None)])
    found = ask(ledger)
    assert (found.cost, found.ended, found.upto) == (6 * GPU, None, END)
    assert found.pods[0].ended is None
    assert [each.name for each in found.phases] == ["queued", "starting"]  # nobody saw its containers run


@pytest.mark.parametrize(("checkpoint", "hours"), [(0, 3), (HOUR // 2, 0.5), (3 * HOUR, 3), (9 * HOUR, 3)])
def test_a_pod_that_was_pushed_out_lost_what_it_did_since_its_checkpoint(
    ledger: Ledger, checkpoint: int, hours: float
) -> None:
    ledger.write([*node(), *member("a", 1, None), gone("a", 4, "PreemptionByScheduler"), *member("b", 5, 6)])
    found = ask(ledger, checkpoint=checkpoint)
    assert [each.evicted for each in found.pods] == [True, False]
    assert found.lost == found.pods[0].lost == round(hours * GPU)


@pytest.mark.parametrize("why", ["", "Completed", "OOMKilled"])
def test_one_that_ended_by_itself_lost_nothing(ledger: Ledger, why: str) -> None:
    ledger.write([*node(), *member("a", 1, None), gone("a", 4, why)])
    assert ask(ledger).lost == 0


def test_a_pod_goes_with_its_node(ledger: Ledger) -> None:
    ledger.write([*node(), *member("a", 1, None), Ended(kind="node", subject=("n",), moment=START + 3 * HOUR)])
    (only,) = ask(ledger).pods
    assert (only.ended, only.why, only.evicted) == (START + 3 * HOUR, GONE, True)
    assert only.cost == only.lost == 2 * GPU


def test_of_two_ends_the_one_that_the_cluster_told_goes_first(ledger: Ledger) -> None:
    ledger.write([*node(), *member("a", 1, None), gone("a", 2, "Missing", exact=False), gone("a", 4, "Completed")])
    (only,) = ask(ledger).pods
    assert (only.ended, only.why, only.cost) == (START + 4 * HOUR, "Completed", 3 * GPU)


def test_the_newest_of_a_name_unless_a_uid_is_given(ledger: Ledger) -> None:
    ledger.write([*node(), *member("a", 1, 2, run="1"), *member("b", 3, 5, run="2"), *pod("bare", 6, 7)])
    found = ask(ledger, "train")
    assert (found.found.uid, found.found.others, found.cost) == ("train-2", 1, 2 * GPU)
    assert ask(ledger, "ns/train", "train-1").cost == GPU
    with pytest.raises(InputError, match="no job 'train' with the uid 'x'"):
        find(ledger, "train", "x")
    assert ask(ledger, "worker-0").cost == GPU  # a pod without a job
    assert ask(ledger, "ns/worker-0", "bare").pods[0].uid == "bare"


def test_a_name_in_two_namespaces_must_be_said_whole(ledger: Ledger) -> None:
    ledger.write([*node(), *member("a", 1, 2), *member("b", 3, 5, job="other/train")])
    with pytest.raises(InputError) as error:
        find(ledger, "train")
    assert "ns/train, other/train" in error.value.hint
    assert find(ledger, "other/train").name == "other/train"


@pytest.mark.parametrize("name", ["", "/", "%", "ns/%", "x' OR '1'='1", "ns/train/", "_"])
def test_names_that_nothing_has(ledger: Ledger, name: str) -> None:
    ledger.write([*node(), *member("a", 1, 2)])
    with pytest.raises(InputError, match="has no job"):
        find(ledger, name)


def test_an_empty_ledger(ledger: Ledger) -> None:
    with pytest.raises(IncompleteError, match="empty"):
        find(ledger, "train")


@pytest.mark.parametrize("seed", range(5))
def test_a_job_costs_what_its_line_of_the_bill_says(seed: int) -> None:
    truth = generate(Random(seed), nodes=3, pods=25)
    ledger = Ledger(open_store(":memory:"))
    ledger.write(truth.records())
    lines = bill(ledger, TARIFF_OF_TRUTH, Query(by="job", began=0, ended=truth.horizon)).lines
    some = [line for line in lines if line.key.startswith("team/")]
    assert some
    for line in some:
        found = job(ledger, TARIFF_OF_TRUTH, find(ledger, line.key, line.id))
        # An hour of sharers that the job does not fill is weighed by other moments of it than the whole bill's.
        assert abs(found.cost - line.cost) <= 2 + line.cost // 5
        exact = job(ledger, TARIFF_OF_TRUTH, find(ledger, line.key, line.id), split="even")
        even = bill(ledger, TARIFF_OF_TRUTH, Query(by="job", began=0, ended=truth.horizon, split="even")).lines
        assert abs(exact.cost - next(each.cost for each in even if each.id == line.id)) <= 1


def test_what_no_meter_watched_costs_nothing(ledger: Ledger) -> None:
    """As in the bill: a job that is older than the first meter pays from then on."""
    ledger.write(
        [each if not isinstance(each, (Node, Gpu)) else replace(each, began=START - 5 * HOUR) for each in node()]
    )
    ledger.write(member("a", -2, 3))
    found = ask(ledger)
    assert (found.cost, found.phases[-1].ended) == (3 * GPU, START + 3 * HOUR)
