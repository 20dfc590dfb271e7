"""What the checks of this pillar share about a node and the operands on it."""

from __future__ import annotations

from datetime import datetime

from plimsoll.gpus.catalogue import from_product
from plimsoll.gpus.model import Sku
from plimsoll.kube import operands
from plimsoll.kube.objects import Obj, get, items, labels, mapping, text
from plimsoll.kube.operands import operand_of, operator_namespace
from plimsoll.kube.pods import by_template, ready
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.units import count, moment

PLUGIN, MIG_MANAGER, MPS_DAEMON = "device-plugin", "mig-manager", "mps-control-daemon"
SETTLE = 3  # minutes a device plugin and GFD need to act on what they found at their start
_STANDALONE = {"nvidia-device-plugin-ctr": PLUGIN, "mps-control-daemon-ctr": MPS_DAEMON}


def standalone(template: Obj) -> str:
    """Which operand a pod of the plugin's own Helm chart is, by its container; "" if none. The chart sets no `app`."""
    if operand_of(template):
        return ""
    named = (_STANDALONE.get(text(each, "name"), "") for each in items(template, "spec", "containers"))
    return next((each for each in named if each), "")


@fact
def _standalone_pods(snapshot: Snapshot) -> dict[tuple[str, str], Obj]:
    return {(app, text(pod, "spec", "nodeName")): pod for pod, app in by_template(snapshot, standalone)}


def operand(snapshot: Snapshot, app: str, node: str) -> Obj | None:
    """The pod of an operand on a node, or None. A terminating pod counts: it is still there."""
    return operands.operand_pods(snapshot).get((app, node)) or _standalone_pods(snapshot).get((app, node))


def serves(snapshot: Snapshot, app: str, node: str) -> bool:
    """Whether an operand runs and is ready on a node."""
    pod = operand(snapshot, app, node)
    return pod is not None and ready(pod)


def home(snapshot: Snapshot) -> str:
    """The operator's namespace, for looking up what it reads and for commands."""
    return operator_namespace(snapshot) or "gpu-operator"


def daemonset(app: str) -> str:
    """The name of an operand's DaemonSet, which is also its pods' label `app`."""
    return operands.BY_NAME[app].daemonset


def sku(node: Obj) -> Sku | None:
    """The GPU model of a node by GFD's labels, or None where they do not tell one we know."""
    have = labels(node)
    return from_product(text(have, "nvidia.com/gpu.product"), count(have.get("nvidia.com/gpu.memory")) or None)


def gpu_count(node: Obj) -> int:
    """Physical GPUs by GFD's label; 0 where it says nothing usable.

    With single-strategy MIG the label counts the slices, so it is no count of GPUs.
    """
    have = labels(node)
    return 0 if "-MIG-" in text(have, "nvidia.com/gpu.product") else count(have.get("nvidia.com/gpu.count"))


def label_set_at(node: Obj, label: str) -> datetime | None:
    """When the client that owns a label last wrote the node, or None. Labels carry no time of their own.

    Source: `metadata.managedFields`; `kubectl get -o json` leaves it out unless asked.
    """
    owned = f"f:{label}"
    for entry in items(node, "metadata", "managedFields"):
        if owned in mapping(entry, "fieldsV1", "f:metadata", "f:labels"):
            return moment(entry.get("time"))
    return None


def changed_at(obj: Obj) -> datetime | None:
    """When an object was last written, from its field managers, else its creation; None if neither is told."""
    times = [moment(entry.get("time")) for entry in items(obj, "metadata", "managedFields")]
    times.append(moment(get(obj, "metadata", "creationTimestamp")))
    return max((time for time in times if time), default=None)


def container_started(pod: Obj, *containers: str) -> datetime | None:
    """When the first of these containers that runs was started, else the pod; None if neither is told."""
    for status in items(pod, "status", "containerStatuses"):
        if status.get("name") in containers and (at := moment(get(status, "state", "running", "startedAt"))):
            return at
    return moment(get(pod, "status", "startTime"))


def plugin_started(pod: Obj) -> datetime | None:
    """When the device plugin of a pod read its configuration."""
    return container_started(pod, "nvidia-device-plugin", "nvidia-device-plugin-ctr")


def minutes(since: datetime | None, now: datetime | None) -> int | None:
    """Whole minutes between two moments; None where either is unknown."""
    return int((now - since).total_seconds() // 60) if since and now else None
