"""Pods that serve one node: which of them are device plugins, and findings about the node they serve."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from plimsoll.check.model import Case, Finding, read
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, items, labels, mapping, name, namespace, text
from plimsoll.kube.pods import by_template
from plimsoll.kube.snapshot import Snapshot, fact

_CONTAINERS = ("nvidia-device-plugin", "nvidia-device-plugin-ctr", "nvidia-gpu-device-plugin")  # operator, chart, GKE

_EVERYWHERE = ("kubernetes.io/", "beta.kubernetes.io/", "node.kubernetes.io/", "topology.kubernetes.io/",
               "node-role.kubernetes.io/")  # fmt: skip


def is_plugin(pod: Obj) -> bool:
    """Whether a pod or template runs the device plugin; feature discovery shares its image, not its container name."""
    if labels(pod).get("app") == "nvidia-device-plugin-daemonset":
        return True
    return any(container.get("name") in _CONTAINERS for container in items(pod, "spec", "containers"))


def chooses(template: Obj) -> bool:
    """Whether a DaemonSet's template goes to nodes of a chosen kind, by a label that not every node carries."""
    terms = items(template, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution",
                  "nodeSelectorTerms")  # fmt: skip
    wanted = [text(each, "key") for term in terms for each in items(term, "matchExpressions")
              if each.get("operator") in ("In", "Exists")]  # fmt: skip
    keys = [*mapping(template, "spec", "nodeSelector"), *wanted]
    return any(not key.startswith(_EVERYWHERE) for key in keys)


@fact
def plugin_pods(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """The device plugin pods bound to each node that has one, by node name."""
    found: dict[str, list[Obj]] = defaultdict(list)
    for pod, _ in by_template(snapshot, is_plugin):
        if node := text(pod, "spec", "nodeName"):
            found[node].append(pod)
    return dict(found)


def of_node(
    case: Case, node: str, pod: Obj, title: str, *paths: str, seen: dict[str, Any] | None = None, **more: Any
) -> Finding:
    """A finding about a node whose evidence is in one of its pods; about the pod where the node was not read."""
    machine = case.snapshot.get(kinds.NODE, node)
    if machine is None:
        return case.finding(pod, title, *paths, seen=seen, affects=[f"node/{node}"], **more)
    read_there = {"pod": f"{namespace(pod)}/{name(pod)}", **{path: read(pod, path) for path in paths}}
    return case.finding(machine, title, seen=read_there | (seen or {}), affects=[f"node/{node}"], **more)
