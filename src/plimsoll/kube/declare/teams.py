"""Teams: Kueue's ClusterQueues with the namespaces of their LocalQueues, and namespaces that hold GPUs without one."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import msgspec

from plimsoll.kube import kinds
from plimsoll.kube.declare.books import Books, Key
from plimsoll.kube.declare.pools import Found
from plimsoll.kube.declare.words import Say, gap, listed, unique, valid
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, items, labels, mapping, name, namespace, selects, text
from plimsoll.kube.operands import operator_namespace
from plimsoll.kube.pods import gpu_pods, is_gpu
from plimsoll.kube.snapshot import Snapshot
from plimsoll.spec.queueing import Team
from plimsoll.spec.values import Name, as_name
from plimsoll.units import quantity

KUEUE = "kueue.x-k8s.io/"
_SYSTEM = ("kube-system", "gpu-operator", "gpu-operator-resources", "nvidia-gpu-operator")


class Line(NamedTuple):
    """One quota line on a pool. borrowing: None for no limit. lending: None for all of it."""

    key: Key
    nominal: int
    borrowing: int | None
    lending: int | None


class Draft(msgspec.Struct):
    """A team in the making. cohort: "" where it lends and borrows nothing."""

    name: str
    namespaces: list[str]
    weight: float = 1
    cohort: str = ""
    lines: list[Line] = msgspec.field(default_factory=list)
    quota: dict[Key, int] = msgspec.field(default_factory=dict)
    borrow: dict[Key, int] = msgspec.field(default_factory=dict)
    lend: dict[Key, int] = msgspec.field(default_factory=dict)


class Roster:
    """The teams found so far, and which namespace is whose."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self._names: set[str] = set()
        self._owner: dict[str, Draft] = {}

    def add(self, wanted: str, namespaces: list[str]) -> Draft:
        draft = Draft(unique(as_name(wanted, "team"), self._names), namespaces)
        self.drafts.append(draft)
        self._owner |= dict.fromkeys(namespaces, draft)
        return draft

    def owner(self, space: str) -> Draft | None:
        return self._owner.get(space)

    def of(self, space: str) -> Draft:
        """The team of a namespace; a new one of its name where it has none."""
        return self._owner.get(space) or self.add(space, [space])

    def written(self, books: Books) -> tuple[Team, ...]:
        """The teams as the file has them."""
        return tuple(
            Team(
                name=draft.name,
                namespaces=tuple(draft.namespaces),
                weight=draft.weight,
                quota=books.amounts(draft.quota),
                borrow=books.amounts(draft.borrow),
                lend=books.amounts(draft.lend, zeros=True),
            )
            for draft in self.drafts
        )


def cohort_of(queue: Obj) -> str:
    """v1beta2 says `cohortName`, v1beta1 says `cohort`."""
    return text(queue, "spec", "cohortName") or text(queue, "spec", "cohort")


def gpu_queues(snapshot: Snapshot) -> list[Obj]:
    """ClusterQueues with a quota line for GPUs, by name."""

    def counts_gpus(queue: Obj) -> bool:
        flavors = (flavor for group in items(queue, "spec", "resourceGroups") for flavor in items(group, "flavors"))
        return any(is_gpu(text(line, "name")) for flavor in flavors for line in items(flavor, "resources"))

    return sorted((queue for queue in snapshot.list(kinds.CLUSTER_QUEUE) if counts_gpus(queue)), key=name)


