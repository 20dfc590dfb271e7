"""The fake nodes: what a kubelet and the cloud would write, and nothing of NVIDIA's."""

from __future__ import annotations

import pytest

from plimsoll.errors import InputError
from plimsoll.kube.nodes import allocatable, has_gpu, is_spot
from plimsoll.kube.objects import annotations_of, get, items, labels, name, text
from plimsoll.lab.nodes import GPU, nodes, nodes_from
from plimsoll.spec import derive
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform

HEAD = "apiVersion: plimsoll.dev/v1\nkind: Platform\n"
TEAM = "teams: [{name: a, quota: {h100: 8}}]\n"


def platform(pools: str, more: str = "") -> Platform:
    return load(f"{HEAD}{more}pools: [{pools}]\n{TEAM}", "platform.yaml")


H100 = "{name: h100, gpu: H100-SXM5-80GB, gpusPerNode: 8, nodes: {min: 2, max: 4}}"


def test_a_pool_has_its_fewest_nodes_and_controllers_have_their_own() -> None:
    assert [name(each) for each in nodes(platform(H100))] == ["h100-0", "h100-1", "cpu-0", "cpu-1"]
    assert len(nodes(platform(H100), extra_cpu_nodes=0)) == 2


@pytest.mark.parametrize(("capacity", "expected"), [("on-demand", 4), ("reserved", 4), ("spot", 1)])
def test_a_pool_that_may_be_empty_has_nodes_all_the_same(capacity: str, expected: int) -> None:
    pool = f"{{name: h100, gpu: H100-SXM5-80GB, gpusPerNode: 8, nodes: {{max: 4}}, capacity: {capacity}}}"
    assert len(nodes(platform(pool), extra_cpu_nodes=0)) == expected


def test_nothing_of_what_nvidia_and_nfd_write() -> None:
    for node in nodes(platform(H100)):
        assert not has_gpu(node)
        assert not allocatable(node)
        assert not [key for key in labels(node) if "nvidia" in key or "feature.node" in key]


def test_a_gpu_node_says_what_is_in_it_and_a_system_node_does_not() -> None:
    gpu, *_, system = nodes(platform(H100))
    assert annotations_of(gpu)[GPU] == "H100-SXM5-80GBx8"
    assert GPU not in annotations_of(system)
    assert all(annotations_of(each)["kwok.x-k8s.io/node"] == "fake" for each in (gpu, system))
    assert items(gpu, "spec", "taints") == [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]
    assert not items(system, "spec", "taints")


@pytest.mark.parametrize("provider", ["eks", "gke", "aks", "generic", "openshift"])
def test_spot_nodes_carry_the_label_their_cloud_gives_them(provider: str) -> None:
    pools = f"{H100}, {{name: cheap, gpu: L4, gpusPerNode: 1, nodes: {{min: 1, max: 1}}, capacity: spot}}"
    made = nodes(platform(pools, f"cluster: {{provider: {provider}}}\n"))
    assert [name(each) for each in made if is_spot(each)] == ["cheap-0"]


@pytest.mark.parametrize(
    ("provider", "machine"),
    [("eks", "p5.48xlarge"), ("gke", "a3-highgpu-8g"), ("aks", "standard_nd96isr_h100_v5"), ("generic", "")],
)
def test_the_instance_type_is_one_of_the_cloud_with_these_gpus(provider: str, machine: str) -> None:
    node = nodes(platform(H100, f"cluster: {{provider: {provider}}}\n"))[0]
    assert labels(node).get("node.kubernetes.io/instance-type", "") == machine


def test_nodes_belong_to_their_pool_and_differ_from_each_other() -> None:
    declared = platform(
        f"{H100}, {{name: l4, gpu: L4, gpusPerNode: 1, nodes: {{min: 300, max: 300}}, nodeSelector: {{tier: small}},"
        " topology: {levels: [example.com/block, example.com/rack, kubernetes.io/hostname]}}"
    )
    made = nodes(declared)
    found = [derive.pool_of(declared, labels(each)) for each in made]
    assert [pool.name if pool else "" for pool in found].count("l4") == 300
    assert len({text(each, "status", "addresses", 0, "address") for each in made}) == len(made)
    racks = {labels(each)["example.com/rack"]: labels(each)["example.com/block"] for each in made if "l4" in name(each)}
    assert (len(racks), len(set(racks.values()))) == (75, 19)


def test_superchips_are_arm_machines() -> None:
    pools = f"{H100}, {{name: nvl, gpu: GB200, gpusPerNode: 4, nodes: {{min: 1, max: 1}}}}"
    arch = {name(each): labels(each)["kubernetes.io/arch"] for each in nodes(platform(pools))}
    assert arch == {"h100-0": "amd64", "h100-1": "amd64", "nvl-0": "arm64", "cpu-0": "amd64", "cpu-1": "amd64"}


def manifest(title: str = "n1") -> str:
    return f"apiVersion: v1\nkind: Node\nmetadata: {{name: {title}, labels: {{pool: x}}}}\n"


def test_a_file_of_nodes_may_leave_out_the_status() -> None:
    first, second = nodes_from(manifest() + "---\n---\n" + manifest("n2") + "status: {capacity: {cpu: '3'}}\n")
    assert labels(first)["pool"] == "x"
    assert annotations_of(first) == {"kwok.x-k8s.io/node": "fake"}
    assert get(first, "status", "allocatable", "pods") == "250"
    assert text(first, "status", "nodeInfo", "kubeletVersion").startswith("v1.")
    assert get(second, "status", "allocatable", "cpu") == "3"


def test_a_list_of_nodes_is_a_file_of_nodes() -> None:
    listed = "kind: NodeList\napiVersion: v1\nitems: [{apiVersion: v1, kind: Node, metadata: {name: n}}]\n"
    assert [name(each) for each in nodes_from(listed)] == ["n"]


@pytest.mark.parametrize(
    "bad",
    [
        "", "[]", "7", "a: b", "a: [", manifest() + "---\n" + manifest(),
        "apiVersion: v1\nkind: Pod\nmetadata: {name: n}",
        "apiVersion: v1\nkind: Node\n", "kind: List\nitems: [3]", "kind: Node\napiVersion: v1\nmetadata: {name: [x]}",
    ],
)  # fmt: skip
def test_anything_else_is_one_clear_error(bad: str) -> None:
    with pytest.raises(InputError):
        nodes_from(bad)
