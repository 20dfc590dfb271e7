"""What the hardware process follows of the cluster, kept small: the parts it reads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from plimsoll.kube import kinds
from plimsoll.kube.answers import NotFound
from plimsoll.kube.client import Client
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, get, items, mapping, name, text
from plimsoll.kube.pods import ready
from plimsoll.lab.hardware.operands import DRIVERS, LABELS

_log = logging.getLogger(__name__)
_WORKERS = "app.kubernetes.io/name=node-feature-discovery,role=worker"
_UNSERVED = 1.0  # seconds between looks for the ClusterPolicy's CRD

Wake = Callable[[str], None]
"""Told which node something changed for; "" for all of them."""


class World:
    """Thread-safe: every change replaces a whole object."""

    def __init__(self, client: Client, namespace: str, wake: Wake) -> None:
        self.nodes: dict[str, Obj] = {}
        self.configs: dict[str, Obj] = {}
        self._pods: dict[str, dict[str, Obj]] = {}
        self._workers: dict[str, dict[str, Obj]] = {}
        self._policies: dict[str, Obj] = {}
        self._former: Obj | None = None
        self._client, self._namespace, self._wake = client, namespace, wake
        self._lock = threading.Lock()
        self.failed: BaseException | None = None

    def follow(self, stop: threading.Event) -> None:
        """Start to watch; sets `stop` and `failed` when the API server stays away.

        What nodes depend on is known before the first node is: a plugin whose config is not known yet would
        register whole GPUs.
        """
        watches: tuple[tuple[Kind, str, str, Callable[[str, Obj], None]], ...] = (
            (kinds.NODE, "", "", self._node),
            (kinds.POD, "", LABELS, self.pod),
            (kinds.POD, "", f"{DRIVERS},app!=nvidia-driver-daemonset", self.pod),
            (kinds.POD, "", _WORKERS, self._worker),
            (kinds.CONFIG_MAP, self._namespace, "", self._config),
            (kinds.CLUSTER_POLICY, "", "", self._policy),
        )
        for kind, space, labels, tell in watches[1:]:
            with suppress(NotFound):
                for obj in self._client.list(kind, space, labels=labels):
                    tell("ADDED", obj)
        for watch in watches:
            threading.Thread(target=self._watch, args=(*watch, stop), daemon=True, name=f"watch {watch[0]}").start()

    def _watch(
        self, kind: Kind, space: str, labels: str, tell: Callable[[str, Obj], None], stop: threading.Event
    ) -> None:
        while not stop.is_set():
            try:
                for change, obj in self._client.watch(kind, space, labels=labels, stop=stop):
                    tell(change, obj)
            except NotFound:  # no CRD yet, or no more
                if self._policies:
                    self._policies = {}
                    self._wake("")
                stop.wait(_UNSERVED)
            except Exception as error:
                self.failed = error
                stop.set()

    def pods(self, node: str) -> tuple[Obj, ...]:
        """Operand pods on a node."""
        with self._lock:
            return tuple(self._pods.get(node, {}).values())

    def worker(self, node: str) -> bool:
        """Whether the NFD worker of a node runs."""
        with self._lock:
            return any(map(ready, self._workers.get(node, {}).values()))

    @property
    def told(self) -> Obj | None:
        """What the operands were started with: the ClusterPolicy in force, else the last there was."""
        return self.policy or self._former

    @property
    def policy(self) -> Obj | None:
        """The ClusterPolicy in force: the oldest that is not ignored."""
        known = sorted(self._policies.values(), key=lambda each: text(each, "metadata", "creationTimestamp"))
        return next((each for each in known if text(each, "status", "state") != "ignored"), None)

    def _node(self, change: str, obj: Obj) -> None:
        if change == "DELETED":
            self.nodes.pop(name(obj), None)
        else:
            self.node(obj)
        self._wake(name(obj))

    def node(self, obj: Obj) -> None:
        """Take in a node, unless a newer one is known."""
        with self._lock:
            if _newer(obj, self.nodes.get(name(obj))):
                self.nodes[name(obj)] = _part(obj, ("addresses", "capacity", "allocatable", "nodeInfo"))

    def pod(self, change: str, obj: Obj) -> None:
        """Take in an operand's pod that is bound to a node."""
        self._keep(self._pods, change, obj, _pod)

    def _worker(self, change: str, obj: Obj) -> None:
        self._keep(self._workers, change, obj, lambda pod: {"metadata": pod["metadata"], "status": pod.get("status")})

    def _keep(self, place: dict[str, dict[str, Obj]], change: str, obj: Obj, part: Callable[[Obj], Obj]) -> None:
        uid, node = text(obj, "metadata", "uid"), text(obj, "spec", "nodeName")
        with self._lock:
            if change == "DELETED":  # one that vanished while we were away comes without its node
                node = next((each for each, pods in place.items() if uid in pods), "")
                place.get(node, {}).pop(uid, None)
            elif node and _newer(obj, place.get(node, {}).get(uid)):
                place.setdefault(node, {})[uid] = part(obj)
            else:
                node = ""
        if node:
            self._wake(node)

    def _config(self, change: str, obj: Obj) -> None:
        old = mapping(self.configs.get(name(obj), {}), "data")
        if change == "DELETED":
            self.configs = {key: value for key, value in self.configs.items() if key != name(obj)}
        else:
            self.configs = {**self.configs, name(obj): {"data": mapping(obj, "data")}}
        if change != "MODIFIED" or old != mapping(obj, "data"):
            self._wake("")

    def _policy(self, change: str, obj: Obj) -> None:
        before = self.policy
        if change == "DELETED":
            self._former = before or self._former
            self._policies = {key: value for key, value in self._policies.items() if key != name(obj)}
        else:
            self._policies = {**self._policies, name(obj): obj}
        if mapping(before, "spec") != mapping(self.policy, "spec") or before is None:
            self._wake("")


def _newer(obj: Obj, known: Obj | None) -> bool:
    """Whether an object is newer than what is known: an answer to a write may come before older news of a watch."""
    return known is None or _version(obj) >= _version(known)


def _version(obj: Obj) -> int:
    said = text(obj, "metadata", "resourceVersion")
    return int(said) if said.isdecimal() else 0


def _part(obj: Obj, status: tuple[str, ...]) -> Obj:
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "annotations", "creationTimestamp",
            "deletionTimestamp")  # fmt: skip
    return {
        "metadata": {key: value for key, value in mapping(obj, "metadata").items() if key in kept},
        "status": {key: value for key, value in mapping(obj, "status").items() if key in status},
    }


def _pod(obj: Obj) -> Obj:
    """A pod without what the kubelet's part does not need: its commands, environment, mounts."""
    spec: dict[str, Any] = {"nodeName": text(obj, "spec", "nodeName")}
    if get(obj, "spec", "hostNetwork") is True:
        spec["hostNetwork"] = True
    for field in ("initContainers", "containers"):
        spec[field] = [{"name": text(each, "name"), "image": text(each, "image")} for each in items(obj, "spec", field)]
    spec["volumes"] = [
        {"name": text(each, "name"), "configMap": each["configMap"]}
        for each in items(obj, "spec", "volumes")
        if "configMap" in each
    ]
    part = _part(obj, ())
    part["metadata"].pop("annotations", None)
    return {**part, "spec": spec, "status": mapping(obj, "status")}
