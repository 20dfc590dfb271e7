"""One piece of the past as records: nodes, pods and devices with their beginnings and ends.

Ends that the cluster did not tell are noticed: the first scrape without a thing. What was missed at the end of a piece
may be back in the next, so its end is told with that one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from plimsoll.agents.meter import nodes as meter_nodes
from plimsoll.agents.meter import pods as meter_pods
from plimsoll.backfill import ksm
from plimsoll.backfill.book import Book
from plimsoll.backfill.devices import Name, Seen
from plimsoll.backfill.state import Life, State, Summary
from plimsoll.cost.sample import Ended, Gpu, Instance, Kind, Node, Record, Running, parts_or_named
from plimsoll.kube.objects import labels, mapping
from plimsoll.spec.model import Platform
from plimsoll.units import count

MISSED = 2  # scrapes without a thing, until it is gone
_LOST = 3 * 60_000  # milliseconds for which an exporter does not show a device, until that is gone


class Piece:
    """began, ended: milliseconds. found, seen: since before `began`, so that what ended there is known. last: no piece
    follows.

    roster: GPUs of each node, by its name, that are seen at any time of the whole past; models: of each.
    """

    def __init__(
        self, found: ksm.Cluster, seen: Sequence[Seen], began: int, ended: int, *, last: bool, state: State, book: Book,
        platform: Platform | None, roster: Mapping[str, list[tuple[str, str]]], summary: Summary,
    ) -> None:  # fmt: skip
        self.found, self.seen, self.began, self.ended, self.last = found, seen, began, ended, last
        self.state, self.book, self.platform, self.roster, self.summary = state, book, platform, roster, summary
        self.records: list[Record] = []
        self.nodes: dict[str, list[Node]] = defaultdict(list)  # by name, in the order in which they were made
        self.offers: dict[str, dict[str, int]] = {}

    def make(self, models: Mapping[Name, str], jobs: Mapping[str, int]) -> list[Record]:
        """models: that pods serve. jobs: when each was made."""
        for node in self.found.nodes:
            self._node(node)
        self._ends_of_nodes()
        for pod in self.found.pods:
            self._pod(pod, models, jobs)
        self._ends_of_pods()
        self._devices()
        return self.records

    # Nodes

    def _node(self, seen: ksm.SeenNode) -> None:
        uid = self.book.node(seen.name, seen.began)
        if any(each.uid == uid for each in self.nodes[seen.name]):
            return
        have = self.book.labels(uid) | labels(seen.obj)
        whole = self.roster.get(seen.name, [])
        product = next((model.replace(" ", "-") for _, model in whole if model), "")
        guessed = {"nvidia.com/gpu.product": product, "nvidia.com/gpu.count": str(len(whole))} if whole else {}
        metadata = mapping(seen.obj, "metadata") | {"uid": uid, "labels": guessed | have}
        if not seen.began:
            metadata["creationTimestamp"] = ksm.rfc3339(seen.first)
        record = meter_nodes.record(seen.obj | {"metadata": metadata}, self.platform)
        if record is None:
            return
        if self.platform and not record.pool:
            record = msgspec.structs.replace(record, pool=self._pool(record))
            self.summary.counts["pools guessed" if record.pool else "pools unknown"] += 1
        last, _ = self.state.nodes.get(uid, (0, 0))
        self.state.nodes[uid] = max(last, seen.seen), 0
        self.nodes[seen.name].append(record)
        self.offers[uid] = {name: count(value) for name, value in mapping(seen.obj, "status", "capacity").items()}
        self.records.append(record)

    def _pool(self, node: Node) -> str:
        """The only pool with this GPU model and as many of them; nobody told labels."""
        fit = [pool.name for pool in (self.platform.pools if self.platform else ())
               if pool.gpu == node.sku and pool.gpus_per_node == node.gpus]  # fmt: skip
        return fit[0] if len(fit) == 1 else ""

    def _ends_of_nodes(self) -> None:
        here = {each.uid for nodes in self.nodes.values() for each in nodes}
        for nodes in self.nodes.values():
            for earlier, later in pairwise(nodes):  # a name that came back
                self._end("node", (earlier.uid,), self._missed(self.state.nodes[earlier.uid][0]) or later.began)
                self.state.nodes.pop(earlier.uid, None)
        for uid, (seen, gone) in list(self.state.nodes.items()):
            missed = gone if uid not in here else self._missed(seen)
            missed = missed or self._missed(seen)
            if missed and (uid not in here or self.last):
                self._end("node", (uid,), missed)
                del self.state.nodes[uid]
            else:
                self.state.nodes[uid] = seen, missed

    def _missed(self, seen: int) -> int:
        """The first scrape without a thing that was seen last at a moment; 0 while it may be there."""
        place = bisect_right(self.found.alive, seen)
        return self.found.alive[place] if len(self.found.alive) - place >= MISSED else 0

    def _end(self, kind: Kind, subject: tuple[str, ...], moment: int, why: str = "", *, exact: bool = False) -> None:
        self.records.append(Ended(kind=kind, subject=subject, moment=moment, exact=exact, why=why))

    def node_of(self, name: str, moment: int) -> Node | None:
        """The node of a name at a moment."""
        there = self.nodes.get(name, [])
        return next((each for each in reversed(there) if each.began <= moment), there[0] if there else None)

    # Pods

    def _pod(self, seen: ksm.SeenPod, models: Mapping[Name, str], jobs: Mapping[str, int]) -> None:
        node = self.node_of(seen.node, seen.began)
        over = max(seen.over, seen.began)
        if not seen.wants and not any((seen.namespace, seen.name) in each.links for each in self.seen):
            return  # a claim to some other device
        if node is None or not seen.began or (seen.over and over <= self.began and seen.uid not in self.state.pods):
            return
        name = seen.namespace, seen.name
        for owner in seen.obj["metadata"]["ownerReferences"]:
            title = f"{seen.namespace}/{owner['name']}"
            owner["uid"] = self.book.job(title, jobs.get(title, 0)) if owner["kind"] == "Job" else ""
        life = self.state.pods.get(seen.uid)
        if life is None:
            life = self.state.pods[seen.uid] = Life(seen.uid, name, node.uid, seen.began, seen.seen, seen.wants)
        life.seen, life.gone = max(life.seen, seen.seen), 0
        record = meter_pods.record(seen.obj, node.uid, self.platform, lambda *_: "")
        self.records.append(msgspec.structs.replace(record, model=models.get(name, record.model), began=seen.began))
        if seen.ran:
            self.records.append(Running(pod=seen.uid, moment=seen.ran))
        if seen.over and not life.ended:
            life.ended = over
            self._end("pod", (seen.uid,), over, seen.why, exact=bool(seen.completed))

    def _ends_of_pods(self) -> None:
        here = {each.uid for each in self.found.pods}
        for uid, life in self.state.pods.items():
            if life.ended:
                continue
            missed = (life.gone if uid not in here else 0) or self._missed(life.seen)
            if missed and (uid not in here or self.last):
                life.ended = missed
                self._end("pod", (uid,), missed, "Deleted")
            life.gone = missed

    # Devices

    def _devices(self) -> None:
        """GPUs and instances that came, and those that an exporter no longer shows though it shows others."""
        until: dict[str, int] = {}
        for each in self.seen:
            until[each.node] = max(until.get(each.node, 0), each.last)
        lasts: dict[tuple[str, str], int] = {}
        for each in self.seen:
            if node := self.node_of(each.node, each.last):
                lasts[node.uid, each.device.gpu] = max(lasts.get((node.uid, each.device.gpu), 0), each.last)
        for each in self.seen:
            node = self.node_of(each.node, each.last)
            if node is None:
                continue
            gpu, began = (node.uid, each.device.gpu), max(self._first(each), node.began)
            if gpu not in self.state.gpus:
                self.records.append(Gpu(node=node.uid, gpu=each.device.gpu, began=began))
                self.state.gpus.add(gpu)
            whole = (node.uid, *each.device)
            if each.device.instance and (*whole, each.profile) not in self.state.instances:
                share = parts_or_named(node.sku, each.profile)
                self.records.append(Instance(node=node.uid, gpu=each.device.gpu, instance=each.device.instance,
                                             profile=each.profile, parts=share, began=began))  # fmt: skip
                self.state.instances.add((*whole, each.profile))
            if each.device.instance and until[each.node] - each.last > _LOST:
                self._end("instance", whole, each.last, "Missing")
                self.state.instances.discard((*whole, each.profile))
            if until[each.node] - lasts[gpu] > _LOST and gpu in self.state.gpus:
                self._end("gpu", gpu, lasts[gpu], "Missing")
                self.state.gpus.discard(gpu)

    def _first(self, seen: Seen) -> int:
        """Since when a device is there: what was there when one could look first was there before."""
        early = self.began == self.state.began and seen.first - self.began < _LOST
        return min(seen.first, self.began) if early else seen.first
