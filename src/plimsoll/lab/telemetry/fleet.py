"""The GPU nodes of the cluster with the pods on them, and the page that the exporter of each shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.kube.nodes import has_gpu
from plimsoll.kube.objects import Obj, name, text
from plimsoll.kube.pods import gpu_requests
from plimsoll.lab.telemetry import dcgm, gpus
from plimsoll.lab.telemetry.annotations import GPU, stated
from plimsoll.lab.telemetry.dcgm import Page
from plimsoll.lab.telemetry.exporter import NAMES, Exporter, exporter, is_exporter
from plimsoll.lab.telemetry.holders import Use

Key = tuple[str, str]  # namespace and name
_TOGETHER = 1.0  # seconds within which changes to a node count as one


class Fleet:
    """use: how busy a pod keeps its GPUs where it does not say it itself; asked when a node is looked at.

    Nothing is looked at before it is asked for, or before it changes again; then it is seen as of its first change.
    """

    def __init__(self, use: Use) -> None:
        self._use = use
        self._nodes: dict[str, Obj] = {}
        self._pods: dict[Key, Obj] = {}  # bound ones that hold GPUs, or export
        self._by_node: dict[str, set[Key]] = defaultdict(set)
        self._daemons: set[Key] = set()  # DaemonSets of an exporter
        self._pages: dict[str, Page] = {}
        self._changed: dict[str, float] = {}  # nodes to look at again, with the time of the first change

    def __len__(self) -> int:
        return len(self._nodes)

    def node(self, title: str, now: Obj | None, at: float) -> None:
        """A node as it is from a time on, None once it is gone."""
        if now is None or not (has_gpu(now) or stated(now, GPU)):
            for kept in (self._nodes, self._pages, self._changed):
                kept.pop(title, None)
        else:
            self.touch(title, at)
            self._nodes[title] = now
            self._changed.setdefault(title, at)

    def pod(self, key: Key, now: Obj | None, at: float) -> None:
        """A pod as it is from a time on, None once it has ended."""
        before = self._pods.get(key)
        if now is not None and not (text(now, "spec", "nodeName") and (gpu_requests(now) or is_exporter(now))):
            now = None
        for pod in (before, now):
            if pod is not None:
                self.touch(text(pod, "spec", "nodeName"), at)
        if before is not None:
            del self._pods[key]
            self._by_node[text(before, "spec", "nodeName")].discard(key)
        if now is not None:
            self._pods[key] = now
            self._by_node[text(now, "spec", "nodeName")].add(key)

    def daemon(self, key: Key, now: Obj | None, at: float) -> None:
        """A DaemonSet; while one of an exporter is there, nodes without its pod are not scraped."""
        stood = bool(self._daemons)
        if now is not None and key[1] in NAMES:
            self._daemons.add(key)
        else:
            self._daemons.discard(key)
        if stood != bool(self._daemons):
            for title in self._nodes:
                self.touch(title, at)

    def touch(self, title: str, at: float) -> None:
        """Something about a node is about to change."""
        if title in self._nodes:
            if title in self._changed and at - self._changed[title] > _TOGETHER:
                self.page(title)
            self._changed.setdefault(title, at)

    def page(self, title: str) -> Page | None:
        """The page of a node as it is now; None where it is no node with GPUs, or nothing exports them."""
        obj = self._nodes.get(title)
        if obj is None:
            return None
        at = self._changed.pop(title, None)
        if at is not None:
            before = self._pages.pop(title, None)
            pods = [self._pods[key] for key in sorted(self._by_node.get(title, ()))]
            found = self._exporter(obj, pods)
            if found is not None:
                seen = gpus.observe(obj, pods, found, at, before.seen if before else None, self._use)
                self._pages[title] = dcgm.page(seen)
        return self._pages.get(title)

    def _exporter(self, node: Obj, pods: list[Obj]) -> Exporter | None:
        own = [each for each in pods if is_exporter(each)]
        if own:
            return exporter(node, max(own, key=lambda each: (text(each, "metadata", "creationTimestamp"), name(each))))
        return None if self._daemons else exporter(node, None)

    def pages(self) -> Iterator[Page]:
        """Of every node whose GPUs are exported, by name."""
        for title in sorted(self._nodes):
            page = self.page(title)
            if page is not None:
                yield page
