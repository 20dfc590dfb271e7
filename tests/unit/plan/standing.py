"""A small cluster behind a real HTTP server, for tests of what changes it: patches, dry runs, selectors, evictions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, labels, text
from tests.unit.kube import writable
from tests.unit.kube.writable import Request, status

KUEUE = "kueue.x-k8s.io/v1beta2"
_SERVED = {
    KUEUE: [{"name": "clusterqueues", "kind": "ClusterQueue", "namespaced": False},
            {"name": "resourceflavors", "kind": "ResourceFlavor", "namespaced": False}],
    "coordination.k8s.io/v1": [{"name": "leases", "kind": "Lease", "namespaced": True}],
    "policy/v1": [{"name": "poddisruptionbudgets", "kind": "PodDisruptionBudget", "namespaced": True}],
}  # fmt: skip


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.then: list[Callable[[], object]] = []  # done one at each sleep

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        if self.then:
            self.then.pop(0)()


class Cluster(writable.Api):
    """What an API server does that `writable.Api` leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.discovery = {key: list(value) for key, value in _SERVED.items()}
        self.evictions: list[int] = []  # answers to the next evictions; then pods go
        self.page = 500

    def answer(self, request: Request) -> tuple[int, Any]:
        if request.path.endswith("/eviction"):
            return self._evicted(request)
        return super().answer(request)

    def _evicted(self, request: Request) -> tuple[int, Any]:
        *_, space, _, name, _ = request.path.split("/")
        if self.evictions and (code := self.evictions.pop(0)) != 201:
            return code, status(code, "TooManyRequests", "a disruption budget forbids it", name)
        pod = self.objects.get(("pods", space, name))
        wanted = request.body["deleteOptions"]["preconditions"]["uid"]
        if pod is None or pod["metadata"]["uid"] != wanted:
            return 409, status(409, "Conflict", "the UID in the precondition does not match", name)
        self.remove("pods", name, space)
        return 201, status(201)

    def _do(self, request: Request, plural: str, space: str, name: str) -> tuple[int, Any]:
        if request.method != "PATCH":
            return super()._do(request, plural, space, name)
        there = self.objects.get((plural, space, name))
        if "merge-patch" in request.headers["Content-Type"] and there is None:
            return 404, status(404, "NotFound", f'{plural} "{name}" not found', name)
        if space and plural != "namespaces" and ("namespaces", "", space) not in self.objects:
            return 404, status(404, "NotFound", f'namespaces "{space}" not found', space)
        made = merged(there or {}, request.body)
        if "apply-patch" in request.headers["Content-Type"]:
            entry = {"manager": request.query["fieldManager"], "operation": "Apply", "fieldsV1": {}}
            made["metadata"] = made["metadata"] | {"managedFields": [entry]}
        if request.query.get("dryRun"):
            return 200, made
        if made == there:
            return 200, there  # nothing is written, as with the real one
        return 200, self._store(plural, name, space, made)

    def _list(self, plural: str, space: str, query: dict[str, str]) -> Obj:
        found = super()._list(plural, space, {key: value for key, value in query.items() if key != "fieldSelector"})
        wanted = [each.split("=") for each in query.get("labelSelector", "").split(",") if each]
        node = query.get("fieldSelector", "").partition("spec.nodeName=")[2]
        name = query.get("fieldSelector", "").partition("metadata.name=")[2]
        found["items"] = [
            each
            for each in found["items"]
            if all(labels(each).get(key) == value for key, value in wanted)
            and node in ("", text(each, "spec", "nodeName"))
            and name in ("", text(each, "metadata", "name"))
        ]
        return found

    # What tests say.

    def keep(self, kind: str, obj: Obj) -> Obj:
        """Have it stand there, whatever was before."""
        with self.changed:
            return self._store(kind, text(obj, "metadata", "name"), text(obj, "metadata", "namespace"), obj)

    def stands(self, kind: str, name: str, space: str = "") -> Obj | None:
        return self.objects.get((kind, space, name))

    def written(self) -> list[str]:
        """Every request that may have changed something, but those of the lease."""
        return [
            f"{each.method} {each.path}" for each in self.seen if each.method != "GET" and "/leases" not in each.path
        ]


def merged(base: Any, change: Any) -> Any:
    """RFC 7396; null deletes."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    kept = {key: value for key, value in base.items() if change.get(key, value) is not None}
    return kept | {key: merged(base.get(key, {}), value) for key, value in change.items() if value is not None}


@contextmanager
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    with writable.serving(made):
        yield made


def kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "config"
    said = {
        "current-context": "test",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(json.dumps(said))
    return path


def connected(folder: Path, api: Cluster) -> Client:
    return Client(kubeconfig(folder, api.url))
