"""The real Kueue in the lab: admission, completion, and the owner's quota taken back from a borrower."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plimsoll.errors import ClusterError
from plimsoll.kube.objects import Obj, condition, get, items, text
from tests.lab.conftest import Lab

QUEUE = "kueue.x-k8s.io/v1beta2"
POOL = {"plimsoll.dev/pool": "h100"}


def _is(obj: Obj | None, type_: str) -> bool:
    return obj is not None and text(condition(obj, type_), "status") == "True"


def _cluster_queue(name: str, gpus: int) -> Obj:
    flavor = {"name": "test-h100", "resources": [{"name": "nvidia.com/gpu", "nominalQuota": gpus}]}
    return {
        "apiVersion": QUEUE,
        "kind": "ClusterQueue",
        "metadata": {"name": name},
        "spec": {
            "cohortName": "test",
            "namespaceSelector": {},
            "preemption": {"reclaimWithinCohort": "Any", "withinClusterQueue": "LowerPriority"},
            "resourceGroups": [{"coveredResources": ["nvidia.com/gpu"], "flavors": [flavor]}],
        },
    }


def _job(name: str, space: str, queue: str, *, pods: int = 1, seconds: int = 3) -> Obj:
    container = {
        "name": "train",
        "image": "registry.example.com/train@sha256:" + "0" * 64,
        "resources": {"requests": {"nvidia.com/gpu": "8"}, "limits": {"nvidia.com/gpu": "8"}},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": space, "labels": {"kueue.x-k8s.io/queue-name": queue}},
        "spec": {
            "parallelism": pods,
            "completions": pods,
            "suspend": True,
            "template": {
                "metadata": {"annotations": {"lab.plimsoll.dev/run-seconds": str(seconds)}},
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 1,
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                    "containers": [container],
                },
            },
        },
    }


@pytest.fixture
def queues(lab: Lab, space: str) -> Iterator[str]:
    """Two queues of 16 GPUs in one cohort, each with a LocalQueue of its name."""
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    flavor = {"apiVersion": QUEUE, "kind": "ResourceFlavor", "metadata": {"name": "test-h100"}}
    lab.client.apply({**flavor, "spec": {"nodeLabels": POOL, "tolerations": [toleration]}})
    for name in ("test-a", "test-b"):
        lab.client.apply(_cluster_queue(name, 16))
        local = {"apiVersion": QUEUE, "kind": "LocalQueue", "metadata": {"name": name, "namespace": space}}
        lab.client.apply({**local, "spec": {"clusterQueue": name}})
        lab.wait(f"{QUEUE}/ClusterQueue", name, "", lambda queue: _is(queue, "Active"))
    yield space
    for job in lab.client.list("batch/v1/Job", space):
        lab.client.delete("batch/v1/Job", text(job, "metadata", "name"), space)
    for name in ("test-a", "test-b"):
        lab.client.delete(f"{QUEUE}/LocalQueue", name, space)
        lab.client.delete(f"{QUEUE}/ClusterQueue", name)
    lab.client.delete(f"{QUEUE}/ResourceFlavor", "test-h100")


def _workload(lab: Lab, space: str, job: str) -> Obj:
    for each in lab.client.list(f"{QUEUE}/Workload", space):
        if any(text(owner, "name") == job for owner in items(each, "metadata", "ownerReferences")):
            return each
    raise AssertionError(f"no Workload of {job}")


def test_a_job_of_eight_gpus_is_admitted_runs_and_completes(lab: Lab, queues: str) -> None:
    lab.client.create(_job("eight", queues, "test-a"))
    lab.wait("batch/v1/Job", "eight", queues, lambda job: get(job, "status", "active") == 1)
    workload = _workload(lab, queues, "eight")
    assert _is(workload, "Admitted")
    (pod,) = lab.client.list("v1/Pod", queues, labels="job-name=eight")
    assert text(pod, "spec", "nodeName").startswith("h100-")
    lab.wait("batch/v1/Job", "eight", queues, lambda job: _is(job, "Complete"))
    lab.wait(f"{QUEUE}/Workload", text(workload, "metadata", "name"), queues, lambda it: _is(it, "Finished"))


def test_a_borrower_is_preempted_when_the_owner_reclaims(lab: Lab, queues: str) -> None:
    lab.client.create(_job("borrower", queues, "test-b", pods=4, seconds=600))
    lab.wait("batch/v1/Job", "borrower", queues, lambda job: get(job, "status", "ready") == 4)
    lab.client.create(_job("owner", queues, "test-a", pods=2, seconds=600))
    lab.wait("batch/v1/Job", "owner", queues, lambda job: get(job, "status", "ready") == 2)
    evicted = _workload(lab, queues, "borrower")
    assert not _is(evicted, "Admitted")
    assert text(condition(evicted, "Evicted"), "reason") == "Preempted"
    assert text(condition(evicted, "Preempted"), "reason") == "InCohortReclamation"
    assert lab.client.get("batch/v1/Job", "borrower", queues)["spec"]["suspend"] is True  # type: ignore[index]


def test_its_webhook_and_its_visibility_api_answer(lab: Lab, queues: str) -> None:
    wrong = _cluster_queue("test-wrong", 8)
    wrong["spec"]["preemption"] = {"withinClusterQueue": "Never", "borrowWithinCohort": {"policy": "LowerPriority"}}
    wrong["spec"]["preemption"]["reclaimWithinCohort"] = "Never"
    with pytest.raises(ClusterError):
        lab.client.create(wrong)
    pending = lab.client.raw("/apis/visibility.kueue.x-k8s.io/v1beta2/clusterqueues/test-a/pendingworkloads")
    assert b"PendingWorkloadsSummary" in pending
