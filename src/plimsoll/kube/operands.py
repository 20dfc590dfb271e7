"""The GPU Operator as the API shows it: which of its operands are meant to run on a node, and how each is doing.

An operand is one of the operator's DaemonSets. It runs where the node carries the gate
label `nvidia.com/gpu.deploy.<operand>=true`, which the operator sets and others may change.
Source: gpu-operator controllers/state_manager.go, assets/, manifests/.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes, selected
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, pod_template, text
from plimsoll.kube.pods import Trouble, by_template, troubled_pods
from plimsoll.kube.snapshot import Snapshot, fact

GATE = "nvidia.com/gpu.deploy."
OPT_OUT = "nvidia.com/gpu.deploy.operands"


class Operand(NamedTuple):
    """One operand, in the order in which they need each other."""

    name: str  # as in its gate label; unique
    daemonset: str  # the usual name; drivers may have several with a suffix
    switch: str | None  # field of ClusterPolicy.spec with `enabled`; "" always on; None not a ClusterPolicy's operand
    default: bool = True  # what an absent `enabled` means
    key: str = "app"  # pod label that names it
    also: tuple[str, str] | None = None  # a second label a node must carry
    gate: str = ""  # where the gate label is not the operand's name


OPERANDS: tuple[Operand, ...] = (
    Operand("vfio-manager", "nvidia-vfio-manager", "vfioManager", False, key="name"),
    Operand("driver", "nvidia-driver-daemonset", "driver"),
    Operand("vgpu-manager", "nvidia-vgpu-manager-daemonset", "vgpuManager", False),
    Operand("vgpu-device-manager", "nvidia-vgpu-device-manager", "vgpuDeviceManager", False),
    Operand("container-toolkit", "nvidia-container-toolkit-daemonset", "toolkit"),
    Operand("mps-control-daemon", "nvidia-device-plugin-mps-control-daemon", "devicePlugin",
            also=("nvidia.com/mps.capable", "true"), gate="device-plugin"),
    Operand("device-plugin", "nvidia-device-plugin-daemonset", "devicePlugin"),
    Operand("sandbox-device-plugin", "nvidia-sandbox-device-plugin-daemonset", "sandboxDevicePlugin", False),
    Operand("kata-sandbox-device-plugin", "nvidia-kata-sandbox-device-plugin-daemonset",
            "kataSandboxDevicePlugin", False),
    Operand("dra-driver", "nvidia-dra-driver-kubelet-plugin", None),
    Operand("gpu-feature-discovery", "gpu-feature-discovery", "gfd"),
    Operand("mig-manager", "nvidia-mig-manager", "migManager"),
    Operand("cc-manager", "nvidia-cc-manager", "ccManager", False, key="name"),
    Operand("operator-validator", "nvidia-operator-validator", ""),
    Operand("sandbox-validator", "nvidia-sandbox-validator", None),
    Operand("dra-validator", "nvidia-dra-validator", None, key="app.kubernetes.io/name"),
    Operand("dcgm", "nvidia-dcgm", "dcgm"),
    Operand("dcgm-exporter", "nvidia-dcgm-exporter", "dcgmExporter"),
    Operand("dcgm-dra", "nvidia-dcgm-dra", None),
    Operand("dcgm-exporter-dra", "nvidia-dcgm-exporter-dra", None),
    Operand("node-status-exporter", "nvidia-node-status-exporter", "nodeStatusExporter", False),
)  # fmt: skip
BY_NAME = {each.name: each for each in OPERANDS}
_BY_LABEL = {(each.key, each.daemonset): each.name for each in OPERANDS}
MONITORING = ("dcgm", "dcgm-exporter", "dcgm-dra", "dcgm-exporter-dra", "node-status-exporter")  # GPUs work without
SUPPORTING = (*MONITORING, "gpu-feature-discovery", "mig-manager")  # GPUs are on offer without, until something changes
FAILING = ("crash", "image", "unschedulable", "unready", "absent")  # of its own, not behind another operand
_CANNOT_START = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError",
                 "ContainerCannotRun", "PostStartHookError", "PreCreateHookError")  # fmt: skip


class OperandState(NamedTuple):
    """How one operand is doing on one node.

    state: ready | not-expected | opted-out | paused | pre-installed | absent | unknown, or what
    `pods.trouble` says of its pod: crash | image | waiting | init | unready | unschedulable.
    """

    operand: str
    node: str
    pod: Obj | None
    daemonset: Obj | None  # the one that selects the node; None where none does, or it is not expected there
    state: str
    trouble: Trouble | None = None

    @property
    def fails(self) -> bool:
        """Whether it fails of its own, rather than wait for an operand it needs."""
        stuck = self.trouble is not None and self.state == "waiting" and self.trouble.reason in _CANNOT_START
        return stuck or self.state in FAILING

    @property
    def says(self) -> str:
        """What its container said last; "" if nothing. The kubelet's own notice of a back-off is not that."""
        said = self.trouble.message if self.trouble else ""
        return "" if said.startswith("back-off") else said

    @property
    def expected(self) -> bool:
        """Whether it is meant to be running there now."""
        return self.state not in ("not-expected", "opted-out", "paused", "pre-installed")


