"""What passes by itself, or shows in little of a cluster: operator and MIG scenarios put into the healthy recording.

The root causes above info that each gives are the whole list; none means that nothing may be called a fault.
The shapes are those of tests/faults.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plimsoll.check.model import Severity
from plimsoll.check.run import review
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj
from plimsoll.kube.snapshot import Coverage, Snapshot, Source
from plimsoll.pillars import all_checks
from plimsoll.units import moment
from tests.faults import AGO, NOW, OPERANDS, Cluster, healthy, new_roots, owner
from tests.recorded import whole
from tests.test_faults import GPU_NODES, nouveau_is_loaded, toolkit_crashes

Fault = Callable[[Cluster], None]
FAULTS: list[tuple[Fault, set[str]]] = []
UNMEASURED = "OBS-01 Node/a100-mig-0"  # true where no operator brings dcgm-exporter
JUST_NOW = "2026-11-24T11:01:30Z"  # 90 seconds before the recording ends


def gives(*roots: str) -> Callable[[Fault], Fault]:
    """The root causes a scenario must give, as `ID Kind/name`."""

    def note(fault: Fault) -> Fault:
        FAULTS.append((fault, set(roots)))
        return fault

    return note


def begun(c: Cluster, *operands: str, node: str, since: str = JUST_NOW) -> None:
    """The pods of a node began at that time; its ClusterPolicy became not ready then."""
    for operand in operands:
        pod = c.pod(operand, node)
        pod["metadata"]["creationTimestamp"] = pod["status"]["startTime"] = since
    for entry in c.find("ClusterPolicy", "cluster-policy")["status"]["conditions"]:
        entry["lastTransitionTime"] = since


def driver_compiles(c: Cluster, node: str, since: str = JUST_NOW) -> None:
    """The driver container runs since then and is not ready; all that needs it waits."""
    pod = c.pod("driver", node)
    for status in pod["status"]["containerStatuses"]:
        status |= {"ready": False, "started": False, "state": {"running": {"startedAt": since}}}
    c.ready(pod, "False")
    for operand in ("toolkit", "validator"):
        c.hold(c.pod(operand, node), "driver-validation")
    for operand in ("plugin", "gfd", "exporter", "mig"):
        c.hold(c.pod(operand, node), "toolkit-validation")
    c.count(*OPERANDS)
    begun(c, *OPERANDS, node=node, since=since)


@gives()
def a_driver_upgrade_rolls(c: Cluster) -> None:
    node = c.node("h100-1")
    node["metadata"]["labels"]["nvidia.com/gpu-driver-upgrade-state"] = "pod-restart-required"
    node["spec"]["unschedulable"] = True
    node["spec"]["taints"].append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    driver_compiles(c, "h100-1")
    c.offer("h100-1", allocatable="0")


@gives()
def a_new_node_compiles_its_driver(c: Cluster) -> None:
    node = c.node("h100-1")
    node["metadata"]["creationTimestamp"] = JUST_NOW
    for entry in node["status"]["conditions"]:
        entry["lastTransitionTime"] = JUST_NOW
    driver_compiles(c, "h100-1")
    for side in ("capacity", "allocatable"):
        node["status"][side].pop("nvidia.com/gpu")


@gives()
def a_driver_still_compiles_after_twelve_minutes(c: Cluster) -> None:
    driver_compiles(c, "h100-1", since="2026-11-24T10:51:00Z")
    c.offer("h100-1", allocatable="0")


@gives()
def a_driver_pod_was_deleted_by_hand(c: Cluster) -> None:
    driver_compiles(c, "h100-1")
    c.offer("h100-1", allocatable="0")


def without_operator(c: Cluster, *bare: str) -> None:
    """k3s or EKS with a device plugin of its own, placed by the label `gpu`; these nodes have registered nothing."""
    pods = {node: c.pod("plugin", node) for node in GPU_NODES}
    daemonset = c.find("DaemonSet", "nvidia-device-plugin-daemonset", "gpu-operator")
    kept = [daemonset, *pods.values()]
    c.remove(
        lambda o: (
            (o["metadata"].get("namespace") == "gpu-operator" and all(o is not each for each in kept))
            or o["kind"] in ("ClusterPolicy", "RuntimeClass")
            or (o["kind"] == "CustomResourceDefinition" and "nvidia.com" in o["metadata"]["name"])
        )
    )
    for node in [o for o in c.items if o["kind"] == "Node"]:
        have = node["metadata"]["labels"]
        for key in [k for k in have if k.startswith(("feature.node", "nvidia.com/"))]:
            del have[key]
    for obj in (daemonset["spec"]["template"], *pods.values()):
        obj["metadata"]["labels"] = {"name": "nvidia-device-plugin-ds"}
        spec = obj["spec"]
        spec.pop("initContainers", None)
        spec.pop("runtimeClassName", None)
        spec["nodeSelector"] = {"gpu": "yes"}
        spec["containers"] = [{**spec["containers"][0], "name": "nvidia-device-plugin-ctr"}]
    for obj in kept:
        obj["metadata"]["namespace"] = "kube-system"
    for name, pod in pods.items():
        c.node(name)["metadata"]["labels"]["gpu"] = "yes"
        pod["status"].pop("initContainerStatuses", None)
        pod["status"]["containerStatuses"][0]["name"] = "nvidia-device-plugin-ctr"
    for name in bare:
        forget(c, name)


def forget(c: Cluster, node: str) -> None:
    """The node has never registered a GPU."""
    for side in ("capacity", "allocatable"):
        for key in [k for k in c.node(node)["status"][side] if k.startswith("nvidia.com/")]:
            del c.node(node)["status"][side][key]


@gives(UNMEASURED)
def a_plugin_of_its_own_serves_every_node(c: Cluster) -> None:
    without_operator(c)


@gives("GPU055 Node/h100-1", UNMEASURED)
def a_plugin_of_its_own_registers_nothing_on_one_node(c: Cluster) -> None:
    without_operator(c, "h100-1")


@gives("GPU055 Node/h100-1", UNMEASURED)
def nothing_but_what_places_the_plugin_tells_of_gpus(c: Cluster) -> None:
    without_operator(c, "h100-1")
    del c.node("h100-1")["metadata"]["labels"]["node.kubernetes.io/instance-type"]


@gives(*(f"GPU055 Node/{node}" for node in GPU_NODES))
def a_plugin_of_its_own_registers_nothing_anywhere(c: Cluster) -> None:
    without_operator(c, *GPU_NODES)


def handed_out_by_dra(c: Cluster, *nodes: str) -> None:
    """The device plugin is off; the DRA driver publishes the GPUs of these nodes."""
    c.find("ClusterPolicy", "cluster-policy")["spec"]["devicePlugin"]["enabled"] = False
    plugin = OPERANDS["plugin"][0]
    c.remove(lambda o: (o["kind"] == "DaemonSet" and o["metadata"]["name"] == plugin) or owner(o) == plugin)
    for node in GPU_NODES:
        forget(c, node)
    for node in nodes:
        kind, each = ("mig", 2) if "mig" in node else ("gpu", 1)
        devices = [{"name": f"{kind}-{n}", "attributes": {"type": {"string": kind}}} for n in range(8 * each)]
        c.items.append({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
            "metadata": {"name": f"{node}-gpu", "uid": f"slice-{node}", "creationTimestamp": AGO},
            "spec": {"driver": "gpu.nvidia.com", "nodeName": node, "devices": devices,
                     "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}},
        })  # fmt: skip


@gives()
def dra_hands_out_every_gpu_and_mig_device(c: Cluster) -> None:
    handed_out_by_dra(c, *GPU_NODES)


@gives("GPU055 Node/h100-1")
def dra_publishes_nothing_of_one_node(c: Cluster) -> None:
    handed_out_by_dra(c, *(node for node in GPU_NODES if node != "h100-1"))


@gives()
def a_node_has_rebooted(c: Cluster) -> None:
    driver_compiles(c, "h100-1")
    for operand in OPERANDS:  # a reboot makes no new pods
        c.pod(operand, "h100-1")["metadata"]["creationTimestamp"] = AGO
    for entry in c.node("h100-1")["status"]["conditions"]:
        entry["lastTransitionTime"] = JUST_NOW
    (status,) = c.pod("driver", "h100-1")["status"]["containerStatuses"]
    ended = {"exitCode": 255, "reason": "Unknown", "startedAt": AGO, "finishedAt": JUST_NOW}
    status |= {"restartCount": 1, "lastState": {"terminated": ended}}
    c.offer("h100-1", allocatable="0", capacity="0")


@gives()
def a_device_plugin_ends_for_a_new_one(c: Cluster) -> None:
    pod = c.pod("plugin", "h100-1")
    pod["metadata"]["deletionTimestamp"] = "2026-11-24T11:03:10Z"
    c.ready(pod, "False")
    c.offer("h100-1", allocatable="0")
    c.count("plugin")
    begun(c, node="h100-1")


@gives()
def a_new_device_plugin_has_not_started_yet(c: Cluster) -> None:
    pod = c.pod("plugin", "h100-1")
    for status in pod["status"]["containerStatuses"]:
        status |= {"ready": False, "started": False, "state": {"waiting": {"reason": "PodInitializing"}}}
    c.ready(pod, "False")
    c.offer("h100-1", allocatable="0")
    c.count("plugin")
    begun(c, "plugin", node="h100-1")


@gives("GPU054 Node/h100-1")
def a_new_device_plugin_crashes(c: Cluster) -> None:
    pod = c.pod("plugin", "h100-1")
    c.crash(pod, "nvidia-device-plugin", "error parsing configuration")
    c.offer("h100-1", allocatable="0")
    c.count("plugin")
    begun(c, "plugin", node="h100-1")


@gives()
def a_health_agent_reports_what_is_well(c: Cluster) -> None:
    for kind in (
        "GPUDriverInstalled",
        "NvidiaDriverLoaded",
        "GPUDevicePluginRegistered",
        "GPUsSchedulable",
        "NVLinkUp",
    ):
        c.conditions(c.node("h100-1"), **{kind: ("True", "OK", "all good")})


@gives("GPU111 Node/h100-1")
def a_health_agent_reports_throttling(c: Cluster) -> None:
    c.conditions(c.node("h100-1"), GpuThrottlingActive=("True", "HwSlowdown", "GPU 3 is slowed down by hardware"))


def mig_change_begins(c: Cluster) -> Obj:
    """The MIG manager pauses the operands and ends the device plugin, whose pod is returned."""
    have = c.node("a100-mig-0")["metadata"]["labels"]
    have |= {"nvidia.com/mig.config": "all-3g.40gb", "nvidia.com/mig.config.state": "pending"}
    for operand in ("device-plugin", "gpu-feature-discovery", "dcgm-exporter", "dcgm"):
        have[f"nvidia.com/gpu.deploy.{operand}"] = "paused-for-mig-change"
    c.offer("a100-mig-0", allocatable="0")
    return c.pod("plugin", "a100-mig-0")


@gives()
def a_mig_change_begins(c: Cluster) -> None:
    pod = mig_change_begins(c)
    pod["metadata"]["deletionTimestamp"] = "2026-11-24T11:03:10Z"
    c.ready(pod, "False")


@gives()
def a_mig_change_has_ended_the_plugin(c: Cluster) -> None:
    pod = mig_change_begins(c)
    c.event(pod, "Killing", "Stopping container nvidia-device-plugin", type_="Normal")
    c.items[-1]["source"]["host"] = "a100-mig-0"
    c.remove(lambda o: o is pod)


@gives("GPU077 Node/a100-mig-0")
def a_mig_change_left_the_plugin_ending_for_long(c: Cluster) -> None:
    pod = mig_change_begins(c)
    pod["metadata"]["deletionTimestamp"] = AGO
    c.ready(pod, "False")


def removed(c: Cluster, since: str) -> None:
    """Karpenter takes a node away: its kubelet says that it shuts down."""
    node = c.node("h100-1")
    node["metadata"]["deletionTimestamp"] = since
    node["spec"]["taints"].append({"key": "karpenter.sh/disrupted", "effect": "NoSchedule"})
    c.conditions(node, Ready=("False", "KubeletNotReady", "node is shutting down"))


@gives()
def a_node_is_being_removed(c: Cluster) -> None:
    removed(c, "2026-11-24T11:02:40Z")


@gives("GPU111 Node/h100-1")
def a_node_that_should_be_gone_stays(c: Cluster) -> None:
    removed(c, AGO)


@gives()
def a_spot_node_was_given_notice(c: Cluster) -> None:
    for node, key in (
        ("h100-1", "aws-node-termination-handler/spot-itn"),
        ("h100-2", "cloud.google.com/impending-node-termination"),
    ):
        c.node(node)["spec"]["taints"].append({"key": key, "effect": "NoSchedule"})


@pytest.mark.parametrize(("fault", "roots"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_the_roots_are_these_and_no_others(fault: Fault, roots: set[str]) -> None:
    cluster = healthy()
    fault(cluster)
    found = new_roots(cluster)
    assert set(found) == roots, found


@pytest.mark.parametrize(
    ("fault", "root"), [(nouveau_is_loaded, "GPU031 Node/h100-3"), (toolkit_crashes, "GPU045 Node/h100-2")]
)
def test_nodes_and_pods_alone_tell_the_root(fault: Fault, root: str) -> None:
    """What `kubectl get nodes,pods -A` prints: no DaemonSet, no policy, no event."""
    cluster = healthy()
    fault(cluster)
    read = [obj for obj in cluster.items if obj["kind"] in ("Node", "Pod")]
    coverage = {kinds.NODE: Coverage.WHOLE, kinds.POD: Coverage.WHOLE}
    answer = review(
        Snapshot(read, source=Source("list", "test", "inferred"), taken_at=moment(NOW), coverage=coverage), all_checks()
    )
    assert {
        f"{each.check.id} {each.finding.object}"
        for each in answer.failures
        if each.root_cause and each.severity >= Severity.ERROR
    } == {root}


def test_a_missing_runtime_class_is_told_of_alike_in_any_order() -> None:
    cluster = healthy()
    cluster.remove(lambda o: o["kind"] == "RuntimeClass")

    def said() -> set[str]:
        failures = review(whole(cluster.items), all_checks()).failures
        return {each.finding.title for each in failures if each.check.id == "GPU048"}

    forwards = said()
    cluster.items.reverse()
    assert said() == forwards != set()
