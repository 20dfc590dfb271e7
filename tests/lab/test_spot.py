"""A spot node is taken back in the lab: pods are evicted, budgets hold until the notice is over, then it is gone."""

from __future__ import annotations

from plimsoll.kube.objects import Obj, get, items, mapping, name, text
from plimsoll.lab import spot
from tests.lab.conftest import Lab


def _job(space: str) -> Obj:
    gpus = {"nvidia.com/gpu": "8"}
    container = {"name": "c", "image": "registry.example.com/c:1", "resources": {"requests": gpus, "limits": gpus}}
    ignore = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "saver", "namespace": space},
        "spec": {
            "backoffLimit": 0,
            "podFailurePolicy": {"rules": [ignore]},
            "template": {
                "metadata": {"annotations": {"lab.plimsoll.dev/run-seconds": "600"}},
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 2,
                    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                    "nodeSelector": {"plimsoll.dev/pool": "h100"},
                    "containers": [container],
                },
            },
        },
    }


def _pod(lab: Lab, space: str) -> Obj:
    return lab.client.list("v1/Pod", space, labels="job-name=saver")[0]


def test_an_evicted_job_goes_on_elsewhere_and_the_node_comes_back(lab: Lab, space: str) -> None:
    lab.client.create(_job(space))
    lab.wait("batch/v1/Job", "saver", space, lambda it: get(it, "status", "ready") == 1)
    node = text(_pod(lab, space), "spec", "nodeName")
    gone = spot.interrupt(lab.client, node, notice=30, agent="karpenter")
    assert lab.client.get("v1/Node", node) is None
    lab.wait("batch/v1/Job", "saver", space, lambda it: get(it, "status", "ready") == 1)
    job = lab.client.get("batch/v1/Job", "saver", space)
    assert not get(job, "status", "failed"), "a pod that was evicted counts as no failure of its own"
    assert text(_pod(lab, space), "spec", "nodeName") != node
    lab.client.delete("batch/v1/Job", "saver", space)
    spot.bring_back(lab.client, gone)
    offered = mapping(gone, "status", "allocatable")
    back = lab.wait("v1/Node", node, "", lambda it: mapping(it or {}, "status", "allocatable") == offered, patience=60)
    assert text(back, "metadata", "uid") != text(gone, "metadata", "uid")
    assert spot.TAINTS["karpenter"]["key"] not in [text(each, "key") for each in items(back, "spec", "taints")]


def test_a_budget_holds_a_pod_only_until_the_machine_is_gone(lab: Lab, space: str) -> None:
    lab.client.create(_job(space))
    lab.wait("batch/v1/Job", "saver", space, lambda it: get(it, "status", "ready") == 1)
    pod = _pod(lab, space)
    budget = {"maxUnavailable": 0, "selector": {"matchLabels": {"job-name": "saver"}}}
    meta = {"name": "saver", "namespace": space}
    lab.client.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": budget})
    node = text(pod, "spec", "nodeName")
    gone = spot.interrupt(lab.client, node, notice=4, agent="nth")
    lab.wait("v1/Pod", name(pod), space, lambda it: it is None or get(it, "status", "phase") == "Failed", patience=20)
    lab.client.delete("batch/v1/Job", "saver", space)
    spot.bring_back(lab.client, gone)
    lab.wait("v1/Node", node, "", lambda it: get(it, "status", "allocatable", "nvidia.com/gpu") == "8")
