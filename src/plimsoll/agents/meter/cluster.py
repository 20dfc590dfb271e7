"""What watches tell, as records: nodes, pods and their ends, and a seat for each pod that asks for GPUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import partial

import msgspec

from plimsoll.agents.meter import claims, nodes, pods
from plimsoll.agents.meter.fold import Fold
from plimsoll.agents.meter.reading import Pod as Name
from plimsoll.agents.meter.reading import Reading
from plimsoll.agents.meter.seats import Held, Seats, Want
from plimsoll.cost.opened import Open
from plimsoll.cost.sample import WHOLE, Ended, Record, Running, parts_or_named
from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, mapping, name, namespace, text
from plimsoll.kube.pods import finished
from plimsoll.spec.model import Platform

_UNREAD = ("managedFields", "annotations")
_SPEC = ("nodeName", "containers", "initContainers", "resourceClaims")
GONE_AFTER = 30_000  # what we have open and a list does not name: so long after it its end may still be told


class Known(msgspec.Struct):
    """A pod that is there and asks for GPUs. node: uid, once it has one."""

    name: Name
    version: int
    obj: Obj
    node: str = ""
    ran: bool = False
    over: bool = False


class Cluster:
    """Takes changes in any order, told once or often. started: since when this meter watches.

    patience_ms: how long a pod waits to be named by a source. seating: whether this meter says who holds what.
    """

    def __init__(
        self, platform: Platform | None, uid: pods.Uid, fold: Fold, *, started: int, patience_ms: int,
        seating: bool = True,
    ) -> None:  # fmt: skip
        self.platform, self.started, self.patience = platform, started, patience_ms
        self.fold, self._seating = fold, seating
        self.records: list[Record] = []
        self.seats: dict[str, Seats] = {}  # by name of the node
        self._uid = uid
        self._nodes: dict[str, tuple[Obj, str]] = {}  # by name: as it is, and its uid once it is written
        self._known: dict[str, Known] = {}  # by uid
        self._names: dict[Name, str] = {}
        self._waiting: dict[str, set[str]] = {}  # by name of a node that is not written: uids of its pods
        self._unmet: dict[str, str] = {}  # what is open, but nobody tells of it any more: uid and kind
        self._synced: dict[str, int] = {}  # by kind: when the last list had been told whole
        self._claims = claims.Claims()
        self._drop: list[tuple[str, Seats]] = []  # of nodes that are gone
        self.billed: set[str] = set()  # pods that had ended when we began and are in the ledger

    def restore(self, opened: Open, wanting: Mapping[str, Sequence[Want]]) -> None:
        """Go on from what the ledger has open. wanting: by name of the node, who had no seat yet."""
        seated = set()
        for node in opened.nodes:
            seats = self.seats[node.name] = Seats(node.uid, node.gpus, partial(parts_or_named, node.sku))
            self._nodes[node.name] = {}, node.uid
            self._unmet[node.uid] = "node"
            for gpu, instance, profile, share in node.devices:
                seats.restore((gpu, instance), profile, share or WHOLE)
            for pod, device, weight, began in node.holds:
                seats.held.append(Held(pod, device, weight, began))
                seated.add(pod)
            for want in wanting.get(node.name, ()):
                if want.uid not in seated:
                    seats.want(want)
                    seated.add(want.uid)
        for uid, pod_name, node_uid, ran in opened.pods:
            self._unmet[uid] = "pod"
            self._known[uid] = Known(pod_name, 0, {}, node_uid if uid in seated else "", ran)
        for device, ended in opened.read:
            self.fold.resume(device, ended)

    def unknown(self, pod: Obj, *, gone: bool) -> bool:
        """Whether a pod that has ended is told of for the first time: the ledger must be asked if it was billed."""
        over = gone or finished(pod)
        return over and text(pod, "metadata", "uid") not in self._known and self._claims.asks(pod)

    @property
    def wanting(self) -> dict[str, list[Want]]:
        """Who has no seat yet, by name of the node."""
        return {name: list(seats.wanting.values()) for name, seats in self.seats.items() if seats.wanting}

    def take(self, kind: Kind, change: str, obj: Obj, now: int) -> None:
        """One event of a watch: ADDED, MODIFIED or DELETED."""
        if kind == kinds.POD:
            self._pod(obj, now, gone=change == "DELETED")
        elif kind == kinds.NODE:
            self._node(obj, now, gone=change == "DELETED")
        else:
            for uid in self._claims.take(kind, obj, gone=change == "DELETED"):
                if uid in self._known and self._known[uid].obj:
                    self._place(uid, self._known[uid])

    def synced(self, kind: Kind, listed: Set[str], now: int) -> None:
        """A list has been told whole: uids of all that is there. What is not among them has ended, or soon is told to.

        After the server was away for long, its watches no longer tell of what ended meanwhile.
        """
        if kind == kinds.POD:
            self._unmet |= {uid: "pod" for uid in self._known if uid not in listed}
            self._synced["pod"] = now
        elif kind == kinds.NODE:
            self._unmet |= {uid: "node" for _, uid in self._nodes.values() if uid and uid not in listed}
            self._synced["node"] = now

    def read(self, node: str, readings: list[Reading], moment: int) -> None:
        """What a node's devices read at a moment."""
        if node in self._nodes and not self._nodes[node][1]:
            self._write(node, seen=len({each.gpu for each in readings}))
        seats = self.seats.get(node)
        if seats is None:
            return
        since = moment
        if not seats.places and moment - self.started <= 2 * self.fold.round_ms:
            since = self.started  # they were there before we looked
        seats.read(readings, since, lambda each: self._names.get(each, ""))
        self.fold.take(seats, readings, moment, lambda each: self._names.get(each, ""))

    def tick(self, now: int) -> None:
        """What happens by time alone."""
        for seats in self.seats.values():
            seats.tick(now - self.patience)
            seats.forget(now - 4 * self.fold.round_ms - self.patience)
        over = [each for each in self._unmet.items() if now - self._synced.get(each[1], now) > GONE_AFTER]
        for uid, kind in over:
            del self._unmet[uid]
            self._end_unmet(uid, kind, now)

    def drain(self) -> list[Record]:
        """The records since the last call."""
        found = self.records
        for seats in self.seats.values():
            if seats.records:
                found = found + seats.records
                seats.records = []
        self.records = []
        for title, seats in self._drop:
            if self.seats.get(title) is seats:  # else another machine has the name by now
                del self.seats[title]
        self._drop = []
        return found

    @property
    def guessed(self) -> int:
        return sum(seats.guessed for seats in self.seats.values())

    def pod(self, title: Name) -> str:
        """The uid of a pod that holds GPUs, by its name; "" if there is none."""
        return self._names.get(title, "")

    def names(self) -> dict[str, Name]:
        """Names of the pods that are there and ask for GPUs, by uid."""
        return {uid: title for title, uid in self._names.items()}

    # Nodes

    def _node(self, node: Obj, now: int, *, gone: bool) -> None:
        title, uid = name(node), text(node, "metadata", "uid")
        before = self._nodes.get(title)
        self._unmet.pop(uid, None)
        if before and (before[1] or text(before[0], "metadata", "uid")) != uid:  # another machine of the same name
            if gone or _version(node) < _version(before[0]):
                return  # that which was there before, told once more
            made = nodes.millis(text(node, "metadata", "creationTimestamp"))
            self._node_gone(title, before[1], min(now, made or now), {})  # it was gone by then, whenever we looked
            before = None
        if gone:
            if before:
                self._node_gone(title, before[1], now, node)
            return
        self._nodes[title] = node, before[1] if before else ""
        self._write(title)

    def _write(self, title: str, seen: int = 0) -> None:
        """Note a node once it says what is billed of it. seen: GPUs that a source told of."""
        node, uid = self._nodes[title]
        if not uid:
            record = nodes.record(node, self.platform, seen)
            if record is None:
                return
            self.records.append(record)
            self.seats[title] = Seats(record.uid, record.gpus, partial(parts_or_named, record.sku))
            self._nodes[title] = node, record.uid
        self._settings(title, node)
        for pod in sorted(self._waiting.pop(title, ())):
            if pod in self._known:
                self._place(pod, self._known[pod])

    def _settings(self, title: str, node: Obj) -> None:
        seats = self.seats[title]
        seats.single = nodes.single(node)
        seats.replicas = lambda unit: nodes.replicas(node, claims.resource(unit))

    def _node_gone(self, title: str, uid: str, now: int, node: Obj) -> None:
        del self._nodes[title]
        if not uid:
            return
        deadline = nodes.millis(text(node, "metadata", "deletionTimestamp"))
        self.records.append(Ended(kind="node", subject=(uid,), moment=min(now, deadline or now), exact=False,
                                  why="Deleted"))  # fmt: skip
        seats = self.seats[title]
        seats.settle()  # nobody will name them any more
        self._drop.append((title, seats))
        self.records += seats.records
        seats.records = []

    # Pods

    def _pod(self, pod: Obj, now: int, *, gone: bool) -> None:
        uid = text(pod, "metadata", "uid")
        known = self._known.get(uid)
        version = _version(pod)
        if known is not None and version < known.version:
            return  # an older state, told once more
        if uid in self.billed:
            if gone:
                self.billed.discard(uid)
            return
        met = self._unmet.pop(uid, None)
        if gone and "spec" not in pod and known is not None:  # it went unseen; we know more than we are told
            pod = {**known.obj, "metadata": {**known.obj.get("metadata", {}), **pod.get("metadata", {})}}
        if known is None:
            if not self._claims.asks(pod):
                return
            known = self._known[uid] = Known((namespace(pod), name(pod)), version, pod)
        known.obj, known.version = _lean(pod), version
        if not known.over and pods.began(pod):
            if not gone:
                self._names[known.name] = uid
            self._place(uid, known)
        end = pods.ended(pod, now, gone=gone)
        if end is not None and not known.over:
            known.over = True
            self._over(uid, known, end, met=met is not None)
        if gone:
            self._forget(uid, known)

    def _place(self, uid: str, known: Known) -> None:
        """Give a pod that is on a node its seat, once node and devices are known."""
        title = text(known.obj, "spec", "nodeName")
        node = self._nodes.get(title)
        if not title or known.over:
            return
        if node is None or not node[1]:
            self._waiting.setdefault(title, set()).add(uid)
            return
        seats = self.seats[title]
        if not known.node:
            asked = self._claims.amounts(known.obj)
            if not asked:
                return  # its claims are not known yet, or they are for something else
            known.node = node[1]
            self.records.append(pods.record(known.obj, node[1], self.platform, self._uid))
            if self._seating:
                seats.want(Want(uid, known.name, pods.began(known.obj), asked))
        named = self._claims.devices(uid)
        if named and uid in seats.wanting:
            seats.told(uid, named)
        started = pods.ran(known.obj)
        if started and not known.ran:
            known.ran = True
            self.records.append(Running(pod=uid, moment=started))

    def _over(self, uid: str, known: Known, end: pods.End, *, met: bool) -> None:
        if self._names.get(known.name) == uid:
            del self._names[known.name]
        if not known.node and not met:
            return  # it never held anything
        self.records.append(Ended(kind="pod", subject=(uid,), moment=end.moment, exact=end.exact, why=end.why))
        for seats in self.seats.values() if met else filter(None, [self.seats.get(self._on(known))]):
            seats.leave(uid, end.moment)

    def _on(self, known: Known) -> str:
        return text(known.obj, "spec", "nodeName")

    def _forget(self, uid: str, known: Known) -> None:
        self._known.pop(uid, None)
        for waiting in self._waiting.values():
            waiting.discard(uid)
        if self._names.get(known.name) == uid:
            del self._names[known.name]

    def _end_unmet(self, uid: str, kind: str, now: int) -> None:
        """It was open, and nobody tells of it any more: it ended while nobody watched."""
        if kind == "node":
            title = next((each for each, (_, known) in self._nodes.items() if known == uid), "")
            if title:
                self._node_gone(title, uid, now, {})
            else:  # another machine has its name
                self.records.append(Ended(kind="node", subject=(uid,), moment=now, exact=False, why="Missing"))
            return
        known = self._known.pop(uid, None)
        if known is not None and not known.over:
            self._over(uid, known, pods.End(now, False, "Missing"), met=True)


def _lean(pod: Obj) -> Obj:
    """A pod without what is not read here: thousands of whole ones are a lot of memory."""
    meta = {key: value for key, value in mapping(pod, "metadata").items() if key not in _UNREAD}
    spec = {key: value for key, value in mapping(pod, "spec").items() if key in _SPEC}
    return {"metadata": meta, "spec": spec, "status": mapping(pod, "status")}


def _version(obj: Obj) -> int:
    said = text(obj, "metadata", "resourceVersion")
    return int(said) if said.isdecimal() else 0
