"""Facts that follow from a declaration. Pillars share these instead of knowing each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from plimsoll.gpus import catalogue, mig
from plimsoll.gpus.model import Sku
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool, Taint
from plimsoll.spec.queueing import Amount, Team
from plimsoll.spec.serving import Service
from plimsoll.spec.spot import SERVING

GPU = "nvidia.com/gpu"
TEAM_LABEL = "plimsoll.dev/team"  # of a team's namespaces, where Plimsoll keeps them
METER_LABEL = ("app.kubernetes.io/name", "plimsoll-meter")  # of the meter's pod that reads what pods say of themselves
SERVICE_LABEL = "plimsoll.dev/service"  # of a declared service's workload, pods and Service: its name
T = TypeVar("T")
_SPOT_TAINTS = {
    "eks": ("eks.amazonaws.com/capacityType", "SPOT"),
    "gke": ("cloud.google.com/gke-spot", "true"),
    "aks": ("kubernetes.azure.com/scalesetpriority", "spot"),  # AKS puts it on spot nodes by itself
}
_SPOT_ELSEWHERE = ("karpenter.sh/capacity-type", "spot")
_SPOT_KEYS = {_SPOT_ELSEWHERE[0], "cloud.google.com/gke-preemptible", *(key for key, _ in _SPOT_TAINTS.values())}


class Offer(msgspec.Struct, frozen=True):
    """One kind of device that the nodes of a pool advertise.

    unit: what a quota calls it: `gpu`, `shared` or a MIG profile. resource: its extended resource name.
    per_gpu: devices one GPU yields. per_node: devices on one node. lowest, highest: in the whole
    pool, with its fewest and its most nodes.
    """

    unit: str
    resource: str
    per_gpu: int
    per_node: int
    lowest: int
    highest: int


def sku(pool: Pool) -> Sku | None:
    """The GPU model of a pool; None if the catalogue does not know it."""
    return catalogue.find(pool.gpu)


def open_layout(pool: Pool) -> bool:
    """Whether the MIG layout is left to Plimsoll (`layout: auto`): then nobody knows yet what the pool advertises."""
    return pool.partition.mig is not None and pool.partition.mig.layout == "auto"


def offers(pool: Pool) -> tuple[Offer, ...]:
    """What the nodes of a pool advertise, in the order of the layout; () where the layout is open.

    MIG profiles keep the names the file gives them, in NVML's form. Rules: device plugin, one resource
    per profile with the mixed strategy, nvidia.com/gpu with the single one, `.shared` where renamed.
    """
    cut = pool.partition
    shares = cut.time_slicing or cut.mps
    factor = shares.replicas if shares else 1
    suffix = ".shared" if shares and shares.rename_by_default else ""
    if cut.mig is None:
        return (_offer(pool, "shared" if shares else "gpu", GPU + suffix, factor),)
    if isinstance(cut.mig.layout, str):
        return ()
    counts: dict[str, int] = defaultdict(int)
    for profile, count in cut.mig.layout.items():
        counts[mig.canonical(profile)] += count
    single = cut.mig.strategy == "single"
    return tuple(
        _offer(pool, profile, (GPU if single else mig.resource_name(profile)) + suffix, count * factor)
        for profile, count in counts.items()
        if count
    )


def _offer(pool: Pool, unit: str, resource: str, per_gpu: int) -> Offer:
    per_node = per_gpu * pool.gpus_per_node
    return Offer(unit, resource, per_gpu, per_node, per_node * pool.nodes.min, per_node * pool.nodes.max)


def resource_of(pool: Pool, unit: str) -> str:
    """The extended resource name of a unit on a pool, also where its layout is open."""
    if unit in ("gpu", "shared"):
        return next((each.resource for each in offers(pool) if each.unit == unit), GPU)
    cut = pool.partition
    shares = cut.time_slicing or cut.mps
    single = cut.mig is not None and cut.mig.strategy == "single"
    return (GPU if single else mig.resource_name(unit)) + (".shared" if shares and shares.rename_by_default else "")


def resources(pool: Pool) -> tuple[str, ...]:
    """Extended resource names the nodes of a pool advertise."""
    return tuple(dict.fromkeys(offer.resource for offer in offers(pool)))


def per_node(pool: Pool) -> dict[str, int]:
    """Devices each healthy node of a pool offers, by resource name."""
    found: dict[str, int] = defaultdict(int)
    for offer in offers(pool):
        found[offer.resource] += offer.per_node
    return dict(found)


def capacity(pool: Pool) -> dict[str, tuple[int, int]]:
    """Devices of the whole pool with its fewest and its most nodes, by resource name."""
    return {resource: (count * pool.nodes.min, count * pool.nodes.max) for resource, count in per_node(pool).items()}


def mig_per_node(pool: Pool) -> dict[str, int]:
    """MIG instances on one node, shared or not, by profile; {} without MIG and where the layout is open."""
    layout = pool.partition.mig.layout if pool.partition.mig else "auto"
    if isinstance(layout, str):
        return {}
    return {mig.canonical(profile): count * pool.gpus_per_node for profile, count in layout.items() if count}


def pools_by_name(platform: Platform) -> dict[str, Pool]:
    """Pools by name; of two with one name the first."""
    return _first((pool.name, pool) for pool in platform.pools)


def pool_of(platform: Platform, labels: Mapping[str, object]) -> Pool | None:
    """The pool a node with these labels belongs to, or None."""
    for pool in platform.pools:
        if all(labels.get(key) == wanted for key, wanted in pool.selector.items()):
            return pool
    return None


def teams_by_name(platform: Platform) -> dict[str, Team]:
    """Teams by name; of two with one name the first."""
    return _first((team.name, team) for team in platform.teams)


def team_of_namespace(platform: Platform) -> dict[str, str]:
    """Namespace to the name of its team; of two teams that claim one the first."""
    return _first((space, team.name) for team in platform.teams for space in team.spaces)


def home_selector(platform: Platform, team: Team | None = None) -> dict[str, Any]:
    """A LabelSelector for the namespaces of a team, or of all: by our label where we keep it, else by their names."""
    if "security" in platform.cluster.manage:
        if team:
            return {"matchLabels": {TEAM_LABEL: team.name}}
        return {"matchExpressions": [{"key": TEAM_LABEL, "operator": "Exists"}]}
    names = [space for each in ([team] if team else platform.teams) for space in each.spaces]
    return {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": sorted(names)}]}


def spot_taints(platform: Platform, pool: Pool) -> tuple[Taint, ...]:
    """The taints by which a spot pool keeps away pods that did not ask for spot; () of other pools.

    Those declared; where none is, the one of the cluster's provider.
    """
    if pool.capacity != "spot":
        return ()
    declared = tuple(taint for taint in pool.taints if taint.key in _SPOT_KEYS and taint.effect != "PreferNoSchedule")
    key, value = _SPOT_TAINTS.get(platform.cluster.provider, _SPOT_ELSEWHERE)
    return declared or (Taint(key=key, value=value),)


def taints(platform: Platform, pool: Pool) -> tuple[Taint, ...]:
    """All taints that nodes of a pool carry, one per key and effect."""
    every = (*pool.taints, *spot_taints(platform, pool))
    return tuple({(taint.key, taint.effect): taint for taint in reversed(every)}.values())[::-1]


def _first(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def namespace_of(platform: Platform, service: Service) -> str:
    """Where a service runs: what it says, else its team's first namespace; "" if there is no such team."""
    team = teams_by_name(platform).get(service.team)
    return service.namespace or (team.spaces[0] if team else "")


