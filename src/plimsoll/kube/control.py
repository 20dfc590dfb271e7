"""The Deployments a GPU platform is run by, and the machines that took them down."""

from __future__ import annotations

from collections import defaultdict

from plimsoll.kube import kinds
from plimsoll.kube.nodes import is_ready
from plimsoll.kube.objects import Obj, containers, get, labels, name, number, pod_template, text
from plimsoll.kube.operands import operator_deployment
from plimsoll.kube.pods import finished
from plimsoll.kube.served import pods_of
from plimsoll.kube.snapshot import Snapshot, fact

_KEDA = {"keda-operator": "operator", "keda-metrics-apiserver": "metrics", "keda-operator-metrics-apiserver": "metrics",
         "keda-admission": "webhook", "keda-admission-webhooks": "webhook"}  # fmt: skip


@fact
def keda_parts(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """KEDA's Deployments by role: operator, metrics (the metrics API server), webhook."""
    found: dict[str, list[Obj]] = {"operator": [], "metrics": [], "webhook": []}
    for each in snapshot.list(kinds.DEPLOYMENT):
        if role := _KEDA.get(name(each)) or _KEDA.get(text(labels(each), "app.kubernetes.io/name")):
            found[role].append(each)
    return found


@fact
def kueue_managers(snapshot: Snapshot) -> list[Obj]:
    """The Deployments that run Kueue's controller, whatever they are called."""
    return [
        each
        for each in snapshot.list(kinds.DEPLOYMENT)
        if name(each) == "kueue-controller-manager"
        or (labels(each).get("app.kubernetes.io/name") == "kueue" and "control-plane" in labels(each))
        or any("/kueue/kueue" in text(c, "image") for _, c in containers(get(each, "spec", "template") or {}))
    ]


@fact
def nfd_masters(snapshot: Snapshot) -> list[Obj]:
    """The Deployments of node feature discovery's master."""
    return [
        each
        for each in snapshot.list(kinds.DEPLOYMENT)
        if (have := labels(pod_template(each))).get("app.kubernetes.io/name") == "node-feature-discovery"
        and have.get("role") == "master"
    ]


@fact
def lost_with(snapshot: Snapshot) -> dict[str, list[tuple[Obj, list[Obj]]]]:
    """By node that is not Ready: the control parts that are down because of it, with their pods.

    A part is down because of its machines where every pod of it that has one sits on a node that is
    not Ready. A replacement that finds no other machine belongs to it.
    """
    keda = [part for parts in keda_parts(snapshot).values() for part in parts]
    operator = operator_deployment(snapshot)
    found: dict[str, list[tuple[Obj, list[Obj]]]] = defaultdict(list)
    for part in (*kueue_managers(snapshot), *keda, *([operator] if operator else []), *nfd_masters(snapshot)):
        if not get(part, "status") or number(part, "status", "availableReplicas"):
            continue
        pods = [pod for pod in pods_of(snapshot, part) if not finished(pod)]
        homes = {text(pod, "spec", "nodeName") for pod in pods} - {""}
        nodes = [snapshot.get(kinds.NODE, home) for home in homes]
        if nodes and all(node is not None and is_ready(node) is False for node in nodes):
            for home in homes:
                found[home].append((part, pods))
    return dict(found)
