"""Checks on the machine under the GPUs: GPU111, GPU114."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief
from plimsoll.kube import kinds
from plimsoll.kube.control import keda_parts, kueue_managers, lost_with
from plimsoll.kube.nodes import gpu_nodes, is_ready
from plimsoll.kube.objects import Obj, condition, get, items, labels, name, namespace, text
from plimsoll.kube.pods import gpu_requests, pods_by_node
from plimsoll.kube.snapshot import Snapshot
from plimsoll.pillars.operator.checks.age import lasting
from plimsoll.pillars.operator.checks.hints import GOING

LOST = timedelta(minutes=5)  # default toleration of unreachable: after this Kubernetes evicts the pods
_ABOUT_GPUS = re.compile(r"gpu|nvidia|nvlink|nvswitch|xid|dcgm|acceleratedhardware|syslogs", re.I)
_GOOD_WHEN_TRUE = re.compile(
    r"(?<!un)(?<!not)(ready|healthy|available|installed|registered|schedulable)\Z"
    r"|(?<!un)(?<!not)(?<!over)loaded\Z|(?<!in)(?<!not)active\Z|(?-i:(?<![A-Z])Up)\Z",
    re.I,
)
_TROUBLE = re.compile(
    r"error|fail|fault|throttl|xid|alert|violation|hung|hang", re.I
)  # GpuThrottlingActive is no boast


def _stuck(case: Case, node: Obj) -> list[Obj]:
    """Pods with GPUs that cannot end because a node went silent for longer than pods tolerate; [] if it did not."""
    silent = condition(node, "Ready")
    if silent.get("status") != "Unknown" or not lasting(case, silent.get("lastTransitionTime"), LOST):
        return []
    if get(node, "spec", "unschedulable"):
        return []
    pods = pods_by_node(case.snapshot).get(name(node), [])
    return [pod for pod in pods if text(pod, "metadata", "deletionTimestamp") and gpu_requests(pod)]


def _hosts_control(snapshot: Snapshot, node: Obj) -> bool:
    """Whether the operator or NFD's master runs on a node."""
    pods = pods_by_node(snapshot).get(name(node), [])
    return any(
        labels(pod).get("app") == "gpu-operator"
        or (labels(pod).get("app.kubernetes.io/name"), labels(pod).get("role")) == ("node-feature-discovery", "master")
        for pod in pods
    )


def _reports(node: Obj) -> list[Obj]:
    """Conditions in which a health agent says that the GPUs of a node are not well.

    NVSentinel and node-problem-detector use status True for trouble; conditions called
    ...Ready, ...Healthy, ...Installed, ...Up (EKS monitoring agent, GPUReady) use False.
    """
    return [
        entry
        for entry in items(node, "status", "conditions")
        if (bad := _bad_status(text(entry, "type"))) and entry.get("status") == bad
    ]


_EITHER_WAY = ("active", "registered", "up")  # of a trouble they say that it is there


@lru_cache(maxsize=256)
def _bad_status(type_: str) -> str:
    """The status with which a condition says that GPUs are not well; "" for one that is not about GPUs."""
    if not _ABOUT_GPUS.search(type_):
        return ""
    good = _GOOD_WHEN_TRUE.search(type_)
    if good is None or (_TROUBLE.search(type_) and good.group().lower() in _EITHER_WAY):
        return "True"
    return "False"


@check("GPU111", Severity.ERROR, Layer.NODE, reads=(kinds.NODE,),
       remedy="kubectl describe node <node>",
       source="Kubernetes node conditions; NVSentinel, node-problem-detector")  # fmt: skip
def gpu_nodes_well(case: Case) -> Iterator[Finding]:
    """Every GPU node is Ready, and no health agent reports its GPUs as broken.

    A node that is not Ready takes its GPUs out of the cluster, and everything else that is
    wrong on it follows. A condition set by NVSentinel, node-problem-detector or a cloud's
    agent is a verdict on the hardware: a node cordoned because of one must not simply be
    uncordoned. A node that is only cordoned is mentioned, because its GPUs still cost money.
    """
    gpus = {name(node) for node in gpu_nodes(case.snapshot)}
    for node in case.snapshot.list(kinds.NODE):
        title, up = name(node), is_ready(node)
        if title in gpus:
            if up is None:
                yield case.unknown(node, f"{title} carries no Ready condition here")
            elif not up and title in lost_with(case.snapshot):
                yield _took_control(case, node, "GPU node")
            elif not up and not _stuck(case, node):
                yield _not_ready(case, node)
            elif up:
                yield from _hardware(case, node)
        elif up is False and title in lost_with(case.snapshot):
            yield _took_control(case, node, "Node")
        elif up is False and _hosts_control(case.snapshot, node):
            yield _not_ready(case, node, "GPU operator or NFD master on", Severity.WARNING)


