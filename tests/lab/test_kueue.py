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


def _cluster_queue(name: str, space: str, gpus: int) -> Obj:
    flavor = {"name": space, "resources": [{"name": "nvidia.com/gpu", "nominalQuota": gpus}]}
    return {
        "apiVersion": QUEUE,
        "kind": "ClusterQueue",
        "metadata": {"name": name},
        "spec": {
            "cohortName": space,
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
    """Two queues of 16 GPUs in one cohort, reached by the LocalQueues a and b; named after the namespace."""
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    flavor = {"apiVersion": QUEUE, "kind": "ResourceFlavor", "metadata": {"name": space}}
    lab.client.apply({**flavor, "spec": {"nodeLabels": POOL, "tolerations": [toleration]}})
    for name in ("a", "b"):
        queue = f"{space}-{name}"
        lab.client.apply(_cluster_queue(queue, space, 16))
        local = {"apiVersion": QUEUE, "kind": "LocalQueue", "metadata": {"name": name, "namespace": space}}
        lab.client.apply({**local, "spec": {"clusterQueue": queue}})
        lab.wait(f"{QUEUE}/ClusterQueue", queue, "", lambda queue: _is(queue, "Active"))
    yield space
    for job in lab.client.list("batch/v1/Job", space):
        lab.client.delete("batch/v1/Job", text(job, "metadata", "name"), space)
    for name in ("a", "b"):
        lab.client.delete(f"{QUEUE}/LocalQueue", name, space)
        lab.client.delete(f"{QUEUE}/ClusterQueue", f"{space}-{name}")
    lab.client.delete(f"{QUEUE}/ResourceFlavor", space)


def _workload(lab: Lab, space: str, job: str) -> Obj:
    for each in lab.client.list(f"{QUEUE}/Workload", space):
        if any(text(owner, "name") == job for owner in items(each, "metadata", "ownerReferences")):
            return each
    raise AssertionError(f"no Workload of {job}")


def test_a_job_of_eight_gpus_is_admitted_runs_and_completes(lab: Lab, queues: str) -> None:
    lab.client.create(_job("eight", queues, "a"))
    lab.wait("batch/v1/Job", "eight", queues, lambda job: get(job, "status", "active") == 1)
    workload = _workload(lab, queues, "eight")
    assert _is(workload, "Admitted")
    (pod,) = lab.client.list("v1/Pod", queues, labels="job-name=eight")
    assert text(pod, "spec", "nodeName").startswith("h100-")
    lab.wait("batch/v1/Job", "eight", queues, lambda job: _is(job, "Complete"))
    lab.wait(f"{QUEUE}/Workload", text(workload, "metadata", "name"), queues, lambda it: _is(it, "Finished"))


def test_a_borrower_is_preempted_when_the_owner_reclaims(lab: Lab, queues: str) -> None:
    lab.client.create(_job("borrower", queues, "b", pods=4, seconds=600))
    lab.wait("batch/v1/Job", "borrower", queues, lambda job: get(job, "status", "ready") == 4)
    lab.client.create(_job("owner", queues, "a", pods=2, seconds=600))
    lab.wait("batch/v1/Job", "owner", queues, lambda job: get(job, "status", "ready") == 2)
    evicted = _workload(lab, queues, "borrower")
    assert not _is(evicted, "Admitted")
    assert text(condition(evicted, "Evicted"), "reason") == "Preempted"
    assert text(condition(evicted, "Preempted"), "reason") == "InCohortReclamation"
    assert lab.client.get("batch/v1/Job", "borrower", queues)["spec"]["suspend"] is True  # type: ignore[index]


def test_its_webhook_and_its_visibility_api_answer(lab: Lab, queues: str) -> None:
    wrong = _cluster_queue(f"{queues}-wrong", queues, 8)
    wrong["spec"]["preemption"] = {"withinClusterQueue": "Never", "borrowWithinCohort": {"policy": "LowerPriority"}}
    wrong["spec"]["preemption"]["reclaimWithinCohort"] = "Never"
    with pytest.raises(ClusterError):
        lab.client.create(wrong)
    pending = lab.client.raw(f"/apis/visibility.kueue.x-k8s.io/v1beta2/clusterqueues/{queues}-a/pendingworkloads")
    assert b"PendingWorkloadsSummary" in pending
