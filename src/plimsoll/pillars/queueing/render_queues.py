"""Flavors, topologies, queues and priorities: the objects of Kueue that follow from the declaration."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from plimsoll.kube.objects import Obj
from plimsoll.pillars.queueing.render_shares import Share, Shares, groups, notes, shares, topologies
from plimsoll.pillars.queueing.render_system import Release
from plimsoll.plan.model import thing
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool
from plimsoll.spec.queueing import Team

__all__ = ["notes", "objects"]

_WITHIN = {
    "never": "Never",
    "lower-priority": "LowerPriority",
    "lower-or-newer-equal-priority": "LowerOrNewerEqualPriority",
}
_RECLAIM = {"never": "Never", "lower-priority": "LowerPriority", "any": "Any"}
_ORDER = {"best-effort-fifo": "BestEffortFIFO", "strict-fifo": "StrictFIFO"}


def objects(platform: Platform, release: Release) -> Iterator[Obj]:
    api = f"kueue.x-k8s.io/{release.api}"
    levels = topologies(platform)
    for name, labels in levels.items():
        yield thing(api, "Topology", name, spec={"levels": [{"nodeLabel": label} for label in labels]})
    for pool in platform.pools:
        yield _flavor(api, platform, pool, placed=pool.name in levels)
    yield thing(api, "Cohort", platform.queueing.cohort)
    for team in platform.teams:
        promised = shares(platform, team)
        if not promised:
            continue  # a queue that can admit nothing would only hide that
        yield _cluster_queue(api, platform, team, promised, release)
        for space in team.spaces:
            spec = {"clusterQueue": team.name}
            yield thing(api, "LocalQueue", platform.queueing.local_queue, space, spec=spec)
    for name, value in platform.queueing.priorities.items():
        yield thing(
            api, "WorkloadPriorityClass", name, value=value, description=f"Priority {name} of {_who(platform)}."
        )


def _who(platform: Platform) -> str:
    return f"platform {platform.metadata.name}"


def _flavor(api: str, platform: Platform, pool: Pool, *, placed: bool) -> Obj:
    """One flavor per pool, of the same name.

    Its labels bring pods to the pool's nodes, its tolerations past the taints that keep other pods away. The taint
    of spot is not tolerated for them: only workloads that tolerate it themselves, and so say that they may be
    interrupted, are admitted there.
    """
    spot = derive.spot_taints(platform, pool)
    spec: Obj = {"nodeLabels": pool.selector}
    if spot:
        spec["nodeTaints"] = [
            {"key": taint.key, **({"value": taint.value} if taint.value else {}), "effect": taint.effect}
            for taint in spot
        ]
    closed = [each for each in derive.taints(platform, pool) if each not in spot and each.effect != "PreferNoSchedule"]
    if closed:
        spec["tolerations"] = [{"key": each.key, "operator": "Exists", "effect": each.effect} for each in closed]
    if placed:
        spec["topologyName"] = pool.name
    return thing(api, "ResourceFlavor", pool.name, spec=spec)


def _cluster_queue(api: str, platform: Platform, team: Team, promised: Shares, release: Release) -> Obj:
    """What the team always gets (nominalQuota) and may use beside it while others leave it idle (borrowingLimit).

    Numbers are texts, as Kueue writes them back.
    """
    queueing = platform.queueing
    beta1 = release.api == "v1beta1"
    pools = derive.pools_by_name(platform)
    # Idle spot capacity is cheaper than one's own quota of what it falls back to; of other pools one's own comes first.
    spot_first = any(pools[name].capacity == "spot" for name in promised)
    spec: Obj = {
        "cohort" if beta1 else "cohortName": queueing.cohort,
        "namespaceSelector": derive.home_selector(platform, team),
        "queueingStrategy": _ORDER[queueing.order],
        "flavorFungibility": {
            "whenCanBorrow": release.search_on if spot_first else "TryNextFlavor",
            "whenCanPreempt": "TryNextFlavor",
        },
        "preemption": {
            "reclaimWithinCohort": _RECLAIM[queueing.preemption.reclaim],
            "withinClusterQueue": _WITHIN[queueing.preemption.within_team],
        },
        "resourceGroups": [_group(promised, names, resources) for names, resources in groups(promised)],
    }
    if queueing.fair_sharing:
        spec["fairSharing"] = {"weight": _weight(team.weight)}
    return thing(api, "ClusterQueue", team.name, spec=spec)


def _group(promised: Shares, pools: list[str], resources: list[str]) -> Obj:
    flavors = [
        {"name": pool, "resources": [_quota(resource, promised[pool].get(resource, Share())) for resource in resources]}
        for pool in pools
    ]
    return {"coveredResources": resources, "flavors": flavors}


def _quota(resource: str, share: Share) -> Obj:
    limits = {"name": resource, "nominalQuota": str(share.quota), "borrowingLimit": str(share.borrow)}
    return limits if share.lend is None else {**limits, "lendingLimit": str(share.lend)}


def _weight(weight: float) -> str:
    """A weight as the quantity that reads back as it is written: `2`, `500m`."""
    exact = Decimal(str(weight))
    for suffix in ("", "m", "u", "n"):
        if exact == exact.to_integral_value():
            return f"{int(exact)}{suffix}"
        exact *= 1000
    return f"{round(Decimal(str(weight)) * 10**9)}n"
