"""Signals from a cluster's objects: what workloads ask for, what nodes have left, what jobs were allowed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from statistics import fmean

import msgspec

from plimsoll.cost.window import Window, millis
from plimsoll.diagnose.model import HOUR, MINUTE, Facts, Value
from plimsoll.gpus import catalogue, mig
from plimsoll.kube import kinds
from plimsoll.kube.nodes import allocatable, dra_nodes, gpu_nodes, is_ready
from plimsoll.kube.objects import Obj, condition, get, items, labels, mapping, name, namespace, number, text
from plimsoll.kube.pods import controller, gpu_pods, gpu_requests, gpus_held, pods_by_node
from plimsoll.kube.served import flag, vllm_container
from plimsoll.kube.snapshot import Snapshot
from plimsoll.units import moment, quantity

SOURCE = "snapshot"
SEQUENCES = 256  # --max-num-seqs where it is not given: vLLM's default, 1024 on GPUs of 70 GiB and more
_NOTEBOOKS = ("notebook-name", "hub.jupyter.org/username", "app.kubernetes.io/component=singleuser-server")
_MIB = 1 << 20

Names = Mapping[tuple[str, str], str]  # namespace and name of a pod: its workload, as a ledger names it


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What the objects of a workload say."""

    facts: Facts
    values: dict[str, Value]


def workload_of(snapshot: Snapshot, pod: Obj, names: Names) -> str:
    """The workload of a pod: as the ledger calls it, else its topmost known owner."""
    if known := names.get((namespace(pod), name(pod))):
        return known
    _, here, title = controller(snapshot, pod)
    return f"{here}/{title}"


def workloads(snapshot: Snapshot, names: Names, window: Window) -> dict[str, Work]:
    """By `namespace/name`, of pods that ask for GPUs and have not ended."""
    found: dict[str, list[tuple[Obj, int]]] = defaultdict(list)
    for pod, wanted in gpu_pods(snapshot):
        found[workload_of(snapshot, pod, names)].append((pod, sum(wanted.values())))
    nodes = {name(node): node for node in snapshot.list(kinds.NODE)}
    return {key: _work(snapshot, pods, nodes, window) for key, pods in found.items()}


def _work(snapshot: Snapshot, pods: list[tuple[Obj, int]], nodes: Mapping[str, Obj], window: Window) -> Work:
    first = pods[0][0]
    kind = controller(snapshot, first)[0]
    server = vllm_container(first)
    have = labels(first)
    notebook = kind == "Notebook" or any(
        have.get(key.partition("=")[0]) == key.partition("=")[2] if "=" in key else key in have for key in _NOTEBOOKS
    )
    values = {
        "cores.asked": Value(fmean(_requested(pod, "cpu") / devices for pod, devices in pods), SOURCE, len(pods)),
        "oom.kills": Value(sum(_killed(pod) for pod, _ in pods), SOURCE, len(pods)),
    }
    homes = [nodes[where] for pod, _ in pods if (where := text(pod, "spec", "nodeName")) in nodes]
    ratios = [_amount(node, "cpu") / total for node in homes if (total := sum(allocatable(node).values()))]
    if ratios:
        values["cores.node"] = Value(min(ratios), SOURCE, len(ratios))
    if server:
        said = quantity(flag(server[1], "--max-num-seqs"))
        values["serve.max_seqs"] = Value(float(said or SEQUENCES), SOURCE)
    started = [minutes for pod, _ in pods if (minutes := _until_ready(pod)) is not None]
    if started:
        values["ready.minutes"] = Value(fmean(started), SOURCE, len(started))
    restarts = [_restarts(pod, window) for pod, _ in pods]
    if None not in restarts:
        values["restarts"] = Value(sum(each or 0 for each in restarts), SOURCE, len(pods))
    facts = Facts(
        owner=kind, interactive=notebook, serves=server is not None, batch=kind in ("Job", "CronJob", "JobSet"),
        sku=_sku(homes), cut=all(mig.profile_of_resource(each) for each in gpu_requests(first)), pod=name(first),
        nodes=tuple(sorted({name(node) for node in homes})),
    )  # fmt: skip
    return Work(facts=facts, values=values)


def _requested(pod: Obj, resource: str) -> float:
    """What a pod asks for: the sum of its containers, or its largest init container if that is more."""
    running = starting = 0.0
    for field in ("containers", "initContainers"):
        for each in items(pod, "spec", field):
            own = mapping(each, "resources", "requests").get(resource)
            amount = float(quantity(own if own is not None else get(each, "resources", "limits", resource)) or 0)
            if field == "containers" or each.get("restartPolicy") == "Always":
                running += amount
            else:
                starting = max(starting, amount)
    return max(running, starting)


def _amount(node: Obj, resource: str) -> float:
    return float(quantity(get(node, "status", "allocatable", resource)) or 0)


def _killed(pod: Obj) -> int:
    return sum(
        text(each, state, "terminated", "reason") == "OOMKilled"
        for each in items(pod, "status", "containerStatuses")
        for state in ("state", "lastState")
    )


def _at(value: object) -> int | None:
    found = moment(value)
    return None if found is None else millis(found)


