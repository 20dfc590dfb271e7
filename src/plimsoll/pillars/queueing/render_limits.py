"""What a namespace may hold at most, and the policies that lead GPU pods through the queues."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.pillars.queueing.render_marks import CONTROLLER, OWNED, PODSET, policy
from plimsoll.pillars.queueing.render_shares import shares
from plimsoll.pillars.queueing.render_system import NAMESPACE
from plimsoll.plan.cel import ASKS_FOR_GPUS
from plimsoll.plan.model import HOME, thing
from plimsoll.spec import derive
from plimsoll.spec.model import Platform

THROUGH = "gpus-through-queues"
GATES = "queue-gates-stay"
# Classes of the NVIDIA DRA driver whose devices are GPUs or parts of one.
_CLASSES = ("gpu.nvidia.com", "mig.nvidia.com")
# Kinds whose pods Kueue holds back one by one, by the queue's name: the mark of a started job is not for them.
_ONE_BY_ONE = "['ReplicaSet', 'StatefulSet', 'DaemonSet', 'ReplicationController']"
_GATE = "g.name.startsWith('kueue.x-k8s.io/')"


def objects(platform: Platform) -> Iterator[Obj]:
    yield from _quotas(platform)
    yield from _through(platform)
    yield from _gates(platform)


def _quotas(platform: Platform) -> Iterator[Obj]:
    """Every namespace of a team holds at most what the team always gets and may borrow, and nothing of other kinds.

    All namespaces of a team have the same numbers: its ClusterQueue counts them together, so a job may use the
    whole quota in any of them, and a part for each would leave GPUs idle that are promised. What services
    outside the queues hold comes on top, where they run. Claims (DRA) are not counted by any quota of
    the declaration, so there are none.
    """
    kinds = {resource for pool in platform.pools for resource in derive.resources(pool)}
    pools = derive.pools_by_name(platform)
    aside: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for service in platform.services:
        if not service.queued and service.pool in pools:
            resource = derive.resource_of(pools[service.pool], derive.unit_of(pools[service.pool], service) or "gpu")
            most = service.gpus_per_replica * service.replicas.max
            aside[derive.namespace_of(platform, service)][resource] += most
    for team in platform.teams:
        hard: dict[str, int] = dict.fromkeys(kinds, 0)
        for promised in shares(platform, team).values():
            for resource, share in promised.items():
                hard[resource] = hard.get(resource, 0) + share.quota + share.borrow
        for space in team.spaces:
            whole = hard | {name: hard.get(name, 0) + count for name, count in aside[space].items()}
            limits = {f"requests.{name}": str(count) for name, count in sorted(whole.items())}
            claims = {f"{name}.deviceclass.resource.k8s.io/devices": "0" for name in _CLASSES}
            yield thing("v1", "ResourceQuota", "gpus", space, spec={"hard": limits | claims})


def _through(platform: Platform) -> Iterator[Obj]:
    """GPU pods belong to a team and come through its queue.

    Kueue marks the pods of everything it manages: those it holds back itself with the queue's name, those of a job
    it has started with their podset. The second mark counts only on pods that a controller made for a job, since
    anybody could write it on their own or into a Deployment, and the first not on pods that somebody says a
    controller has made: Kueue leaves those to their owner. Outside of teams' namespaces no pod gets a GPU, but for the
    system's.
    """
    system = sorted({"kube-system", platform.operator.namespace, NAMESPACE, HOME})
    aside = sorted(
        f"{derive.namespace_of(platform, each)}/{each.name}" for each in platform.services if not each.queued
    )
    labels = "has(object.metadata.labels)"
    variables = [
        {"name": "team", "expression": _of_team(platform)},
        {"name": "controller", "expression": CONTROLLER},
        {
            "name": "started",
            "expression": f"variables.controller && {labels} && '{PODSET}' in object.metadata.labels && "
            "!(has(object.metadata.ownerReferences) && "
            f"object.metadata.ownerReferences.exists(o, o.kind in {_ONE_BY_ONE}))",
        },
        {
            "name": "queued",
            "expression": f"variables.started || ({labels} && 'kueue.x-k8s.io/queue-name' in object.metadata.labels)",
        },
    ]
    passes = "variables.queued"
    if aside:
        variables.append(
            {
                "name": "aside",
                "expression": f"{labels} && '{derive.SERVICE_LABEL}' in object.metadata.labels && "
                f"(request.namespace + '/' + object.metadata.labels['{derive.SERVICE_LABEL}']) in {aside}",
            }
        )
        passes += " || variables.aside"
    validations = [
        {
            "expression": "variables.team",
            "reason": "Forbidden",
            "messageExpression": "'GPUs are for teams, and namespace ' + request.namespace + ' is none of theirs'",
            "message": "GPUs are for teams, and this namespace is none of theirs",
        },
        {
            "expression": f"!variables.team || {passes}",
            "reason": "Forbidden",
            "message": "a pod with GPUs needs a queue: set the label kueue.x-k8s.io/queue-name of its Job, Deployment "
            "or StatefulSet",
        },
        {
            "expression": f"!({OWNED}) || variables.controller",
            "reason": "Forbidden",
            "message": "only controllers say that they made a pod: leave out ownerReferences with controller: true",
        },
    ]
    outside = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": system}
    yield from policy(
        THROUGH,
        [_pods("CREATE")],
        validations,
        {"matchExpressions": [outside]},
        matchConditions=[{"name": "asks-for-gpus", "expression": ASKS_FOR_GPUS}],
        variables=variables,
    )


def _of_team(platform: Platform) -> str:
    if "security" in platform.cluster.manage:
        return f"has(namespaceObject.metadata.labels) && '{derive.TEAM_LABEL}' in namespaceObject.metadata.labels"
    return f"request.namespace in {sorted(space for team in platform.teams for space in team.spaces)}"


def _gates(platform: Platform) -> Iterator[Obj]:
    """Who may change pods may also take a scheduling gate off. Kueue's are Kueue's: they hold back what waits."""
    held = f"has(oldObject.spec.schedulingGates) && oldObject.spec.schedulingGates.exists(g, {_GATE})"
    left = f"has(object.spec.schedulingGates) ? object.spec.schedulingGates.filter(g, {_GATE}).size() : 0"
    kept = f"({left}) == oldObject.spec.schedulingGates.filter(g, {_GATE}).size()"
    yield from policy(
        GATES,
        [_pods("UPDATE")],
        [
            {
                "expression": f"({kept}) || ({CONTROLLER})",
                "reason": "Forbidden",
                "message": "this pod waits in a queue: Kueue takes its scheduling gates off when it is admitted",
            }
        ],
        derive.home_selector(platform),
        matchConditions=[{"name": "waits-in-a-queue", "expression": held}],
    )


def _pods(operation: str) -> Obj:
    return {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": [operation]}
