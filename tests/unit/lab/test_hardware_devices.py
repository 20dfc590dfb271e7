"""What GPUs become: resources, labels, layouts. For every GPU we know and every layout that fits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.gpus import catalogue, mig, placement
from plimsoll.gpus.model import Sku
from plimsoll.gpus.skus import SKUS
from plimsoll.kube.objects import labels
from plimsoll.lab.hardware.conditions import Condition, on, read, write
from plimsoll.lab.hardware.devices import GPU, Devices, Failure, devices
from plimsoll.lab.hardware.discovery import OWNED, found
from plimsoll.lab.hardware.layout import Cut, Wrong, cuts, wanted, written
from plimsoll.lab.hardware.machine import Machine, features, machine, product
from plimsoll.lab.hardware.sharing import CONFIG, Choice, Sharing, choice
from tests.unit.lab.machines import LAYOUTS, config, node, policy

NONE = Sharing()
MIG = [sku for sku in SKUS if sku.mig]
_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?\Z")


def offered(cut: list[Cut], strategy: str, sharing: Sharing = NONE, lost: int = 0) -> Devices:
    result = devices(cut, strategy, sharing, lost=lost)
    assert isinstance(result, Devices), result
    return result


@pytest.mark.parametrize("sku", SKUS, ids=lambda sku: sku.name)
def test_the_product_label_of_every_gpu_means_that_gpu(sku: Sku) -> None:
    assert catalogue.from_product(product(sku), sku.memory_mib) is sku
    assert machine(node(f"{sku.name}x4")) == Machine(sku, 4)


@pytest.mark.parametrize("sku", MIG, ids=lambda sku: sku.name)
@pytest.mark.parametrize("gpus", [1, 8])
def test_capacity_is_the_layout_times_the_gpus_whatever_the_layout(sku: Sku, gpus: int) -> None:
    for layout in placement.feasible(sku):
        assert offered([layout] * gpus, "mixed").registered == {
            mig.resource_name(profile): count * gpus for profile, count in layout.items()
        }
        single = devices([layout] * gpus, "single", NONE)
        if len(layout) == 1:
            assert isinstance(single, Devices)
            assert single.registered == {GPU: sum(layout.values()) * gpus}
        else:
            assert isinstance(single, Failure)


def labelled(sku: Sku, cut: list[Cut], strategy: str, sharing: Sharing = NONE) -> dict[str, str]:
    return found(Machine(sku, len(cut)), cut, strategy, sharing, driver="580.95.05", place="lab", since=1)


@pytest.mark.parametrize("sku", SKUS, ids=lambda sku: sku.name)
def test_every_label_is_one_the_api_accepts_and_discovery_takes_away_again(sku: Sku) -> None:
    layouts: list[Cut] = [None, {}, *(placement.feasible(sku, [p.name for p in sku.mig.profiles]) if sku.mig else [])]
    for strategy in ("none", "single", "mixed"):
        for cut in layouts if sku.mig else [None]:
            for key, value in labelled(sku, [cut, cut], strategy).items():
                assert OWNED.match(key), key
                assert len(key.partition("/")[2]) <= 63
                assert _VALUE.match(value), (key, value)


def test_labels_of_whole_gpus() -> None:
    sku = catalogue.find("H100-SXM5-80GB")
    assert sku
    made = labelled(sku, [None] * 8, "single")
    assert made["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
    assert made["nvidia.com/gpu.count"] == "8"
    assert made["nvidia.com/gpu.replicas"] == "1"
    assert made["nvidia.com/mig.capable"] == "true"
    assert made["nvidia.com/cuda.driver-version.full"] == "580.95.05"
    assert made["nvidia.com/cuda.runtime-version.full"] == "13.0"


def test_labels_of_slices_by_strategy() -> None:
    sku = catalogue.find("H100-SXM5-80GB")
    assert sku
    cut: list[Cut] = [{"1g.10gb+me": 1}] * 2
    single, mixed = labelled(sku, cut, "single"), labelled(sku, cut, "mixed")
    assert single["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb.me"
    assert (single["nvidia.com/gpu.count"], single["nvidia.com/gpu.replicas"]) == ("2", "1")
    assert mixed["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
    assert (mixed["nvidia.com/gpu.count"], mixed["nvidia.com/gpu.replicas"]) == ("2", "0")
    assert mixed["nvidia.com/mig-1g.10gb.me.count"] == "2"
    invalid = labelled(sku, [{"1g.10gb": 7}, None], "single")
    assert invalid["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3-MIG-INVALID"
    assert invalid["nvidia.com/gpu.count"] == "0"


CUTS: list[Cut] = [None, {"1g.10gb": 7}, {"3g.40gb": 2}, {"2g.20gb": 1, "3g.40gb": 1}]


@given(
    cut=st.lists(st.sampled_from(CUTS), min_size=1, max_size=8),
    strategy=st.sampled_from(["none", "single", "mixed"]),
    lost=st.integers(0, 12),
    replicas=st.integers(2, 48),
    renamed=st.booleans(),
)  # fmt: skip
def test_what_can_be_given_is_never_more_than_there_is(
    cut: list[Cut], strategy: str, lost: int, replicas: int, renamed: bool
) -> None:
    sharing = Sharing("time-slicing", {GPU: replicas, "nvidia.com/mig-1g.10gb": replicas}, renamed)
    result = devices(cut, strategy, sharing, lost=lost)
    if isinstance(result, Devices):
        assert result.registered.keys() == result.healthy.keys()
        assert all(0 <= result.healthy[each] <= count for each, count in result.registered.items())
        assert not any(result.healthy.values()) or lost < len(cut)


@pytest.mark.parametrize(
    ("sharing", "expected"),
    [
        (Sharing("time-slicing", {GPU: 4}), {GPU: 8}),
        (Sharing("time-slicing", {GPU: 4}, renamed=True), {"nvidia.com/gpu.shared": 8}),
        (Sharing("time-slicing", {"nvidia.com/mig-1g.10gb": 4}), {GPU: 2}),
    ],
)
def test_sharing_multiplies_and_renames(sharing: Sharing, expected: dict[str, int]) -> None:
    assert offered([None, None], "single", sharing).registered == expected


@pytest.mark.parametrize("strategy", ["single", "mixed"])
def test_mps_does_not_share_slices(strategy: str) -> None:
    cut: list[Cut] = [{"1g.10gb": 7}]
    assert isinstance(devices(cut, strategy, Sharing("mps", {GPU: 4})), Failure)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("version: v2", "version"),
        ("sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 1}]}}", "replicas"),
        ("sharing: {timeSlicing: {resources: []}}", "resources"),
        ("sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 49}]}}", "maximum"),
        ("sharing: {mps: {resources: [{name: a, replicas: 2}]}, timeSlicing: {renameByDefault: true}}", "both"),
        ("sharing: [", "parse"),
        ("- x", ""),
    ],
)
def test_a_config_the_plugin_cannot_load(text: str, word: str) -> None:
    chosen = choice({CONFIG: "a"}, policy(devicePlugin={"config": {"name": "dp"}}), {"dp": config({"a": text})})
    assert (word in chosen.broken and chosen.broken) or not word
    assert chosen.sharing == NONE


def test_which_config_a_node_uses() -> None:
    maps = {"dp": config({"a": "version: v1", "b": "sharing: {mps: {resources: [{name: g, replicas: 2}]}}"})}
    told = policy(devicePlugin={"config": {"name": "dp", "default": "b"}})
    assert choice({}, policy(), maps) == Choice()
    assert choice({}, policy(devicePlugin={"config": {"name": "dp"}}), maps) == Choice()
    assert choice({}, told, maps).sharing.strategy == "mps"
    assert choice({CONFIG: "a"}, told, maps) == Choice("a")
    assert "zz does not exist" in choice({CONFIG: "zz"}, told, maps).no_such


def test_layouts_of_a_config_file() -> None:
    h100, a100 = machine(node()), machine(node("A100-SXM4-40GBx2"))
    assert h100
    assert a100
    assert wanted(config({"config.yaml": LAYOUTS}), "all-1g.10gb", h100) == ({"1g.10gb": 7},) * 8
    assert wanted(config({"config.yaml": LAYOUTS}), "all-1g.10gb", a100) == ({"1g.10gb": 4},) * 2
    assert wanted(config({"config.yaml": LAYOUTS}), "half", h100) == ({"3g.40gb": 2}, *(None,) * 7)
    assert wanted(config({"config.yaml": LAYOUTS}), "all-disabled", h100) == (None,) * 8


@pytest.mark.parametrize("bad", ["too-much", "nope"])
def test_a_layout_that_cannot_be(bad: str) -> None:
    h100 = machine(node())
    assert h100
    assert isinstance(wanted(config({"config.yaml": LAYOUTS}), bad, h100), Wrong)
    assert isinstance(wanted(None, "all-disabled", h100), Wrong)


def test_a_node_remembers_its_cut_and_a_note_that_is_none_is_no_cut() -> None:
    made, h100 = node("H100-SXM5-80GBx2"), machine(node("H100-SXM5-80GBx2"))
    assert h100
    made["metadata"]["annotations"]["lab.plimsoll.dev/mig"] = written([{"1g.10gb": 7}, None])
    assert cuts(made, h100) == ({"1g.10gb": 7}, None)
    for bad in ("", "[1]", "[null]", "{"):
        made["metadata"]["annotations"]["lab.plimsoll.dev/mig"] = bad
        assert cuts(made, h100) == (None, None)


@pytest.mark.parametrize("said", ["", "x8", "H100", "H100-SXM5-80GBx0", "Nox2"])
def test_a_node_without_a_known_gpu_has_none(said: str) -> None:
    assert machine(node(said)) is None


def test_an_instance_type_tells_what_a_node_has() -> None:
    found_ = machine(node("", **{"node.kubernetes.io/instance-type": "p5.48xlarge"}))
    assert found_
    assert (found_.sku.name, found_.gpus) == ("H100-SXM5-80GB", 8)


def test_features_are_those_of_the_machine() -> None:
    made = node()
    seen = features(made, gpus=True)
    assert seen["feature.node.kubernetes.io/pci-10de.present"] == "true"
    assert seen["feature.node.kubernetes.io/system-os_release.ID"] == "ubuntu"
    assert seen["feature.node.kubernetes.io/system-os_release.VERSION_ID"] == "22.04"
    assert "feature.node.kubernetes.io/pci-10de.present" not in features(made, gpus=False)
    made["status"]["nodeInfo"] = {"osImage": "Red Hat Enterprise Linux 9.4 (Plow)", "kernelVersion": "odd"}
    assert features(made, gpus=False)["feature.node.kubernetes.io/system-os_release.ID"] == "rhel"
    assert labels(made)


def test_conditions_come_back_from_their_file(tmp_path: Path) -> None:
    file = tmp_path / "hardware.json"
    assert read(file) == ()
    there = (Condition(id="GPU030", node="n1", operand="nvidia-driver-daemonset"), Condition(id="x", gpus_lost=2))
    write(file, there)
    assert read(file) == there
    assert on(there, "n2") == there[1:]
    write(file, ())
    assert read(file) == ()
