"""Which pods are NVIDIA device plugins, wherever they come from."""

from __future__ import annotations

from plimsoll.kube.objects import Obj, items, labels
from plimsoll.kube.pods import pods_by_node
from plimsoll.kube.snapshot import Snapshot, fact

_CONTAINERS = ("nvidia-device-plugin", "nvidia-device-plugin-ctr", "nvidia-gpu-device-plugin")  # operator, chart, GKE


def is_plugin(pod: Obj) -> bool:
    """Whether a pod or template runs the device plugin; feature discovery shares its image, not its container name."""
    if labels(pod).get("app") == "nvidia-device-plugin-daemonset":
        return True
    return any(container.get("name") in _CONTAINERS for container in items(pod, "spec", "containers"))


@fact
def plugin_pods(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """The device plugin pods bound to each node that has one, by node name."""
    found = {node: [pod for pod in pods if is_plugin(pod)] for node, pods in pods_by_node(snapshot).items()}
    return {node: pods for node, pods in found.items() if pods}
