"""Who feels a plan: pods that must go, and devices, quota and money before and after."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from plimsoll.cost.price import per_hour
from plimsoll.gpus import mig, prices
from plimsoll.kube import kinds, nodes, pods
from plimsoll.kube.objects import Obj, Ref, items, labels, name, namespace, text
from plimsoll.kube.snapshot import Coverage, Snapshot
from plimsoll.plan.result import DELETED, EVICTED, RESTARTED, Action, Impact, Item, Row, Struck
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool
from plimsoll.units import count, moment

_DRIVER = "values.driver"
_PROVIDERS = {"eks": "aws", "gke": "gcp", "aks": "azure"}  # as the price book names them
_WORKLOADS = ("Deployment", "LeaderWorkerSet", "StatefulSet")
_DISTURBING = (*_WORKLOADS, "NodePool")
_OWNER = "karpenter.sh/nodepool"


def impact(platform: Platform, planned: Iterable[Item], seen: Snapshot) -> Impact:
    """`seen` holds nodes, pods and queues; what it does not hold is unknown, not nothing."""
    planned = tuple(planned)
    return Impact(
        struck=tuple(_struck(platform, planned, seen)),
        unseen=_unseen(planned, seen),
        capacity=tuple(_capacity(platform, seen)),
        quota=tuple(_quota(platform, seen)),
        cost=tuple(_cost(platform, seen)),
        currency=platform.observability.costs.currency,
    )


def _unseen(planned: tuple[Item, ...], seen: Snapshot) -> str:
    moved = (Action.CHANGE, Action.REPLACE, Action.PRUNE)
    disturbs = any(
        each.action in moved and (each.disruptive or each.chart is not None or each.ref.kind in _DISTURBING)
        for each in planned
    )
    lacks = [kind.plural for kind in (kinds.NODE, kinds.POD) if seen.coverage(kind) is not Coverage.WHOLE]
    return f"{' and '.join(lacks)} could not all be read: who is met is not known" if disturbs and lacks else ""


def _struck(platform: Platform, planned: tuple[Item, ...], seen: Snapshot) -> list[Struck]:
    """Pods by the first change that meets them: one is evicted once."""
    found: dict[Ref, Struck] = {}
    teams = derive.team_of_namespace(platform)

    def strike(pod: Obj, how: str, why: str) -> None:
        ref = Ref.of(pod)
        if ref not in found and not pods.finished(pod):
            found[ref] = _one(platform, pod, how, why, teams, seen.taken_at)

    for item in planned:
        for node, why in _emptied(item, seen):
            for pod in pods.gpu_pods_by_node(seen).get(node, []):
                strike(pod, EVICTED, why)
        for pod in _rolled(item, seen):
            verb = "goes" if item.action is Action.PRUNE else f"{item.action}s"
            strike(pod, DELETED if item.action is Action.PRUNE else RESTARTED, f"{item.ref} {verb}")
    return sorted(found.values(), key=lambda each: (each.team, each.pod))


def _emptied(item: Item, seen: Snapshot) -> list[tuple[str, str]]:
    """Nodes that a change takes the GPU pods from, and why."""
    paths = [each.path for each in item.fields]
    if item.ref.kind == "Node" and item.disruptive and item.action is Action.CHANGE:
        return [(item.ref.name, f"the GPUs of node {item.ref.name} are cut anew")]
    if item.chart is not None and item.action is Action.CHANGE and any(map(_of_driver, paths)):
        return [(name(node), "the driver of its node changes") for node in nodes.gpu_nodes(seen)]
    gone = item.action in (Action.REPLACE, Action.PRUNE)
    if item.ref.kind == "NodePool" and (gone or any(path.startswith("spec.template") for path in paths)):
        why = f"Karpenter replaces the nodes of {item.ref.name}"
        return [(name(each), why) for each in seen.list(kinds.NODE) if labels(each).get(_OWNER) == item.ref.name]
    return []


def _of_driver(path: str) -> bool:
    """Whether a value of the chart is one that every driver pod is made anew for."""
    return path == _DRIVER or (path.startswith(f"{_DRIVER}.") and not path.startswith(f"{_DRIVER}.upgradePolicy"))


def _rolled(item: Item, seen: Snapshot) -> list[Obj]:
    """Pods that a workload of ours starts anew, or that go with it."""
    if item.ref.kind not in _WORKLOADS or item.obj is None:
        return []
    anew = any(each.path.startswith(("spec.template", "spec.leaderWorkerTemplate")) for each in item.fields)
    if item.action not in (Action.REPLACE, Action.PRUNE) and not (item.action is Action.CHANGE and anew):
        return []
    wanted = {"app.kubernetes.io/name": item.ref.name}
    return [
        each
        for each in seen.list(kinds.POD)
        if namespace(each) == item.ref.namespace and wanted.items() <= labels(each).items()
    ]


def _one(platform: Platform, pod: Obj, how: str, why: str, teams: dict[str, str], now: datetime | None) -> Struck:
    devices = pods.gpu_requests(pod)
    began = moment(text(pod, "status", "startTime"))
    running = max(0.0, (now - began).total_seconds()) if now and began else None
    held = sum((_gpus(resource, number, platform) for resource, number in devices.items()), Decimal())
    return Struck(
        pod=Ref.of(pod),
        team=teams.get(namespace(pod), ""),
        node=text(pod, "spec", "nodeName"),
        how=how,
        why=why,
        devices=devices,
        running=running,
        gpu_hours=None if running is None else round(float(held) * running / 3600, 3),
    )


def _gpus(resource: str, number: int, platform: Platform) -> Decimal:
    """Devices as parts of whole GPUs: a MIG instance by its compute slices, a share by how many there are of a GPU."""
    profile = mig.profile_of_resource(resource)
    for pool in platform.pools:
        known = derive.sku(pool)
        if profile is not None and known is not None and known.mig and (cut := mig.profile(known, profile)):
            return Decimal(number) * cut.compute_slices / known.mig.compute
        for offer in derive.offers(pool):
            if profile is None and offer.resource == resource and offer.unit == "shared":
                return Decimal(number) / offer.per_gpu
    return Decimal(number)


def _capacity(platform: Platform, seen: Snapshot) -> list[Row]:
    """What the nodes of each pool offer now, and would with the declared partition."""
    found: list[Row] = []
    whole = seen.coverage(kinds.NODE) is Coverage.WHOLE
    for pool in platform.pools:
        there = [each for each in seen.list(kinds.NODE) if derive.pool_of(platform, labels(each)) is pool]
        before: dict[str, int] = defaultdict(int)
        for node in there:
            for resource, number in nodes.allocatable(node).items():
                before[resource] += number
        after = {resource: number * len(there) for resource, number in derive.per_node(pool).items()}
        if derive.open_layout(pool):
            after = {}
        for resource in dict.fromkeys((*before, *after)):
            unknown = derive.open_layout(pool)
            row = Row(
                of=pool.name,
                what=resource,
                before=before.get(resource, 0) if whole else None,
                after=None if unknown else after.get(resource, 0),
            )
            if row.before or row.after:
                found.append(row)
    return found


def _quota(platform: Platform, seen: Snapshot) -> list[Row]:
    """Devices that each team's queue always has, by pool and resource."""
    before: dict[tuple[str, str, str], int] = {}
    for queue in seen.list(kinds.CLUSTER_QUEUE):
        for group in items(queue, "spec", "resourceGroups"):
            for flavor in items(group, "flavors"):
                for each in items(flavor, "resources"):
                    key = name(queue), text(flavor, "name"), text(each, "name")
                    before[key] = count(each.get("nominalQuota"))
    after: dict[tuple[str, str, str], int] = {}
    pools = derive.pools_by_name(platform)
    for (pool, unit), by_team in derive.quota(platform).items():
        offer = next((each for each in derive.offers(pools[pool]) if each.unit == unit), None)
        for team, number in by_team.items() if offer else ():
            after[team, pool, offer.resource if offer else unit] = number
    whole = seen.coverage(kinds.CLUSTER_QUEUE) is Coverage.WHOLE
    rows = []
    for key in sorted({**before, **after}):
        team, pool, resource = key
        old = before.get(key, 0) if whole else None
        if old or after.get(key):
            rows.append(Row(of=team, what=f"{pool} {resource}", before=old, after=after.get(key, 0)))
    return rows


