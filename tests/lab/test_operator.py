"""The real GPU Operator on fake nodes: what it deploys, and what the fake hardware answers to what it is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plimsoll.kube.objects import Obj, get, labels, mapping, name, text
from plimsoll.lab.run.settings import platform_of
from plimsoll.spec import derive
from tests.lab.conftest import Lab

SPACE = "gpu-operator"
POLICY = "nvidia.com/v1/ClusterPolicy"
STATE = "nvidia.com/gpu-driver-upgrade-state"
LAYOUT = "nvidia.com/mig.config"


def test_the_cluster_policy_is_ready_and_every_pool_offers_what_is_declared(lab: Lab) -> None:
    policy = lab.client.get(POLICY, "cluster-policy")
    assert get(policy, "status", "state") == "ready"
    platform = platform_of(lab.folder.load())
    assert platform is not None
    seen = set()
    for node in lab.client.list("v1/Node"):
        pool = derive.pool_of(platform, labels(node))
        offered = {key: int(value) for key, value in mapping(node, "status", "allocatable").items() if "nvidia" in key}
        assert {key: count for key, count in offered.items() if count} == (derive.per_node(pool) if pool else {})
        assert (labels(node).get("nvidia.com/gpu.present") == "true") == (pool is not None)
        seen.add(pool.name if pool else "")
    assert seen == {"", *(pool.name for pool in platform.pools)}
    operands = lab.client.list("apps/v1/DaemonSet", SPACE)
    assert len(operands) >= 9
    for operand in operands:
        assert get(operand, "status", "numberReady") == get(operand, "status", "desiredNumberScheduled"), name(operand)


def test_it_was_installed_by_helm_as_its_users_do(lab: Lab) -> None:
    releases = lab.client.list("v1/Secret", labels="owner=helm")
    assert {labels(each)["name"] for each in releases} == {"gpu-operator", "kueue"}


def test_a_layout_is_applied_and_an_impossible_one_fails(lab: Lab) -> None:
    node = "a100-mig-0"
    before = lab.client.get("v1/Node", node)
    assert before is not None
    wanted = labels(before)[LAYOUT]
    lab.client.patch("v1/Node", node, {"metadata": {"labels": {LAYOUT: "all-1g.10gb"}}})
    lab.wait("v1/Node", node, "", lambda it: _offers(it, "nvidia.com/mig-1g.10gb") == 56, patience=30)
    lab.client.patch("v1/Node", node, {"metadata": {"labels": {LAYOUT: "all-1g.5gb"}}})
    lab.wait(
        "v1/Node", node, "", lambda it: labels(it or {}).get("nvidia.com/mig.config.state") == "failed", patience=30
    )
    lab.client.patch("v1/Node", node, {"metadata": {"labels": {LAYOUT: wanted}}})
    offered = mapping(before, "status", "allocatable")
    lab.wait("v1/Node", node, "", lambda it: mapping(it or {}, "status", "allocatable") == offered, patience=30)


def _offers(node: Obj | None, resource: str) -> int:
    return int(mapping(node or {}, "status", "allocatable").get(resource) or 0)


@pytest.fixture
def held(lab: Lab, space: str) -> Iterator[str]:
    """A pod on GPUs that a disruption budget keeps: the driver of its node cannot change."""
    tags = {"app": "held"}
    gpus = {"nvidia.com/gpu": "1"}
    container = {"name": "c", "image": "registry.example.com/c:1", "resources": {"requests": gpus, "limits": gpus}}
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": "h100-3"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "containers": [container],
    }
    budget = {"minAvailable": 1, "selector": {"matchLabels": tags}}
    meta = {"name": "held", "namespace": space}
    lab.client.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": budget})
    template = {"metadata": {"labels": tags}, "spec": spec}
    wanted = {"replicas": 1, "selector": {"matchLabels": tags}, "template": template}
    lab.client.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": wanted})
    lab.wait("apps/v1/Deployment", "held", space, lambda it: get(it, "status", "readyReplicas") == 1)
    yield space
    lab.client.delete("policy/v1/PodDisruptionBudget", "held", space)
    lab.client.delete("apps/v1/Deployment", "held", space)


def test_a_driver_upgrade_walks_the_nodes_and_a_budget_holds_one(lab: Lab, held: str) -> None:
    policy = lab.client.get(POLICY, "cluster-policy")
    before = text(policy, "spec", "driver", "version")
    upgrade = {"autoUpgrade": True, "maxParallelUpgrades": 0, "maxUnavailable": "100%"}
    upgrade["drain"] = {"enable": True, "force": True, "deleteEmptyDir": True, "timeoutSeconds": 300}
    driver = {"version": "580.126.16", "upgradePolicy": upgrade}
    lab.client.patch(POLICY, "cluster-policy", {"spec": {"driver": driver}})
    lab.wait("v1/Node", "h100-0", "", lambda it: _driver(it) == "580.126.16", patience=120)
    stuck = lab.client.get("v1/Node", "h100-3")
    assert _driver(stuck) == before
    assert labels(stuck or {})[STATE] in (
        "cordon-required",
        "wait-for-jobs-required",
        "pod-deletion-required",
        "drain-required",
    )
    lab.client.delete("policy/v1/PodDisruptionBudget", "held", held)
    lab.wait(
        "v1/Node",
        "h100-3",
        "",
        lambda it: labels(it or {})[STATE] == "upgrade-done" and _driver(it) != before,
        patience=180,
    )
    lab.reset()
    lab.wait("v1/Node", "h100-3", "", lambda it: _driver(it) == before)


def _driver(node: Obj | None) -> str:
    return labels(node or {}).get("nvidia.com/cuda.driver-version.full", "")