def queue_teams(snapshot: Snapshot, found: Found, books: Books, roster: Roster, say: Say) -> None:
    """A team per ClusterQueue that has GPUs, with its quota lines by pool."""
    spaces: dict[str, list[str]] = defaultdict(list)
    for local in sorted(snapshot.list(kinds.LOCAL_QUEUE), key=lambda each: (namespace(each), name(each))):
        if valid(namespace(local), Name):
            spaces[text(local, "spec", "clusterQueue")].append(namespace(local))
    for queue in gpu_queues(snapshot):
        title = name(queue)
        wanted = list(dict.fromkeys(spaces[title]))
        free = [space for space in wanted if roster.owner(space) is None]
        whose = roster.owner(wanted[0]) if wanted and not free else None
        if whose is not None:
            say(f"ClusterQueue {title} serves only namespaces of team {whose.name}; its quota is added to that team's")
            draft = whose
        elif free or roster.owner(as_name(title, "team")) is None:
            if not free:
                missed = gap(snapshot, kinds.LOCAL_QUEUE)
                why = f"no LocalQueue that was read ({missed}) leads" if missed else "no LocalQueue leads"
                say(f"{why} to ClusterQueue {title}; its team is given the namespace of its name")
            elif len(free) < len(wanted):
                others = listed(space for space in wanted if space not in free)
                say(f"a namespace has one team: {others} stay with another one than {title}")
            draft = roster.add(title, free or [as_name(title, "team")])
            draft.weight = _weight(queue, say)
            draft.cohort = cohort_of(queue)
        else:
            say(f"no LocalQueue leads to ClusterQueue {title}, and its name is another team's namespace: left out")
            continue
        draft.lines += _lines(snapshot, queue, found, books, say)


def _weight(queue: Obj, say: Say) -> float:
    value = quantity(mapping(queue, "spec", "fairSharing").get("weight"))
    weight = 1.0 if value is None else float(value)
    if not 0.001 <= weight <= 1000:
        say(f"ClusterQueue {name(queue)} has the weight {weight:g}; declared the nearest from 0.001 to 1000")
    return min(1000.0, max(0.001, weight))


def _lines(snapshot: Snapshot, queue: Obj, found: Found, books: Books, say: Say) -> list[Line]:
    lines = []
    for group in items(queue, "spec", "resourceGroups"):
        for flavor in items(group, "flavors"):
            wanted = [line for line in items(flavor, "resources") if is_gpu(text(line, "name"))]
            for line in wanted:
                pools = _pools_of(snapshot, text(flavor, "name"), text(line, "name"), found, books)
                if isinstance(pools, str):
                    what = f"{text(line, 'name')} of flavor {text(flavor, 'name')}"
                    say(f"ClusterQueue {name(queue)} has {what}, {pools}: that quota is left out")
                    continue
                lines += _spread(queue, flavor, line, pools, books, say)
    return lines


def _spread(queue: Obj, flavor: Obj, line: Obj, pools: list[str], books: Books, say: Say) -> list[Line]:
    """A quota line on each pool its flavor selects, in turn up to what the pool has."""
    resource = text(line, "name")
    if len(pools) > 1:
        say(f"flavor {text(flavor, 'name')} selects pools {listed(pools)}: the quota of ClusterQueue {name(queue)} "
            "is declared on the first that has room")  # fmt: skip
    nominal = _whole(line.get("nominalQuota")) or 0
    borrowing, lending = _whole(line.get("borrowingLimit")), _whole(line.get("lendingLimit"))
    lines = []
    for at, pool in enumerate(pools):
        key = (pool, books.unit(pool, resource))
        last = at == len(pools) - 1
        here = nominal if last else min(nominal, books.left(key))
        lines.append(Line(key, here, borrowing if not at or borrowing is None else 0, lending))
        nominal -= here
    return lines


def _whole(value: object) -> int | None:
    found = quantity(value)
    return None if found is None else max(0, int(found))


def _pools_of(snapshot: Snapshot, flavor: str, resource: str, found: Found, books: Books) -> list[str] | str:
    """The pools a flavor's nodeLabels select that advertise a resource, or why there is none."""
    wanted = snapshot.get(kinds.RESOURCE_FLAVOR, flavor)
    if wanted is None:
        return "which does not exist" if snapshot.whole(kinds.RESOURCE_FLAVOR) else "which was not read"
    selector = {"matchLabels": mapping(wanted, "spec", "nodeLabels")}
    chosen = {found.of_node[name(node)].name for node in snapshot.list(kinds.NODE)
              if name(node) in found.of_node and selects(selector, labels(node))}  # fmt: skip
    if not chosen:
        return "which selects no GPU node"
    pools = [pool.name for pool in found.pools if pool.name in chosen and books.unit(pool.name, resource)]
    return pools or "which no node it selects advertises"


