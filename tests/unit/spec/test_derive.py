"""What follows from a declaration."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.spec import derive
from plimsoll.spec.load import from_mapping
from plimsoll.spec.model import Platform

MIX = {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}


def pool(gpu: str = "A100-SXM4-80GB", **more: Any) -> dict[str, Any]:
    return {"name": "p", "gpu": gpu, "gpusPerNode": 8, "nodes": {"min": 1, "max": 3}, **more}


def platform(*pools: dict[str, Any], **more: Any) -> Platform:
    return from_mapping({"pools": list(pools), "teams": [{"name": "a"}], **more})


@pytest.mark.parametrize(
    ("partition", "per_node"),
    [
        ({}, {"nvidia.com/gpu": 8}),
        ({"timeSlicing": {"replicas": 4}}, {"nvidia.com/gpu.shared": 32}),
        ({"timeSlicing": {"replicas": 4, "renameByDefault": False}}, {"nvidia.com/gpu": 32}),
        ({"mps": {"replicas": 2}}, {"nvidia.com/gpu.shared": 16}),
        ({"mig": {"layout": MIX}},
         {"nvidia.com/mig-1g.10gb": 16, "nvidia.com/mig-2g.20gb": 8, "nvidia.com/mig-3g.40gb": 8}),
        ({"mig": {"layout": {"1g.10gb": 6, "1g.10gb+me": 1}}},
         {"nvidia.com/mig-1g.10gb": 48, "nvidia.com/mig-1g.10gb.me": 8}),
        ({"mig": {"layout": {"1g.10gb": 7}, "strategy": "single"}}, {"nvidia.com/gpu": 56}),
        ({"mig": {"layout": {"3g.40gb": 2, "1g.10gb": 0}}, "timeSlicing": {"replicas": 2}},
         {"nvidia.com/mig-3g.40gb.shared": 32}),
        ({"mig": {"layout": "auto"}}, {}),
    ],
)  # fmt: skip
def test_what_nodes_advertise(partition: dict[str, Any], per_node: dict[str, int]) -> None:
    [cut] = platform(pool(partition=partition)).pools
    assert derive.per_node(cut) == per_node
    assert derive.resources(cut) == tuple(per_node)
    assert derive.capacity(cut) == {resource: (count, 3 * count) for resource, count in per_node.items()}


def test_instances_on_a_node() -> None:
    [cut] = platform(pool(partition={"mig": {"layout": MIX}})).pools
    assert derive.mig_per_node(cut) == {"1g.10gb": 16, "2g.20gb": 8, "3g.40gb": 8}
    [whole] = platform(pool()).pools
    assert derive.mig_per_node(whole) == {}


def test_promises_namespaces_and_users() -> None:
    declared = platform(
        pool(partition={"mig": {"layout": MIX}}),
        {"name": "l4", "gpu": "L4", "gpusPerNode": 1, "nodes": {"max": 4}, "capacity": "spot"},
        teams=[
            {"name": "a", "namespaces": ["x", "y"], "quota": {"p": {"1g.10gb": 4}, "l4": 1}},
            {"name": "b", "quota": {"p": {"1g.10gb": 2, "3g.40gb": 0}}, "borrow": {"l4": 1}},
            {"name": "c", "quota": {"l4": 0}},
        ],
        services=[
            {"name": "s", "team": "a", "model": "m", "pool": "p", "unit": "1g.10gb", "replicas": {"max": 3}},
            {"name": "t", "team": "c", "model": "m", "pool": "p", "unit": "2g.20gb", "replicas": {"max": 2},
             "queued": False},
        ],
    )  # fmt: skip
    assert derive.quota(declared)["p", "1g.10gb"] == {"a": 4, "b": 2}
    assert derive.quota_sums(declared) == {("p", "1g.10gb"): 6, ("p", "3g.40gb"): 0, ("l4", "gpu"): 1}
    assert derive.set_aside(declared) == {("p", "2g.20gb"): {"t": 2}}
    assert derive.users(declared) == {"p": ("a", "b", "c"), "l4": ("a", "b")}
    assert derive.team_of_namespace(declared) == {"x": "a", "y": "a", "b": "b", "c": "c"}
    assert [derive.namespace_of(declared, service) for service in declared.services] == ["x", "c"]
    assert [service.name for service in derive.services_on(declared)["p"]] == ["s", "t"]
    assert derive.spot_pools(declared) == ("l4",)


def test_the_pool_of_a_node() -> None:
    declared = platform(pool(), {**pool(), "name": "q", "nodeSelector": {"gpu": "a100", "zone": "b"}})
    names = [
        found.name if (found := derive.pool_of(declared, labels)) else None
        for labels in ({"plimsoll.dev/pool": "p", "x": "y"}, {"gpu": "a100", "zone": "b"}, {"gpu": "a100"}, {})
    ]
    assert names == ["p", "q", None, None]


@pytest.mark.parametrize(
    ("engine", "registries", "image"),
    [
        ({}, [], "vllm/vllm-openai:v0.33.0"),
        ({"version": "v0.24.1"}, ["registry.example.com/ml/", "other.example.com"],
         "registry.example.com/ml/vllm/vllm-openai:v0.24.1"),
        ({"image": "ghcr.io/own/vllm:3"}, ["registry.example.com"], "ghcr.io/own/vllm:3"),
    ],
)  # fmt: skip
def test_what_a_service_runs(engine: dict[str, Any], registries: list[str], image: str) -> None:
    declared = platform(
        pool(),
        teams=[{"name": "a", "quota": {"p": 8}}],
        services=[{"name": "s", "team": "a", "pool": "p", "model": "m", "engine": engine}],
        security={"images": {"registries": registries}},
    )
    assert derive.engine_image(declared, declared.services[0]) == image


def test_a_unit_has_a_resource_also_where_the_layout_is_open() -> None:
    auto = {"mig": {"layout": "auto"}, "timeSlicing": {"replicas": 2}}
    declared = platform(
        pool(),
        {**pool(partition={"timeSlicing": {"replicas": 4}}), "name": "turns"},
        {**pool(partition={"mig": {"layout": MIX}}), "name": "cut"},
        {**pool(partition=auto), "name": "open"},
        {**pool(partition={"mig": {"layout": {"1g.10gb": 7}, "strategy": "single"}}), "name": "single"},
    )
    units = {"p": "gpu", "turns": "shared", "cut": "1g.10gb", "open": "1g.10gb", "single": "1g.10gb"}
    assert {each.name: derive.resource_of(each, units[each.name]) for each in declared.pools} == {
        "p": "nvidia.com/gpu",
        "turns": "nvidia.com/gpu.shared",
        "cut": "nvidia.com/mig-1g.10gb",
        "open": "nvidia.com/mig-1g.10gb.shared",
        "single": "nvidia.com/gpu",
    }
    for each in declared.pools:
        for offer in derive.offers(each):
            assert derive.resource_of(each, offer.unit) == offer.resource


def test_spot_keeps_away_what_did_not_ask_for_it() -> None:
    own = [{"key": "nvidia.com/gpu"}, {"key": "eks.amazonaws.com/capacityType", "value": "SPOT"}]
    declared = platform(
        pool(),
        {**pool(capacity="spot"), "name": "s"},
        {**pool(capacity="spot", taints=own), "name": "t"},
        cluster={"provider": "gke"},
    )
    plain, spot, tainted = declared.pools
    named = {each.name: [taint.key for taint in derive.taints(declared, each)] for each in declared.pools}
    assert named == {
        "p": ["nvidia.com/gpu"],
        "s": ["nvidia.com/gpu", "cloud.google.com/gke-spot"],
        "t": ["nvidia.com/gpu", "eks.amazonaws.com/capacityType"],
    }
    assert derive.spot_taints(declared, plain) == ()
    assert [taint.value for taint in derive.spot_taints(declared, spot)] == ["true"]
    assert [taint.value for taint in derive.spot_taints(declared, tainted)] == ["SPOT"]


def test_namespaces_of_teams_by_label_or_by_name() -> None:
    declared = platform(pool(), teams=[{"name": "a", "namespaces": ["y", "x"]}, {"name": "b"}])
    assert derive.home_selector(declared, declared.teams[0]) == {"matchLabels": {"plimsoll.dev/team": "a"}}
    others = platform(pool(), teams=[{"name": "a", "namespaces": ["y", "x"]}, {"name": "b"}],
                      cluster={"manage": ["queueing"]})  # fmt: skip
    [found] = derive.home_selector(others)["matchExpressions"]
    assert found == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["b", "x", "y"]}
