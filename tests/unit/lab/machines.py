"""Hand-made fake nodes with the operator's pods on them, and a cluster small enough to reconcile in a test."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from plimsoll.kube.objects import Obj, text
from plimsoll.kube.operands import BY_NAME, GATE
from plimsoll.lab.hardware.conditions import Condition
from plimsoll.lab.hardware.node import Memory, View, Writes, reconcile
from plimsoll.lab.nodes import GPU, nodes_from

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
INIT = {
    "driver": ("k8s-driver-manager",),
    "container-toolkit": ("driver-validation",),
    "operator-validator": ("driver-validation", "toolkit-validation", "cuda-validation", "plugin-validation"),
    "device-plugin": ("toolkit-validation", "config-manager-init"),
    "mps-control-daemon": ("toolkit-validation", "mps-control-daemon-mounts", "config-manager-init"),
    "gpu-feature-discovery": ("toolkit-validation", "config-manager-init"),
    "dcgm-exporter": ("toolkit-validation",),
    "mig-manager": ("toolkit-validation",),
}
LAYOUTS = """\
version: v1
mig-configs:
  all-disabled: [{devices: all, mig-enabled: false}]
  all-1g.10gb:
    - {device-filter: ["0x233010DE"], devices: all, mig-enabled: true, mig-devices: {1g.10gb: 7}}
    - {device-filter: "0x20B010DE", devices: all, mig-enabled: true, mig-devices: {1g.10gb: 4}}
  half: [{devices: [0], mig-enabled: true, mig-devices: {3g.40gb: 2}}]
  too-much: [{devices: all, mig-enabled: true, mig-devices: {3g.40gb: 3}}]
"""


def node(gpu: str = "H100-SXM5-80GBx8", **labels: str) -> Obj:
    """A fake node without a GPU's labels."""
    made = nodes_from("apiVersion: v1\nkind: Node\nmetadata: {name: n0}\n")[0]
    made["metadata"]["creationTimestamp"] = "2026-11-25T11:00:00Z"
    made["metadata"]["resourceVersion"] = "1"
    if gpu:
        made["metadata"]["annotations"][GPU] = gpu
    made["metadata"]["labels"].update(labels)
    return made


def pod(operand: str, *, uid: str = "", volumes: Iterable[str] = ()) -> Obj:
    """A pod of an operand, bound and not begun."""
    app = BY_NAME[operand].daemonset
    main = ["config-manager"] if "config-manager-init" in INIT[operand] else []
    image = "nvcr.io/nvidia/driver:580.95.05-ubuntu22.04" if operand == "driver" else f"{operand}:1"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{app}-x",
            "namespace": "gpu-operator",
            "uid": uid or f"uid-{operand}",
            "resourceVersion": "1",
            "labels": {"app": app},
            "creationTimestamp": "2026-11-25T11:59:00Z",
        },
        "spec": {
            "nodeName": "n0",
            "initContainers": [{"name": each, "image": "validator:1"} for each in INIT[operand]],
            "containers": [{"name": each, "image": image} for each in [app, *main]],
            "volumes": [{"name": each, "configMap": {"name": each}} for each in volumes],
        },
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]},
    }


def policy(**spec: Any) -> Obj:
    return {"apiVersion": "nvidia.com/v1", "kind": "ClusterPolicy", "metadata": {"name": "p"}, "spec": spec}


def config(data: Mapping[str, str]) -> Obj:
    return {"data": dict(data)}


