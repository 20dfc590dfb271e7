"""One fake GPU node, looked at until nothing is due any more: what the API shows then is what a real one shows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.kube.nodes import allocatable, capacity
from plimsoll.kube.objects import annotations_of, condition, text
from plimsoll.kube.operands import BY_NAME
from plimsoll.kube.pods import ready, trouble
from plimsoll.lab.hardware.conditions import Condition
from plimsoll.lab.hardware.devices import GPU
from tests.unit.lab.machines import INIT, LAYOUTS, Machine, config, node, policy, reasons

CONFIG, STATE = "nvidia.com/mig.config", "nvidia.com/mig.config.state"
MIG_MAPS = {"default-mig-parted-config": config({"config.yaml": LAYOUTS})}
SHARED = "sharing: {timeSlicing: {renameByDefault: true, resources: [{name: nvidia.com/gpu, replicas: 4}]}}"


def healthy() -> Machine:
    machine = Machine(node())
    machine.settle()
    return machine


def crash(operand: str, *, container: str = "", init: bool = False, message: str = "") -> Condition:
    return Condition(id="f", operand=BY_NAME[operand].daemonset, container=container, init=init, message=message)


def test_a_node_is_whole_after_one_look_and_every_pod_is_written_once() -> None:
    machine = Machine(node(), [each for each in INIT if each != "mps-control-daemon"])
    assert machine.settle() == 2
    assert all(map(ready, machine.pods.values()))
    assert machine.devices() == machine.devices("allocatable") == {GPU: "8"}
    assert machine.labels["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3"
    assert machine.labels["nvidia.com/cuda.driver-version.full"] == "580.95.05"
    assert machine.writes == len(machine.pods) + 1
    assert not machine.events


def test_a_node_at_rest_is_left_alone() -> None:
    machine = healthy()
    before = machine.writes
    machine.now += timedelta(hours=1)
    machine.settle()
    assert machine.writes == before


def test_a_node_without_gpus_has_features_and_nothing_else() -> None:
    machine = Machine(node(""), ())
    machine.settle()
    assert "feature.node.kubernetes.io/kernel-version.full" in machine.labels
    assert not [key for key in machine.labels if "nvidia" in key or "pci-10de" in key]
    assert not machine.devices()


def test_nothing_is_discovered_without_the_nfd_worker_and_labels_outlive_it() -> None:
    machine = Machine(node(), (), nfd=False)
    machine.settle()
    assert not [key for key in machine.labels if key.startswith("feature.")]
    machine.view["nfd"] = True
    machine.settle()
    machine.view["nfd"] = False
    machine.settle()
    assert machine.labels["feature.node.kubernetes.io/pci-10de.present"] == "true"


def test_a_cluster_without_the_operator_has_gpus_too() -> None:
    machine = Machine(node("L4x1"), (), policy=None, nfd=False, standalone=True)
    machine.settle()
    assert machine.devices() == {GPU: "1"}
    assert machine.labels["nvidia.com/gpu.product"] == "NVIDIA-L4"
    assert machine.labels["feature.node.kubernetes.io/pci-10de.present"] == "true"


def test_no_gpu_before_the_operator_came() -> None:
    machine = Machine(node(), (), policy=None)
    machine.settle()
    assert not machine.devices()
    assert "nvidia.com/gpu.product" not in machine.labels


def test_operands_wait_in_the_init_container_of_the_layer_that_is_not_there() -> None:
    machine = Machine(node())
    machine.settle(crash("driver", message="no kernel headers"))
    assert machine.state("driver") == ("Running", "nvidia-driver-daemonset: CrashLoopBackOff")
    assert machine.state("container-toolkit") == ("Pending", "driver-validation: runs")
    assert machine.state("operator-validator") == ("Pending", "driver-validation: runs")
    for operand in ("device-plugin", "gpu-feature-discovery", "dcgm-exporter", "mig-manager"):
        assert machine.state(operand) == ("Pending", "toolkit-validation: runs")
    assert not machine.devices()
    assert reasons(machine) == ["BackOff nvidia-driver-daemonset-x"]
    machine.settle()
    assert all(map(ready, machine.pods.values()))


def test_a_plugin_that_fails_holds_the_validator_back_at_its_last_step() -> None:
    machine = Machine(node())
    machine.settle(crash("device-plugin"))
    assert machine.state("operator-validator") == ("Pending", "plugin-validation: runs")
    assert machine.state("dcgm-exporter") == ("Running", "")


def test_what_runs_already_goes_on_when_the_driver_dies() -> None:
    machine = healthy()
    machine.settle(crash("driver"))
    assert machine.state("device-plugin") == ("Running", "")
    assert machine.devices("allocatable") == {GPU: "8"}


@pytest.mark.parametrize("operand", sorted(INIT))
def test_a_crash_shows_as_plimsoll_reads_one_and_heals(operand: str) -> None:
    machine = healthy()
    machine.settle(crash(operand, message="it broke"))
    pod = next(
        each for each in machine.pods.values() if each["metadata"]["labels"]["app"] == BY_NAME[operand].daemonset
    )
    seen = trouble(pod)
    assert seen
    assert (seen.state, seen.message, seen.restarts) == ("crash", "it broke", 5)
    assert condition(pod, "PodScheduled")["status"] == "True"
    machine.settle()
    assert ready(pod)


@pytest.mark.parametrize("operand", sorted(INIT))
def test_an_init_container_that_crashes(operand: str) -> None:
    machine = healthy()
    machine.settle(crash(operand, container=INIT[operand][-1], init=True))
    assert machine.state(operand) == ("Pending", f"{INIT[operand][-1]}: CrashLoopBackOff")


@pytest.mark.parametrize(
    ("reason", "phase", "shown", "event"),
    [
        ("ImagePullBackOff", "Pending", "ImagePullBackOff", ["BackOff", "Failed"]),
        ("CreateContainerError", "Pending", "CreateContainerError", ["Failed"]),
        ("NotReady", "Running", "runs", ["Unhealthy"]),
    ],
)
def test_other_ways_not_to_run(reason: str, phase: str, shown: str, event: list[str]) -> None:
    machine = Machine(node())
    machine.settle(Condition(id="f", operand="nvidia-dcgm-exporter", reason=reason))
    assert machine.state("dcgm-exporter") == (phase, f"nvidia-dcgm-exporter: {shown}")
    assert [each.partition(" ")[0] for each in reasons(machine)] == event


def test_a_pod_without_a_sandbox_has_no_address() -> None:
    machine = Machine(node())
    machine.settle(
        Condition(id="f", operand="nvidia-mig-manager", reason="FailedCreatePodSandBox", message="no runtime")
    )
    assert machine.state("mig-manager") == ("Pending", "toolkit-validation: PodInitializing")
    assert "podIP" not in machine.pods["uid-mig-manager"]["status"]
    assert [text(each, "message") for each in machine.events] == ["no runtime"]


def test_a_volume_whose_configmap_is_missing_keeps_a_pod_from_starting() -> None:
    machine = Machine(node())
    machine.pods["uid-device-plugin"]["spec"]["volumes"] = [{"name": "v", "configMap": {"name": "dp"}}]
    machine.settle()
    assert machine.state("device-plugin") == ("Pending", "toolkit-validation: PodInitializing")
    assert reasons(machine) == ["FailedMount nvidia-device-plugin-daemonset-x"]
    machine.view["configs"] = {"dp": config({})}
    machine.settle()
    assert machine.state("device-plugin") == ("Running", "")


def test_a_plugin_that_goes_leaves_its_capacity_for_a_while() -> None:
    machine = healthy()
    del machine.pods["uid-device-plugin"]
    writes = machine.look()
    assert (machine.devices(), machine.devices("allocatable")) == ({GPU: "8"}, {GPU: "0"})
    assert writes.again == 300
    machine.now += timedelta(seconds=299)
    machine.look()
    assert machine.devices() == {GPU: "8"}
    machine.now += timedelta(seconds=2)
    machine.look()
    assert (machine.devices(), machine.devices("allocatable")) == ({GPU: "0"}, {GPU: "0"})


def test_gpus_that_are_ill_and_gpus_that_are_not_there() -> None:
    machine = Machine(node())
    machine.settle(Condition(id="a", gpus_lost=2))
    assert (machine.devices(), machine.devices("allocatable")) == ({GPU: "8"}, {GPU: "6"})
    machine.settle(Condition(id="b", gpus_missing=3))
    assert (machine.devices(), machine.devices("allocatable")) == ({GPU: "5"}, {GPU: "5"})
    assert machine.labels["nvidia.com/gpu.count"] == "5"
    machine.settle(Condition(id="b", gpus_missing=1, hold=("gfd",)))
    assert (machine.devices(), machine.labels["nvidia.com/gpu.count"]) == ({GPU: "7"}, "5")


def test_what_a_fault_holds_is_left_as_it_is() -> None:
    machine = healthy()
    machine.node["status"]["capacity"][GPU] = "3"
    machine.labels["nvidia.com/gpu.product"] = "Other"
    machine.settle(Condition(id="f", hold=("plugin", "gfd", "nfd", "mig", "pods")))
    assert (machine.devices()[GPU], machine.labels["nvidia.com/gpu.product"]) == ("3", "Other")
    machine.settle()
    assert (machine.devices()[GPU], machine.labels["nvidia.com/gpu.product"]) == ("8", "NVIDIA-H100-80GB-HBM3")


def test_a_hidden_gpu_is_not_on_the_bus() -> None:
    machine = healthy()
    machine.settle(Condition(id="f", pci_hidden=True))
    assert "feature.node.kubernetes.io/pci-10de.present" not in machine.labels


def sharing(text_: str) -> Machine:
    machine = Machine(node(), policy=policy(devicePlugin={"config": {"name": "dp"}}))
    machine.view["configs"] = {"dp": config({"a": text_})}
    machine.labels["nvidia.com/device-plugin.config"] = "a"
    machine.settle()
    return machine


def test_time_slicing() -> None:
    machine = sharing(SHARED)
    assert machine.devices() == {"nvidia.com/gpu.shared": "32"}
    assert machine.labels["nvidia.com/gpu.replicas"] == "4"
    assert machine.labels["nvidia.com/gpu.sharing-strategy"] == "time-slicing"


def test_a_config_that_changes_under_its_name_is_read_by_the_next_pod() -> None:
    machine = sharing(SHARED)
    machine.view["configs"] = {"dp": config({"a": SHARED.replace("4", "6")})}
    machine.settle()
    assert machine.devices() == {"nvidia.com/gpu.shared": "32"}
    machine.pods["new"] = machine.pods.pop("uid-device-plugin")
    machine.pods["new"]["metadata"]["uid"] = "new"
    machine.settle()
    assert machine.devices() == {"nvidia.com/gpu.shared": "48"}


def test_a_configmap_that_is_deleted_changes_nothing_for_a_plugin_that_runs() -> None:
    machine = sharing(SHARED)
    machine.view["configs"] = {}
    machine.settle()
    assert machine.state("device-plugin") == ("Running", "")
    assert machine.devices() == {"nvidia.com/gpu.shared": "32"}


def test_a_config_that_is_not_there() -> None:
    machine = sharing(SHARED)
    machine.labels["nvidia.com/device-plugin.config"] = "zz"
    machine.settle()
    assert machine.state("device-plugin") == ("Running", "config-manager: CrashLoopBackOff")
    del machine.pods["uid-device-plugin"]
    fresh = Machine(machine.node, **machine.view)
    fresh.settle()
    assert fresh.state("device-plugin") == ("Pending", "config-manager-init: CrashLoopBackOff")
    assert fresh.devices("allocatable") == {"nvidia.com/gpu.shared": "0"}


def test_mps_registers_once_its_daemon_runs() -> None:
    text_ = "sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 10}]}}"
    machine = sharing(text_)
    assert machine.devices() == {GPU: "80"}
    assert machine.labels["nvidia.com/mps.capable"] == "true"
    machine.settle(crash("mps-control-daemon"))
    assert machine.devices("allocatable") == {GPU: "0"}


def cutting(strategy: str = "mixed", **view: Any) -> Machine:
    machine = Machine(node(), policy=policy(mig={"strategy": strategy}), configs=MIG_MAPS, **view)
    machine.settle()
    machine.labels[CONFIG] = "all-1g.10gb"
    return machine


def test_a_layout_is_applied_in_the_steps_of_the_mig_manager() -> None:
    machine = cutting()
    machine.look()
    assert machine.labels[STATE] == "pending"
    assert machine.labels["nvidia.com/gpu.deploy.device-plugin"] == "paused-for-mig-change"
    assert machine.labels["nvidia.com/gpu.deploy.driver"] == "true"
    machine.settle(paused=True)
    assert machine.labels[STATE] == "success"
    assert machine.labels["nvidia.com/gpu.deploy.device-plugin"] == "true"
    assert machine.devices("allocatable") == {GPU: "0", "nvidia.com/mig-1g.10gb": "56"}
    assert machine.labels["nvidia.com/mig-1g.10gb.count"] == "56"
    assert all(map(ready, machine.pods.values()))


def test_the_single_strategy_offers_slices_as_gpus() -> None:
    machine = cutting("single")
    machine.settle(paused=True)
    assert machine.devices() == {GPU: "56"}
    assert machine.labels["nvidia.com/gpu.product"] == "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb"


def test_the_single_strategy_refuses_a_mixed_node() -> None:
    machine = cutting("single")
    machine.labels[CONFIG] = "half"
    machine.settle(paused=True)
    assert machine.labels[STATE] == "success"
    assert machine.labels["nvidia.com/gpu.product"].endswith("-MIG-INVALID")
    assert machine.state("device-plugin") == ("Running", "nvidia-device-plugin-daemonset: CrashLoopBackOff")


@pytest.mark.parametrize("name", ["nope", "too-much"])
def test_a_layout_that_cannot_be_fails_and_changes_nothing(name: str) -> None:
    machine = cutting()
    machine.labels[CONFIG] = name
    machine.settle(paused=True)
    assert machine.labels[STATE] == "failed"
    assert machine.devices("allocatable") == {GPU: "8"}
    assert "paused-for-mig-change" not in machine.labels.values()


def test_pods_that_hold_gpus_end_a_change_after_a_while() -> None:
    machine = cutting(used=True)
    for _ in range(5):
        machine.look()
        machine.daemonsets()
    assert machine.labels[STATE] == "pending"
    machine.now += timedelta(minutes=1)
    machine.settle(paused=True)
    assert machine.labels[STATE] == "failed"
    assert machine.devices("allocatable") == {GPU: "8"}


def test_clients_that_do_not_go_leave_a_change_half_done() -> None:
    machine = cutting()
    machine.look()
    machine.now += timedelta(minutes=6)
    machine.settle()
    assert machine.labels[STATE] == "pending"
    assert machine.labels["nvidia.com/gpu.deploy.device-plugin"] == "paused-for-mig-change"


@pytest.mark.parametrize(
    ("outcome", "state", "paused"),
    [
        ("failed", "failed", False),
        ("wedged", "pending", True),
        ("pending", "pending", False),
        ("rebooting", "rebooting", False),
    ],
)
def test_how_a_fault_lets_a_change_end(outcome: str, state: str, paused: bool) -> None:
    machine = cutting()
    machine.settle(Condition(id="f", mig=outcome), paused=True)  # type: ignore[arg-type]
    assert machine.labels[STATE] == state
    assert ("paused-for-mig-change" in machine.labels.values()) == paused


def test_a_wedged_node_is_freed_as_the_remedy_says() -> None:
    machine = cutting()
    machine.settle(Condition(id="f", mig="wedged"), paused=True)
    machine.settle()
    assert machine.labels[STATE] == "pending"
    for key, value in machine.labels.items():
        if value == "paused-for-mig-change":
            machine.labels[key] = "true"
    machine.labels[CONFIG] = "all-disabled"
    machine.settle(paused=True)
    machine.labels[CONFIG] = "all-1g.10gb"
    machine.settle(paused=True)
    assert machine.labels[STATE] == "success"
    assert machine.devices()["nvidia.com/mig-1g.10gb"] == "56"


def test_nothing_is_done_twice_when_the_process_starts_anew() -> None:
    machine = cutting()
    machine.settle(paused=True)
    again = Machine(machine.node, (), **machine.view)
    again.pods = machine.pods
    writes = again.look()
    assert not writes.metadata
    assert not writes.pods
    assert annotations_of(machine.node)["lab.plimsoll.dev/mig"].count("1g.10gb") == 8


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(INIT)), st.sampled_from(["CrashLoopBackOff", "ImagePullBackOff", "NotReady"]),
            st.booleans(), st.integers(0, 9), st.integers(0, 9),
        ),
        max_size=4,
    ),
    st.sampled_from(["none", "single", "mixed"]),
    st.sampled_from(["all-disabled", "all-1g.10gb", "half", "nope"]),
)  # fmt: skip
def test_whatever_is_wrong_it_comes_to_rest_and_gives_no_more_than_it_has(
    wrong: list[tuple[str, str, bool, int, int]], strategy: str, layout: str
) -> None:
    conditions = [
        Condition(
            id="f", operand=BY_NAME[operand].daemonset, reason=reason, init=init, gpus_lost=lost, gpus_missing=missing
        )
        for operand, reason, init, lost, missing in wrong
    ]
    machine = Machine(node(), policy=policy(mig={"strategy": strategy}), configs=MIG_MAPS)
    machine.labels[CONFIG] = layout
    machine.settle(*conditions, paused=True)
    given_, there = allocatable(machine.node), capacity(machine.node)
    assert given_.keys() == there.keys()
    assert all(given_[each] <= there[each] for each in there)