def _until_ready(pod: Obj) -> float | None:
    """Minutes from the last start of its containers until it was ready; None where it is not, or does not say."""
    ready = condition(pod, "Ready")
    starts = [_at(get(each, "state", "running", "startedAt")) for each in items(pod, "status", "containerStatuses")]
    known = [each for each in starts if each is not None]
    since = _at(ready.get("lastTransitionTime"))
    if ready.get("status") != "True" or since is None or not known or since < max(known):
        return None
    return (since - max(known)) / MINUTE


def _restarts(pod: Obj, window: Window) -> int | None:
    """Restarts in the window; None where some may have been before it."""
    count = sum(number(each, "restartCount") for each in items(pod, "status", "containerStatuses"))
    created = _at(get(pod, "metadata", "creationTimestamp"))
    return count if not count or (created is not None and created >= window.began) else None


def _sku(homes: Iterable[Obj]) -> str:
    found = {
        sku.name if (sku := catalogue.from_product(labels(node).get("nvidia.com/gpu.product", ""))) else ""
        for node in homes
    }
    return found.pop() if len(found) == 1 else ""


def nodes(snapshot: Snapshot) -> dict[str, dict[str, Value]]:
    """What nodes with GPUs that take pods have left; {} where not every pod and node was read."""
    if not snapshot.whole(kinds.POD, kinds.NODE):
        return {}
    held, bound = gpus_held(snapshot), pods_by_node(snapshot)
    free: dict[str, dict[str, int]] = {}
    for node in gpu_nodes(snapshot):
        if is_ready(node) is not True or get(node, "spec", "unschedulable") or name(node) in dra_nodes(snapshot):
            continue
        own = held.get(name(node), {})
        free[name(node)] = {each: max(count - own.get(each, 0), 0) for each, count in allocatable(node).items()}
    waiting = [wanted for pod, wanted in gpu_pods(snapshot) if not text(pod, "spec", "nodeName")]
    found = {}
    for node in gpu_nodes(snapshot):
        if (left := free.get(name(node))) is None:
            continue
        pods = bound.get(name(node), [])
        values = {
            "free.gpus": float(sum(left.values())),
            "free.cores": _amount(node, "cpu") - sum(_requested(pod, "cpu") for pod in pods),
            "free.memory": (_amount(node, "memory") - sum(_requested(pod, "memory") for pod in pods)) / _MIB,
        }
        if any(mig.profile_of_resource(each) for each in left):
            values |= _slices(left, free.values(), waiting)
        found[name(node)] = {each: Value(value, SOURCE) for each, value in values.items()}
    return found


def _slices(
    left: Mapping[str, int], everywhere: Iterable[Mapping[str, int]], waiting: Iterable[Mapping[str, int]]
) -> dict[str, float]:
    """Its free MIG instances that no waiting pod asks for; pods that wait for profiles of which too few are free."""
    total: dict[str, int] = defaultdict(int)
    for each in everywhere:
        for resource, count in each.items():
            total[resource] += count
    wanted = [one for one in waiting if any(mig.profile_of_resource(resource) for resource in one)]
    short = [one for one in wanted if any(total[resource] < count for resource, count in one.items())]
    asked = {resource for one in wanted for resource in one}
    spare = sum(count for each, count in left.items() if mig.profile_of_resource(each) and each not in asked)
    return {"free.unwanted": float(spare), "wanted.pods": float(len(short))}


def limits(snapshot: Snapshot, teams: Mapping[str, str], window: Window) -> dict[str, dict[str, Value]]:
    """Of each team's jobs that ended in the window: how much of their time limits they used. teams: by namespace."""
    used: dict[str, list[tuple[float, float, float]]] = defaultdict(list)  # seconds used and allowed, devices
    for job in snapshot.list(kinds.JOB):
        allowed = number(job, "spec", "activeDeadlineSeconds")
        devices = sum(gpu_requests(mapping(job, "spec", "template")).values()) * max(
            number(job, "spec", "parallelism"), 1
        )
        began, ended = moment(get(job, "status", "startTime")), _end(job)
        if allowed <= 0 or not devices or began is None or ended is None:
            continue
        if window.began <= millis(ended) < window.ended:
            used[teams.get(namespace(job), namespace(job))].append(((ended - began).total_seconds(), allowed, devices))
    found = {}
    for team, each in used.items():
        share = sum(took * many for took, _, many in each) / sum(may * many for _, may, many in each)
        left = sum(max(may - took, 0) * many for took, may, many in each) * 1000 / HOUR
        values = {"limit.used": share, "limit.unused_gpu_hours": left}
        found[team] = {key: Value(value, SOURCE, len(each)) for key, value in values.items()}
    return found


def no_limits(snapshot: Snapshot) -> dict[str, Value]:
    """Of a team none of whose jobs had a limit and ended: nothing is left of one. {} where not every job was read."""
    if not snapshot.whole(kinds.JOB):
        return {}
    return {"limit.used": Value(1.0, SOURCE), "limit.unused_gpu_hours": Value(0.0, SOURCE)}


def _end(job: Obj) -> datetime | None:
    for type_ in ("Complete", "Failed"):
        if (done := condition(job, type_)).get("status") == "True":
            return moment(get(job, "status", "completionTime")) or moment(done.get("lastTransitionTime"))
    return None
