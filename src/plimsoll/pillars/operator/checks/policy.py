"""Checks on what the operator says of itself: GPU010, GPU011, GPU012, GPU013, GPU022."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, condition, labels, name, number, text
from plimsoll.kube.operands import SUPPORTING, OperandState, cluster_policy, operand_daemonsets, operand_states
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.operator.checks.age import lasting
from plimsoll.pillars.operator.checks.discovery import undiscovered
from plimsoll.pillars.operator.checks.hints import dead, fresh
from plimsoll.pillars.operator.checks.offer import shortfalls
from plimsoll.pillars.operator.checks.revisions import outdated
from plimsoll.pillars.operator.checks.starting import DRIVERS, replaced, starting_drivers

_LOOK = "kubectl get clusterpolicy -o jsonpath='{.items[*].status.conditions}'"
_STATES = {
    "state-driver": "driver", "state-container-toolkit": "container-toolkit",
    "state-operator-validation": "operator-validator", "state-device-plugin": "device-plugin",
    "state-mps-control-daemon": "mps-control-daemon", "state-dcgm": "dcgm", "state-dcgm-exporter": "dcgm-exporter",
    "gpu-feature-discovery": "gpu-feature-discovery", "state-mig-manager": "mig-manager",
    "state-node-status-exporter": "node-status-exporter", "state-vgpu-manager": "vgpu-manager",
    "state-vgpu-device-manager": "vgpu-device-manager", "state-sandbox-validation": "sandbox-validator",
    "state-vfio-manager": "vfio-manager", "state-sandbox-device-plugin": "sandbox-device-plugin",
    "state-kata-device-plugin": "kata-sandbox-device-plugin", "state-cc-manager": "cc-manager",
}  # fmt: skip
_START = timedelta(minutes=5)
_FAILED = ("ReconcileFailed", "PrerequisiteNotMet")


def _error(policy: Obj) -> tuple[str, str]:
    """(reason, message) of what a ClusterPolicy says is wrong with it; empty where it says nothing."""
    found = condition(policy, "Error")
    return (text(found, "reason"), text(found, "message")) if found.get("status") == "True" else ("", "")


@fact
def forsaken(snapshot: Snapshot) -> tuple[str, ...]:
    """Nodes on which something waits for the operator itself: not adopted, or an operand it never created."""
    bare = {
        node
        for node, states in operand_states(snapshot).items()
        if any(each.state == "absent" and each.daemonset is None for each in states.values())
    }
    unseen = {node for node, why in undiscovered(snapshot).items() if why == "unadopted"}
    return tuple(sorted(bare | unseen))


def _not_ready(snapshot: Snapshot, message: str) -> list[OperandState]:
    """The operands a not-ready message names (all, if it names none) where they are not ready, node by node."""
    words = message.replace("[", " ").replace("]", " ").replace(",", " ").split()
    named = {_STATES[word] for word in words if word in _STATES} or set(_STATES.values())
    found = [
        each
        for states in operand_states(snapshot).values()
        for each in states.values()
        if each.operand in named and each.expected and each.state not in ("ready", "unknown")
    ]
    return found + [each for each in outdated(snapshot) if "driver" in named and each.state == "ready"]


def _starts(case: Case, state: OperandState) -> bool:
    """Whether an operand only starts: a plugin that is replaced, a young pod no GPU needs, any pod of a young node."""
    if state.state == "absent":
        machine = case.snapshot.get(kinds.NODE, state.node)
        return machine is not None and fresh(machine, case.snapshot.taken_at)
    if state.operand == "device-plugin" and state.pod is not None:
        return replaced(case.snapshot, state.pod)
    crashed = state.trouble is not None and state.trouble.state in ("crash", "image")
    if state.operand not in SUPPORTING or state.pod is None or crashed:
        return False
    return not lasting(case, text(state.pod, "metadata", "creationTimestamp"), _START)


@check("GPU010", Severity.ERROR, Layer.OPERATOR_STATUS, reads=(kinds.CLUSTER_POLICY,), remedy=_LOOK,
       source="gpu-operator clusterpolicy_controller.go (OperandNotReady)")  # fmt: skip
def cluster_policy_ready(case: Case) -> Iterator[Finding]:
    """The ClusterPolicy is ready.

    Not ready means that the DaemonSet of an operand has a pod that is not available, or a
    driver pod of an older revision. It is a summary: the message lists states, and the
    first of them on a node is where to look. It says nothing of how many GPUs are lost.
    """
    policy = cluster_policy(case.snapshot)
    if policy is None or text(policy, "status", "state") != "notReady" or _error(policy)[0] in _FAILED:
        return
    message = _error(policy)[1]
    bad = _not_ready(case.snapshot, message)
    starting = starting_drivers(case.snapshot)
    failing = [
        each
        for each in bad
        if each.fails and not (each.operand in DRIVERS and each.node in starting) and not _starts(case, each)
    ]
    nodes = sorted({each.node for each in bad})
    passes = not lasting(case, condition(policy, "Error").get("lastTransitionTime")) or starting.issuperset(nodes)
    shown = [f"{each.operand} on {each.node}: {each.state}" for each in failing or bad]
    blind = not case.snapshot.whole(kinds.POD)
    if blind or any(each.operand not in SUPPORTING for each in failing):
        severity = Severity.ERROR
    elif bad and not failing and passes:
        severity = Severity.INFO  # operands that start, or wait for one that does
    else:
        severity = Severity.WARNING
    first = f": {shown[0]}" if shown else ""
    yield case.finding(
        policy,
        f"ClusterPolicy {name(policy)} is not ready{first}" + (f" and {len(shown) - 1} more" if len(shown) > 1 else ""),
        "status.state",
        "status.conditions[Error].reason",
        "status.conditions[Error].message",
        seen={"operands not ready": "; ".join(shown) or ("unknown: not every pod was read" if blind else "none now")},
        affects=[f"node/{node}" for node in nodes],
        remedy="kubectl get clusterpolicy " + name(policy) + " -o jsonpath='{.status.conditions}'\n"
        + (f"kubectl -n {text(policy, 'status', 'namespace') or 'gpu-operator'} get pods -o wide "
           f"--field-selector spec.nodeName={nodes[0]}" if nodes else "kubectl -n gpu-operator get ds"),
        severity=severity,
    )  # fmt: skip


@check("GPU011", Severity.ERROR, Layer.CLUSTER, reads=(kinds.CLUSTER_POLICY, kinds.NODE), remedy=_LOOK,
       source="gpu-operator clusterpolicy_controller.go (ReconcileFailed), state_manager.go")  # fmt: skip
def operator_reconciles(case: Case) -> Iterator[Finding]:
    """The operator can act on its ClusterPolicy.

    When one step of a reconciliation fails the steps after it do not run: operands are not
    created or changed anywhere. The best known cause is one GPU node without the labels of
    its operating system and kernel, from which the tag of the driver image is made.
    """
    policy = cluster_policy(case.snapshot)
    if policy is None:
        return
    reason, message = _error(policy)
    if reason not in _FAILED or "conflicting GPUCluster" in message:
        return
    keys = [f"feature.node.kubernetes.io/{key}" for key in
            ("system-os_release.ID", "system-os_release.VERSION_ID", "kernel-version.full")]  # fmt: skip
    about = [key for key in keys if key.rpartition("/")[2] in message]
    if not about and any(word in message for word in ("OS name", "OS version", "OS info", "os_release")):
        about = keys[:2]
    if not about and "kernel full version" in message:
        about = keys[2:]
    bare = [
        name(node)
        for node in case.snapshot.list(kinds.NODE)
        if labels(node).get("nvidia.com/gpu.present") == "true" and any(key not in labels(node) for key in about)
    ]
    look = "kubectl -n gpu-operator logs deploy/gpu-operator --tail=50"
    if bare:
        look = (
            f"kubectl get node {bare[0]} -L {','.join(about)}\nrestart the NFD worker of {', '.join(bare[:5])}\n{look}"
        )
    yield case.finding(
        policy,
        f"The operator cannot reconcile ClusterPolicy {name(policy)}: {brief(message, 200) or reason}",
        "status.conditions[Error].reason",
        "status.conditions[Error].message",
        seen={"GPU nodes without the labels it needs": ", ".join(bare[:10])} if bare else None,
        affects=[f"node/{node}" for node in forsaken(case.snapshot)],
        remedy=look,
    )


@check(
    "GPU012",
    Severity.ERROR,
    Layer.CLUSTER,
    reads=(kinds.CLUSTER_POLICY, kinds.GPU_CLUSTER),
    remedy="kubectl get clusterpolicies,gpuclusters",
    source="gpu-operator clusterpolicy_controller.go",
)
def one_kind_of_policy(case: Case) -> Iterator[Finding]:
    """The cluster has a ClusterPolicy or a GPUCluster, not both.

    One runs the device plugin, the other the DRA driver. With both the operator refuses to
    reconcile the ClusterPolicy at all, so that nothing it describes is created or changed.
    """
    policy, other = cluster_policy(case.snapshot), next(iter(case.snapshot.list(kinds.GPU_CLUSTER)), None)
    if policy is not None and other is not None:
        yield case.finding(
            policy,
            f"ClusterPolicy {name(policy)} and GPUCluster {name(other)} exclude each other",
            "status.state",
            "status.conditions[Error].message",
            affects=[f"node/{node}" for node in forsaken(case.snapshot)],
            remedy="kubectl get clusterpolicies,gpuclusters\n"
            "keep the one whose stack you use; the operands of the other go with it\n"
            f"device plugin stays: kubectl delete gpucluster {name(other)}\n"
            f"DRA driver stays: kubectl delete clusterpolicy {name(policy)}",
        )


@check("GPU013", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_POLICY,),
       remedy="kubectl get clusterpolicies", source="gpu-operator getSingletonClusterPolicy")  # fmt: skip
def one_cluster_policy(case: Case) -> Iterator[Finding]:
    """There is one ClusterPolicy.

    The operator obeys the oldest and marks every other one `ignored`. Whoever edits the
    ignored one, or lets a GitOps tool own it, changes nothing and sees no error.
    """
    policy = cluster_policy(case.snapshot)
    for extra in case.snapshot.list(kinds.CLUSTER_POLICY):
        if policy is not None and extra is not policy:
            yield case.finding(
                extra,
                f"ClusterPolicy {name(extra)} is ignored: {name(policy)} is older",
                "status.state",
                "metadata.creationTimestamp",
                remedy=f"move what {name(extra)} says into {name(policy)}, then\n"
                f"kubectl delete clusterpolicy {name(extra)}",
            )


@check(
    "GPU022",
    Severity.ERROR,
    Layer.OPERATOR_STATUS,
    reads=(kinds.CLUSTER_POLICY, kinds.NODE),
    whole=(kinds.DAEMON_SET, kinds.POD),
    remedy="kubectl get nodes -o custom-columns='NODE:.metadata.name,GPU:.status.allocatable.nvidia\\.com/gpu'",
    source="gpu-operator clusterpolicy_controller.go (ready with NoGPUNodes), isDaemonSetReady (DESIRED 0)",
)
def ready_means_usable(case: Case) -> Iterator[Finding]:
    """When the ClusterPolicy says ready, every GPU node offers its GPUs.

    To the operator a DaemonSet that wants no pod is ready, and so is a cluster in which it
    sees no GPU node. A taint, a lost label or a failed MIG layout takes GPUs away while it
    goes on saying `ready`: this check compares its word with what the nodes offer.
    """
    policy = cluster_policy(case.snapshot)
    if policy is None or text(policy, "status", "state") != "ready":
        return
    why = _without_gpus(case.snapshot)
    if not why:
        return
    idle = sorted(
        name(each)
        for operand, sets in operand_daemonsets(case.snapshot).items()
        for each in sets
        if operand in _CORE and not number(each, "status", "desiredNumberScheduled")
    )
    nodes = sorted(why)
    yield case.finding(
        policy,
        f"ClusterPolicy {name(policy)} says ready, but {len(nodes)} GPU node{'' if len(nodes) == 1 else 's'} "
        f"cannot be used: {', '.join(nodes[:3])}" + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""),
        "status.state",
        "status.conditions[Ready].reason",
        seen={"why": "; ".join(f"{node}: {why[node]}" for node in nodes[:10]),
              "DaemonSets with DESIRED 0": ", ".join(idle) or "none"},
        affects=[f"node/{node}" for node in nodes],
        remedy=f"kubectl -n {text(policy, 'status', 'namespace') or 'gpu-operator'} get ds\n"
        f"kubectl get node {nodes[0]} --show-labels | tr ',' '\\n' | grep nvidia\nkubectl describe node {nodes[0]}",
    )  # fmt: skip


_CORE = ("driver", "container-toolkit", "device-plugin", "operator-validator")


def _without_gpus(snapshot: Snapshot) -> dict[str, str]:
    """GPU nodes that have had time and offer nothing, or lack an operand they need: node name to why."""
    found = {name(node): "no GPU to give" for node in dead(snapshot)}
    found |= {node: f"offers 0 {wrong.resource}" for node, wrong in shortfalls(snapshot).items()
              if wrong.kind in ("absent", "gone", "dead") and wrong.severity is None}  # fmt: skip
    for node, states in operand_states(snapshot).items():
        away = [op for op in _CORE if op in states and states[op].state == "absent"]
        machine = snapshot.get(kinds.NODE, node)
        if away and machine is not None and not fresh(machine, snapshot.taken_at):
            found[node] = f"{', '.join(away)} not there"
    excused = {node for node, wrong in shortfalls(snapshot).items() if wrong.severity is not None}
    return {node: why for node, why in found.items() if node not in excused}