def meter_namespace(platform: Platform) -> str:
    """Where the meter's pods are; "" without a meter. On nodes they see all of the node, which plimsoll-system, where
    the rest of ours lies, admits of nobody."""
    meter = platform.observability.meter
    return "" if meter is None else "plimsoll-nodes" if meter.mode == "node" else "plimsoll-system"


def amounts(pool: Pool, amount: Amount) -> dict[str, int]:
    """An amount of a pool's devices by unit; {} for a bare number where the pool advertises not exactly one."""
    if isinstance(amount, dict):
        return {mig.canonical(unit): count for unit, count in amount.items()}
    known = offers(pool)
    return {known[0].unit: amount} if len(known) == 1 else {}


def quota(platform: Platform) -> dict[tuple[str, str], dict[str, int]]:
    """What is promised: (pool, unit) to team to devices, teams in the order of the file."""
    pools = pools_by_name(platform)
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for team in platform.teams:
        for name, amount in team.quota.items():
            for unit, count in amounts(pools[name], amount).items() if name in pools else ():
                found[name, unit][team.name] = count
    return dict(found)


def quota_sums(platform: Platform) -> dict[tuple[str, str], int]:
    """Devices promised to all teams together, by (pool, unit)."""
    return {key: sum(by_team.values()) for key, by_team in quota(platform).items()}


def unit_of(pool: Pool | None, service: Service) -> str:
    """The unit a service's replicas hold devices of, on its pool; "" where the pool does not tell."""
    if service.unit:
        return mig.canonical(service.unit)
    known = offers(pool) if pool else ()
    return known[0].unit if len(known) == 1 else ""


def set_aside(platform: Platform) -> dict[tuple[str, str], dict[str, int]]:
    """What services outside the queues may hold: (pool, unit) to service to devices at its most replicas."""
    pools = pools_by_name(platform)
    found: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for service in platform.services:
        if not service.queued:
            unit = unit_of(pools.get(service.pool), service)
            found[service.pool, unit][service.name] = service.gpus_per_replica * service.replicas.max
    return dict(found)


def users(platform: Platform) -> dict[str, tuple[str, ...]]:
    """Pool to the teams that may run on it: by quota, by what they may borrow, or by a service of theirs."""
    found: dict[str, dict[str, None]] = {pool.name: {} for pool in platform.pools}
    for team in platform.teams:
        for name in (*team.quota, *team.borrow):
            if _some(team.quota.get(name, 0)) or _some(team.borrow.get(name, 0)):
                found.setdefault(name, {})[team.name] = None
    for service in platform.services:
        found.setdefault(service.pool, {})[service.team] = None
    return {pool: tuple(teams) for pool, teams in found.items()}


def _some(amount: Amount) -> bool:
    return any(amount.values()) if isinstance(amount, dict) else amount > 0


def engine_image(platform: Platform, service: Service) -> str:
    """The image a service runs: what it says, else vLLM's own of its version, from the first registry if any."""
    if service.engine.image:
        return service.engine.image
    image = f"vllm/vllm-openai:v{service.engine.version.removeprefix('v')}"
    registries = platform.security.images.registries
    return f"{registries[0].rstrip('/')}/{image}" if registries else image


def services_on(platform: Platform) -> dict[str, tuple[Service, ...]]:
    """Pool to the services declared on it."""
    found: dict[str, list[Service]] = {pool.name: [] for pool in platform.pools}
    for service in platform.services:
        found.setdefault(service.pool, []).append(service)
    return {pool: tuple(services) for pool, services in found.items()}


def spot_pools(platform: Platform) -> tuple[str, ...]:
    """Names of the spot pools jobs may use, the preferred one first."""
    return platform.spot.pools or tuple(pool.name for pool in platform.pools if pool.capacity == "spot")


def serving_stays_off_spot(platform: Platform) -> bool:
    return SERVING in platform.spot.never
