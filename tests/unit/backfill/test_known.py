"""What a ledger, a cluster and labels know beside the metrics: whose a pod is, and what a meter wrote before."""

from __future__ import annotations

from pathlib import Path

from plimsoll.cost.sample import Ended, Gpu, Hold, Node, Pod, Record, Watch
from plimsoll.spec.load import from_mapping
from tests.unit.backfill.past import HOUR, MODEL, START, Past
from tests.unit.backfill.test_backfill import agrees, empty, fill, pod, small
from tests.unit.cost.truth import SKU
from tests.unit.kube.promserver import Exposed, serving


def written(past: Past, since: int) -> list[Record]:
    """What a meter wrote that was begun at a moment: it knows all pods that were there then, with their beginnings."""
    (node,) = past.truth.nodes
    found: list[Record] = [
        Node(uid="real", name=node.uid, pool=node.pool, sku=SKU, gpus=node.gpus, began=node.began),
        *(Gpu(node="real", gpu=gpu, began=since) for gpu in node.cuts),
        Watch(meter="meter", began=since, ended=START + 4 * HOUR),
    ]
    for each in past.truth.pods:
        if each.ended < since:
            continue
        found.append(Pod(uid=each.uid, namespace="blue", name=each.name, node="real", team="blue", began=each.began))
        found += [Hold(pod=each.uid, node="real", gpu=gpu, began=each.began) for gpu, _ in each.slots]
        found.append(Ended(kind="pod", subject=(each.uid,), moment=each.ended))
    return found


def test_a_meter_was_there_before_and_both_are_one(tmp_path: Path) -> None:
    past = small(pod("old", 0.5, 1, "GPU-0"), pod("both", 0.75, 3, "GPU-1"), pod("new", 2.5, 3.5, "GPU-0"), hours=4)
    ledger = empty()
    ledger.write(written(past, START + 2 * HOUR))
    with serving(tmp_path, past.samples(START, START + 4 * HOUR)) as url:
        summary = fill(ledger, url, 4)
    agrees(ledger, past, 4)
    assert summary.counts["Hold"] == 1
    assert not summary.counts["nodes without a uid"]
    assert ledger.store.rows("SELECT uid FROM nodes") == [("real",)]


def test_whose_a_pod_is(tmp_path: Path) -> None:
    past = small(
        pod("train-0", 0.5, 1, "GPU-0"), pod("web-7d9f-x", 1, 2, "GPU-1"), pod("set-0", 1, 2, "GPU-0"), hours=3
    )
    past.truth.pods[0].job = "blue/train"
    owners = {"web-7d9f-x": ("ReplicaSet", "web-7d9f"), "set-0": ("JobSet", "set")}
    have = {
        "web-7d9f-x": {"label_pod_template_hash": "7d9f", "label_plimsoll_dev_team": "red", "label_secret": "x"},
        "set-0": {"label_jobset_sigs_k8s_io_jobset_name": "set"},
    }
    told: list[Exposed] = []
    for name, labels, at, value in past.samples(START, START + 3 * HOUR):
        if name == "kube_pod_info" and labels["pod"] in owners:
            kind, owner = owners[labels["pod"]]
            labels = {**labels, "created_by_kind": kind, "created_by_name": owner}
        told.append((name, labels, at, value))
        if name == "kube_pod_created" and labels["pod"] in have:
            told.append(("kube_pod_labels", {**labels, **have[labels["pod"]]}, at, 1.0))
        if name == "kube_namespace_created":
            told.append(("kube_job_created", {"namespace": "blue", "job_name": "train"}, at, 1_764_500_000.0))
    ledger = empty()
    with serving(tmp_path, told) as url:
        fill(ledger, url, 3)
    found = ledger.store.rows("SELECT name, team, job, job_uid, workload, labels FROM pods ORDER BY name")
    assert found == [
        ("set-0", "", "blue/set", "", "blue/set", "{}"),
        ("train-0", "", "blue/train", "blue/train@1764500000", "blue/train", "{}"),
        ("web-7d9f-x", "red", "", "", "blue/web", '{"plimsoll.dev/team":"red"}'),
    ]


def test_a_pool_that_only_one_can_be(tmp_path: Path) -> None:
    pools = [
        {"name": name, "gpu": SKU, "gpusPerNode": gpus, "nodes": {"max": 2}, "nodeSelector": {"pool": name}}
        for name, gpus in (("small", 2), ("large", 8))
    ]
    platform = from_mapping({"pools": pools, "teams": [{"name": "red", "namespaces": ["blue"], "quota": {"small": 2}}]})
    past = small(pod("a", 0.5, 1, "GPU-0"), hours=2)
    past.labelled = False
    live = {"metadata": {"name": "node", "uid": "real", "creationTimestamp": "2025-11-30T00:00:00Z",
                         "labels": {"pool": "large", "nvidia.com/gpu.product": MODEL.replace(" ", "-")}}}  # fmt: skip
    with serving(tmp_path, past.samples(START, START + 2 * HOUR)) as url:
        guessed, told = empty(), empty()
        summary = fill(guessed, url, 2, platform=platform)
        fill(told, url, 2, platform=platform, nodes=[live])
    assert guessed.store.rows("SELECT pool, sku, gpus FROM nodes") == [("small", SKU, 2)]
    assert any("--metric-labels-allowlist" in each for each in summary.notes)
    assert told.store.rows("SELECT pool, uid FROM nodes") == [("large", "real")]
    assert guessed.store.rows("SELECT team FROM pods") == [("red",)]
