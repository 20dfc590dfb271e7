"""Nodes and pods of a stretch of time, as kube-state-metrics told of them.

Moments are milliseconds; 0 is unknown. Several replicas of kube-state-metrics say the same, a pod that ended goes on
to ask for what it asked, and one name may be of several pods: only a uid tells them apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Set
from datetime import UTC, datetime

import msgspec

from plimsoll.backfill import names
from plimsoll.backfill.ask import KEYS, SPAN, Labels, Source, Stretch, quoted, resolved
from plimsoll.kube.objects import Obj

POD = ("namespace", "pod", "uid")
NODES, SPACES = "kube_node_info", "kube_namespace_created"
REQUESTS = "kube_pod_container_resource_requests"
CLAIMS = "kube_pod_resourceclaim_info"
HOUR = 3600.0  # seconds
_LATEST = 1 << 33  # seconds since 1970: in the year 2242
_DEVICES_MAX = 1024  # that one pod can ask for of a resource
_AMOUNT_MAX = 1 << 52  # of bytes and whatever else a node can have
_MATCH = f'resource=~"{names.GPUS}"'
_PHASE = "kube_pod_status_phase"
_OVER = 'phase=~"Succeeded|Failed"'


class SeenPod(msgspec.Struct):
    """A pod. obj: as the API gave it, as far as it was told. wants: devices by resource.

    ran: its containers run since. over: when it had ended as a whole; completed: the same, if it was told and is not
    only the scrape that noticed it. seen: the last moment at which it was there.
    """

    uid: str
    namespace: str
    name: str
    node: str
    seen: int
    obj: Obj
    wants: dict[str, int] = {}
    began: int = 0
    ran: int = 0
    completed: int = 0
    over: int = 0
    why: str = ""


class SeenNode(msgspec.Struct):
    """A node from its making on. began: 0 where nobody told when it was made. seen: first and last moment."""

    name: str
    began: int
    first: int
    seen: int
    obj: Obj


class Cluster(msgspec.Struct):
    """alive: moments, in order, at which kube-state-metrics was scraped: what is missing at them is gone."""

    nodes: list[SeenNode]
    pods: list[SeenPod]
    alive: list[int]
    labelled: bool  # whether labels of nodes are told


def read(source: Source, at: Stretch, known: Mapping[str, str], there: set[str]) -> Cluster:
    """known: keys of labels, see names.keys. there: metrics that the server has."""
    # Namespaces are always there; of a cluster of few nodes there may be a time without any.
    alive = sorted({ms(each) for metric in {NODES, SPACES} & there for each in source.scrapes(metric, at)})
    nodes, labelled = _nodes(source, at, known, there)
    return Cluster(nodes, _pods(source, at, known, there), alive, labelled)


def ms(seconds: float) -> int:
    """Milliseconds; 0 where it is no moment of our time."""
    return round(seconds * 1000) if 0 < seconds < _LATEST else 0


def _nodes(source: Source, at: Stretch, known: Mapping[str, str], there: set[str]) -> tuple[list[SeenNode], bool]:
    first, last = source.first(NODES, "", ("node",), at), source.last(NODES, "", ("node",), at)
    providers = dict(source.highest(source.select(NODES), ("node", "provider_id"), at))
    amounts: dict[str, dict[str, str]] = defaultdict(dict)
    capacity = source.select("kube_node_status_capacity", f'resource=~"cpu|memory|{names.GPUS}"')
    for (name, resource), value in source.highest(capacity, ("node", "resource"), at).items():
        if not 0 <= value < _AMOUNT_MAX:
            continue
        amounts[name][names.resource(resource)] = f"{value:.3f}" if resource == "cpu" else str(int(value))
    series = _latest(source, "kube_node_labels", ("node",), at) if "kube_node_labels" in there else {}
    labels = {name: names.labels(each, known) for (name,), each in series.items()}
    made = _made(source, at, there)
    found = []
    for (name,), seen in sorted(last.items()):
        provider = next((each for of, each in providers if of == name and each), "")
        for began, until in made.get(name) or [(0, ms(seen))]:
            metadata = {"name": name, "labels": labels.get(name, {}), "creationTimestamp": rfc3339(began)}
            obj = {"metadata": metadata, "spec": {"providerID": provider}, "status": {"capacity": amounts[name]}}
            found.append(SeenNode(name, began, ms(first.get((name,), seen)), until or ms(seen), obj))
    return found, any(labels.values())


def _made(source: Source, at: Stretch, there: set[str]) -> dict[str, list[tuple[int, int]]]:
    """When nodes of a name were made, and when each was seen last; 0 is as late as any of the name."""
    if "kube_node_created" not in there:
        return {}
    series = source.select("kube_node_created")
    earliest, latest = source.lowest(series, ("node",), at), source.highest(series, ("node",), at)
    found = {}
    for (name,), made in latest.items():
        found[name] = [(ms(made), 0)]
        if earliest.get((name,), made) != made:  # a name came back
            found[name] = _again(source, name, at)
    return found


def _again(source: Source, name: str, at: Stretch) -> list[tuple[int, int]]:
    last: dict[float, float] = {}
    for label in ("node", "exported_node"):
        selector = source.select("kube_node_created", f"{label}={quoted(name)}")
        for _, points in source.server.raw(selector, at.began, at.ended):
            for moment, made in points:
                last[made] = max(last.get(made, 0.0), moment)
    return [(ms(made), ms(moment)) for made, moment in sorted(last.items()) if ms(made)]


def _pods(source: Source, at: Stretch, known: Mapping[str, str], there: set[str]) -> list[SeenPod]:
    """Those that ask for GPUs, or have a claim to some device."""
    asks = [source.select(REQUESTS, _MATCH)] if REQUESTS in there else []
    claims = [source.select(CLAIMS)] if CLAIMS in there else []
    if not asks and not claims:
        return []
    among = f" or on ({', '.join(KEYS)}) ".join(f"max_over_time({each}[{SPAN}])" for each in (*asks, *claims))

    def told(
        metric: str, by: tuple[str, ...] = POD, *, lowest: bool = False, matchers: str = ""
    ) -> dict[Labels, float]:
        if metric not in there:
            return {}
        ask = source.lowest if lowest else source.highest
        return ask(source.select(metric, matchers), by, at, among)

    found: dict[Labels, SeenPod] = {}
    created = told("kube_pod_created")
    info = told("kube_pod_info", (*POD, "node", "created_by_kind", "created_by_name"))
    seen = source.last(REQUESTS, _MATCH, POD, at) if asks else {}
    seen |= source.last(CLAIMS, "", POD, at) if claims else {}
    for space, name, uid, node, kind, owner in info:
        pod = space, name, uid
        if pod in seen and node:
            made = ms(created.get(pod, 0))
            owners = [{"kind": kind, "name": owner, "controller": True}] if kind not in ("", "<none>") else []
            metadata = {"namespace": space, "name": name, "uid": uid or f"{space}/{name}@{made}",
                        "creationTimestamp": rfc3339(made), "labels": {}, "ownerReferences": owners}  # fmt: skip
            obj = {"metadata": metadata, "spec": {"nodeName": node}, "status": {}}
            found[pod] = SeenPod(str(metadata["uid"]), space, name, node, ms(seen[pod]), obj)
    if asks:
        for labels, amount in told(REQUESTS, (*POD, "container", "resource"), matchers=_MATCH).items():
            if each := found.get(labels[:3]):
                title = names.resource(labels[4])
                each.wants[title] = each.wants.get(title, 0) + int(min(max(amount, 0), _DEVICES_MAX))
    _moments(found, told, created)
    _ends(found, told, lambda: source.first_true(_PHASE, _OVER, POD, at))
    if "kube_pod_labels" in there:
        for key, series in _latest(source, "kube_pod_labels", POD, at, among).items():
            if each := found.get(key):
                each.obj["metadata"]["labels"] = names.labels(series, known)
    return list(found.values())


def _moments(found: Mapping[Labels, SeenPod], told: Callable[..., dict[Labels, float]],
             created: Mapping[Labels, float]) -> None:  # fmt: skip
    """Since when pods hold what they ask for, and run."""
    scheduled, started = told("kube_pod_status_scheduled_time"), told("kube_pod_start_time")
    ran: dict[Labels, float] = {}
    for labels, moment in told("kube_pod_container_state_started", (*POD, "container"), lowest=True).items():
        ran[labels[:3]] = max(ran.get(labels[:3], 0.0), moment)
    for key, pod in found.items():
        pod.began = ms(scheduled.get(key) or started.get(key) or created.get(key, 0))
        pod.ran = max(ms(ran[key]), pod.began) if key in ran else 0
        pod.obj["status"] = {
            "startTime": rfc3339(ms(started.get(key, 0))),
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(pod.began)}],
        }


def _ends(found: Mapping[Labels, SeenPod], told: Callable[..., dict[Labels, float]],
          first_over: Callable[[], Mapping[Labels, float]]) -> None:  # fmt: skip
    """When pods ended, and why, in the cluster's own word. A container that stopped is not the end of a pod."""
    over = {key for key, holds in told(_PHASE, matchers=_OVER).items() if holds > 0}
    completed = {key: moment for key, moment in told("kube_pod_completion_time").items() if key in over}
    noticed = first_over() if over - completed.keys() else {}  # those that were evicted, say
    why: dict[Labels, str] = {}
    for metric in ("kube_pod_container_status_terminated_reason", "kube_pod_status_disruption_reason",
                   "kube_pod_status_reason"):  # fmt: skip
        why |= {labels[:3]: labels[3] for labels, holds in told(metric, (*POD, "reason")).items() if holds > 0}
    for key, pod in found.items():
        pod.completed, pod.why = ms(completed.get(key, 0)), why.get(key, "")
        pod.over = pod.completed or ms(noticed.get(key, 0))


def _latest(
    source: Source, metric: str, keys: tuple[str, ...], at: Stretch, among: str = ""
) -> dict[Labels, dict[str, str]]:
    """All labels of each object's series, the newest where they changed."""
    kept = f" and on ({', '.join(KEYS)}) ({among})" if among else ""
    query = f"max_over_time(timestamp({source.select(metric)})[{SPAN}:60s]){kept}"
    found: dict[Labels, tuple[float, dict[str, str]]] = {}
    for sample in source.pieces(query, at, HOUR):
        key = resolved(sample.labels, keys)
        if key not in found or found[key][0] < sample.value:
            found[key] = sample.value, sample.labels
    return {key: labels for key, (_, labels) in found.items()}


def rfc3339(moment: int) -> str:
    """A moment as the API writes it; "" where there is none."""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat().replace("+00:00", "Z") if moment else ""


def jobs(source: Source, at: Stretch, there: Set[str]) -> dict[str, int]:
    """When each Job was made, by `namespace/name`; the newest of those of one name."""
    if "kube_job_created" not in there:
        return {}
    told = source.highest(source.select("kube_job_created"), ("namespace", "job_name"), at)
    return {f"{space}/{name}": ms(made) for (space, name), made in told.items()}
