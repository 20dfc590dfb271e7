"""What collects metrics in a cluster, and how the GPU exporter is set up."""

from __future__ import annotations

import re
from typing import Any

from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, get, items, labels, name, namespace, number, pod_template, selects, text
from plimsoll.kube.operands import cluster_policy, enabled
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.units import version

MONITORING = (kinds.SERVICE_MONITOR, kinds.POD_MONITOR, kinds.PROMETHEUS, kinds.PROMETHEUS_RULE)
_COLLECTOR = re.compile(
    r"prometheus:|/prometheus$|prom/prometheus|vmagent|victoria-metrics|victoria-logs|otel|opentelemetry-collector|"
    r"grafana/(agent|alloy)|datadog/agent|/agent:|amazon-cloudwatch-agent|gmp|ama-metrics|thanos|mimir"
)


@fact
def exporters(snapshot: Snapshot) -> tuple[Obj, ...]:
    """DaemonSets that run dcgm-exporter, by namespace and name."""
    found = [each for each in snapshot.list(kinds.DAEMON_SET) if exporter_container(each)]
    return tuple(sorted(found, key=lambda each: (namespace(each), name(each))))


def exporter_container(daemonset: Obj) -> Obj | None:
    """The container of a DaemonSet that runs dcgm-exporter, or None."""
    for each in items(pod_template(daemonset), "spec", "containers"):
        if "dcgm-exporter" in text(each, "image"):
            return each
    return None


def exporter_version(container: Obj) -> tuple[int, ...]:
    """The exporter's version from a tag such as `4.2.3-4.1.3-ubuntu22.04` (DCGM, then exporter); () if none."""
    match = re.search(r":v?\d+\.\d+\.\d+-(\d+\.\d+\.\d+)", text(container, "image"))
    return version(match.group(1)) if match else ()


def env_of(container: Obj) -> dict[str, Any]:
    """A container's literal environment by name."""
    return {text(entry, "name"): entry.get("value") for entry in items(container, "env")}


@fact
def operated(snapshot: Snapshot) -> bool:
    """Whether the Prometheus Operator is in use: somebody has made a Prometheus or a monitor."""
    return any(snapshot.list(kind) for kind in MONITORING)


@fact
def collects(snapshot: Snapshot) -> bool:
    """Whether anything in the cluster looks like a collector of metrics."""
    runs = (*snapshot.list(kinds.DEPLOYMENT), *snapshot.list(kinds.STATEFUL_SET), *snapshot.list(kinds.DAEMON_SET))
    return operated(snapshot) or any(
        _COLLECTOR.search(text(each, "image"))
        for obj in runs
        for each in items(pod_template(obj), "spec", "containers")
    )


def monitors_of(snapshot: Snapshot, kind: Kind, here: str, have: dict[str, str]) -> list[Obj]:
    """The monitors that select a Service or pod with these labels in a namespace."""
    return [
        each for each in snapshot.list(kind) if selects(get(each, "spec", "selector"), have) and _looks_into(each, here)
    ]


def _looks_into(monitor: Obj, here: str) -> bool:
    where = get(monitor, "spec", "namespaceSelector")
    if not isinstance(where, dict) or not where:
        return namespace(monitor) == here
    listed = where.get("matchNames")
    return where.get("any") is True or (isinstance(listed, list) and here in listed)


def anchor(snapshot: Snapshot) -> Obj | None:
    """The object to change where GPU metrics as a whole are amiss: the policy, else an exporter; None without GPUs."""
    if not gpu_nodes(snapshot):
        return None
    return cluster_policy(snapshot) or next(iter(exporters(snapshot)), None)


def exporter_wanted(snapshot: Snapshot) -> bool | None:
    """Whether the ClusterPolicy asks for the exporter; None where there is none to say."""
    return enabled(snapshot, "dcgm-exporter")


def gpu_count(node: Obj) -> int:
    """Physical GPUs of a node: GFD's count, else what its resources add up to without shares."""
    stated = text(labels(node), "nvidia.com/gpu.count")
    if stated.isdecimal():
        return int(stated)
    amount = get(node, "status", "capacity", "nvidia.com/gpu")
    return int(amount) if str(amount).isdecimal() else number(node, "status", "capacity", "nvidia.com/gpu")
