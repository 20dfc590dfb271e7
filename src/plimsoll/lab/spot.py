"""A spot machine taken back: the cloud's notice, what an agent in the cluster does about it, the end of the machine.

As on AWS with its node termination handler or with Karpenter: the node is tainted and cordoned, its pods are evicted
(disruption budgets are heeded), and when the notice has run out the machine is gone whatever still runs on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from plimsoll.errors import ClusterError, InputError
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, items, mapping, name, namespace, owner, text

Agent = Literal["nth", "karpenter", "none"]
Progress = Callable[[str, int, int], None]

TAINTS: dict[str, dict[str, str]] = {
    "nth": {"key": "aws-node-termination-handler/spot-itn", "effect": "NoSchedule"},
    "karpenter": {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"},
}
_PAUSE = 0.5
_SERVER_SIDE = ("resourceVersion", "uid", "creationTimestamp", "managedFields")


def interrupt(
    client: Client, node: str, *, notice: float = 120.0, agent: Agent = "nth", progress: Progress | None = None
) -> Obj:
    """Take a machine back after `notice` seconds; the Node as it was, for `bring_back`.

    agent: who acts on the notice; `none` leaves the pods to die with the machine.
    Raises InputError for a node that is not there.
    """
    before = next((each for each in client.list("v1/Node") if name(each) == node), None)
    if before is None:
        raise InputError("no such node", where=node, hint="kubectl get nodes")
    end = time.monotonic() + notice
    if agent != "none":
        _cordon(client, before, TAINTS[agent])
    while (left := end - time.monotonic()) > 0:
        if progress:
            progress(f"{node} goes in {left:.0f} s", int(notice - left), int(notice))
        staying = [] if agent == "none" else _evict(client, node)
        if agent != "none" and not staying:
            break  # an agent that has emptied the node lets it go before its time
        time.sleep(min(_PAUSE, left))
    client.delete("v1/Node", node)
    for pod in client.list("v1/Pod", fields=f"spec.nodeName={node}"):
        _collect(client, pod)
    return before


def bring_back(client: Client, node: Obj) -> None:
    """A new machine of the same kind and name joins."""
    fresh = {key: value for key, value in node.items() if key != "status"}
    fresh["metadata"] = {key: value for key, value in mapping(node, "metadata").items() if key not in _SERVER_SIDE}
    client.apply(fresh)
    client.patch("v1/Node", name(node), {"status": node["status"]}, subresource="status")


def _cordon(client: Client, node: Obj, taint: dict[str, str]) -> None:
    taints = [each for each in items(node, "spec", "taints") if text(each, "key") != taint["key"]]
    patch: dict[str, Any] = {"spec": {"unschedulable": True, "taints": [*taints, taint]}}
    client.patch("v1/Node", name(node), patch)


def _evict(client: Client, node: str) -> list[Obj]:
    """Ask every pod of the node that an agent would drain to leave; those that are still there."""
    staying = [pod for pod in client.list("v1/Pod", fields=f"spec.nodeName={node}") if _drained(pod)]
    for pod in staying:
        if not text(pod, "metadata", "deletionTimestamp"):
            path = f"/api/v1/namespaces/{namespace(pod)}/pods/{name(pod)}/eviction"
            body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name(pod)}}
            try:
                client.post(path, body)
            except ClusterError:
                continue  # a budget holds it, or it is gone: seen again at the next look
    return staying


def _collect(client: Client, pod: Obj) -> None:
    """End a pod whose node is gone, as the pod garbage collector does after 40 seconds."""
    gone = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}
    gone["message"] = "PodGC: node no longer exists"
    patch = {"status": {"phase": "Failed", "conditions": [gone]}}
    with suppress(ClusterError):  # somebody else was quicker
        if text(pod, "status", "phase") not in ("Succeeded", "Failed"):
            client.patch("v1/Pod", name(pod), patch, namespace(pod), how="strategic", subresource="status")
        client.delete("v1/Pod", name(pod), namespace(pod), grace=0)


def _drained(pod: Obj) -> bool:
    """Not the pods of DaemonSets, which belong to the node, nor what has ended."""
    ended = text(pod, "status", "phase") in ("Succeeded", "Failed")
    return text(owner(pod), "kind") != "DaemonSet" and not ended
