"""Nodes that go and come back under the same name, as spot machines and reinstalled ones do."""

from __future__ import annotations

import pytest

from plimsoll.agents.meter.cluster import Cluster
from plimsoll.agents.meter.fold import Fold
from plimsoll.agents.meter.reading import Reading
from plimsoll.cost.sample import Ended, Gpu, Node
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj

SECOND = 1000
MADE = {"first": "1970-01-01T00:00:01Z", "second": "1970-01-01T00:00:04Z"}


def node(uid: str, version: int) -> Obj:
    labels = {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.count": "1",
              "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}  # fmt: skip
    return {
        "metadata": {"name": "spot-1", "uid": uid, "resourceVersion": str(version), "labels": labels,
                     "creationTimestamp": MADE[uid]},
        "status": {"capacity": {"nvidia.com/gpu": "1"}, "allocatable": {"nvidia.com/gpu": "1"}},
    }  # fmt: skip


@pytest.mark.parametrize("told, written", [(True, True), (True, False), (False, False)],
                         ids=["gone, written, back", "gone and back", "its end is not told"])  # fmt: skip
def test_another_machine_takes_the_name(told: bool, written: bool) -> None:
    cluster = Cluster(None, lambda *_: "", Fold(15 * SECOND), started=0, patience_ms=90 * SECOND)
    cluster.take(kinds.NODE, "ADDED", node("first", 1), 0)
    cluster.read("spot-1", [Reading(node="spot-1", gpu="GPU-a", model="H100")], 1 * SECOND)
    records = cluster.drain()
    if told:
        cluster.take(kinds.NODE, "DELETED", node("first", 2), 5 * SECOND)
        if written:
            records += cluster.drain()
    cluster.take(kinds.NODE, "ADDED", node("second", 3), 6 * SECOND)
    records += cluster.drain()
    cluster.take(kinds.NODE, "MODIFIED", node("second", 4), 7 * SECOND)
    cluster.read("spot-1", [Reading(node="spot-1", gpu="GPU-b", model="H100")], 8 * SECOND)
    cluster.take(kinds.NODE, "DELETED", node("second", 5), 9 * SECOND)
    records += cluster.drain()

    assert [each.uid for each in records if isinstance(each, Node)] == ["first", "second"]
    assert [(each.node, each.gpu) for each in records if isinstance(each, Gpu)] == [
        ("first", "GPU-a"), ("second", "GPU-b")]  # fmt: skip
    ends = [(each.subject, each.moment) for each in records if isinstance(each, Ended) and each.kind == "node"]
    assert ends == [(("first",), (5 if told else 4) * SECOND), (("second",), 9 * SECOND)]
    assert not cluster.seats


@pytest.mark.parametrize("labelled", [True, False], ids=["written", "not yet written"])
def test_what_was_before_a_restart_is_told_once_more(labelled: bool) -> None:
    """A meter that begins again lists what is there, then hears what was since it stood."""
    cluster = Cluster(None, lambda *_: "", Fold(15 * SECOND), started=0, patience_ms=90 * SECOND)
    now = node("second", 5)
    if not labelled:
        now["metadata"]["labels"], now["status"] = {}, {}
    cluster.take(kinds.NODE, "ADDED", now, 9 * SECOND)
    cluster.take(kinds.NODE, "MODIFIED", node("first", 2), 9 * SECOND)
    cluster.take(kinds.NODE, "DELETED", node("first", 3), 9 * SECOND)
    cluster.take(kinds.NODE, "MODIFIED", node("second", 6), 9 * SECOND)
    records = cluster.drain()
    assert [each.uid for each in records if isinstance(each, Node)] == ["second"]
    assert not [each for each in records if isinstance(each, Ended)]
    assert list(cluster.seats) == ["spot-1"]
