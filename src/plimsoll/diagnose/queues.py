"""Signals of Kueue's queues, from a cluster's objects: who waits beside quota that is free."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from plimsoll.cost.window import Window, millis
from plimsoll.diagnose.model import MINUTE, Value
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, condition, get, items, mapping, name, namespace, number, text
from plimsoll.kube.pods import gpu_requests, is_gpu
from plimsoll.kube.snapshot import Snapshot
from plimsoll.units import count, moment

SOURCE = "snapshot"
PATIENCE = 10  # minutes; who waits for less may be on its way
_STUCK = ("Inadmissible", "Misconfigured", "NoMatchingFlavor", "ExceedsMaxQuota")  # Kueue's reasons
Amounts = dict[str, int]  # devices by resource


def queues(snapshot: Snapshot, window: Window) -> dict[str, dict[str, Value]]:
    """By ClusterQueue; {} where its objects were not all read, or there are none."""
    if not snapshot.whole(kinds.CLUSTER_QUEUE, kinds.LOCAL_QUEUE, kinds.WORKLOAD):
        return {}
    known = {name(queue): queue for queue in snapshot.list(kinds.CLUSTER_QUEUE)}
    leads = {
        (namespace(each), name(each)): text(each, "spec", "clusterQueue") for each in snapshot.list(kinds.LOCAL_QUEUE)
    }
    waiting: dict[str, list[Obj]] = defaultdict(list)
    for each in snapshot.list(kinds.WORKLOAD):
        if _waits(each):
            waiting[leads.get((namespace(each), text(each, "spec", "queueName")), "")].append(each)
    cohorts: dict[str, list[Obj]] = defaultdict(list)
    for queue in known.values():
        cohorts[_cohort(queue)].append(queue)
    return {
        title: _queue(waiting[title], _free(cohorts[_cohort(queue)]), window.ended) for title, queue in known.items()
    }


def _queue(waiting: Iterable[Obj], free: Mapping[str, int], now: int) -> dict[str, Value]:
    fitting: list[tuple[float, int]] = []
    stuck = 0
    usable: set[str] = set()
    for workload in waiting:
        wanted = _devices(workload)
        stuck += bool(wanted) and text(condition(workload, "QuotaReserved"), "reason") in _STUCK
        minutes = _since(workload, now)
        if wanted and minutes >= PATIENCE and all(free.get(each, 0) >= many for each, many in wanted.items()):
            fitting.append((minutes, sum(wanted.values())))
            usable |= set(wanted)
    values = {
        "queue.waiting": len(fitting),
        "queue.minutes": max((minutes for minutes, _ in fitting), default=0),
        "queue.wanted": sum(many for _, many in fitting),
        "queue.free": sum(max(free.get(each, 0), 0) for each in usable or free),
        "queue.inadmissible": stuck,
    }
    return {key: Value(float(value), SOURCE) for key, value in values.items()}


def _cohort(queue: Obj) -> str:
    """What it shares quota with: its cohort, or nobody. v1beta2 says `cohortName`, v1beta1 `cohort`."""
    own = text(queue, "spec", "cohortName") or text(queue, "spec", "cohort")
    return f"cohort/{own}" if own else f"queue/{name(queue)}"


def _free(members: Iterable[Obj]) -> Amounts:
    """GPU quota of these queues that nothing reserves, by resource."""
    found: dict[str, int] = defaultdict(int)
    for queue in members:
        if text(queue, "spec", "stopPolicy") in ("Hold", "HoldAndDrain"):
            continue
        for group in items(queue, "spec", "resourceGroups"):
            for flavor in items(group, "flavors"):
                for line in items(flavor, "resources"):
                    if is_gpu(text(line, "name")):
                        found[text(line, "name")] += count(line.get("nominalQuota"))
        for flavor in items(queue, "status", "flavorsReservation"):
            for line in items(flavor, "resources"):
                if is_gpu(text(line, "name")):
                    found[text(line, "name")] -= count(line.get("total"))
    return dict(found)


def _waits(workload: Obj) -> bool:
    return (
        condition(workload, "Finished").get("status") != "True"
        and condition(workload, "QuotaReserved").get("status") != "True"
        and get(workload, "spec", "active") is not False
    )


def _devices(workload: Obj) -> Amounts:
    """Devices all pods of a Workload ask for."""
    found: dict[str, int] = defaultdict(int)
    for podset in items(workload, "spec", "podSets"):
        for resource, many in gpu_requests(mapping(podset, "template")).items():
            found[resource] += many * max(number(podset, "count"), 1)
    return dict(found)


def _since(workload: Obj, now: int) -> float:
    """Minutes it waits: since it lost its quota, or since it is there."""
    evicted = condition(workload, "Evicted")
    told = evicted.get("lastTransitionTime") if evicted.get("status") == "True" else None
    since = moment(told) or moment(get(workload, "metadata", "creationTimestamp"))
    return (now - millis(since)) / MINUTE if since else 0.0
