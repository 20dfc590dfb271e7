"""Node feature discovery as the API shows it: its workers, its master, the labels it leaves."""

from __future__ import annotations

from plimsoll.kube import kinds
from plimsoll.kube.nodes import PCI_LABELS
from plimsoll.kube.objects import Obj, get, labels, name, number, pod_template, text
from plimsoll.kube.pods import by_template
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.operator.checks.hints import NFD


def role(obj: Obj) -> str:
    """worker | master | gc for a pod or workload of node feature discovery; "" for any other."""
    have, app = labels(pod_template(obj)), _app(obj)
    if app.startswith(("nfd-", "node-feature-discovery-")):
        return app.rpartition("-")[2]
    if not app:
        return ""
    said = text(have, "role") or text(have, "app.kubernetes.io/component")
    return said or next((each for each in ("worker", "master", "gc") if f"-{each}" in name(obj)), "")


def _app(obj: Obj) -> str:
    """What a pod or workload of node feature discovery calls itself; "" for any other."""
    have = labels(pod_template(obj))
    app = text(have, "app.kubernetes.io/name") or text(have, "app")
    ours = app in ("node-feature-discovery", "nfd") or app.startswith(("nfd-", "node-feature-discovery-"))
    return app if ours else ""


@fact
def workers(snapshot: Snapshot) -> tuple[Obj, ...]:
    """The DaemonSets that look at each node."""
    return tuple(each for each in snapshot.list(kinds.DAEMON_SET) if role(each) == "worker")


@fact
def masters(snapshot: Snapshot) -> tuple[Obj, ...]:
    """The Deployments that write what workers found onto the nodes."""
    return tuple(each for each in snapshot.list(kinds.DEPLOYMENT) if role(each) == "master")


@fact
def worker_pods(snapshot: Snapshot) -> dict[str, Obj]:
    """The worker pod of each node that has one."""
    found = {}
    for pod, _ in by_template(snapshot, _app):
        node = text(pod, "spec", "nodeName")
        if node and role(pod) == "worker":
            found[node] = pod
    return found


@fact
def labelled(snapshot: Snapshot) -> bool:
    """Whether any node carries a label of node feature discovery."""
    return any(key.startswith(NFD) for node in snapshot.list(kinds.NODE) for key in labels(node))


def seen(node: Obj) -> bool:
    """Whether node feature discovery saw an NVIDIA device, in a form the operator accepts."""
    return any(labels(node).get(key) == "true" for key in PCI_LABELS)


def down(deployment: Obj) -> bool:
    """Whether a Deployment has no replica that is available. One without a status is not judged."""
    return isinstance(get(deployment, "status"), dict) and not number(deployment, "status", "availableReplicas")


@fact
def master_down(snapshot: Snapshot) -> Obj | None:
    """A master that is not there while no other is: new labels reach no node. None where one works."""
    found = masters(snapshot)
    return found[0] if found and all(down(each) for each in found) else None
