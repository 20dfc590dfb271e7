"""What the ledger keeps of a node: how many GPUs it is bought with, whoever says it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.agents.meter import nodes
from plimsoll.kube.objects import Obj
from plimsoll.spec.model import Platform
from tests.platforms import platforms
from tests.unit.agents.world import PRODUCT, iso

T = 1_795_600_000_000
GPU, SHARED, MIG = "nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.10gb"


def node(labels: dict[str, str] | None = None, *, provider: str = "", **more: Any) -> Obj:
    capacity = more.pop("capacity", {})
    return {"metadata": {"name": "n", "uid": "u", "creationTimestamp": iso(T), "labels": labels or {}} | more,
            "spec": {"providerID": provider}, "status": {"capacity": capacity}}  # fmt: skip


def said(**labels: str) -> dict[str, str]:
    return {f"nvidia.com/{key.replace('__', '.')}": value for key, value in labels.items()}


def gpus(obj: Obj, seen: int = 0) -> int:
    found = nodes.record(obj, None, seen)
    return found.gpus if found else 0


@pytest.mark.parametrize(
    ("obj", "amount"),
    [
        (node(said(gpu__count="8")), 8),
        (node(said(gpu__count="7"), capacity={GPU: "7"}), 7),
        (node(capacity={GPU: "4"}), 4),
        (node(said(gpu__replicas="4"), capacity={SHARED: "8"}), 2),
        (node(said(gpu__replicas="4"), capacity={GPU: "8"}), 2),
        (node({"node.kubernetes.io/instance-type": "p5.48xlarge"} | said(gpu__count="7")), 8),  # one is broken
        (node({"node.kubernetes.io/instance-type": "p5.48xlarge"}), 8),  # it is only joining
        (node(said(mig__strategy="single", gpu__product=f"{PRODUCT}-MIG-1g.10gb", gpu__count="14")), 0),
        (node(said(gpu__count="0")), 0),
        (node(said(gpu__count="-1")), 0),
        (node(said(gpu__count="1" * 400)), 0),
        (node(said(gpu__count="1" * 9)), 64),
        (node(capacity={MIG: "7"}), 0),
        (node(), 0),
    ],
)
def test_how_many_gpus_a_node_is_bought_with(obj: Obj, amount: int) -> None:
    assert gpus(obj) == amount


def test_what_a_source_saw_stands_in_where_nobody_says_it() -> None:
    assert gpus(node(capacity={MIG: "7"}), seen=1) == 1
    assert gpus(node(said(gpu__count="8")), seen=1) == 8
    assert gpus(node(), seen=1000) == 64


def test_a_node_without_a_beginning_or_a_uid_is_not_noted() -> None:
    assert nodes.record(node(said(gpu__count="8"), creationTimestamp="never"), None) is None
    assert nodes.record(node(said(gpu__count="8"), uid=""), None) is None


def test_what_a_price_depends_on() -> None:
    labels = {"node.kubernetes.io/instance-type": "p5.48xlarge", "topology.kubernetes.io/region": "eu-north-1",
              "karpenter.sh/capacity-type": "spot", "karpenter.sh/nodepool": "train"}  # fmt: skip
    found = nodes.record(node(labels, provider="aws:///z/i-1", capacity={"cpu": "191500m", "memory": "2Ti"}), None)
    assert found is not None
    assert (found.provider, found.region, found.instance_type) == ("aws", "eu-north-1", "p5.48xlarge")
    assert (found.pool, found.capacity, found.began, found.sku) == ("train", "spot", T, "H100-SXM5-80GB")
    assert (found.cpu_milli, found.memory_mib) == (191_500, 2 << 20)


@given(platforms())
def test_the_declaration_says_what_a_pool_is_bought_with(declared: Platform) -> None:
    pool = declared.pools[0]
    found = nodes.record(node({"plimsoll.dev/pool": pool.name} | said(gpu__count="1")), declared)
    assert found is not None
    assert (found.pool, found.gpus, found.capacity) == (pool.name, pool.gpus_per_node, pool.capacity)


def test_replicas_and_strategy() -> None:
    assert nodes.replicas(node(said(gpu__replicas="4")), GPU) == 4
    assert nodes.replicas(node(said(gpu__replicas="0")), GPU) == 1
    assert nodes.replicas(node(), MIG) == 1
    assert nodes.single(node(said(mig__strategy="single", gpu__product=f"{PRODUCT}-MIG-1g.10gb")))
    assert not nodes.single(node(said(mig__strategy="single", gpu__product=PRODUCT)))  # it is not cut
    assert not nodes.single(node(said(mig__strategy="mixed", gpu__product=PRODUCT)))


@pytest.mark.parametrize("amount", ["9e30", "1e999", "-1", "NaN", "9" * 400, "1E308Ei"])
def test_amounts_that_no_machine_has(amount: str) -> None:
    found = nodes.record(node(said(gpu__count="1"), capacity={"cpu": amount, "memory": amount}), None)
    assert found is not None
    assert 0 <= found.cpu_milli < 1 << 63
    assert 0 <= found.memory_mib < 1 << 63


@given(st.dictionaries(st.sampled_from([*nodes.LABELS]), st.text(max_size=8), max_size=8),
       st.dictionaries(st.sampled_from([GPU, SHARED, MIG, "cpu", "memory"]),
                       st.text(max_size=6) | st.integers() | st.none() | st.floats(), max_size=5))  # fmt: skip
def test_objects_that_make_no_sense_do_no_harm(labels: dict[str, str], capacity: dict[str, Any]) -> None:
    found = nodes.record(node(labels, capacity=capacity), None)
    if found is not None:
        assert 0 < found.gpus <= 64
        assert nodes.replicas(node(labels), GPU) >= 1