class Machine:
    """One node and what the API server holds of it: applies what a look finds due, as the API server would."""

    def __init__(self, node_: Obj, operands: Iterable[str] = INIT, **view: Any) -> None:
        self.node = node_
        self.pods = {text(each, "metadata", "uid"): each for each in map(pod, operands)}
        self.view: dict[str, Any] = {"policy": policy(), "nfd": True, "configs": {}, **view}
        self.memory = Memory()
        self.now = NOW
        self.events: list[Obj] = []
        self.writes = 0
        for operand in operands:
            self.labels.setdefault(GATE + (BY_NAME[operand].gate or operand), "true")

    @property
    def labels(self) -> dict[str, str]:
        found: dict[str, str] = self.node["metadata"]["labels"]
        return found

    @property
    def notes(self) -> dict[str, str]:
        found: dict[str, str] = self.node["metadata"]["annotations"]
        return found

    def devices(self, field: str = "capacity") -> dict[str, str]:
        return {key: value for key, value in self.node["status"][field].items() if key.startswith("nvidia.com/")}

    def look(self, *conditions: Condition) -> Writes:
        pods = tuple(self.pods.values())
        view = View(node=self.node, pods=pods, now=self.now, conditions=conditions, **self.view)
        writes, self.memory = reconcile(copy.deepcopy(view), self.memory)
        self._apply(writes)
        return writes

    def settle(self, *conditions: Condition, paused: bool = False) -> int:
        """Look until nothing is due; how many looks it took. paused: play the DaemonSets, too."""
        for count in range(1, 30):
            if paused:
                self.daemonsets()
            writes = self.look(*conditions)
            if not (writes.metadata or writes.status or writes.pods or writes.gone):
                return count
            self.now += timedelta(seconds=1)
        raise AssertionError("it never comes to rest")

    def daemonsets(self) -> None:
        """Take the pods of paused operands away, and bring those that may run."""
        for operand in INIT:
            gate = self.labels.get(GATE + (BY_NAME[operand].gate or operand))
            mine = [
                uid
                for uid, each in self.pods.items()
                if each["metadata"]["labels"]["app"] == BY_NAME[operand].daemonset
            ]
            if gate != "true":
                for uid in mine:
                    self.pods[uid]["metadata"]["deletionTimestamp"] = "2026-11-25T12:00:00Z"
            elif not mine and operand in (
                "device-plugin",
                "gpu-feature-discovery",
                "dcgm-exporter",
                "operator-validator",
            ):
                uid = f"uid-{operand}-{self.writes}"
                self.pods[uid] = pod(operand, uid=uid)

    def pod_of(self, operand: str) -> Obj:
        return next(each for each in self.pods.values() if _is(each, operand))

    def state(self, operand: str) -> tuple[str, str]:
        """Phase, and the container that is not ready with its waiting reason (or `runs`); "" where all are ready."""
        found = next(
            each for each in self.pods.values() if each["metadata"]["labels"]["app"] == BY_NAME[operand].daemonset
        )
        status = found["status"]
        for field in ("initContainerStatuses", "containerStatuses"):
            for each in status.get(field, []):
                if not each["ready"]:
                    return status["phase"], f"{each['name']}: {text(each, 'state', 'waiting', 'reason') or 'runs'}"
        return status["phase"], ""

    def _apply(self, writes: Writes) -> None:
        for of, status in writes.pods:
            self.writes += 1
            mine = self.pods[text(of, "metadata", "uid")]
            mine["status"] = {**mine["status"], **copy.deepcopy(status)}
            self._bump(mine)
        for field, changes in writes.metadata.items():
            for key, value in changes.items():
                if value is None:
                    self.node["metadata"][field].pop(key)
                else:
                    self.node["metadata"][field][key] = value
        for field, changes in writes.status.items():
            self.node["status"][field].update(changes)
        if writes.metadata or writes.status:
            self.writes += 1
            self._bump(self.node)
        for each in writes.gone:
            self.pods.pop(text(each, "metadata", "uid"), None)
        self.events += writes.events

    @staticmethod
    def _bump(obj: Obj) -> None:
        obj["metadata"]["resourceVersion"] = str(int(text(obj, "metadata", "resourceVersion")) + 1)


def _is(obj: Obj, operand: str) -> bool:
    return text(obj, "metadata", "labels", "app") == BY_NAME[operand].daemonset


def reasons(machine: Machine) -> list[str]:
    """What events were sent, as `reason pod`."""
    return sorted(f"{text(each, 'reason')} {text(each, 'involvedObject', 'name')}" for each in machine.events)
