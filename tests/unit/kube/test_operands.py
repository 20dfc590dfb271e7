"""Operands node by node: what is expected, what is absent, what merely waits."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.kube.operands import OPERANDS, blocking, enabled, gate, operand_of, operand_states, operator_namespace
from tests import world

LAB = world.load(world.WORLDS / "lab.yaml")
PLUGIN_POD = "nvidia-device-plugin-daemonset-nrmh5"  # on h100-0


def snapshot(*changes: dict[str, Any], gone: tuple[str, ...] = (), **more: Any) -> Any:
    """The lab world with objects changed by kind and name, or left out by name."""
    objects = [each for each in LAB["objects"] if each["metadata"]["name"] not in gone]
    for change in changes:
        for index, each in enumerate(objects):
            if (each["kind"], each["metadata"]["name"]) == (change["kind"], change["metadata"]["name"]):
                objects[index] = world.merge(each, change)
                break
        else:
            objects.append(change)
    return world.snapshot({"objects": objects, "takenAt": LAB["takenAt"], **more})


def node(name: str, **labels: Any) -> dict[str, Any]:
    keyed = {f"nvidia.com/{key}": value for key, value in labels.items()}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": keyed}}


def state(of: Any, operand: str, on: str = "h100-0") -> str:
    return operand_states(of)[on][operand].state


def test_a_healthy_node_has_every_operand_it_should() -> None:
    states = operand_states(snapshot())
    assert set(states) == {"h100-0", "a100-mig-0", "l4-0"}
    assert {each.state for each in states["h100-0"].values()} == {"ready", "not-expected"}
    assert states["h100-0"]["mps-control-daemon"].state == "not-expected"  # DESIRED 0 is normal
    assert states["l4-0"]["mig-manager"].state == "not-expected"  # its GPU has no MIG
    assert "dcgm" not in states["h100-0"]  # switched off, and no DaemonSet
    assert blocking(snapshot(), "h100-0") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("false", "opted-out"),
        ("pre-installed", "pre-installed"),
        ("paused-for-mig-change", "paused"),
        ("True", "opted-out"),
    ],
)
def test_the_gate_label_decides(value: str, expected: str) -> None:
    change = {"kind": "Node", "metadata": {"name": "h100-0", "labels": {gate("device-plugin"): value}}}
    assert state(snapshot(change), "device-plugin") == expected


def test_a_missing_pod_is_absent_only_where_every_pod_was_read() -> None:
    assert state(snapshot(gone=(PLUGIN_POD,)), "device-plugin") == "absent"
    assert state(snapshot(gone=(PLUGIN_POD,), partial=["Pod"]), "device-plugin") == "unknown"
    found = blocking(snapshot(gone=(PLUGIN_POD,)), "h100-0")
    assert found is not None
    assert (found.operand, found.state) == ("device-plugin", "absent")


def test_an_operand_switched_off_is_not_expected() -> None:
    off = {"kind": "ClusterPolicy", "metadata": {"name": "cluster-policy"}, "spec": {"driver": {"enabled": False}}}
    assert state(snapshot(off), "driver") == "not-expected"
    assert enabled(snapshot(off), "driver") is False


def test_an_operand_switched_on_that_was_never_created_is_absent() -> None:
    names = [
        each["metadata"]["name"]
        for each in LAB["objects"]
        if "nvidia-device-plugin-daemonset" in each["metadata"]["name"]
    ]
    found = operand_states(snapshot(gone=tuple(names)))["h100-0"]["device-plugin"]
    assert (found.state, found.daemonset) == ("absent", None)


def test_a_node_without_gate_labels_belongs_to_somebody_else() -> None:
    foreign = {**node("gke-0", **{"gpu.present": "true"}), "status": {"capacity": {"nvidia.com/gpu": "1"}}}
    assert {each.state for each in operand_states(snapshot(foreign))["gke-0"].values()} == {"not-expected"}


def test_what_waits_for_the_driver_does_not_block() -> None:
    def pod(name: str, field: str, container: str, how: dict[str, Any]) -> dict[str, Any]:
        status = {"name": container, "ready": False, "restartCount": 3, **how}
        conditions = [{"type": "Ready", "status": "False"}]
        return {"kind": "Pod", "metadata": {"name": name}, "status": {"conditions": conditions, field: [status]}}

    running: dict[str, Any] = {"state": {"running": {}}, "lastState": None, "restartCount": 0}
    waits = pod("nvidia-container-toolkit-daemonset-sbl6p", "initContainerStatuses", "driver-validation", running)
    crash = {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting"}}}
    driver = pod("nvidia-driver-daemonset-tg2z2", "initContainerStatuses", "k8s-driver-manager", crash)
    found = blocking(snapshot(waits, driver), "h100-0")
    assert found is not None
    assert (found.operand, found.state, found.says) == ("driver", "crash", "")
    assert state(snapshot(waits), "container-toolkit") == "init"
    assert blocking(snapshot(waits), "h100-0") is None


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"app": "nvidia-gpu-driver-ubuntu22.04-7bd5", "app.kubernetes.io/component": "nvidia-driver"}, "driver"),
        ({"app": "nvidia-driver-daemonset-416.94.202410"}, "driver"),
        ({"app": "nvidia-operator-validator", "app.kubernetes.io/name": "nvidia-dra-validator"}, "dra-validator"),
        ({"name": "nvidia-cc-manager"}, "cc-manager"),
        ({"name": "nvidia-device-plugin-ds"}, ""),
        ({"app": ["hostile"]}, ""),
    ],
)
def test_operands_are_told_by_their_labels(labels: dict[str, Any], expected: str) -> None:
    assert operand_of({"kind": "Pod", "metadata": {"labels": labels}}) == expected


def test_the_namespace_is_found_without_a_cluster_policy() -> None:
    assert operator_namespace(snapshot()) == "gpu-operator"
    assert operator_namespace(snapshot(unread=["ClusterPolicy"])) == "gpu-operator"
    assert operator_namespace(snapshot(unread=["ClusterPolicy", "Deployment", "DaemonSet", "Pod"])) == ""


def test_operands_come_in_the_order_they_need_each_other() -> None:
    order = [each.name for each in OPERANDS]
    wanted = ["driver", "container-toolkit", "device-plugin", "operator-validator", "dcgm-exporter"]
    assert sorted(wanted, key=order.index) == wanted
