"""What watches tell, in any order and however late, as records."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from plimsoll.agents.meter.cluster import GONE_AFTER, Cluster
from plimsoll.agents.meter.fold import Fold
from plimsoll.agents.meter.reading import Reading
from plimsoll.cost.bill import Query, bill
from plimsoll.cost.duck import Duck
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.opened import opened
from plimsoll.cost.price import Tariff
from plimsoll.cost.sample import Ended, Gpu, Hold, Node, Pod, Record, Running, Watch
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj
from tests.unit.agents.world import PRODUCT, iso

T = 1_795_600_000_000
SECOND, ROUND = 1000, 15_000
_versions = count(1)


def meta(name: str, uid: str, **more: Any) -> Obj:
    return {"name": name, "uid": uid, "resourceVersion": str(next(_versions)), "creationTimestamp": iso(T)} | more


def node(name: str = "n", uid: str = "node", *, gpus: int = 2) -> Obj:
    labels = {"nvidia.com/gpu.count": str(gpus), "nvidia.com/gpu.product": PRODUCT} if gpus else {}
    return {"metadata": meta(name, uid, labels=labels), "spec": {}, "status": {}}


def pod(uid: str = "p", name: str = "", *, on: str = "n", at: int = T, ran: int = 0, ended: int = 0, gpus: int = 1,
        phase: str = "", **status: Any) -> Obj:  # fmt: skip
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(at)}
    state: Obj = {"running": {"startedAt": iso(ran)}} if ran else {}
    if ended:
        state = {"terminated": {"startedAt": iso(ran), "finishedAt": iso(ended), "exitCode": 0, "reason": "Completed"}}
    said = {"phase": phase or ("Running" if ran else "Pending"), "conditions": [placed] if on else []} | status
    if state:
        said["containerStatuses"] = [{"name": "main", "state": state}]
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {"metadata": meta(name or uid, uid, namespace="team"), "status": said,
            "spec": {"nodeName": on, "containers": [{"name": "main", "resources": {"limits": limits}}]}}  # fmt: skip


class Told:
    """A cluster that is told things, and all its records."""

    def __init__(self, now: int = T) -> None:
        self.cluster = Cluster(None, lambda *_: "", Fold(ROUND), started=now, patience_ms=90 * SECOND)
        self._found: list[Record] = []

    def take(self, change: str, obj: Obj, at: int = 0) -> Told:
        kind = kinds.POD if "containers" in obj.get("spec", {}) or obj["metadata"].get("namespace") else kinds.NODE
        self.cluster.take(kind, change, obj, T + at)
        return self

    def page(self, at: int, *holders: str, on: str = "n") -> Told:
        self.cluster.read(on, [Reading(node=on, gpu=f"GPU-{on}-{place}", busy=0.5,
                                       holders=(("team", each),) if each else ())
                               for place, each in enumerate(holders)], T + at)  # fmt: skip
        return self

    @property
    def records(self) -> list[Record]:
        self._found += self.cluster.drain()
        return self._found

    def holds(self) -> list[tuple[str, str, int]]:
        return [(each.pod, each.gpu, each.began - T) for each in self.records if isinstance(each, Hold)]

    def ends(self, kind: str = "pod") -> list[tuple[str, int, bool, str]]:
        return [(each.subject[0], each.moment - T, each.exact, each.why) for each in self.records
                if isinstance(each, Ended) and each.kind == kind]  # fmt: skip

    def kinds(self) -> list[str]:
        return [type(each).__name__ for each in self.records]


# ---- order


def test_a_pod_may_be_told_before_its_node() -> None:
    told = Told().take("ADDED", pod(ran=T + 2000)).take("ADDED", node())
    assert told.kinds() == ["Node", "Pod", "Running"]
    told.page(ROUND, "p", "")
    assert told.holds() == [("p", "GPU-n-0", 0)]


def test_a_pod_waits_until_its_node_says_what_it_has() -> None:
    told = Told().take("ADDED", node(gpus=0)).take("ADDED", pod(ran=T + 2000)).page(ROUND)
    assert told.kinds() == []
    told.take("MODIFIED", node())
    assert told.kinds() == ["Node", "Pod", "Running"]


def test_a_source_may_be_the_first_to_say_what_a_node_has() -> None:
    told = Told().take("ADDED", node(gpus=0)).take("ADDED", pod(ran=T + 2000)).page(ROUND, "p", "")
    (found,) = [each for each in told.records if isinstance(each, Node)]
    assert found.gpus == 2
    assert told.holds() == [("p", "GPU-n-0", 0)]


def test_what_is_told_twice_or_late_changes_nothing() -> None:
    first, last = pod(), pod(ran=T + 2000)
    told = Told().take("ADDED", node()).take("ADDED", last).take("ADDED", first).take("MODIFIED", last)
    told.page(ROUND, "p", "").page(2 * ROUND, "p", "")
    assert told.kinds() == ["Node", "Pod", "Running", "Gpu", "Gpu", "Hold"]


def test_a_pod_that_waits_to_be_scheduled_holds_nothing() -> None:
    told = Told().take("ADDED", node()).take("ADDED", pod(on="")).take("DELETED", pod(on=""), 5000)
    assert told.kinds() == ["Node"]


def test_a_pod_that_asks_for_no_gpu_is_not_noted() -> None:
    told = Told().take("ADDED", node()).take("ADDED", pod(gpus=0)).take("DELETED", pod(gpus=0), 5000)
    assert told.kinds() == ["Node"]


# ---- ends


def test_a_pod_that_had_ended_at_first_sight_held_what_it_asked_for() -> None:
    told = Told().take("ADDED", node()).take("ADDED", pod(ran=T + 1000, ended=T + 4000, phase="Succeeded"), 60_000)
    assert told.holds() == [("p", "0", 0)]
    assert told.ends() == [("p", 4000, True, "Completed")]


@pytest.mark.parametrize(
    ("status", "why"),
    [({"reason": "Evicted"}, "Evicted"),
     ({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
                       "lastTransitionTime": iso(T + 7000)},
                      {"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(T)}]},
      "PreemptionByScheduler")],
)  # fmt: skip
def test_why_a_pod_was_sent_away(status: Obj, why: str) -> None:
    told = Told().take("ADDED", node()).take("ADDED", pod()).take("MODIFIED", pod(phase="Failed", **status), 9000)
    ((uid, _, _, said),) = told.ends()
    assert (uid, said) == ("p", why)


def test_one_end_is_told_once() -> None:
    told = Told().take("ADDED", node()).take("ADDED", pod())
    done = pod(ran=T + 1000, ended=T + 4000, phase="Succeeded")
    told.take("MODIFIED", done, 5000).take("MODIFIED", done, 6000)
    told.take("DELETED", done, 60_000)
    assert told.ends() == [("p", 4000, True, "Completed")]


def test_a_pod_that_went_unseen_ended_by_what_was_known_of_it() -> None:
    last = pod(ran=T + 1000, ended=T + 4000)
    told = Told().take("ADDED", node()).take("ADDED", last).take("DELETED", {"metadata": last["metadata"]}, 60_000)
    assert told.ends() == [("p", 4000, True, "Completed")]
    told = (
        Told().take("ADDED", node()).take("ADDED", pod("q")).take("DELETED", {"metadata": pod("q")["metadata"]}, 9000)
    )
    assert told.ends() == [("q", 9000, False, "Deleted")]
    assert len(told.holds()) == 1


def test_a_name_that_comes_back_is_another_pod() -> None:
    old = pod("one", "worker-0", ran=T + 1000)
    told = Told().take("ADDED", node()).take("ADDED", old).page(ROUND, "worker-0", "")
    told.take("DELETED", pod("one", "worker-0", ran=T + 1000, ended=T + 20_000), 20_000)
    told.take("ADDED", pod("two", "worker-0", at=T + 21_000, ran=T + 22_000), 21_000).page(2 * ROUND, "", "worker-0")
    assert told.holds() == [("one", "GPU-n-0", 0), ("two", "GPU-n-1", 21_000)]
    told.take("DELETED", old, 40_000)  # told once more
    assert told.cluster.pod(("team", "worker-0")) == "two"


def test_a_node_that_goes_takes_its_pods_with_it() -> None:
    told = Told().take("ADDED", node()).take("ADDED", pod()).page(1000, "", "")
    told.take("DELETED", node(), 20_000)
    assert told.ends("node") == [("node", 20_000, False, "Deleted")]
    assert len(told.holds()) == 1  # it had waited to be named
    told.take("DELETED", pod(), 60_000)
    assert told.ends() == [("p", 60_000, False, "Deleted")]
    assert not told.cluster.seats


# ---- ended while nobody watched


def restored(ledger: Ledger, now: int) -> Told:
    """A meter that begins again where another had a node with a pod on it."""
    before = Told().take("ADDED", node()).take("ADDED", pod(ran=T + 1000)).page(ROUND, "p", "")
    ledger.write([*before.records, Watch(meter="m", began=T, ended=T + ROUND)])
    told = Told(now)
    told.cluster.restore(opened(ledger.store), {})
    return told


def test_what_no_list_names_has_ended(ledger: Ledger) -> None:
    told = restored(ledger, T + 60_000)
    told.cluster.synced(kinds.NODE, set(), T + 61_000)
    told.cluster.synced(kinds.POD, set(), T + 61_000)
    told.cluster.tick(T + 61_000 + GONE_AFTER)
    assert told.records == []
    told.cluster.tick(T + 61_001 + GONE_AFTER)
    assert [each[0] for each in (*told.ends(), *told.ends("node"))] == ["p", "node"]
    assert {each[2] for each in told.ends()} == {False}


def test_nothing_has_ended_while_no_list_came(ledger: Ledger) -> None:
    """An API server may take long, or refuse for a while: that a pod was not listed yet says nothing."""
    told = restored(ledger, T + 60_000)
    told.cluster.tick(T + 3_600_000)
    assert told.records == []
    told.take("ADDED", node(), 3_601_000).take("ADDED", pod(ran=T + 1000), 3_601_000)
    told.cluster.synced(kinds.NODE, {"node"}, T + 3_602_000)
    told.cluster.synced(kinds.POD, {"p"}, T + 3_602_000)
    told.cluster.tick(T + 3_900_000)
    assert told.ends() == told.ends("node") == []


def test_an_end_that_is_told_in_time_goes_before_what_is_missed(ledger: Ledger) -> None:
    told = restored(ledger, T + 60_000)
    told.take("ADDED", node(), 60_000)
    told.cluster.synced(kinds.NODE, {"node"}, T + 60_000)
    told.cluster.synced(kinds.POD, set(), T + 60_000)
    told.take("DELETED", pod(ran=T + 1000, ended=T + 30_000), 62_000)
    told.cluster.tick(T + 3_600_000)
    assert told.ends() == [("p", 30_000, True, "Completed")]


def test_what_ended_while_the_server_was_away_is_found_by_the_next_list() -> None:
    """Watches forget what happened after minutes; then only the list tells, by what it does not name."""
    told = (
        Told().take("ADDED", node()).take("ADDED", pod("stays")).take("ADDED", pod("goes")).page(1000, "stays", "goes")
    )
    told.cluster.synced(kinds.NODE, {"node"}, T)
    told.cluster.synced(kinds.POD, {"stays", "goes"}, T)
    told.cluster.tick(T + 600_000)
    assert told.ends() == []
    told.take("ADDED", pod("stays"), 900_000)
    told.cluster.synced(kinds.POD, {"stays"}, T + 900_000)
    told.cluster.tick(T + 900_001 + GONE_AFTER)
    assert told.ends() == [("goes", 900_001 + GONE_AFTER, False, "Missing")]
    assert told.cluster.pod(("team", "goes")) == ""
    assert told.cluster.pod(("team", "stays")) == "stays"


def test_gpus_that_were_there_when_we_began_are_there_since() -> None:
    told = Told(T + 5000).take("ADDED", node()).page(12_000, "", "")
    assert [each.began - T for each in told.records if isinstance(each, Gpu)] == [5000, 5000]
    late = Told(T + 5000).take("ADDED", node()).page(300_000, "", "")
    assert [each.began - T for each in late.records if isinstance(each, Gpu)] == [300_000, 300_000]


def test_a_pod_runs_once() -> None:
    told = Told().take("ADDED", node()).take("ADDED", pod()).take("MODIFIED", pod(ran=T + 3000))
    told.take("MODIFIED", pod(ran=T + 9000))
    assert [each.moment - T for each in told.records if isinstance(each, Running)] == [3000]
    assert len([each for each in told.records if isinstance(each, Pod)]) == 1


# ---- devices that go and come back


@pytest.mark.parametrize("restarts", [(), (10,), (10, 30)])
def test_a_gpu_that_comes_back_is_billed_to_the_pod_that_still_runs(restarts: tuple[int, ...]) -> None:
    """Exporters start anew, and for a while their pages lack GPUs; so may the meter."""
    told = Told().take("ADDED", node()).take("ADDED", pod(ran=T))
    ledger = Ledger(Duck(Path(":memory:")))
    for turn in range(40):
        told.page(turn * ROUND, *(("", "p") if turn == 0 or turn > 20 else ("",)))
        if turn in restarts:
            ledger.write(told.records)
            told.cluster = Cluster(None, lambda *_: "", Fold(ROUND), started=T, patience_ms=90 * SECOND)
            told.cluster.restore(opened(ledger.store), {})
            told.take("ADDED", node()).take("ADDED", pod(ran=T))
    ledger.write([*told.records, Watch(meter="m", began=T, ended=T + 40 * ROUND)])
    answer = bill(ledger, Tariff({"": (7200, "x")}), Query(by="job", began=T, ended=T + 40 * ROUND))
    (line,) = [each for each in answer.lines if each.key]
    assert line.gpu_ms == (3 + 19) * ROUND
