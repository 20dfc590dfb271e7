"""GPUs and MIG instances of a stretch of time, as dcgm-exporter told of them, and the pods it named as their holders.

Both generations of metric names and of the label of the host, and 1.x, which wrote them in lower case. A device is
known by the UUID of its GPU and the id of its instance.

A scrape that does not honor the exporter's labels calls the holder `exported_pod` and the exporter itself `pod`; where
a GPU has no holder only the latter is there. So a pod counts as a holder only if the cluster knows it as one that may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

import msgspec

from plimsoll.backfill.ask import Labels, Source, Stretch, one_of
from plimsoll.backfill.ksm import ms

# What every exporter has of every device, each in both generations; the first kinds that are there are looked at.
PRESENCE = (
    ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_USED_BYTES", "dcgm_fb_used"),
    ("DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_TEMP_CELSIUS", "dcgm_gpu_temp"),
    ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_BOARD_POWER_WATTS", "dcgm_power_usage"),
    ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO"),
    ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO", "dcgm_gpu_utilization"),
)
_KINDS = 2  # of them that are looked at: one may be missing on some exporters
HOSTS = ("node", "Hostname", "hostname", "kubernetes_node", "nodename")
DEVICE = ("UUID", "uuid", "GPU_I_ID", "GPU_I_PROFILE")
_HOLDER = ("namespace", "pod", "pod_namespace", "pod_name")
_BY = (*DEVICE, *HOSTS, *_HOLDER, "modelName")

Name = tuple[str, str]  # namespace and name of a pod


class Device(NamedTuple):
    """gpu: its UUID. instance: "" for a whole GPU."""

    gpu: str
    instance: str = ""


class Seen(msgspec.Struct):
    """A device. first, last: milliseconds, of samples. links: pods that were named as holders, and when."""

    node: str
    device: Device
    profile: str
    model: str
    first: int
    last: int
    links: dict[Name, tuple[int, int]]


def kinds(there: Set[str]) -> list[list[str]]:
    """Metrics that tell what devices there are, best kind first."""
    return [found for names in PRESENCE if (found := [name for name in names if name in there])][:_KINDS]


def read(source: Source, at: Stretch, metrics: Sequence[str], hosts: Hosts) -> list[Seen]:
    """Devices by node and name. metrics: that tell of them."""
    found: dict[tuple[str, Device], Seen] = {}
    for metric in metrics:
        first, last = source.first(metric, "", _BY, at), source.last(metric, "", _BY, at)
        hosts.learn(source, at, (labels[len(DEVICE) : len(DEVICE) + len(HOSTS)] for labels in last))
        for labels, until in last.items():
            _note(found, hosts, labels, ms(first.get(labels, until)), ms(until))
    return [found[key] for key in sorted(found)]


def moments(
    source: Source, at: Stretch, metrics: Sequence[str], names: Set[Name]
) -> dict[tuple[Device, Name], list[int]]:
    """When an exporter named pods as holders, sample by sample: for names that several pods had."""
    found: dict[tuple[Device, Name], list[int]] = {}
    pods = one_of(sorted({name for _, name in names}))
    for metric in metrics if names else ():
        for label in ("pod", "exported_pod", "pod_name"):
            for labels, points in source.server.raw(source.select(metric, f"{label}=~{pods}"), at.began, at.ended):
                device, holder = device_of(labels), holder_of(labels)
                if device is not None and holder is not None and holder in names:
                    found.setdefault((device, holder), []).extend(ms(moment) for moment, _ in points)
    return found


def _note(found: dict[tuple[str, Device], Seen], hosts: Hosts, labels: Labels, first: int, last: int) -> None:
    said = dict(zip(_BY, labels, strict=True))
    device, node = device_of(said), hosts.node(labels[len(DEVICE) : len(DEVICE) + len(HOSTS)])
    if device is None or not node:
        return
    seen = found.get((node, device))
    if seen is None:
        seen = found[node, device] = Seen(node, device, said["GPU_I_PROFILE"], said["modelName"], first, last, {})
    seen.first, seen.last = min(seen.first, first), max(seen.last, last)
    if holder := holder_of(said):
        began, ended = seen.links.get(holder, (first, last))
        seen.links[holder] = min(began, first), max(ended, last)


def device_of(labels: Mapping[str, str]) -> Device | None:
    gpu = labels.get("UUID") or labels.get("uuid") or ""
    instance = labels.get("GPU_I_ID", "") if labels.get("GPU_I_PROFILE") else ""
    return Device(gpu, instance) if gpu else None


def holder_of(labels: Mapping[str, str]) -> Name | None:
    """Who is named as a holder; it may be the exporter itself."""
    space = labels.get("pod_namespace") or labels.get("exported_namespace") or labels.get("namespace") or ""
    pod = labels.get("pod_name") or labels.get("exported_pod") or labels.get("pod") or ""
    return (space, pod) if space and pod else None


class Hosts:
    """Which node a series is of. known: names of nodes.

    The host of an exporter without NODE_NAME is its pod's name; then the node of that pod counts.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self.known = set(known)
        self.lost: set[str] = set()  # hosts that are no nodes
        self._pods: dict[str, str] = {}

    def node(self, hosts: Labels) -> str:
        """Labels as HOSTS names them."""
        for host in hosts:
            if host in self.known:
                return host
        for host in hosts:
            if self._pods.get(host):
                return self._pods[host]
        self.lost.update(host for host in hosts if host)
        return ""

    def learn(self, source: Source, at: Stretch, every: Iterable[Labels]) -> None:
        """Ask about hosts that are no nodes."""
        strange = {host for hosts in set(every) if not self.known.intersection(hosts) for host in hosts if host}
        strange -= set(self._pods)
        if not strange:
            return
        for label in ("pod", "exported_pod"):
            selector = source.select("kube_pod_info", f"{label}=~{one_of(sorted(strange))}")
            for pod, node in source.highest(selector, ("pod", "node"), at):
                if pod in strange and node in self.known:
                    self._pods[pod] = node
        self._pods |= {host: "" for host in strange if host not in self._pods}
