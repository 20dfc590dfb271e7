"""Services: what serves a model with vLLM today, where, with how many replicas and what makes it grow."""

from __future__ import annotations

from typing import Literal

import msgspec

from plimsoll.kube import kinds
from plimsoll.kube.declare.books import Books, Key
from plimsoll.kube.declare.engine import command, requested
from plimsoll.kube.declare.pools import Found
from plimsoll.kube.declare.teams import KUEUE, Draft, Roster
from plimsoll.kube.declare.words import Say, gap, unique, usual, valid
from plimsoll.kube.nodes import selected
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, text
from plimsoll.kube.pods import finished, gpu_requests
from plimsoll.kube.served import Served, pods_of, served, vllm_container, vllm_version
from plimsoll.kube.snapshot import Snapshot
from plimsoll.spec.serving import Engine, Replicas, Service, Window
from plimsoll.spec.values import Name, as_name
from plimsoll.units import count

ScaleOn = Literal["slo", "queue", "kv-cache", "schedule"]
_MOST = 1_000_000
# What a metric's name says about why a service grows, the plainest first.
_SIGNS: tuple[tuple[str, ScaleOn], ...] = (
    ("cache_usage", "kv-cache"),
    ("time_to_first_token", "slo"),
    ("time_per_output_token", "slo"),
    ("inter_token", "slo"),
    ("latency", "slo"),
    ("waiting", "queue"),
    ("queue", "queue"),
    ("running", "queue"),
)


class Plan(msgspec.Struct):
    """A service in the making. key: pool and unit. span: pods of one replica. promised: devices set aside for it."""

    of: Served
    title: str
    key: Key
    devices: int
    span: int
    least: int
    most: int
    queued: bool
    promised: int = 0


def find_services(snapshot: Snapshot, found: Found, books: Books, say: Say) -> list[Plan]:
    """Workloads that serve with vLLM on a known pool, by namespace and name."""
    plans: list[Plan] = []
    taken: set[str] = set()
    for each in served(snapshot):
        where = f"{text(each.obj, 'kind')} {namespace(each.obj)}/{name(each.obj)}"
        if vllm_container(each.template) is None:
            if each.scaled or each.hpas:
                say(f"{where} holds GPUs and scales, but does not run vLLM: it is no service of the declaration")
            continue
        key = _where(snapshot, each, found, books)
        if key is None or not valid(namespace(each.obj), Name):
            say(f"{where} serves, but no pool was found that it runs on: left out")
            continue
        title = as_name(name(each.obj), "service")
        wanted = title if title not in taken else as_name(f"{title}-{namespace(each.obj)}", title)
        span = get(each.obj, "spec", "leaderWorkerTemplate", "size")
        span = min(span, 1000) if isinstance(span, int) and not isinstance(span, bool) and span > 1 else 1
        least, most = _replicas(each)
        plans.append(
            Plan(
                of=each, title=unique(wanted, taken), key=key, devices=next(iter(each.gpus.values())) * span, span=span,
                least=least, most=most, queued=_queued(each),
            )
        )  # fmt: skip
    return [plan for plan in plans if _fits(plan, books, say)]


def _where(snapshot: Snapshot, each: Served, found: Found, books: Books) -> Key | None:
    """The pool most of its pods are on, else the first its selectors accept, with what it takes there."""
    resource = next(iter(each.gpus))
    on = (found.of_node.get(text(pod, "spec", "nodeName")) for pod in pods_of(snapshot, each.obj))
    its = usual(pool.name for pool in on if pool)
    if its and (unit := books.unit(its, resource)):
        return its, unit
    accepting = {found.of_node[name(node)].name for node in snapshot.list(kinds.NODE)
                 if name(node) in found.of_node and selected(node, each.template)}  # fmt: skip
    for pool in found.pools:
        if pool.name in accepting and (unit := books.unit(pool.name, resource)):
            return pool.name, unit
    return None


def _queued(each: Served) -> bool:
    return any(f"{KUEUE}queue-name" in labels(obj) for obj in (each.obj, each.template))


def _replicas(each: Served) -> tuple[int, int]:
    """Least and most replicas, by what scales it, with KEDA's and the HPA's defaults; else as many as it has."""
    asked = get(each.obj, "spec", "replicas")
    now = asked if isinstance(asked, int) and not isinstance(asked, bool) else 1
    least, most = now, now
    if each.scaled:
        least, most = _bounds(each.scaled[0], "minReplicaCount", 0, "maxReplicaCount", 100)
    elif each.hpas:
        least, most = _bounds(each.hpas[0], "minReplicas", 1, "maxReplicas", now)
    most = min(_MOST, max(1, most))
    return max(0, min(least, most)), most


def _bounds(scaler: Obj, low: str, least: int, high: str, most: int) -> tuple[int, int]:
    found = [get(scaler, "spec", low), get(scaler, "spec", high)]
    bounds = [each if isinstance(each, int) and not isinstance(each, bool) else None for each in found]
    return bounds[0] if bounds[0] is not None else least, bounds[1] if bounds[1] is not None else most


def _fits(plan: Plan, books: Books, say: Say) -> bool:
    """Whether a replica's devices are on the nodes it spans; a share or a slice more than one is made one."""
    pool = books.pools[plan.key[0]]
    cut = pool.partition
    if len(plan.of.gpus) > 1:
        say(f"service {plan.title} holds several kinds of GPU resource; declared with {plan.key[1]} only")
    if plan.devices > 1 and (cut.mig or cut.time_slicing or cut.mps):
        say(f"service {plan.title} takes {plan.devices} {plan.key[1]} of pool {pool.name}, which are no more than one "
            "to a process: declared with 1")  # fmt: skip
        plan.devices = plan.span = 1
    if plan.span > pool.nodes.max or plan.devices > books.per_node(plan.key) * plan.span:
        say(f"service {plan.title} asks for more than {plan.span} nodes of pool {pool.name} have: left out")
        return False
    return True


