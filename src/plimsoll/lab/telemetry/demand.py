"""The workloads that serve models, their pods, and the queue before each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from plimsoll.kube.objects import Obj, text
from plimsoll.lab.telemetry import serving
from plimsoll.lab.telemetry.queue import Server
from plimsoll.lab.telemetry.serving import Key, WorkloadKey


class Demand:
    """touch: told of a node, and when, before the load of a server on it changes."""

    def __init__(self, touch: Callable[[str, float], None]) -> None:
        self._touch = touch
        self._workloads: dict[WorkloadKey, Obj] = {}
        self._pods: dict[WorkloadKey, dict[Key, Obj]] = defaultdict(dict)  # all: any may be said to serve
        self._serving: dict[Key, tuple[Obj, Server]] = {}

    def pod(self, key: Key, now: Obj | None, before: Obj | None, at: float) -> None:
        """A pod as it is from a time on, None once it has ended; and as it was."""
        for workload in {serving.workload_of(each) for each in (before, now) if each is not None}:
            self._pods[workload].pop(key, None)
            if now is not None and workload == serving.workload_of(now):
                self._pods[workload][key] = now
            self._settle(workload, at)
            if not self._pods[workload]:
                del self._pods[workload]
        if now is None:
            self._serving.pop(key, None)

    def workload(self, key: WorkloadKey, now: Obj | None, at: float) -> None:
        """A workload as it is from a time on, None once it is gone."""
        if now is None:
            self._workloads.pop(key, None)
        else:
            self._workloads[key] = now
        if key in self._pods:
            self._settle(key, at)

    def _settle(self, key: WorkloadKey, at: float) -> None:
        """Let the demand for a workload fall on its pods as they are now."""
        workload = self._workloads.get(key)
        pods = {pod: obj for pod, obj in self._pods[key].items() if serving.serves(obj, workload)}
        before = {pod: self._serving[pod][1] for pod in pods if pod in self._serving}
        for pod in self._pods[key].keys() - pods.keys():
            self._serving.pop(pod, None)
        for pod, server in serving.shared(pods, workload, before, at).items():
            if pod not in before or serving.gpu_use(before[pod]) != serving.gpu_use(server):
                self._touch(text(pods[pod], "spec", "nodeName"), at)
            self._serving[pod] = pods[pod], server

    def find(self, key: Key) -> tuple[Obj, Server] | None:
        """A pod that serves a model, and its queue."""
        return self._serving.get(key)

    def all(self) -> Iterator[tuple[Key, Obj]]:
        """Every pod that serves a model, by name."""
        for key, (pod, _) in sorted(self._serving.items(), key=lambda each: each[0]):
            yield key, pod