def operand_of(obj: Obj) -> str:
    """Which operand a pod, pod template or DaemonSet's template is; "" if none."""
    have = labels(pod_template(obj) if "kind" in obj else obj)
    if found := _BY_LABEL.get(("app.kubernetes.io/name", text(have, "app.kubernetes.io/name"))):
        return found  # the DRA validator also carries the other validator's `app`
    app = text(have, "app")
    if found := _BY_LABEL.get(("app", app)) or _BY_LABEL.get(("name", text(have, "name"))):
        return found
    component = have.get("app.kubernetes.io/component")
    if component == "nvidia-driver" or app.startswith("nvidia-driver-daemonset-"):
        return "driver"  # one per kernel, operating system or NVIDIADriver
    return "vgpu-manager" if component == "nvidia-vgpu-host-manager" else ""


@fact
def cluster_policy(snapshot: Snapshot) -> Obj | None:
    """The ClusterPolicy in force: the oldest that is not `ignored`; None where none was read."""
    found = sorted(snapshot.list(kinds.CLUSTER_POLICY), key=lambda each: text(each, "metadata", "creationTimestamp"))
    live = [each for each in found if text(each, "status", "state") != "ignored"] or found
    return live[0] if live else None


@fact
def operator_deployment(snapshot: Snapshot) -> Obj | None:
    """The Deployment of the operator itself; None where none was read."""
    found = [
        each
        for each in snapshot.list(kinds.DEPLOYMENT)
        if name(each) == "gpu-operator" or labels(pod_template(each)).get("app") == "gpu-operator"
    ]
    return found[0] if found else None


