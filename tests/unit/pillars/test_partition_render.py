"""What the partition pillar renders: read by the checks' reader and by the lab's hardware, which act on it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.gpus import catalogue, mig
from plimsoll.gpus.model import Sku
from plimsoll.gpus.placement import feasible
from plimsoll.gpus.skus import SKUS
from plimsoll.kube.objects import Obj
from plimsoll.lab.hardware import layout
from plimsoll.lab.hardware.machine import Machine
from plimsoll.lab.hardware.sharing import choice
from plimsoll.pillars.partition import pluginconfig
from plimsoll.pillars.partition.render import render
from plimsoll.plan.model import NodeRule
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform
from plimsoll.spec.nodeconfig import LAYOUTS, MIG_LABEL, PLUGIN_LABEL, SHARING, WHOLE
from plimsoll.spec.pools import Mig, Nodes, Partition, Pool
from plimsoll.spec.queueing import Team

CUTTABLE = [sku for sku in SKUS if sku.mig]


def platform(*pools: str, operator: str = "v25.3.2", manage: str = "") -> Platform:
    """A platform of pools that are given by name, GPU and partition."""
    lines = [f"  - {{name: {one}, gpusPerNode: 2, nodes: {{max: 2}}, {rest}}}" for one, _, rest in map(_parts, pools)]
    cluster = f"cluster: {{manage: [{manage}]}}\n" if manage else ""
    text = f"{cluster}operator: {{version: {operator}}}\nteams: [{{name: a}}]\npools:\n" + "\n".join(lines)
    return load(text, "platform.yaml")


def _parts(pool: str) -> tuple[str, str, str]:
    return pool.partition(" ")


def config_map(found: Platform, name: str) -> Obj | None:
    return next((each for each in render(found).objects if each["metadata"]["name"] == name), None)


def rules(found: Platform) -> dict[str, NodeRule]:
    return {each.pool: each for each in render(found).nodes}


def configs(found: Platform) -> dict[str, Any]:
    made = config_map(found, LAYOUTS)
    assert made is not None
    document = yaml.safe_load(made["data"]["config.yaml"])
    assert document["version"] == "v1"
    parsed: dict[str, Any] = document["mig-configs"]
    return parsed


def of(sku: Sku, wanted: dict[str, int], name: str = "p") -> Pool:
    cut = Partition(mig=Mig(layout=wanted))
    return Pool(name=name, gpu=sku.name, gpus_per_node=2, nodes=Nodes(max=2), partition=cut, node_selector={"p": name})


cut_pools = st.sampled_from(CUTTABLE).flatmap(
    lambda sku: st.tuples(st.just(sku), st.sampled_from(feasible(sku, [each.name for each in sku.mig.profiles])))  # type: ignore[union-attr]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(cut_pools, min_size=1, max_size=4))
def test_the_mig_manager_makes_of_each_node_what_is_declared(drawn: list[tuple[Sku, dict[str, int]]]) -> None:
    pools = tuple(of(sku, wanted, f"p{at}") for at, (sku, wanted) in enumerate(drawn))
    found = Platform(pools=pools, teams=(Team(name="a"),))
    found = msgspec.structs.replace(found, operator=msgspec.structs.replace(found.operator, version="v25.3.2"))
    made, told = config_map(found, LAYOUTS), rules(found)
    for pool, (sku, wanted) in zip(pools, drawn, strict=True):
        config = told[pool.name].labels[MIG_LABEL]
        assert config
        assert len(config) <= 63
        assert layout.wanted(made, config, Machine(sku=sku, gpus=2)) == (wanted, wanted)


def test_usual_layouts_stay_for_whoever_labels_a_node_by_hand() -> None:
    found = platform("a gpu: H100-SXM5-80GB", "b gpu: A30, partition: {mig: {layout: {1g.6gb: 3}}}")
    made = config_map(found, LAYOUTS)
    h100, a30 = (catalogue.find(name) for name in ("H100-SXM5-80GB", "A30"))
    assert h100 is not None
    assert a30 is not None
    for sku in (h100, a30):
        for name in mig.config_names(sku):
            instances = mig.layout_of_config(sku, name) if name != "all-disabled" else None
            assert layout.wanted(made, name, Machine(sku=sku, gpus=1)) == (instances,)
    assert all("device-filter" in entry for entry in configs(found)["all-balanced"])
    assert configs(found)["all-7g.80gb"] == [{"devices": "all", "mig-enabled": True, "mig-devices": {"7g.80gb": 1}}]


BALANCED = "cut gpu: A100-SXM4-80GB, partition: {mig: {layout: {1g.10gb: 2, 2g.20gb: 1, 3g.40gb: 1}}}"
OWN = "cut gpu: A100-SXM4-80GB, partition: {mig: {layout: {1g.10gb: 3, 3g.40gb: 1}}}"


def test_a_mig_manager_that_makes_the_usual_layouts_itself_needs_no_file_for_them() -> None:
    assert config_map(platform(BALANCED, operator="v26.7.0"), LAYOUTS) is None
    assert config_map(platform(BALANCED), LAYOUTS) is not None
    assert config_map(platform(OWN, operator="v26.7.0"), LAYOUTS) is not None
    assert config_map(platform("p gpu: A100-SXM4-80GB"), LAYOUTS) is None


def test_labels_of_each_pool() -> None:
    told = rules(
        platform(
            "whole gpu: H100-SXM5-80GB",
            "l4 gpu: L4",
            BALANCED,
            "turns gpu: L4, partition: {timeSlicing: {replicas: 4}}",
        )
    )
    assert told["whole"].labels == {MIG_LABEL: "all-disabled", PLUGIN_LABEL: None}  # made whole where it was cut
    assert told["l4"].labels == {MIG_LABEL: None, PLUGIN_LABEL: None}
    assert told["cut"].labels == {MIG_LABEL: "all-balanced", PLUGIN_LABEL: None}
    key = told["turns"].labels[PLUGIN_LABEL]
    assert key
    assert key.startswith("turns-")
    assert told["turns"].selector == {"plimsoll.dev/pool": "turns"}
    assert set(told["cut"].disruptive) == {MIG_LABEL, PLUGIN_LABEL}


def test_another_content_has_another_name() -> None:
    def names(partition: str) -> dict[str, str | None]:
        return dict(rules(platform(f"p gpu: A100-SXM4-80GB, partition: {partition}"))["p"].labels)

    four, eight = names("{timeSlicing: {replicas: 4}}"), names("{timeSlicing: {replicas: 8}}")
    assert four[PLUGIN_LABEL] != eight[PLUGIN_LABEL]
    assert four == names("{timeSlicing: {replicas: 4, renameByDefault: true}}")
    three, two = names("{mig: {layout: {1g.10gb: 3}}}"), names("{mig: {layout: {1g.10gb: 2}}}")
    assert three[MIG_LABEL] != two[MIG_LABEL]


def test_names_of_the_longest_pools_are_label_values() -> None:
    name = "a" * 63
    cut = "partition: {mig: {layout: {1g.10gb: 3}}, timeSlicing: {replicas: 2}}"
    found = platform(f"{name} gpu: A100-SXM4-80GB, {cut}")
    told = rules(found)[name].labels
    assert all(value and len(value) == 63 for value in told.values())
    assert told[MIG_LABEL] in configs(found)


@pytest.mark.parametrize(
    ("partition", "strategy", "shared", "rename"),
    [
        ("{timeSlicing: {replicas: 4}}", "time-slicing", {"nvidia.com/gpu": 4}, True),
        ("{timeSlicing: {replicas: 2, renameByDefault: false}}", "time-slicing", {"nvidia.com/gpu": 2}, False),
        ("{mps: {replicas: 48}}", "mps", {"nvidia.com/gpu": 48}, True),
        (
            "{mig: {layout: {1g.10gb: 2, 2g.20gb: 1}}, timeSlicing: {replicas: 3}}",
            "time-slicing",
            {"nvidia.com/mig-1g.10gb": 3, "nvidia.com/mig-2g.20gb": 3},
            True,
        ),
    ],
)
def test_the_device_plugin_shares_as_declared(
    partition: str, strategy: str, shared: dict[str, int], rename: bool
) -> None:
    found = platform(f"p gpu: A100-SXM4-80GB, partition: {partition}", "q gpu: L4")
    made = config_map(found, SHARING)
    assert made is not None
    key = rules(found)["p"].labels[PLUGIN_LABEL]
    assert key
    read = pluginconfig.read(made["data"][key])
    assert (read.method, read.rename, read.errors, read.ignored) == (strategy, rename, (), ())
    assert {each.resource: each.replicas for each in read.shared} == shared
    policy = {"spec": {"devicePlugin": {"config": {"name": SHARING, "default": WHOLE}}}}
    chosen = choice({PLUGIN_LABEL: key}, policy, {SHARING: made})
    assert (chosen.sharing.strategy, dict(chosen.sharing.replicas), chosen.sharing.renamed) == (
        strategy,
        shared,
        rename,
    )
    assert choice({}, policy, {SHARING: made}).sharing.replicas == {}  # a node nobody labelled


def test_whole_gpus_need_no_config_maps() -> None:
    assert render(platform("p gpu: H100-SXM5-80GB", operator="v26.7.0")).objects == ()


def test_whoever_keeps_the_operator_is_told_what_it_must_say() -> None:
    pools = (OWN, "turns gpu: L4, partition: {timeSlicing: {replicas: 4}}")
    (note,) = render(platform(*pools, manage="partition")).notes
    assert "migManager.config.name=plimsoll-mig-parted" in note
    assert "devicePlugin.config.name=plimsoll-device-plugin" in note
    assert "mig.strategy=mixed" in note
    assert render(platform(*pools)).notes == ()
    assert render(platform("p gpu: L4", manage="partition")).notes == ()


def test_what_no_cluster_does_at_once_is_said() -> None:
    parts = "parts gpu: L4, partition: {mps: {replicas: 4}}"
    single = "alike gpu: A30, partition: {mig: {layout: {1g.6gb: 4}, strategy: single}}"
    notes = render(platform(OWN, parts, single)).notes
    assert [("alike" in note, "parts" in note) for note in notes] == [(True, False), (False, True)]
    assert render(platform(parts, single)).notes == ()
