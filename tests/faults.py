"""Faults put into the healthy recording, each in the shape a real cluster shows it.

A fault is a function that changes a Cluster (the objects of the recording) in place.
tests/test_faults.py says which root cause each must give.
"""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from plimsoll.check.model import Severity
from plimsoll.check.run import review
from plimsoll.kube.objects import Obj
from plimsoll.pillars import all_checks
from tests.recorded import whole

HEALTHY = Path(__file__).parents[1] / "examples" / "lab" / "healthy.json.gz"
NOW = "2026-11-24T11:03:00Z"
AGO = "2026-11-24T10:20:00Z"  # 43 minutes before
OPERANDS = {
    "driver": ("nvidia-driver-daemonset", "state-driver"),
    "toolkit": ("nvidia-container-toolkit-daemonset", "state-container-toolkit"),
    "validator": ("nvidia-operator-validator", "state-operator-validation"),
    "plugin": ("nvidia-device-plugin-daemonset", "state-device-plugin"),
    "exporter": ("nvidia-dcgm-exporter", "state-dcgm-exporter"),
    "gfd": ("gpu-feature-discovery", "gpu-feature-discovery"),
    "mig": ("nvidia-mig-manager", "state-mig-manager"),
}


def owner(obj: Obj) -> str:
    """The name of a pod's first owner; "" if it has none or is no pod."""
    owners = obj["metadata"].get("ownerReferences", [{}])
    return str(owners[0].get("name", "")) if obj["kind"] == "Pod" else ""


