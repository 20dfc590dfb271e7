"""The declaration beside the recorded cluster is true of its healthy recording."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from plimsoll.gpus import catalogue
from plimsoll.spec import derive
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform

LAB = Path(__file__).parents[3] / "examples" / "lab"


@pytest.fixture(scope="module")
def declared() -> Platform:
    return load((LAB / "platform.yaml").read_bytes(), "platform.yaml")


@pytest.fixture(scope="module")
def recorded() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for obj in json.loads(gzip.decompress((LAB / "healthy.json.gz").read_bytes()))["items"]:
        found.setdefault(obj["kind"], []).append(obj)
    return found


def test_nodes(declared: Platform, recorded: dict[str, list[dict[str, Any]]]) -> None:
    seen: Counter[str] = Counter()
    for node in recorded["Node"]:
        labels, offered = node["metadata"]["labels"], node["status"]["allocatable"]
        pool = derive.pool_of(declared, labels)
        gpus = {name: int(count) for name, count in offered.items() if name.startswith("nvidia.com/") and count != "0"}
        if pool is None:
            assert not gpus, node["metadata"]["name"]
            continue
        seen[pool.name] += 1
        assert gpus == derive.per_node(pool)
        sku = catalogue.from_product(labels["nvidia.com/gpu.product"], int(labels["nvidia.com/gpu.memory"]))
        assert sku == derive.sku(pool)
        assert labels["nvidia.com/gpu.count"] == str(pool.gpus_per_node)
        assert labels["node.kubernetes.io/instance-type"] == pool.instance_type
        taints = [(taint["key"], taint.get("value", ""), taint["effect"]) for taint in node["spec"]["taints"]]
        assert taints == [(taint.key, taint.value, taint.effect) for taint in pool.taints]
    assert seen == {pool.name: pool.nodes.min for pool in declared.pools}


def test_queues_and_service(declared: Platform, recorded: dict[str, list[dict[str, Any]]]) -> None:
    quotas = {
        (queue["metadata"]["name"], flavor["name"], int(resource["nominalQuota"]))
        for queue in recorded["ClusterQueue"]
        for group in queue["spec"]["resourceGroups"]
        for flavor in group["flavors"]
        for resource in flavor["resources"]
        if resource["name"] == derive.GPU
    }
    assert quotas == {(team.name, pool, amount) for team in declared.teams for pool, amount in team.quota.items()}
    assert {queue["spec"]["cohortName"] for queue in recorded["ClusterQueue"]} == {declared.queueing.cohort}
    assert {queue["metadata"]["name"] for queue in recorded["LocalQueue"]} == {declared.queueing.local_queue}
    [chat] = declared.services
    [scaler] = recorded["ScaledObject"]
    assert scaler["metadata"]["namespace"] == derive.namespace_of(declared, chat)
    limits = (scaler["spec"]["minReplicaCount"], scaler["spec"]["maxReplicaCount"])
    assert limits == (chat.replicas.min, chat.replicas.max)


def test_operator(declared: Platform, recorded: dict[str, list[dict[str, Any]]]) -> None:
    [policy] = recorded["ClusterPolicy"]
    upgrades = policy["spec"]["driver"]["upgradePolicy"]
    assert policy["spec"]["driver"]["version"] == declared.operator.driver.version
    assert upgrades["maxUnavailable"] == declared.operator.upgrades.max_unavailable
    assert upgrades["drain"]["timeoutSeconds"] == declared.operator.upgrades.drain.timeout.seconds
