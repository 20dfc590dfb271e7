"""What the ledger keeps of a pod: whose it is, since when it holds its devices, when and why it ended."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.agents.meter import pods
from plimsoll.agents.meter.pods import Belongs, End
from plimsoll.kube.objects import Obj
from tests.unit.agents.world import iso

T = 1_795_600_000_000


def pod(*, labels: dict[str, str] | None = None, owner: Obj | None = None, status: Obj | None = None,
        node: str = "n", **more: Any) -> Obj:  # fmt: skip
    meta: Obj = {"name": "p-0", "namespace": "team", "uid": "u", "creationTimestamp": iso(T), "labels": labels or {}}
    if owner:
        meta["ownerReferences"] = [owner | {"controller": True}]
    containers = [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]
    return {"metadata": meta | more.pop("meta", {}), "spec": {"nodeName": node, "containers": containers} | more,
            "status": status or {}}  # fmt: skip


def stopped(at: int, *, began: int = T, code: int = 0, reason: str = "Completed") -> Obj:
    return {"name": "main", "state": {"terminated": {
        "startedAt": iso(began), "finishedAt": iso(at), "exitCode": code, "reason": reason}}}  # fmt: skip


def running(at: int) -> Obj:
    return {"name": "main", "state": {"running": {"startedAt": iso(at)}}}


def none(*_: str) -> str:
    return ""


# ---- whose it is


@pytest.mark.parametrize(
    ("made", "belongs"),
    [
        (pod(), Belongs("", "", "")),
        (pod(owner={"kind": "Job", "name": "train", "uid": "j"}), Belongs("team/train", "j", "team/train")),
        (pod(owner={"kind": "Job", "name": "nightly-29406000", "uid": "j"}),
         Belongs("team/nightly-29406000", "j", "team/nightly")),
        (pod(owner={"kind": "ReplicaSet", "name": "web-5d4f", "uid": "r"}, labels={"pod-template-hash": "5d4f"}),
         Belongs("", "", "team/web")),
        (pod(owner={"kind": "ReplicaSet", "name": "bare", "uid": "r"}), Belongs("", "", "team/bare")),
        (pod(owner={"kind": "StatefulSet", "name": "db", "uid": "s"}), Belongs("", "", "team/db")),
        (pod(owner={"kind": "Job", "name": "big-workers-0", "uid": "j"},
             labels={"jobset.sigs.k8s.io/jobset-name": "big"}), Belongs("team/big", "uid-JobSet-big", "team/big")),
        (pod(owner={"kind": "StatefulSet", "name": "llm-0", "uid": "s"},
             labels={"leaderworkerset.sigs.k8s.io/name": "llm"}), Belongs("", "", "team/llm")),
        (pod(owner={"kind": "PyTorchJob", "name": "ddp", "uid": "x"}, labels={"training.kubeflow.org/job-name": "ddp"}),
         Belongs("team/ddp", "", "team/ddp")),
    ],
)  # fmt: skip
def test_whose_a_pod_is(made: Obj, belongs: Belongs) -> None:
    uid = {("JobSet", "team", "big"): "uid-JobSet-big"}
    assert pods.belonging(made, lambda *key: uid.get(key, "")) == belongs


def test_of_labels_only_those_that_tell_something_are_kept_and_not_too_many() -> None:
    many = {f"plimsoll.dev/{number:03}": "x" for number in range(99)}
    found = pods.record(pod(labels={"app": "a", "secret": "s", "team": "t"} | many), "node", None, none)
    assert len(found.labels) == 16
    assert found.labels["app"] == "a"
    assert "secret" not in found.labels
    assert (found.uid, found.node, found.created) == ("u", "node", T)


# ---- when it began and ran


def test_a_pod_holds_its_devices_from_its_schedule_on() -> None:
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(T + 5000)}
    assert pods.began(pod(status={"conditions": [placed], "startTime": iso(T + 6000)})) == T + 5000
    assert pods.began(pod(status={"startTime": iso(T + 6000)})) == T + 6000  # by a kubelet alone
    assert pods.began(pod()) == T
    assert pods.began(pod(node="", status={"conditions": [placed]})) == 0
    waits = placed | {"status": "False"}
    assert pods.began(pod(status={"conditions": [waits], "startTime": iso(T + 6000)})) == T + 6000


def test_a_pod_runs_once_all_its_containers_have_started() -> None:
    two = [{"name": "main"}, {"name": "side"}]
    assert pods.ran(pod(status={"containerStatuses": [running(T + 1000)]})) == T + 1000
    assert pods.ran(pod(containers=two, status={"containerStatuses": [running(T + 1000)]})) == 0
    both = [running(T + 1000), stopped(T + 9000, began=T + 3000)]
    assert pods.ran(pod(containers=two, status={"containerStatuses": both})) == T + 3000
    crashed = {"name": "main", "state": {"waiting": {}}, "lastState": stopped(T + 9000, began=T + 2000)["state"]}
    assert pods.ran(pod(status={"containerStatuses": [crashed]})) == T + 2000


# ---- when and why it ended


def test_a_finished_pod_ended_with_its_last_container() -> None:
    done = pod(status={"phase": "Succeeded", "containerStatuses": [stopped(T + 7000)]})
    assert pods.ended(done, T + 60_000) == End(T + 7000, True, "Completed")


def test_why_is_the_failed_containers_word() -> None:
    both = [stopped(T + 7000), stopped(T + 8000, code=137, reason="OOMKilled")]
    found = pods.ended(pod(status={"phase": "Failed", "containerStatuses": both}), T + 60_000)
    assert found == End(T + 8000, True, "OOMKilled")


def test_an_evicted_pod_without_statuses_ended_when_it_was_disrupted() -> None:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet",
                 "lastTransitionTime": iso(T + 5000)}  # fmt: skip
    evicted = pod(status={"phase": "Failed", "reason": "Evicted", "conditions": [condition]})
    assert pods.ended(evicted, T + 60_000) == End(T + 5000, True, "Evicted")
    preempted = condition | {"reason": "PreemptionByScheduler"}
    assert pods.ended(pod(status={"phase": "Failed", "conditions": [preempted]}), T + 60_000) == End(
        T + 5000, True, "PreemptionByScheduler"
    )
    assert pods.ended(pod(status={"phase": "Failed"}), T + 60_000) == End(T + 60_000, False, "")


def test_a_pod_that_runs_has_not_ended() -> None:
    assert pods.ended(pod(status={"phase": "Running", "containerStatuses": [running(T)]}), T + 60_000) is None
    terminating = pod(meta={"deletionTimestamp": iso(T + 1000)}, status={"containerStatuses": [running(T)]})
    assert pods.ended(terminating, T + 60_000) is None


def test_a_deleted_pod_ended_with_its_containers_its_grace_or_now() -> None:
    known = pod(status={"phase": "Running", "containerStatuses": [stopped(T + 7000, code=143, reason="Error")]})
    assert pods.ended(known, T + 60_000, gone=True) == End(T + 7000, True, "Error")
    graced = pod(meta={"deletionTimestamp": iso(T + 30_000)}, status={"containerStatuses": [running(T)]})
    assert pods.ended(graced, T + 60_000, gone=True) == End(T + 30_000, False, "Deleted")
    assert pods.ended(graced, T + 10_000, gone=True) == End(T + 10_000, False, "Deleted")
    assert pods.ended(pod(), T + 60_000, gone=True) == End(T + 60_000, False, "Deleted")


def test_one_container_that_stopped_is_not_the_pod() -> None:
    two = [{"name": "main"}, {"name": "side"}]
    half = pod(containers=two, status={"phase": "Running", "containerStatuses": [stopped(T + 7000)]})
    assert pods.ended(half, T + 60_000) is None
    assert pods.ended(half, T + 60_000, gone=True) == End(T + 60_000, False, "Deleted")


# ---- the model it serves


@pytest.mark.parametrize(
    ("args", "model"),
    [(["serve", "org/llm"], "org/llm"), (["--model", "org/llm"], "org/llm"), (["--model=org/llm"], "org/llm"),
     (["serve", "org/llm", "--served-model-name", "chat"], "chat"), (["serve"], ""), (["serve", "--port", "1"], ""),
     ([], "")],
)  # fmt: skip
def test_the_name_of_a_model(args: list[str], model: str) -> None:
    made = pod(containers=[{"name": "main", "image": "vllm/vllm-openai:v0.11.0", "args": args,
                            "resources": {"limits": {"nvidia.com/gpu": "1"}}}])  # fmt: skip
    assert pods.model(made) == model
    assert pods.model(pod()) == ""


# ---- whatever somebody wrote

WILD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 70) | st.text(max_size=5) | st.just("2026-11-26T08:00:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["state", "terminated", "finishedAt", "startedAt", "reason", "exitCode", "running", "type",
                         "lastTransitionTime", "name", "limits", "resources", "status"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(WILD, WILD, WILD, st.sampled_from(["Failed", "Succeeded", "Running", None, 5]), st.booleans())
def test_objects_that_make_no_sense_do_no_harm(one: Any, two: Any, three: Any, phase: Any, gone: bool) -> None:
    made = {"metadata": {"uid": "u", "labels": three, "ownerReferences": one, "deletionTimestamp": two},
            "spec": {"nodeName": "n", "containers": [{"name": "m"}]},
            "status": {"phase": phase, "containerStatuses": one, "initContainerStatuses": two, "conditions": three,
                       "startTime": one}}  # fmt: skip
    found = pods.record(made, "node", None, none)
    assert found.uid == "u"
    end = pods.ended(made, T, gone=gone)
    assert end is None or end.moment >= 0
    assert pods.ran(made) >= 0
