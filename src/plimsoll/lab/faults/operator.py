"""Faults of the GPU Operator itself and of what it may do: GPU011 to GPU021."""

from __future__ import annotations

import copy
from typing import Any

from plimsoll.kube.objects import Obj, get, items, mapping, name, number, text
from plimsoll.lab.faults import discovery, operands
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.operands import DRIVER, GATE, NAMESPACE, NEXT_DRIVER, NFD, PLUGIN, POLICY
from plimsoll.lab.hardware.conditions import Condition

_OPERATOR = "gpu-operator"
_KERNEL = "feature.node.kubernetes.io/kernel-version.full"
_CRD = ("apiextensions.k8s.io/v1/CustomResourceDefinition", "clusterpolicies.nvidia.com")
_SECOND = "gpu-policy"
_TAINT = {"key": "example.com/maintenance", "value": "true", "effect": "NoSchedule"}
_AGE = 12  # minutes: a node that has just become ready is given ten before its missing GPUs count
_DENIED = (
    'failed to pull and unpack image: failed to resolve reference "nvcr.io/nvidia/k8s-device-plugin": '
    "unexpected status from HEAD request: 403 Forbidden"
)
_NO_TAG = "failed to resolve reference: nvcr.io/nvidia/driver: manifest unknown: not found"


def _no_kernel(hands: Hands) -> None:
    """NFD is told to write PCI labels only; those of the kernel go. The operator meets that at its next change."""
    config = "core:\n  labelSources: [pci]\nsources:\n  pci:\n    deviceLabelFields: [vendor]\n"
    hands.change("v1/ConfigMap", f"{NFD}-worker-conf", {"data": {"nfd-worker.conf": config}}, NAMESPACE)
    hands.condition(Condition(id=hands.fault, hold=("nfd",)))
    for machine in operands.gpu_nodes(hands):
        operands.label(hands, name(machine), {_KERNEL: None})
    operands.policy(hands, {"driver": {"version": NEXT_DRIVER}})


def _second_policy(hands: Hands) -> None:
    own = hands.get(*POLICY)
    made = {"apiVersion": "nvidia.com/v1", "kind": "ClusterPolicy", "metadata": {"name": _SECOND}}
    hands.create({**made, "spec": own["spec"]})


def _old_crd(hands: Hands) -> None:
    """The CRD of a release before 24.6, as Helm leaves it where it may not upgrade CRDs."""

    def shrink(crd: Obj) -> None:
        for version in items(crd, "spec", "versions"):
            known = mapping(version, "schema", "openAPIV3Schema", "properties", "spec", "properties")
            known.pop("hostPaths", None)
            mapping(known, "driver", "properties").pop("kernelModuleType", None)

    hands.change(*_CRD, shrink)


def _old_crd_serves(hands: Hands) -> bool:
    return get(hands.get(*POLICY), "spec", "driver", "kernelModuleType") is None


def _no_operator(hands: Hands) -> None:
    hands.stop(_OPERATOR)
    hands.change("apps/v1/Deployment", _OPERATOR, {"spec": {"replicas": 0}}, NAMESPACE)


def _operator_gone(hands: Hands) -> bool:
    found = hands.get("apps/v1/Deployment", _OPERATOR, NAMESPACE)
    return not number(found, "status", "replicas") and not _operator_pods(hands)


def _operator_pods(hands: Hands) -> list[Obj]:
    return hands.client.list("v1/Pod", NAMESPACE, labels="app=gpu-operator")


def _no_memory(hands: Hands) -> None:
    hands.stop(_OPERATOR)
    for pod in _operator_pods(hands):
        operands.spoil(hands, pod, _OPERATOR, "", reason="OOMKilled", exit_code=137)


def _operator_killed(hands: Hands) -> bool:
    found = hands.get("apps/v1/Deployment", _OPERATOR, NAMESPACE)
    return operands.spoiled(_operator_pods(hands)) and not number(found, "status", "availableReplicas")


