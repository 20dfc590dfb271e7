"""Several meters on one ledger: those of nodes look after their own, and a ledger is of one cluster."""

from __future__ import annotations

from plimsoll.agents.meter.cluster import Cluster
from plimsoll.agents.meter.fold import Fold
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.opened import opened
from plimsoll.cost.sample import Ended, Gpu, Hold, Node, Pod, Watch
from plimsoll.kube import kinds
from tests.unit.agents.world import iso

AT = 1_764_547_200_000


def full(ledger: Ledger) -> None:
    for name in ("a", "b"):
        ledger.write([
            Node(uid=f"node-{name}", name=name, gpus=1, began=AT),
            Gpu(node=f"node-{name}", gpu=f"GPU-{name}", began=AT),
            Pod(uid=f"pod-{name}", namespace="team", name=name, node=f"node-{name}", began=AT),
            Hold(pod=f"pod-{name}", node=f"node-{name}", gpu=f"GPU-{name}", began=AT),
            Watch(meter=name, began=AT, ended=AT + 1000),
        ])  # fmt: skip


def cluster(**more: bool) -> Cluster:
    return Cluster(None, lambda *_: "", Fold(15_000), started=AT + 1000, patience_ms=0, **more)


def test_the_meter_of_a_node_ends_nothing_of_another(ledger: Ledger) -> None:
    full(ledger)
    meter = cluster()
    meter.restore(opened(ledger.store).of("a"), {})
    for kind in (kinds.NODE, kinds.POD):
        meter.synced(kind, set(), AT + 1000)
    meter.tick(AT + 3_600_000)  # nobody told of anything: what it had open is over
    ended = {each.subject for each in meter.drain() if isinstance(each, Ended)}
    assert ended == {("node-a",), ("pod-a",)}


def test_a_meter_that_only_watches_says_not_who_holds_what(ledger: Ledger) -> None:
    meter = cluster(seating=False)
    labels = {"nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.count": "1", "nvidia.com/gpu.present": "true"}
    meta = {"name": "a", "uid": "n", "creationTimestamp": iso(AT), "labels": labels}
    meter.take(kinds.NODE, "ADDED", {"metadata": meta}, AT)
    pod = {
        "metadata": {"name": "p", "namespace": "team", "uid": "p", "creationTimestamp": iso(AT)},
        "spec": {"nodeName": "a", "containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
        "status": {"phase": "Running", "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(AT)}]},
    }  # fmt: skip
    meter.take(kinds.POD, "ADDED", pod, AT)
    meter.tick(AT + 3_600_000)
    meter.take(kinds.POD, "DELETED", pod, AT + 3_700_000)
    assert [type(each).__name__ for each in meter.drain()] == ["Node", "Pod", "Ended"]