def _cost(platform: Platform, seen: Snapshot) -> list[Row]:
    """Per hour: the nodes that are there, and the fewest and the most that are declared."""
    found = []
    whole = seen.coverage(kinds.NODE) is Coverage.WHOLE
    for pool in platform.pools:
        there = sum(derive.pool_of(platform, labels(each)) is pool for each in seen.list(kinds.NODE))
        price = _price(platform, pool)
        now = price * there if price is not None and whole else None
        for what, number in (("fewest nodes", pool.nodes.min), ("most nodes", pool.nodes.max)):
            found.append(Row(of=pool.name, what=what, before=now, after=None if price is None else price * number))
    return found


def _price(platform: Platform, pool: Pool) -> float | None:
    """Of one node and hour: as declared, else of the price book; None where neither knows it in this currency."""
    currency = platform.observability.costs.currency
    if pool.price is not None:
        return per_hour(pool.price) / 1_000_000 if pool.price.currency == currency else None
    provider, known = _PROVIDERS.get(platform.cluster.provider), derive.sku(pool)
    if provider is None or known is None or currency != "USD":
        return None
    region = platform.cluster.region or None
    found = prices.lookup(
        known.name, pool.capacity, provider=provider, instance_type=pool.instance_type or None, region=region
    )
    return None if found is None else found.per_gpu * pool.gpus_per_node / 1_000_000