def _driver(title: str, selector: dict[str, str]) -> dict[str, Any]:
    spec = {"driverType": "gpu", "repository": "nvcr.io/nvidia", "image": "driver", "version": "580.95.05",
            "nodeSelector": selector}  # fmt: skip
    return {"apiVersion": "nvidia.com/v1alpha1", "kind": "NVIDIADriver", "metadata": {"name": title}, "spec": spec}


def _conflicting(hands: Hands) -> None:
    """Two NVIDIADrivers that came together, from one commit, while the operator was being replaced."""
    hands.stop(_OPERATOR)
    hands.create(_driver("all-nodes", {"nvidia.com/gpu.present": "true"}))
    hands.create(_driver("linux-nodes", {"kubernetes.io/os": "linux"}))
    hands.restart(_OPERATOR)


def _conflict_told(hands: Hands) -> bool:
    found = hands.client.list("nvidia.com/v1alpha1/NVIDIADriver")
    reasons = [text(each, "reason") for one in found for each in items(one, "status", "conditions")]
    return reasons.count("ConflictingNodeSelector") == len(found) > 1


def _driver_left_to_nobody(hands: Hands) -> None:
    """The ClusterPolicy leaves the driver to NVIDIADrivers; nobody has made one."""
    operands.policy(hands, {"driver": {"useNvidiaDriverCRD": True}})
    operands.until(lambda: not operands.pods(hands, DRIVER), "driver pods gone")
    operands.follow(hands, DRIVER)


def _may_not_label(hands: Hands) -> None:
    """A role that was tightened by hand: the operator may read nodes and no longer write them. Then a node comes."""

    def tighten(role: Obj) -> None:
        for rule in items(role, "rules"):
            rule["resources"] = [each for each in rule.get("resources", []) if each != "nodes"]
        kept = [each for each in items(role, "rules") if each["resources"]]
        role["rules"] = [*kept, {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}]

    hands.change("rbac.authorization.k8s.io/v1/ClusterRole", _OPERATOR, tighten)
    discovery.join(hands, [])


def _nothing_offered(hands: Hands) -> bool:
    return not any(operands.offers(each) for each in operands.gpu_nodes(hands))


def _without_driver(hands: Hands) -> bool:
    waits = operands.says(hands, operands.TOOLKIT, "init")
    return not operands.pods(hands, DRIVER) and waits and _nothing_offered(hands)


def _strict(hands: Hands) -> None:
    """Somebody restarts the device plugin after hardening every namespace: its new pods are refused.

    The restart comes first, so that healing undoes it last: the DaemonSet then tries again at once.
    """
    note = {"kubectl.kubernetes.io/restartedAt": "2026-11-25T12:00:00Z"}
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    hands.change("apps/v1/DaemonSet", PLUGIN, {"spec": {"template": {"metadata": {"annotations": note}}}}, NAMESPACE)
    hands.change("v1/Namespace", NAMESPACE, {"metadata": {"labels": level}})
    operands.renew(hands, PLUGIN)


def _refused(hands: Hands) -> bool:
    told = hands.client.list("v1/Event", NAMESPACE, fields="reason=FailedCreate,involvedObject.kind=DaemonSet")
    said = any("violates PodSecurity" in text(each, "message") for each in told)
    return said and not operands.pods(hands, PLUGIN) and _nothing_offered(hands)


def _opt_out(hands: Hands) -> None:
    operands.label(hands, hands.node, {f"{GATE}operands": "false"})


def _opted_out(hands: Hands) -> bool:
    return not operands.pods(hands) and not operands.offers(operands.node(hands))


def _no_plugin(hands: Hands) -> None:
    operands.label(hands, hands.node, {f"{GATE}device-plugin": "false"})


def _plugin_gone(hands: Hands) -> bool:
    return not operands.pods(hands, PLUGIN) and not operands.offers(operands.node(hands))


def _plugin_off(hands: Hands) -> None:
    operands.policy(hands, {"devicePlugin": {"enabled": False}})