def promise(roster: Roster, books: Books, say: Say) -> None:
    """Turn quota lines into quota, lending and borrowing that the pools can bear."""
    for draft in roster.drafts:
        for line in draft.lines:
            granted = books.take(line.key, line.nominal)
            if granted < line.nominal:
                say(f"the queues promise more of {line.key[1]} in pool {line.key[0]} than there is: "
                    f"team {draft.name} has a quota of {line.nominal} there, declared {granted}")  # fmt: skip
            draft.quota[line.key] = draft.quota.get(line.key, 0) + granted
    cohorts = {draft.cohort for draft in roster.drafts if draft.cohort}
    if len(cohorts) > 1:
        say(f"there are {len(cohorts)} cohorts ({listed(sorted(cohorts))}), and a declaration has one: "
            "borrowing is kept within each")  # fmt: skip
    for draft in roster.drafts:
        for key, have in draft.quota.items():
            lent = [line.nominal if line.lending is None else line.lending for line in draft.lines if line.key == key]
            if have and (total := sum(lent) if draft.cohort or not cohorts else 0) < have:
                draft.lend[key] = total
    unlimited = [draft.name for draft in roster.drafts if _borrow(draft, roster)]
    if unlimited:
        say(f"{listed(unlimited)} may borrow without limit: declared as all that others in the cohort lend today")


def _borrow(draft: Draft, roster: Roster) -> bool:
    """Fill in what a team may borrow; whether a limit had to be made up."""
    made_up = False
    for line in draft.lines if draft.cohort else ():
        others = [each for each in roster.drafts if each is not draft and each.cohort == draft.cohort]
        lent = sum(each.lend.get(line.key, each.quota.get(line.key, 0)) for each in others)
        most = lent if line.borrowing is None else min(lent, draft.borrow.get(line.key, 0) + line.borrowing)
        made_up |= line.borrowing is None and lent > 0
        draft.borrow[line.key] = most
    return made_up


def holders(
    snapshot: Snapshot, found: Found, books: Books, served: set[tuple[str, str]], roster: Roster, say: Say
) -> None:
    """Give namespaces whose pods hold GPUs outside the queues a quota of what they hold.

    served: (namespace, pod name) of pods that belong to a declared service.
    """
    system = {*_SYSTEM, operator_namespace(snapshot)}
    held: dict[str, dict[Key, int]] = defaultdict(lambda: defaultdict(int))
    for pod, wanted in gpu_pods(snapshot):
        pool = found.of_node.get(text(pod, "spec", "nodeName"))
        queued = any(str(each).startswith(KUEUE) for each in labels(pod))
        skip = queued or (namespace(pod), name(pod)) in served or namespace(pod) in system
        if pool is None or skip or not valid(namespace(pod), Name):
            continue
        for resource, number in wanted.items():
            if unit := books.unit(pool.name, resource):
                held[namespace(pod)][pool.name, unit] += number
    for space, amounts in sorted(held.items()):
        team = roster.of(space)
        for key, number in sorted(amounts.items()):
            if team.quota.get(key):
                continue  # pods of older Kueue versions carry no label of it: they may well be within this quota
            granted = books.take(key, number)
            team.quota[key] = granted
            short = "" if granted == number else f" Only {granted} of them are left beside what the queues promise."
            say(f"namespace {space} holds {number} × {key[1]} of pool {key[0]} outside any queue: "
                f"declared as quota of team {team.name}.{short}".rstrip("."))  # fmt: skip


def somebody(snapshot: Snapshot, roster: Roster, say: Say) -> None:
    """A declaration has at least one team."""
    if not roster.drafts:
        roster.add("default", ["default"])
        nodes = len(gpu_nodes(snapshot))
        missed = gap(snapshot, kinds.POD, kinds.CLUSTER_QUEUE)
        why = f"who uses the {nodes} GPU nodes was not read ({missed})" if missed else (
            f"nobody holds a GPU or has a queue on the {nodes} GPU nodes")  # fmt: skip
        say(f"{why}: team default stands for who will")