def reserve(plans: list[Plan], books: Books, *, grow: bool) -> None:
    """Set devices aside for services outside the queues: first what runs, then (`grow`) up to their most."""
    for plan in plans:
        if plan.queued:
            continue
        now = get(plan.of.obj, "spec", "replicas")
        running = now if isinstance(now, int) and not isinstance(now, bool) else 1
        replicas = plan.most if grow else min(plan.most, max(plan.least, running, 1))
        missing = replicas * plan.devices - plan.promised
        fitting = min(missing, books.left(plan.key)) // plan.devices * plan.devices
        plan.promised += books.take(plan.key, fitting)


def settle_queued(plans: list[Plan], roster: Roster, say: Say) -> None:
    """A queued service must find its least in its team's quota, its most with loans; else it is set aside."""
    used: dict[tuple[str, Key], int] = {}
    for plan in plans:
        if not plan.queued:
            continue
        team = roster.of(namespace(plan.of.obj))
        quota, borrow = team.quota.get(plan.key, 0), team.borrow.get(plan.key, 0)
        before = used.get((team.name, plan.key), 0)
        if before + plan.least * plan.devices > quota or plan.devices > quota + borrow:
            plan.queued = False
            say(f"service {plan.title} queues, but the quota of team {team.name} does not hold its least: "
                "declared outside the queues")  # fmt: skip
            continue
        used[team.name, plan.key] = before + plan.least * plan.devices
        plan.promised = min(plan.most * plan.devices, (quota + borrow) // plan.devices * plan.devices)


def written(snapshot: Snapshot, plans: list[Plan], roster: Roster, say: Say) -> tuple[Service, ...]:
    """The services as the file has them."""
    found = []
    for plan in plans:
        most = plan.promised // plan.devices
        if not most:
            say(f"service {plan.title} is left out: pool {plan.key[0]} has no {plan.key[1]} left for it")
            continue
        if most < plan.most:
            say(f"service {plan.title} may grow to {plan.most} replicas; {most} are left beside what is promised")
        found.append(_service(snapshot, plan, roster.of(namespace(plan.of.obj)), most, say))
    return tuple(found)


def _service(snapshot: Snapshot, plan: Plan, team: Draft, most: int, say: Say) -> Service:
    here = namespace(plan.of.obj)
    scale_on, schedule = _scaling(snapshot, plan, most, say)
    model, args = command(plan.title, plan.of.template, plan.devices, say)
    release = ".".join(map(str, vllm_version(plan.of.template)))
    if not release:
        say(f"service {plan.title}: its image names no vLLM version; declared the default, {Engine().version}")
    return Service(
        name=plan.title,
        team=team.name,
        namespace="" if team.namespaces[0] == here else here,
        model=model,
        engine=Engine(version=release or Engine().version, args=args, nodes=plan.span),
        pool=plan.key[0],
        unit=None if plan.key[1] in ("gpu", "shared") else plan.key[1],
        gpus_per_replica=plan.devices,
        cpu=requested(plan.of.template, "cpu", plan.span),
        memory=requested(plan.of.template, "memory", plan.span),
        replicas=Replicas(min=min(plan.least, most), max=most),
        queued=plan.queued,
        scale_on=scale_on,
        schedule=schedule,
    )


def _scaling(snapshot: Snapshot, plan: Plan, most: int, say: Say) -> tuple[ScaleOn, tuple[Window, ...]]:
    """What makes a service grow: by the windows or the metrics of what scales it; the default where it does not say."""
    triggers = [trigger for scaler in plan.of.scaled for trigger in items(scaler, "spec", "triggers")]
    asked = " ".join(str(value) for each in triggers for value in mapping(each, "metadata").values())
    metrics = [metric for hpa in plan.of.hpas for metric in items(hpa, "spec", "metrics")]
    asked += " ".join(
        text(metric, kind, "metric", "name") for metric in metrics for kind in ("pods", "external", "object")
    )
    for sign, scale_on in _SIGNS:
        if sign in asked.lower():
            return scale_on, ()
    windows = []
    for each in triggers:
        times = mapping(each, "metadata") if each.get("type") == "cron" else {}
        window = {
            "start": text(times, "start"),
            "end": text(times, "end"),
            "timezone": text(times, "timezone") or "UTC",
            "replicas": min(count(times.get("desiredReplicas")), most),
        }
        if valid(window, Window):
            windows.append(msgspec.convert(window, Window))
    if windows:
        return "schedule", tuple(windows)
    why = "what it scales on is not plain" if triggers or metrics else "nothing scales it today"
    missed = gap(snapshot, kinds.SCALED_OBJECT, kinds.HPA)
    if missed and not (triggers or metrics):
        why = f"what scales it was not read ({missed})"
    say(f"service {plan.title}: {why}; declared scaleOn slo, the default")
    return "slo", ()


def pods_served(snapshot: Snapshot, plans: list[Plan]) -> set[tuple[str, str]]:
    """(namespace, name) of every pod of these services that holds GPUs."""
    return {
        (namespace(pod), name(pod))
        for plan in plans
        for pod in pods_of(snapshot, plan.of.obj)
        if not finished(pod) and gpu_requests(pod)
    }
