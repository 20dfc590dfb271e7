"""What a node has, offers and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.kube import nodes
from plimsoll.kube.objects import Obj


def node(**parts: Any) -> Obj:
    labels = parts.pop("labels", {})
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": labels}, **parts}


@pytest.mark.parametrize(("labels", "capacity", "has"), [
    ({}, {}, False),
    ({"nvidia.com/gpu.present": "true"}, {}, True),
    ({"nvidia.com/gpu.present": "false"}, {}, False),
    ({"feature.node.kubernetes.io/pci-10de.present": "true"}, {}, True),
    ({"feature.node.kubernetes.io/pci-0302_10de.present": "true"}, {}, True),
    ({"feature.node.kubernetes.io/pci-8086.present": "true"}, {}, False),
    ({"nvidia.com/gpu.product": "NVIDIA-L4"}, {}, True),
    ({}, {"nvidia.com/gpu": "0"}, True),
    ({}, {"nvidia.com/mig-1g.5gb": "7"}, True),
    ({}, {"amd.com/gpu": "8"}, False),
])  # fmt: skip
def test_anything_that_says_gpu_makes_a_gpu_node(labels: dict[str, str], capacity: dict[str, str], has: bool) -> None:
    assert nodes.has_gpu(node(labels=labels, status={"capacity": capacity})) is has


def test_capacity_and_allocatable_are_counts_of_gpus() -> None:
    some = node(status={"capacity": {"cpu": "96", "nvidia.com/gpu": "8", "nvidia.com/mig-3g.40gb": "0"},
                        "allocatable": {"nvidia.com/gpu": "7", "memory": "1Ti"}})  # fmt: skip
    assert nodes.capacity(some) == {"nvidia.com/gpu": 8, "nvidia.com/mig-3g.40gb": 0}
    assert nodes.allocatable(some) == {"nvidia.com/gpu": 7}


@pytest.mark.parametrize(("conditions", "ready"), [
    ([{"type": "Ready", "status": "True"}], True), ([{"type": "Ready", "status": "False"}], False),
    ([{"type": "Ready", "status": "Unknown"}], False), ([{"type": "DiskPressure", "status": "True"}], None),
    (None, None), ("x", None), ([None, 1, {"type": "Ready", "status": 1}], None),
])  # fmt: skip
def test_ready_is_what_the_kubelet_says(conditions: Any, ready: bool | None) -> None:
    assert nodes.is_ready(node(status={"conditions": conditions})) is ready


GPU = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


@pytest.mark.parametrize(("toleration", "covers"), [
    ({}, False),
    ({"operator": "Exists"}, True),
    ({"operator": "Exists", "effect": "NoExecute"}, False),
    ({"key": "nvidia.com/gpu", "operator": "Exists"}, True),
    ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}, True),
    ({"key": "nvidia.com/gpu", "operator": "Equal", "value": "present"}, True),
    ({"key": "nvidia.com/gpu", "value": "present"}, True),  # Equal is the default
    ({"key": "nvidia.com/gpu", "value": "true"}, False),
    ({"key": "nvidia.com/gpu"}, False),
    ({"key": "other", "operator": "Exists"}, False),
    ({"key": ["nvidia.com/gpu"], "operator": {}}, False),
])  # fmt: skip
def test_a_toleration_covers_what_kubernetes_says_it_covers(toleration: Obj, covers: bool) -> None:
    assert nodes.untolerated(node(spec={"taints": [GPU]}), [toleration]) == ([] if covers else [GPU])


def test_taints_that_keep_no_pod_away_and_those_a_daemon_is_let_past() -> None:
    prefer = {"key": "a", "effect": "PreferNoSchedule"}
    unready = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}
    some = node(spec={"taints": [prefer, unready, GPU]})
    assert nodes.untolerated(some, []) == [unready, GPU]
    assert nodes.untolerated(some, [], daemon=True) == [GPU]


def affinity(*terms: Obj) -> Obj:
    required = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}}


@pytest.mark.parametrize(("spec", "fits"), [
    ({}, True),
    ({"nodeSelector": {"pool": "h100"}}, True),
    ({"nodeSelector": {"pool": "l4"}}, False),
    ({"nodeSelector": {"pool": "h100", "zone": "a"}}, False),
    (affinity({"matchExpressions": [{"key": "pool", "operator": "In", "values": ["l4", "h100"]}]}), True),
    (affinity({"matchExpressions": [{"key": "pool", "operator": "NotIn", "values": ["h100"]}]}), False),
    (affinity({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), True),
    (affinity({"matchExpressions": [{"key": "gpus", "operator": "Gt", "values": ["7"]}]}), True),
    (affinity({"matchExpressions": [{"key": "gpus", "operator": "Lt", "values": ["8"]}]}), False),
    (affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}), True),
    (affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}), False),
    (affinity({}), False),  # a term that says nothing selects nothing
    (affinity({}, {"matchExpressions": [{"key": "pool", "operator": "Exists"}]}), True),  # one term is enough
    ({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}}}, True),
    ({"nodeSelector": [], "affinity": "x"}, True),
])  # fmt: skip
def test_selectors_and_affinity(spec: Obj, fits: bool) -> None:
    some = node(labels={"pool": "h100", "gpus": "8"}, spec={"taints": []})
    assert nodes.selected(some, {"spec": spec}) is fits
    assert nodes.accepts(some, {"spec": spec}) is fits
    assert not nodes.accepts({**some, "spec": {"unschedulable": True}}, {"spec": spec})


@pytest.mark.parametrize("part", [None, [], "x", 1, {"taints": [None, 1, {}]}, {"taints": {"a": 1}}, {"capacity": [1]}])
def test_odd_shapes_raise_nothing(part: Any) -> None:
    odd = {"kind": "Node", "metadata": part, "spec": part, "status": part}
    pod = {"spec": {"nodeSelector": {"a": part}, "affinity": affinity({"matchExpressions": part})["affinity"]}}
    assert nodes.has_gpu(odd) is False
    assert nodes.capacity(odd) == nodes.allocatable(odd) == {}
    assert nodes.is_ready(odd) is None
    assert nodes.is_spot(odd) is False
    assert nodes.accepts(odd, {"spec": {}}) is True
    assert nodes.accepts(odd, pod) in (True, False)
    assert nodes.untolerated(odd, [{"key": part, "effect": part, "operator": part}]) == []
