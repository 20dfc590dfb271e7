"""What a cluster's objects say: of workloads, nodes, jobs, queues. Whatever they hold, nothing breaks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.cost.window import Window, millis
from plimsoll.diagnose import cluster
from plimsoll.diagnose.queues import queues
from plimsoll.kube import kinds
from plimsoll.kube.snapshot import Coverage, Snapshot, Source

NOW = datetime(2025, 12, 2, tzinfo=UTC)
DAY = Window(millis(NOW) - 86_400_000, millis(NOW))
Obj = dict[str, Any]


def snap(*objects: Obj, partial: tuple[kinds.Kind, ...] = ()) -> Snapshot:
    coverage = dict.fromkeys(kinds.ALL, Coverage.WHOLE) | dict.fromkeys(partial, Coverage.PARTIAL)
    return Snapshot(objects, source=Source("manifest", "test"), taken_at=NOW, coverage=coverage)


def node(name: str = "n", **allocatable: str) -> Obj:
    have = {"cpu": "96", "memory": "800Gi", "nvidia.com/gpu": "8"} if not allocatable else {}
    return {
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"nvidia.com/gpu.present": "true",
                                              "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}},
        "spec": {},
        "status": {"allocatable": have | {key.replace("__", "/"): value for key, value in allocatable.items()},
                   "conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip


def pod(name: str = "p", gpus: Obj | None = None, cpu: str = "8", on: str | None = "n", **more: Any) -> Obj:
    limits = {"nvidia.com/gpu": "1"} if gpus is None else gpus
    container = {"name": "main", "resources": {"requests": {"cpu": cpu, "memory": "64Gi"}, "limits": limits}}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "a", "creationTimestamp": "2025-12-01T12:00:00Z",
                     **more.pop("meta", {})},
        "spec": {"containers": [container | more.pop("container", {})], **({"nodeName": on} if on else {})},
        "status": {"phase": "Running" if on else "Pending", **more},
    }  # fmt: skip


def values(found: Any) -> dict[str, float]:
    return {name: each.value for name, each in found.items()}


# Workloads


def work(*objects: Obj) -> cluster.Work:
    (found,) = cluster.workloads(snap(*objects), {}, DAY).values()
    return found


def test_cores_asked_for_beside_those_of_the_node() -> None:
    found = work(node(), pod("p", {"nvidia.com/gpu": "2"}, cpu="48"))
    assert values(found.values) == {"cores.asked": 24, "cores.node": 12, "oom.kills": 0, "restarts": 0}
    assert (found.facts.sku, found.facts.owner, found.facts.cut) == ("H100-SXM5-80GB", "Pod", False)


def test_a_ledgers_name_of_a_workload_goes_first() -> None:
    assert set(cluster.workloads(snap(pod()), {("a", "p"): "a/known"}, DAY)) == {"a/known"}


@pytest.mark.parametrize(
    ("meta", "interactive"),
    [
        ({"labels": {"notebook-name": "x"}}, True),
        ({"labels": {"app.kubernetes.io/component": "singleuser-server"}}, True),
        ({"labels": {"app.kubernetes.io/component": "web"}}, False),
        ({"ownerReferences": [{"kind": "Notebook", "name": "x", "controller": True}]}, True),
        ({}, False),
    ],
)
def test_notebooks_are_known_by_owner_or_label(meta: Obj, interactive: bool) -> None:
    assert work(pod(meta=meta)).facts.interactive is interactive


@pytest.mark.parametrize(("args", "most"), [(["--max-num-seqs=64"], 64), (["--max-num-seqs", "32"], 32), ([], 256)])
def test_what_a_server_takes_at_once(args: list[str], most: float) -> None:
    found = work(pod(container={"image": "vllm/vllm-openai:v0.12.0", "args": ["--model", "m", *args]}))
    assert found.facts.serves
    assert found.values["serve.max_seqs"].value == most


def test_restarts_kills_and_time_until_ready() -> None:
    statuses = [{"restartCount": 3, "state": {"running": {"startedAt": "2025-12-01T20:00:00Z"}},
                 "lastState": {"terminated": {"reason": "OOMKilled"}}}]  # fmt: skip
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-12-01T20:12:00Z"}]
    found = work(pod(containerStatuses=statuses, conditions=ready))
    assert {"restarts": 3, "oom.kills": 1, "ready.minutes": 12}.items() <= values(found.values).items()
    older = pod(containerStatuses=statuses, conditions=ready, meta={"creationTimestamp": "2025-11-01T00:00:00Z"})
    assert "restarts" not in work(older).values  # some may be of last month


# Nodes


def left(*objects: Obj, partial: tuple[kinds.Kind, ...] = ()) -> dict[str, dict[str, float]]:
    return {name: values(each) for name, each in cluster.nodes(snap(*objects, partial=partial)).items()}


def test_what_a_node_has_left() -> None:
    done = pod("done", cpu="50")
    done["status"]["phase"] = "Succeeded"
    found = left(node(), pod("p", {"nvidia.com/gpu": "6"}, cpu="95"), pod("q", {}, cpu="0"), done)
    assert found == {"n": {"free.gpus": 2, "free.cores": 1, "free.memory": (800 - 128) * 1024}}


def test_nothing_is_left_of_what_was_not_read_whole() -> None:
    assert left(node(), partial=(kinds.POD,)) == {}


@pytest.mark.parametrize("change", [{"spec": {"unschedulable": True}}, {"status": {"conditions": []}}])
def test_nodes_that_take_no_pods_strand_none(change: Obj) -> None:
    assert left(node() | change) == {}


MIG = {"cpu": "96", "memory": "800Gi", "nvidia.com__mig-1g.10gb": "7", "nvidia.com__mig-3g.40gb": "2"}


@pytest.mark.parametrize(
    ("wanted", "unwanted", "short"),
    [
        ({"nvidia.com/mig-3g.40gb": "1"}, 7, 1),
        ({"nvidia.com/mig-1g.10gb": "1"}, 0, 0),  # it only has to be scheduled
        ({"nvidia.com/mig-2g.20gb": "1"}, 7, 1),
        ({"nvidia.com/gpu": "1"}, 7, 0),  # it wants no instance
    ],
)
def test_free_instances_beside_pods_that_want_others(wanted: Obj, unwanted: float, short: float) -> None:
    held = pod("held", {"nvidia.com/mig-3g.40gb": "2"})
    found = left(node(**MIG), held, pod("waits", wanted, on=None))["n"]
    assert (found["free.unwanted"], found["wanted.pods"]) == (unwanted, short)


# Jobs


def job(name: str, hours: float, limit: int = 86_400, ended: str = "2025-12-01T20:00:00Z") -> Obj:
    began = datetime.fromtimestamp(datetime.fromisoformat(ended).timestamp() - hours * 3600, UTC)
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "a"},
        "spec": {"activeDeadlineSeconds": limit, "parallelism": 4, "template": pod("t", {"nvidia.com/gpu": "8"})},
        "status": {"startTime": began.isoformat(), "completionTime": ended,
                   "conditions": [{"type": "Complete", "status": "True"}]},
    }  # fmt: skip


def test_time_limits_and_what_jobs_used_of_them() -> None:
    found = cluster.limits(snap(job("one", 2), job("two", 4)), {"a": "red"}, DAY)
    assert values(found["red"]) == {"limit.used": 0.125, "limit.unused_gpu_hours": (22 + 20) * 32}
    assert cluster.limits(snap(job("old", 2, ended="2025-11-20T00:00:00Z"), job("none", 2, limit=0)), {}, DAY) == {}
    assert set(cluster.limits(snap(job("one", 2)), {}, DAY)) == {"a"}  # a namespace of no team is its own


# Queues


def queue(name: str, quota: int, reserved: int, cohort: str = "") -> Obj:
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ClusterQueue", "metadata": {"name": name},
        "spec": {"cohortName": cohort, "resourceGroups": [{"flavors": [{"name": "f", "resources": [
            {"name": "nvidia.com/gpu", "nominalQuota": quota}, {"name": "cpu", "nominalQuota": 1000}]}]}]},
        "status": {"flavorsReservation": [{"name": "f", "resources": [
            {"name": "nvidia.com/gpu", "total": str(reserved)}]}]},
    }  # fmt: skip


def local(name: str) -> Obj:
    return {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "LocalQueue",
            "metadata": {"name": name, "namespace": "a"}, "spec": {"clusterQueue": name}}  # fmt: skip


def workload(name: str, gpus: int, minutes: float, reason: str = "Pending", **spec: Any) -> Obj:
    since = datetime.fromtimestamp(NOW.timestamp() - minutes * 60, UTC).isoformat()
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload",
        "metadata": {"name": name, "namespace": "a", "creationTimestamp": since},
        "spec": {"queueName": "red", "podSets": [{"count": 2, "template": pod("t", {"nvidia.com/gpu": str(gpus)})}],
                 **spec},
        "status": {"conditions": [{"type": "QuotaReserved", "status": "False", "reason": reason}]},
    }  # fmt: skip


def waiting(*objects: Obj) -> dict[str, float]:
    return values(queues(snap(local("red"), *objects), DAY)["red"])


def test_work_that_waits_beside_free_quota() -> None:
    found = waiting(queue("red", 16, 8), workload("fits", 4, 30), workload("young", 4, 5), workload("large", 8, 90))
    assert found == {"queue.waiting": 1, "queue.minutes": 30, "queue.wanted": 8, "queue.free": 8,
                     "queue.inadmissible": 0}  # fmt: skip


def test_quota_of_the_cohort_is_free_too() -> None:
    red, blue = queue("red", 0, 0, "all"), queue("blue", 16, 8, "all")
    assert waiting(red, blue, workload("fits", 4, 30))["queue.waiting"] == 1
    alone = queue("red", 0, 0)
    assert waiting(alone, blue, workload("fits", 4, 30))["queue.waiting"] == 0
    assert (
        waiting(red, blue | {"spec": blue["spec"] | {"stopPolicy": "Hold"}}, workload("w", 4, 30))["queue.waiting"] == 0
    )


def test_what_cannot_be_admitted_is_counted() -> None:
    found = waiting(queue("red", 16, 16), workload("odd", 4, 30, "Inadmissible"), workload("waits", 4, 30))
    assert (found["queue.inadmissible"], found["queue.waiting"]) == (1, 0)


def test_what_is_admitted_finished_or_held_does_not_wait() -> None:
    admitted, done = workload("admitted", 4, 30), workload("done", 4, 30)
    admitted["status"]["conditions"][0]["status"] = "True"
    done["status"]["conditions"].append({"type": "Finished", "status": "True"})
    assert waiting(queue("red", 16, 0), admitted, done, workload("held", 4, 30, active=False))["queue.waiting"] == 0


def test_queues_that_were_not_read_whole_are_not_judged() -> None:
    assert queues(snap(queue("red", 1, 0), partial=(kinds.WORKLOAD,)), DAY) == {}


# Whatever objects hold

_WORDS = ["8", "1e9", "64Gi", "True", "Ready", "n", "nvidia.com/gpu", "2025-12-01T00:00:00Z"]
_leaf = st.one_of(st.none(), st.booleans(), st.integers(-5, 10**12), st.floats(), st.text(max_size=8),
                  st.sampled_from(_WORDS))  # fmt: skip
_KEYS = ("metadata", "spec", "status", "containers", "resources", "limits", "requests", "cpu", "memory", "conditions",
         "nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "nodeName", "labels", "name", "namespace", "type", "allocatable",
         "containerStatuses", "restartCount", "state", "running", "startedAt", "podSets", "template", "count",
         "resourceGroups", "flavors", "nominalQuota", "flavorsReservation", "parallelism", "startTime",
         "activeDeadlineSeconds", "args", "image", "queueName")  # fmt: skip
_key = st.sampled_from(_KEYS)
_tree = st.recursive(
    _leaf,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_key, inner, max_size=5)),
    max_leaves=12,
)
_kind = st.sampled_from([kinds.POD, kinds.NODE, kinds.JOB, kinds.WORKLOAD, kinds.CLUSTER_QUEUE, kinds.LOCAL_QUEUE])


def _merged(base: Obj, change: Any) -> Obj:
    if not isinstance(change, dict):
        return base
    return {key: _merged(base[key], change[key]) if isinstance(base.get(key), dict) and key in change
            else change.get(key, base.get(key)) for key in {*base, *change}}  # fmt: skip


_WHOLE = {"Pod": pod(), "Node": node(), "Job": job("j", 2), "Workload": workload("w", 1, 30),
          "ClusterQueue": queue("red", 8, 0), "LocalQueue": local("red")}  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.tuples(_kind, _tree), max_size=5))
def test_no_object_breaks_it(given_: list[tuple[kinds.Kind, Any]]) -> None:
    objects = [
        _merged(_WHOLE[kind.kind], change)
        | {"kind": kind.kind, "apiVersion": f"{kind.group}/v1" if kind.group else "v1"}
        for kind, change in given_
    ]
    read = snap(node(), pod("steady"), *objects)
    cluster.workloads(read, {}, DAY)
    cluster.nodes(read)
    cluster.limits(read, {}, DAY)
    queues(read, DAY)
