"""Who is who: names that a Prometheus knows, as the uids that a ledger and a cluster know.

kube-state-metrics does not tell the uid of a node. It is the ledger's, of a node of this name and moment of making; or
the cluster's own, where that can be asked; else name and moment stand for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from plimsoll.agents.meter.nodes import millis
from plimsoll.backfill.devices import Device
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import key
from plimsoll.kube.objects import Obj, labels, name, text

_SAME = 1500  # milliseconds: Kubernetes tells whole seconds


class Book:
    """cluster: Node objects of a live cluster or a snapshot."""

    def __init__(self, ledger: Ledger, cluster: Iterable[Obj] = ()) -> None:
        self._ledger = ledger
        self._nodes: dict[str, list[tuple[int, str]]] = defaultdict(list)
        self._labels: dict[str, dict[str, str]] = {}
        self.derived: set[str] = set()  # uids that nobody told
        for node in cluster:
            self._nodes[name(node)].append((millis(text(node, "metadata", "creationTimestamp")),
                                            text(node, "metadata", "uid")))  # fmt: skip
            self._labels[text(node, "metadata", "uid")] = labels(node)
        for uid, title, began in ledger.store.rows("SELECT uid, name, began FROM nodes ORDER BY uid"):
            self._nodes[title].append((began, uid))
        self._jobs: dict[str, set[str]] = defaultdict(set)
        for job, uid in ledger.store.rows("SELECT DISTINCT job, job_uid FROM pods WHERE job_uid <> ''"):
            self._jobs[job].add(uid)

    def node(self, title: str, made: int) -> str:
        """The uid of a node. made: 0 where nobody told when it was made."""
        uid = f"{title}@{made // 1000}" if made else title
        for began, known in self._nodes[title]:
            if known and (abs(began - made) <= _SAME or not made):
                if known == uid:
                    self.derived.add(uid)
                return known
        self._nodes[title].append((made, uid))
        self.derived.add(uid)
        return uid

    def labels(self, uid: str) -> dict[str, str]:
        """What the cluster says of a node's labels now."""
        return self._labels.get(uid, {})

    def job(self, title: str, made: int) -> str:
        """The uid of a job, `namespace/name`, so that one that comes back is another."""
        known = self._jobs.get(title, set())
        if len(known) == 1:
            return next(iter(known))
        return f"{title}@{made // 1000}" if made else ""

    def seats(self, pods: Iterable[str]) -> dict[str, list[tuple[Device, int]]]:
        """Devices, and shares of each, that the ledger says pods held already; by uid."""
        wanted = {key(uid): uid for uid in pods}
        found: dict[str, list[tuple[Device, int]]] = defaultdict(list)
        if not wanted:
            return found
        rows = self._ledger.store.rows(
            "SELECT DISTINCT h.pod, g.uuid, COALESCE(i.name, ''), h.weight FROM holds h"
            " JOIN gpus g ON g.node = h.node AND g.gpu = h.gpu"
            " LEFT JOIN instances i ON i.node = h.node AND i.gpu = h.gpu AND i.instance = h.instance"
            " WHERE h.pod IN (SELECT UNNEST(CAST(? AS BIGINT[])))", (list(wanted),))  # fmt: skip
        for pod, gpu, instance, weight in sorted(rows):
            found[wanted[pod]].append((Device(gpu, instance), weight))
        return found
