"""What rows of holds say: idleness, means, jobs, sizes; and how a ledger tells them."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import Ended, Gpu, Hold, Instance, Node, Pod, Record, Running, Usage, Watch, measured
from plimsoll.cost.window import Window
from plimsoll.diagnose import held
from plimsoll.diagnose import ledger as from_ledger
from plimsoll.diagnose.held import Held, use_of
from plimsoll.diagnose.model import HOUR, MINUTE

START = 1_764_547_200_000  # 2025-12-01
DAY = Window(START, START + 24 * HOUR)
H100 = "H100-SXM5-80GB"


def row(**more: Any) -> Held:
    """A hold of a whole day that was measured all the time and half busy."""
    span = more.pop("span", 24 * HOUR)
    base: dict[str, Any] = {
        "workload": "a/w", "job": "", "pod": "p", "team": "t", "model": "", "node": "n", "sku": H100, "gpus": 8,
        "uuid": "GPU-1", "instance": "", "profile": "", "parts": 56, "shared": False, "began": START,
        "ended": START + span, "open": True, "seen": span, "busy": span // 2, "active": START + span,
        "samples": span // MINUTE,
    }  # fmt: skip
    return Held(**{**base, **more})


def said(*rows: Held) -> dict[str, float]:
    return {name: value.value for name, value in use_of(rows, "ledger", 0.8).values.items()}


def test_a_device_that_nothing_ran_on() -> None:
    found = said(row(), row(uuid="GPU-2", busy=0, idle=24 * HOUR, active=0))
    assert (found["held.gpus"], found["unused.gpus"], found["unused.minutes"]) == (2, 1, 1440)
    assert found["unused.gpu_hours"] == 24
    assert found["busy.mean"] == 0.25


@pytest.mark.parametrize(
    ("change", "unused", "quiet"),
    [
        ({"busy": 0, "active": 0}, 1, 0),
        ({"busy": 0, "active": 0, "seen": 0}, None, None),  # nobody looked
        ({"busy": 0, "active": 0, "seen": 12 * HOUR}, 0, 0),  # looked at too little
        ({"busy": 0, "active": 0, "before": True, "quiet_seen": 24 * HOUR}, 0, 1),  # it was used yesterday
        ({"active": START + 2 * HOUR, "quiet_seen": 22 * HOUR}, 0, 1),
        ({"active": START + 2 * HOUR, "quiet_seen": 11 * HOUR}, 0, 0),  # of which half was not looked at
        ({"active": START + 2 * HOUR, "quiet_seen": 22 * HOUR, "open": False}, 0, 0),  # it is over
        ({"active": START + 24 * HOUR - 20 * MINUTE, "quiet_seen": 20 * MINUTE}, 0, 0),
    ],
)
def test_unused_and_quiet(change: dict[str, Any], unused: int | None, quiet: int | None) -> None:
    found = said(row(**change))
    assert (found.get("unused.gpus"), found.get("quiet.gpus")) == (unused, quiet)


def test_what_reads_nothing_beside_work_was_not_measured() -> None:
    assert not {"sm.mean", "tensor.mean", "dram.mean", "watts.mean"} & set(said(row()))
    found = said(row(dram=6 * HOUR, sm=12 * HOUR))
    assert (found["dram.mean"], found["sm.mean"], found["tensor.mean"]) == (0.25, 0.5, 0)


def test_rows_too_young_to_judge_count_for_their_time_only() -> None:
    found = said(row(span=20 * MINUTE, busy=0, active=0))
    assert set(found) == {"held.minutes", "held.gpu_hours"}


def test_coverage_is_of_the_time_held() -> None:
    values = use_of([row(seen=18 * HOUR)], "ledger", 0.8).values
    assert values["busy.mean"].coverage == 0.75
    assert values["unused.gpus"].coverage == 0.75


def test_a_job_on_several_nodes() -> None:
    """Its pods came one after the other; one of an earlier try is gone."""
    now = [row(job="a/j", pod=f"p{n}", node=f"n{n // 2}", uuid=f"GPU-{n}", began=START + n * MINUTE) for n in range(4)]
    old = row(job="a/j", pod="old", node="n9", uuid="GPU-9", ended=START + 2 * MINUTE + 1, span=HOUR)
    found = said(*now, old)
    assert (found["job.gpus"], found["job.nodes"], found["node.gpus"]) == (4, 2, 8)
    assert found["job.minutes"] == 24 * 60 - 3
    assert found["ranks.spread"] == 1


@pytest.mark.parametrize(("least", "spread"), [(0.1, 5), (0.25, 2), (0.5, 1)])
def test_ranks_that_work_unequally(least: float, spread: float) -> None:
    rows = [row(job="a/j", pod="p0"), row(job="a/j", pod="p1", uuid="GPU-2", busy=round(least * 24 * HOUR))]
    found = said(*rows)
    assert (found["ranks.spread"], found["ranks.lowest"]) == pytest.approx((spread, least))


def test_ranks_of_which_one_was_not_measured_are_not_compared() -> None:
    rows = [row(job="a/j", pod="p0"), row(job="a/j", pod="p1", uuid="GPU-2", seen=HOUR, busy=0)]
    assert "ranks.spread" not in said(*rows)


def test_facts_of_slices() -> None:
    cut = row(instance="1", profile="3g.40gb", parts=28)
    facts = use_of([cut], "ledger", 0.8).facts
    assert (facts.cut, facts.profile, facts.memory_mib) == (True, "3g.40gb", 81559 // 2)
    mixed = use_of([cut, cut._replace(instance="2", profile="1g.10gb")], "ledger", 0.8).facts
    assert (mixed.cut, mixed.profile, mixed.memory_mib) == (True, "", 0)
    assert use_of([row(sku="odd")], "ledger", 0.8).facts.memory_mib == 0


def test_the_pod_in_commands_is_one_that_runs() -> None:
    gone, here = row(pod="gone", open=False, busy=0, active=0), row(pod="here", uuid="GPU-2")
    assert use_of([gone, here], "ledger", 0.8).facts.pod == "here"
    assert use_of([gone], "ledger", 0.8).facts.pod == ""


def test_teams_are_weighed_by_their_time() -> None:
    found = held.teams([row(), row(team="u", span=6 * HOUR, busy=0), row(team="")], "prometheus")
    assert {team: values["busy.mean"].value for team, values in found.items()} == {"t": 0.5, "u": 0}
    assert found["u"]["held.share"].value == pytest.approx(6 / 54)


# From a ledger


def base(*more: Record) -> list[Record]:
    return [
        Node(uid="n", name="n", sku=H100, gpus=8, began=START - 48 * HOUR),
        *(Gpu(node="n", gpu=f"GPU-{n}", began=START - 48 * HOUR) for n in range(8)),
        Watch(meter="m", began=START - 48 * HOUR, ended=START + 24 * HOUR),
        *more,
    ]


def pod(name: str, began: int = START, **more: Any) -> Pod:
    return Pod(uid=name, namespace="a", name=name, node="n", team="t", workload="a/w", began=began, **more)


def use(pod: str, began: int, ended: int, busy: float, gpu: str = "GPU-0", instance: str = "") -> Usage:
    return measured(gpu, instance, pod, began, ended, busy, busy, watts=100, memory_mib=1000)


def read(ledger: Ledger, *more: Record, checkpoint: int = 0) -> from_ledger.Read:
    ledger.write(base(*more))
    return from_ledger.read(ledger, DAY, checkpoint=checkpoint)


@pytest.mark.parametrize("sealed", [False, True])
def test_since_when_a_device_does_nothing(ledger: Ledger, sealed: bool) -> None:
    ledger.write([use("p", START, START + 3 * HOUR, 0.5), use("p", START + 3 * HOUR, START + 24 * HOUR, 0.001)])
    if sealed:
        ledger.seal(START + 24 * HOUR)
    (found,) = read(ledger, pod("p"), Hold(pod="p", node="n", gpu="GPU-0", began=START)).rows
    assert (found.active, found.quiet, found.quiet_seen) == (START + 3 * HOUR, 21 * HOUR, 21 * HOUR)
    assert (found.workload, found.uuid, found.node, found.gpus, found.open) == ("a/w", "GPU-0", "n", 8, True)
    assert (found.seen, found.samples) == (24 * HOUR, 1440)


def test_what_was_used_before_the_window_is_idle_and_not_unused(ledger: Ledger) -> None:
    yesterday = START - 24 * HOUR
    more: list[Record] = [
        pod("p", yesterday), Hold(pod="p", node="n", gpu="GPU-0", began=yesterday),
        Hold(pod="p", node="n", gpu="GPU-1", began=yesterday), use("p", yesterday, yesterday + HOUR, 0.5),
        use("p", START, START + 24 * HOUR, 0.0), use("p", START, START + 24 * HOUR, 0.0, "GPU-1"),
    ]  # fmt: skip
    rows = {each.uuid: each for each in read(ledger, *more).rows}
    assert (rows["GPU-0"].before, rows["GPU-1"].before) == (True, False)
    assert (rows["GPU-0"].unused, rows["GPU-1"].unused) == (False, True)
    assert rows["GPU-0"].quiet == 24 * HOUR


def test_sharers_and_slices(ledger: Ledger) -> None:
    more: list[Record] = [
        *(pod(name) for name in "pqrs"), Hold(pod="p", node="n", gpu="GPU-0", began=START),
        Hold(pod="q", node="n", gpu="GPU-0", began=START + HOUR),
        Instance(node="n", gpu="GPU-1", instance="7", profile="1g.10gb", parts=8, began=START),
        Hold(pod="r", node="n", gpu="GPU-1", instance="7", parts=8, began=START),
        Hold(pod="s", node="n", gpu="GPU-2", began=START),
        use("r", START, START + 24 * HOUR, 0.5, "GPU-1", "7"),
    ]  # fmt: skip
    rows = {each.pod: each for each in read(ledger, *more).rows}
    assert [rows[name].shared for name in "pqrs"] == [True, True, False, False]
    assert (rows["r"].instance, rows["r"].profile, rows["r"].parts, rows["r"].seen) == ("7", "1g.10gb", 8, 24 * HOUR)


def test_starts_and_ends(ledger: Ledger) -> None:
    names = ("p", "q")
    more: list[Record] = []
    for name, waited in zip(names, (4, 8), strict=True):
        more += [pod(name), Hold(pod=name, node="n", gpu=f"GPU-{waited}"[:5], began=START),
                 Running(pod=name, moment=START + waited * MINUTE),
                 Ended(kind="pod", subject=(name,), moment=START + 3 * HOUR, why="PreemptionByScheduler")]  # fmt: skip
    lives = read(ledger, *more, checkpoint=HOUR).lives["a/w"]
    assert lives["start.minutes"].value == 6
    assert lives["evictions"].value == 2
    assert lives["evictions.gpu_hours"].value == 2  # an hour each: the rest was saved
    assert lives["checkpoint.minutes"].value == 60


def test_only_the_largest_workloads_are_listed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_ledger, "WORKLOADS_MAX", 2)
    more: list[Record] = []
    for n in range(4):
        own = Pod(uid=f"p{n}", namespace="a", name=f"p{n}", node="n", team="t", began=START)
        more += [own, Hold(pod=own.uid, node="n", gpu=f"GPU-{n}", began=START + n * HOUR)]
    found = read(ledger, *more)
    assert {each.workload for each in found.rows} == {"a/p0", "a/p1"}  # a pod that belongs to nothing is its own
    assert found.skipped == 2
