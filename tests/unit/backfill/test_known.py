"""What a ledger, a cluster and labels know beside the metrics: whose a pod is, and what a meter wrote before."""

from __future__ import annotations

from pathlib import Path

from plimsoll.cost.sample import Ended, Gpu, Hold, Node, Pod, Record, Watch, key
from plimsoll.spec.load import from_mapping
from tests.unit.backfill.past import HOUR, MINUTE, MODEL, START, Past
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


def test_claims_are_held_where_exporters_say(tmp_path: Path) -> None:
    """Pods with a ResourceClaim (DRA) ask for no extended resource; one of them claims something else."""
    past = small(pod("claims", 0.5, 1.5, "GPU-0"), pod("plain", 0.5, 1, "GPU-1"), pod("nic", 1, 2, "GPU-1"), hours=3)
    told: list[Exposed] = []
    for metric, labels, at, value in past.samples(START, START + 3 * HOUR):
        if metric == "kube_pod_container_resource_requests" and labels["pod"] in ("claims", "nic"):
            own = {name: labels[name] for name in ("namespace", "pod", "uid", "instance", "job")}
            told.append(("kube_pod_resourceclaim_info", {**own, "claim_name": "x"}, at, 1.0))
        elif metric.startswith("DCGM") and labels.get("exported_pod") == "nic":
            told.append((metric, {name: text for name, text in labels.items() if "exported" not in name}, at, value))
        else:
            told.append((metric, labels, at, value))
    past.truth.pods = [each for each in past.truth.pods if each.uid != "nic"]
    ledger = empty()
    with serving(tmp_path, told) as url:
        fill(ledger, url, 3)
    agrees(ledger, past, 3)
    assert ledger.store.rows("SELECT COUNT(*) FROM holds") == [(2,)]


def test_names_of_metrics_that_change_while_a_pod_runs(tmp_path: Path) -> None:
    """dcgm-exporter is upgraded to 4.9 within an hour: nothing is unseen but for a moment, and memory stays memory."""
    past = small(pod("runs", 0, 3, "GPU-0"), hours=3)
    past.busy = {"runs": 0.5}
    change = START + HOUR + HOUR // 2
    old = list(past.samples(START, change))
    past.new = True
    ledger = empty()
    with serving(tmp_path, [*old, *past.samples(change, START + 3 * HOUR)]) as url:
        fill(ledger, url, 3)
    agrees(ledger, past, 3)
    (sums,) = ledger.store.rows(
        "SELECT SUM(seen), SUM(busy), SUM(memory), SUM(energy) FROM usage_inbox WHERE pod = ?", (key("runs"),)
    )
    assert 3 * HOUR - 2 * MINUTE <= sums[0] <= 3 * HOUR
    assert sums[1] * 2 == sums[0]
    assert abs(sums[2] - 1024 * 3 * HOUR) < 1024 * 2 * MINUTE
    assert abs(sums[3] - 300 * 3 * HOUR) < 300 * 3 * MINUTE