def _took_control(case: Case, node: Obj, what: str) -> Finding:
    """A lost machine that took with it every pod of controllers the platform is run by."""
    lost, title = lost_with(case.snapshot)[name(node)], name(node)
    keda, kueue = keda_parts(case.snapshot), kueue_managers(case.snapshot)
    weights = [
        Severity.CRITICAL if part in kueue or part in keda["operator"] or part in keda["metrics"] else Severity.ERROR
        for part, _ in lost
    ]
    state = condition(node, "Ready")
    parts = sorted(f"{namespace(part)}/{name(part)}" for part, _ in lost)
    return case.finding(
        node,
        f"{what} {title} is lost ({text(state, 'reason') or 'not Ready'}) and with it every replica of "
        f"{', '.join(parts[:3])}" + (f" and {len(parts) - 3} more" if len(parts) > 3 else ""),
        "status.conditions[Ready].status",
        "status.conditions[Ready].reason",
        "status.conditions[Ready].message",
        seen={"Deployments without a replica": ", ".join(parts)},
        affects={f"node/{title}"} | {f"pod/{namespace(pod)}/{name(pod)}" for _, pods in lost for pod in pods},
        remedy=f"kubectl describe node {title}\nkubectl get pods -A -o wide --field-selector spec.nodeName={title}\n"
        f"the machine is gone: kubectl delete node {title}   # its pods are then made anew on other nodes\n"
        "keep it from happening again: two nodes that may carry them, and two replicas where the chart allows it",
        severity=max(weights),
        layer=Layer.HOST,
    )


def _not_ready(case: Case, node: Obj, what: str = "GPU node", severity: Severity | None = None) -> Finding:
    title, state = name(node), condition(node, "Ready")
    silent = state.get("status") == "Unknown"
    leaves = _leaves(case, node, state)
    how = "has gone silent (Ready is Unknown)" if silent else "is not Ready"
    why = text(state, "reason") or "no reason given"
    return case.finding(
        node,
        f"{what} {title} {how}: {why}" + ("; it is being removed" if leaves else ""),
        "status.conditions[Ready].status",
        "status.conditions[Ready].reason",
        "status.conditions[Ready].message",
        affects=[f"node/{title}"],
        remedy=f"kubectl describe node {title}\n"
        f"on {title}: systemctl status kubelet containerd; journalctl -u kubelet --since -30min\n"
        "the machine is gone (spot, hardware): let the autoscaler or the provider replace it, then "
        f"kubectl delete node {title}",
        severity=Severity.INFO if leaves else severity,
    )


def _leaves(case: Case, node: Obj, ready: Obj) -> bool:
    """Whether a node is no longer ready because it is being removed, and has not been at it for long."""
    asked = text(node, "metadata", "deletionTimestamp")
    going = asked or any(text(taint, "key") in GOING for taint in items(node, "spec", "taints"))
    return bool(going) and not lasting(case, asked or ready.get("lastTransitionTime"))


def _hardware(case: Case, node: Obj) -> Iterator[Finding]:
    title, reports = name(node), _reports(node)
    if reports:
        paths = [
            f"status.conditions[{text(entry, 'type')}].{key}" for entry in reports for key in ("status", "message")
        ]
        said = "; ".join(
            f"{text(entry, 'type')}: {text(entry, 'message') or text(entry, 'reason')}" for entry in reports
        )
        yield case.finding(
            node,
            f"A health agent reports the GPUs of {title} as broken: {brief(said, 200)}",
            *paths,
            affects=[f"node/{title}"],
            remedy=f"kubectl cordon {title}   # do not uncordon before the cause is known\n"
            f"kubectl describe node {title}\non {title}: nvidia-smi -q; dmesg | grep -i xid\n"
            "open a hardware ticket with the message above",
        )
    elif get(node, "spec", "unschedulable") and not text(labels(node), "nvidia.com/gpu-driver-upgrade-state").endswith(
        "-required"
    ):
        yield case.finding(
            node,
            f"GPU node {title} is cordoned: its free GPUs cannot be used",
            "spec.unschedulable",
            "spec.taints",
            affects=[f"node/{title}"],
            remedy=f"kubectl describe node {title}   # who cordoned it, and why\nkubectl uncordon {title}",
            severity=Severity.INFO,
        )


@check("GPU114", Severity.ERROR, Layer.NODE, reads=(kinds.NODE, kinds.POD),
       remedy="kubectl describe node <node>", source="Kubernetes non-graceful node shutdown")  # fmt: skip
def no_lost_node_holds_pods(case: Case) -> Iterator[Finding]:
    """No lost GPU node holds on to pods that were told to end.

    When a node vanishes (a reclaimed spot machine, a dead board) its kubelet can never
    confirm that pods ended. They stay Terminating, a StatefulSet or a gang never gets its
    replacement, and the quota they hold stays taken. Telling Kubernetes that the node is
    out of service frees them.
    """
    for node in gpu_nodes(case.snapshot):
        stuck = _stuck(case, node)
        if not stuck:
            continue
        title, count = name(node), len(stuck)
        yield case.finding(
            node,
            f"GPU node {title} is lost and holds {count} terminating GPU {'pod' if count == 1 else 'pods'}",
            "status.conditions[Ready].status",
            "status.conditions[Ready].lastTransitionTime",
            seen={"terminating GPU pods": ", ".join(sorted(f"{namespace(pod)}/{name(pod)}" for pod in stuck))},
            affects=[f"node/{title}", *(f"pod/{namespace(pod)}/{name(pod)}" for pod in stuck)],
            remedy=f"make sure that the machine is off, then: kubectl taint node {title} "
            "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute\n"
            f"when its pods are gone and it does not come back: kubectl delete node {title}",
        )