class Cluster:
    """The objects of a recording, with the hands of a kubelet and of controllers."""

    def __init__(self, items: list[Obj]) -> None:
        self.items = items

    def find(self, kind: str, name: str, namespace: str = "") -> Obj:
        for obj in self.items:
            meta = obj["metadata"]
            if obj["kind"] == kind and meta["name"] == name and meta.get("namespace", "") == namespace:
                return obj
        raise KeyError(f"{kind} {namespace}/{name}")

    def remove(self, test: Callable[[Obj], bool]) -> int:
        before = len(self.items)
        self.items[:] = [obj for obj in self.items if not test(obj)]
        assert len(self.items) < before
        return before - len(self.items)

    def node(self, name: str) -> Obj:
        return self.find("Node", name)

    def gpu_nodes(self) -> list[Obj]:
        return [o for o in self.items if o["kind"] == "Node" and "nvidia.com/gpu.present" in o["metadata"]["labels"]]

    def offer(self, node: str, *, capacity: str | None = None, allocatable: str | None = None) -> None:
        """Set every GPU resource the node has now above zero."""
        status = self.node(node)["status"]
        for resource in [r for r, n in status["capacity"].items() if r.startswith("nvidia.com/") and n != "0"]:
            if capacity is not None:
                status["capacity"][resource] = capacity
            if allocatable is not None:
                status["allocatable"][resource] = allocatable

    def pod(self, operand: str, node: str) -> Obj:
        set_ = OPERANDS[operand][0]
        for obj in self.items:
            owner = obj["metadata"].get("ownerReferences", [{}])[0]
            if obj["kind"] == "Pod" and owner.get("name") == set_ and obj["spec"].get("nodeName") == node:
                return obj
        raise KeyError(f"{operand} on {node}")

    def pods_like(self, prefix: str, namespace: str) -> list[Obj]:
        pods = (o for o in self.items if o["kind"] == "Pod" and o["metadata"]["namespace"] == namespace)
        return [pod for pod in pods if pod["metadata"]["name"].startswith(prefix)]

    def event(self, obj: Obj, reason: str, message: str, *, type_: str = "Warning", count: int = 9) -> None:
        meta = obj["metadata"]
        about = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"], "uid": meta["uid"]}
        if "namespace" in meta:
            about["namespace"] = meta["namespace"]
        number = sum(o["kind"] == "Event" for o in self.items)
        self.items.append({
            "apiVersion": "v1", "kind": "Event", "type": type_, "reason": reason, "message": message, "count": count,
            "metadata": {"name": f"{meta['name']}.{number:x}", "namespace": meta.get("namespace", "default"),
                         "uid": f"e{number}", "creationTimestamp": AGO},
            "involvedObject": about, "firstTimestamp": AGO, "lastTimestamp": NOW, "source": {"component": "kubelet"},
        })  # fmt: skip

    def ready(self, pod: Obj, status: str, reason: str = "ContainersNotReady") -> None:
        for entry in pod["status"]["conditions"]:
            if entry["type"] in ("Ready", "ContainersReady"):
                entry |= {"status": status, "lastTransitionTime": AGO} | (
                    {"reason": reason} if status == "False" else {}
                )

    def crash(
        self, pod: Obj, container: str, message: str, *, init: bool = False, reason: str = "Error", code: int = 1
    ) -> None:
        field = "initContainerStatuses" if init else "containerStatuses"
        ended = {"exitCode": code, "reason": reason, "message": message, "startedAt": NOW, "finishedAt": NOW}
        waiting = {"reason": "CrashLoopBackOff", "message": f"back-off 5m0s restarting failed container={container}"}
        after = False
        for status in pod["status"][field]:
            if status["name"] == container:
                status |= {"ready": False, "started": False, "restartCount": 12, "state": {"waiting": waiting},
                           "lastState": {"terminated": ended}}  # fmt: skip
                after = True
            elif after and init:
                status |= {"ready": False, "started": False, "state": {"waiting": {"reason": "PodInitializing"}}}
        if init:
            self._not_started(pod)
        self.ready(pod, "False")
        self.event(pod, "BackOff", f"Back-off restarting failed container {container}")

    def hold(self, pod: Obj, container: str) -> None:
        """The pod waits in an init container, as operands do for the one before them."""
        after = False
        for status in pod["status"]["initContainerStatuses"]:
            if status["name"] == container:
                status |= {"ready": False, "started": True, "state": {"running": {"startedAt": AGO}}}
                after = True
            elif after:
                status |= {"ready": False, "started": False, "state": {"waiting": {"reason": "PodInitializing"}}}
        assert after, container
        self._not_started(pod)
        self.ready(pod, "False")

    def image(self, pod: Obj, container: str, message: str) -> None:
        for status in pod["status"]["containerStatuses"]:
            if status["name"] == container:
                status |= {"ready": False, "started": False,
                           "state": {"waiting": {"reason": "ImagePullBackOff", "message": message}}}  # fmt: skip
        pod["status"]["phase"] = "Pending"
        self.ready(pod, "False")
        self.event(pod, "Failed", message)

    def _not_started(self, pod: Obj) -> None:
        pod["status"]["phase"] = "Pending"
        for status in pod["status"]["containerStatuses"]:
            status |= {"ready": False, "started": False, "state": {"waiting": {"reason": "PodInitializing"}}}
        for entry in pod["status"]["conditions"]:
            if entry["type"] == "Initialized":
                entry |= {"status": "False", "reason": "ContainersNotInitialized", "lastTransitionTime": AGO}

    def count(self, *operands: str) -> None:
        """DaemonSet status after what happened to its pods; the ClusterPolicy follows."""
        states = []
        for operand in operands:
            set_, state = OPERANDS[operand]
            daemonset = self.find("DaemonSet", set_, "gpu-operator")
            own = [
                o
                for o in self.items
                if o["kind"] == "Pod" and o["metadata"].get("ownerReferences", [{}])[0].get("name") == set_
            ]
            good = sum(
                any(c["type"] == "Ready" and c["status"] == "True" for c in o["status"]["conditions"]) for o in own
            )
            status = daemonset["status"]
            status |= {"currentNumberScheduled": len(own), "numberReady": good, "numberAvailable": good}
            if status["desiredNumberScheduled"] > good:
                status["numberUnavailable"] = status["desiredNumberScheduled"] - good
                states.append(state)
        if states:
            self.policy("OperandNotReady", f"ClusterPolicy is not ready, states not ready: [{' '.join(states)}]")

    def policy(self, reason: str, message: str, *, ready: bool = False) -> None:
        status = self.find("ClusterPolicy", "cluster-policy")["status"]
        status["state"] = "ready" if ready else "notReady"
        good, bad = {"status": "True", "lastTransitionTime": AGO}, {"status": "False", "lastTransitionTime": AGO}
        for entry in status["conditions"]:
            own = (entry["type"] == "Ready") == ready
            entry |= {
                **(good if own else bad),
                "reason": reason if own else entry["type"],
                "message": message if own else "",
            }

    def conditions(self, obj: Obj, **types: tuple[str, str, str]) -> None:
        """Set conditions by type: (status, reason, message)."""
        have = obj.setdefault("status", {}).setdefault("conditions", [])
        for type_, (status, reason, message) in types.items():
            entry = next((c for c in have if c["type"] == type_), None)
            if entry is None:
                have.append(entry := {"type": type_})
            entry |= {"status": status, "reason": reason, "message": message, "lastTransitionTime": AGO}

    def unavailable(self, deployment: str, namespace: str) -> Obj:
        found = self.find("Deployment", deployment, namespace)
        found["status"] |= {
            "availableReplicas": 0,
            "readyReplicas": 0,
            "unavailableReplicas": found["spec"]["replicas"],
        }
        self.conditions(
            found, Available=("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        )
        return found

    def without_endpoints(self, service: str, namespace: str) -> None:
        for obj in self.items:
            own = obj["metadata"].get("namespace") == namespace
            if (
                own
                and obj["kind"] == "EndpointSlice"
                and obj["metadata"]["labels"].get("kubernetes.io/service-name") == service
            ):
                obj["endpoints"] = []
            if own and obj["kind"] == "Endpoints" and obj["metadata"]["name"] == service:
                obj.pop("subsets", None)

    def copy(self, obj: Obj, name: str, **changes: Any) -> Obj:
        made = copy.deepcopy(obj)
        made["metadata"] |= {"name": name, "uid": f"uid-{name}", **changes}
        self.items.append(made)
        return made


def healthy() -> Cluster:
    return Cluster(json.loads(gzip.decompress(HEALTHY.read_bytes()))["items"])


def new_roots(cluster: Cluster) -> dict[str, str]:
    """The root causes above info that the healthy recording has not: `ID Kind/name` to the title."""
    return {key: said for key, said in _roots(cluster).items() if key not in _roots_before()}


@cache
def _roots_before() -> dict[str, str]:
    return _roots(healthy())


def _roots(cluster: Cluster) -> dict[str, str]:
    answer = review(whole(cluster.items), all_checks())
    assert not answer.broken
    faults = (each for each in answer.failures if each.severity > Severity.INFO and each.root_cause)
    return {f"{each.check.id} {each.finding.object}": each.finding.title for each in faults}