@fact
def operand_daemonsets(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """The DaemonSets of each operand that has any. Drivers may have several."""
    found: dict[str, list[Obj]] = defaultdict(list)
    for each in snapshot.list(kinds.DAEMON_SET):
        if operand := operand_of(each):
            found[operand].append(each)
    return dict(found)


@fact
def operand_pods(snapshot: Snapshot) -> dict[tuple[str, str], Obj]:
    """The pod of each operand on each node, by (operand, node name); the newest that is not going away.

    A pod that has no node yet counts for the node its DaemonSet made it for.
    """
    found: dict[tuple[str, str], Obj] = {}

    def rank(pod: Obj) -> tuple[bool, str]:
        return not get(pod, "metadata", "deletionTimestamp"), text(pod, "metadata", "creationTimestamp")

    for pod, operand in by_template(snapshot, operand_of):
        if node := _meant_for(pod):
            held = found.get((operand, node))
            if held is None or rank(pod) > rank(held):
                found[operand, node] = pod
    return found


def _meant_for(pod: Obj) -> str:
    """The node a DaemonSet's pod is on, or was made for."""
    if node := text(pod, "spec", "nodeName"):
        return node
    affinity = mapping(pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    for term in items(affinity, "nodeSelectorTerms"):
        for entry in items(term, "matchFields"):
            if entry.get("key") == "metadata.name":
                return text(entry, "values", 0)
    return ""


@fact
def operator_namespace(snapshot: Snapshot) -> str:
    """Where the operator and its operands live; "" where nothing says so."""
    policy, deployment = cluster_policy(snapshot), operator_deployment(snapshot)
    if policy is not None and text(policy, "status", "namespace"):
        return text(policy, "status", "namespace")
    if deployment is not None:
        return namespace(deployment)
    sets = [each for operand in operand_daemonsets(snapshot).values() for each in operand]
    return next((namespace(each) for each in [*sets, *operand_pods(snapshot).values()]), "")


def enabled(snapshot: Snapshot, operand: str) -> bool | None:
    """Whether the ClusterPolicy in force switches an operand on; None where that is not for it to say."""
    policy, switch = cluster_policy(snapshot), BY_NAME[operand].switch
    if policy is None or switch is None or not mapping(policy, "spec"):
        return None
    said = get(policy, "spec", switch, "enabled") if switch else True
    return said if isinstance(said, bool) else BY_NAME[operand].default


@cache
def gate(operand: str) -> str:
    """The node label that lets an operand run on a node."""
    return GATE + (BY_NAME[operand].gate or operand)


@fact
def operand_states(snapshot: Snapshot) -> dict[str, dict[str, OperandState]]:
    """How every operand is doing on every GPU node: node name to operand to state.

    Every GPU node is a key. An operand the cluster does not have is left out (its DaemonSet says,
    or its pods where not every DaemonSet was read); on a node the
    operator has not adopted (no gate label: a managed add-on's node, say) nothing is expected.
    """
    there, pods = operand_daemonsets(snapshot), operand_pods(snapshot)
    shown = set(there) if snapshot.whole(kinds.DAEMON_SET) else {*there, *(operand for operand, _ in pods)}
    asked = [
        (each, gate(each.name), enabled(snapshot, each.name) is False)
        for each in OPERANDS
        if each.name in shown or enabled(snapshot, each.name)
    ]
    gone = "absent" if snapshot.whole(kinds.POD, kinds.DAEMON_SET) else "unknown"
    templates = {operand: [(one, pod_template(one)) for one in sets] for operand, sets in there.items()}
    ill = {id(pod): why for pod, why in troubled_pods(snapshot)}
    found: dict[str, dict[str, OperandState]] = {}
    for node in gpu_nodes(snapshot):
        title, have = name(node), labels(node)
        states = found[title] = {}
        for each, label, off in asked:
            pod = pods.get((each.name, title))
            if barred := _barred(have, each, text(have, label), off):
                states[each.name] = OperandState(each.name, title, pod, None, barred)
                continue
            chosen = next((one for one, template in templates.get(each.name, []) if selected(node, template)), None)
            wrong = ill.get(id(pod))
            state = wrong.state if wrong else "ready" if pod is not None else gone
            if pod is not None and not mapping(pod, "status"):
                state, wrong = "unknown", None
            states[each.name] = OperandState(each.name, title, pod, chosen, state, wrong)
    return found


_GATES = {"true": "", "pre-installed": "pre-installed"}


def _barred(have: dict[str, str], operand: Operand, label: str, off: bool) -> str:
    """Why an operand is not meant to run now on a node with these labels; "" if it is.

    `label`: the value of its gate label. `off`: switched off for all.
    """
    if have.get(OPT_OUT) == "false":
        return "opted-out"
    if off or not label:
        return "not-expected"
    if operand.also and have.get(operand.also[0]) != operand.also[1]:
        return "not-expected"
    if label.startswith("paused-"):
        return "paused"
    return _GATES.get(label, "opted-out")


def blocking(snapshot: Snapshot, node: str) -> OperandState | None:
    """The first operand, in the order they need each other, that fails of its own on a node.

    One that only waits in an init container for an earlier one is not it. None if none fails.
    """
    return next((each for each in operand_states(snapshot).get(node, {}).values() if each.fails), None)