def _plugins_gone(hands: Hands) -> bool:
    """No plugin is left, and what else changed with it has rolled out."""
    gone = hands.client.get("apps/v1/DaemonSet", PLUGIN, NAMESPACE) is None and not operands.pods(hands, PLUGIN)
    return gone and operands.rolled_out(hands) and _nothing_offered(hands)


def _taint(hands: Hands) -> None:
    """A node is tainted, then restarts: what the taint keeps away does not come back."""

    def add(machine: Obj) -> None:
        machine["spec"]["taints"] = [*items(machine, "spec", "taints"), copy.deepcopy(_TAINT)]

    hands.change("v1/Node", hands.node, add)
    operands.renew(hands)


def _tainted(hands: Hands) -> bool:
    return not operands.pods(hands) and not operands.offers(operands.node(hands))


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="GPU011",
        title="GPU nodes have lost the label of their kernel, and the operator cannot choose a driver image",
        where="cluster",
        inject=_no_kernel,
        shown=lambda hands: operands.policy_state(hands)[1] == "ReconcileFailed",
    ),
    Fault(
        id="GPU011+role",
        title="the operator may no longer write nodes",
        where="cluster",
        inject=_may_not_label,
        shown=lambda hands: operands.policy_state(hands)[1] == "ReconcileFailed",
        later=_AGE,
    ),
    Fault(
        id="GPU013",
        title="somebody has made a second ClusterPolicy",
        where="cluster",
        inject=_second_policy,
        shown=lambda hands: bool(hands.get(POLICY[0], _SECOND)),
    ),
    Fault(
        id="GPU014",
        title="the CRD of the ClusterPolicy is of an older release than the operator",
        where="cluster",
        inject=_old_crd,
        shown=_old_crd_serves,
    ),
    Fault(
        id="GPU015",
        title="the operator is scaled to 0",
        where="cluster",
        inject=_no_operator,
        shown=_operator_gone,
    ),
    Fault(
        id="GPU015+memory",
        title="the operator is killed for its memory again and again",
        where="cluster",
        inject=_no_memory,
        shown=_operator_killed,
    ),
    Fault(
        id="GPU016",
        title="two NVIDIADrivers select the same nodes",
        where="cluster",
        inject=_conflicting,
        shown=_conflict_told,
    ),
    Fault(
        id="GPU017",
        title="drivers are left to NVIDIADrivers, and there is none",
        where="cluster",
        inject=_driver_left_to_nobody,
        shown=_without_driver,
    ),
    Fault(
        id="GPU018",
        title="Pod Security refuses the device plugin's pods",
        where="cluster",
        inject=_strict,
        shown=_refused,
    ),
    operands.failing(
        "GPU019",
        "the device plugin's image cannot be pulled",
        PLUGIN,
        "image",
        reason="ImagePullBackOff",
        message=_DENIED,
    ),
    operands.failing(
        "GPU019+driver",
        "there is no driver image for the node's operating system",
        DRIVER,
        "image",
        reason="ImagePullBackOff",
        message=_NO_TAG,
    ),
    Fault(
        id="GPU020",
        title="a forgotten label keeps every operand off a node",
        where="node",
        on="gpu",
        inject=_opt_out,
        shown=_opted_out,
    ),
    Fault(
        id="GPU020+plugin",
        title="a forgotten label keeps the device plugin off a node",
        where="node",
        on="gpu",
        inject=_no_plugin,
        shown=_plugin_gone,
    ),
    Fault(
        id="GPU020+policy",
        title="the ClusterPolicy switches the device plugin off",
        where="cluster",
        inject=_plugin_off,
        shown=_plugins_gone,
        later=_AGE,
    ),
    Fault(
        id="GPU021",
        title="a node has a taint that the operands do not tolerate, and has restarted since",
        where="node",
        on="gpu",
        inject=_taint,
        shown=_tainted,
    ),
)
