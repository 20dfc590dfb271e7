"""What the process knows of the cluster, and the pages it can write of it at any moment.

Objects come in with the time they came at, and GPUs and queues are carried on up to then before anything changes. So
a page depends on what happened and when, not on how often it was read.
"""

from __future__ import annotations

from threading import RLock

from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, selects, text
from plimsoll.kube.pods import finished
from plimsoll.kube.served import vllm_version
from plimsoll.lab.telemetry import discovery, queue, serving, vllm
from plimsoll.lab.telemetry.demand import Demand
from plimsoll.lab.telemetry.discovery import Group
from plimsoll.lab.telemetry.exporter import NAMES
from plimsoll.lab.telemetry.fleet import Fleet
from plimsoll.lab.telemetry.ksm.table import Table
from plimsoll.lab.telemetry.serving import Key
from plimsoll.units import moment

NEEDED = (kinds.NODE, kinds.POD, kinds.JOB, kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.REPLICA_SET,
          kinds.SERVICE)  # fmt: skip
OPTIONAL = (kinds.SERVICE_MONITOR,)  # there only where its CRD is
_WORKLOADS = (kinds.DEPLOYMENT, kinds.STATEFUL_SET)


class AbsentError(Exception):
    """Nothing of that name is there to be scraped."""


class DownError(Exception):
    """It is there and does not answer."""


class World:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._table = Table()
        self._fleet = Fleet(self._use)
        self._demand = Demand(self._fleet.touch)
        self._pods: dict[Key, Obj] = {}  # that have not ended
        self._services: dict[Key, Obj] = {}
        self._monitors: dict[Key, Obj] = {}

    def take(self, kind: Kind, change: str, obj: Obj, at: float) -> None:
        """One event of a watch: ADDED, MODIFIED or DELETED."""
        key = namespace(obj), name(obj)
        now = None if change == "DELETED" else obj
        with self._lock:
            self._table.put(kind, key, now)
            if kind == kinds.POD:
                self._pod(key, now, at)
            elif kind == kinds.NODE:
                self._fleet.node(key[1], now, at)
            elif kind in _WORKLOADS:
                self._demand.workload((kind.kind, *key), now, at)
            elif kind == kinds.DAEMON_SET:
                self._fleet.daemon(key, now, at)
            elif kind == kinds.SERVICE:
                _keep(self._services, key, now)
            elif kind == kinds.SERVICE_MONITOR:
                _keep(self._monitors, key, now)

    def _pod(self, key: Key, now: Obj | None, at: float) -> None:
        now = None if now is None or finished(now) else _lean(now)
        before = self._pods.get(key)
        _keep(self._pods, key, now)
        self._fleet.pod(key, now, at)
        self._demand.pod(key, now, before, at)

    def _use(self, pod: Obj) -> float | None:
        found = self._demand.find((namespace(pod), name(pod)))
        return serving.gpu_use(found[1]) if found else None

    def dcgm(self, node: str, now: float) -> str:
        """The exporter's page of a node at a time. Raises AbsentError, DownError."""
        with self._lock:
            page = self._fleet.page(node)
            if page is None:
                raise AbsentError(f"no dcgm-exporter runs on a node {node[:253]!r}")
            if not page.seen.exporter.up:
                raise DownError(f"the dcgm-exporter of {node} is not ready")
            return page.at(now)

    def vllm(self, key: Key, now: float) -> str:
        """The page of a model server at a time. Raises AbsentError, DownError."""
        with self._lock:
            found = self._demand.find(key)
            if found is None:
                raise AbsentError(f"no pod {key[0][:63]!r}/{key[1][:253]!r} serves a model")
            pod, server = found
            if not serving.answers(pod):
                raise DownError(f"pod {key[0]}/{key[1]} is not ready")
            begun = moment(text(pod, "status", "startTime"))
            started = begun.timestamp() if begun else 0.0
            return vllm.page(queue.advance(server, now), serving.model_of(pod), vllm_version(pod), started)

    def ksm(self) -> str:
        """The page of kube-state-metrics."""
        with self._lock:
            return self._table.page()

    def groups(self, listen: str) -> list[Group]:
        """Everything there is to scrape, as Prometheus would have found it. listen: our own host and port."""
        with self._lock:
            honoured = any(_honours(each) for each in self._monitors.values())
            many = len(self._fleet) > discovery.MANY_NODES
            exporters = [
                discovery.gpus(listen, page.seen.node, page.seen.exporter, honoured=honoured, slow=many)
                for page in self._fleet.pages()
            ]
            servers = [discovery.server(listen, pod, self._service(pod)) for _, pod in self._demand.all()]
            states = discovery.state_metrics(listen, slow=len(self._table) > discovery.MANY_OBJECTS)
            return [states, *exporters, *servers]

    def _service(self, pod: Obj) -> str:
        """The Service that leads to a pod, the first by name; "" if there is none."""
        here, have = namespace(pod), labels(pod)
        for key, service in sorted(self._services.items(), key=lambda each: each[0]):
            selector = mapping(service, "spec", "selector")
            if key[0] == here and selector and selects({"matchLabels": selector}, have):
                return key[1]
        return ""


def _keep(kept: dict[Key, Obj], key: Key, now: Obj | None) -> None:
    if now is None:
        kept.pop(key, None)
    else:
        kept[key] = now


_SPEC = ("nodeName", "containers", "initContainers")


def _lean(pod: Obj) -> Obj:
    """A pod without what is not read here: thousands of whole ones are a lot of memory."""
    spec = {field: get(pod, "spec", field) for field in _SPEC if get(pod, "spec", field)}
    meta = {key: value for key, value in mapping(pod, "metadata").items() if key != "managedFields"}
    return {"metadata": meta, "spec": spec, "status": mapping(pod, "status")}


def _honours(monitor: Obj) -> bool:
    """Whether a ServiceMonitor is of an exporter and lets its labels win over Prometheus' own."""
    return name(monitor) in NAMES and any(
        each.get("honorLabels") is True for each in items(monitor, "spec", "endpoints")
    )
