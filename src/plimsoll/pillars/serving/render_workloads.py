"""What keeps a service's pods: a Deployment, or where a replica spans nodes a LeaderWorkerSet."""

from __future__ import annotations

from plimsoll.kube.objects import Obj
from plimsoll.pillars.serving.render_facts import COMPONENT, Facts
from plimsoll.pillars.serving.render_pods import HOSTNAME, leader, template, worker
from plimsoll.plan.model import thing
from plimsoll.spec import derive
from plimsoll.spec.model import Platform

LWS = "leaderworkerset.x-k8s.io/v1"
_PLACING = 600  # seconds to find or make a node and pull the image, before loading begins


def workload(platform: Platform, facts: Facts) -> Obj:
    """Without `replicas` where KEDA says how many."""
    labels = facts.labels | {COMPONENT: "server", derive.SERVICE_LABEL: facts.service.name} | _queue(platform, facts)
    fixed: Obj = {} if facts.scaled else {"replicas": facts.service.replicas.max}
    if facts.grouped:
        spec = fixed | _group(platform, facts)
        return thing(LWS, "LeaderWorkerSet", facts.name, facts.namespace, labels=labels, spec=spec)
    spec = fixed | {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": _steps(platform, facts)},
        "progressDeadlineSeconds": _PLACING + facts.loading,
        "selector": {"matchLabels": facts.labels},
        "template": template(platform, facts),
    }
    return thing("apps/v1", "Deployment", facts.name, facts.namespace, labels=labels, spec=spec)


def _group(platform: Platform, facts: Facts) -> Obj:
    first, other = leader(platform, facts), worker(platform, facts)
    if notes := _together(platform, facts):
        for each in (first, other):
            each["metadata"]["annotations"] = dict(notes)
    return {
        "startupPolicy": "LeaderCreated",  # the leader is ready only once its workers have joined
        "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdateConfiguration": _steps(platform, facts)},
        # a Service per group, so that none of LeaderWorkerSet's own has the name of the one that callers use
        "networkConfig": {"subdomainPolicy": "UniquePerReplica"},
        "leaderWorkerTemplate": {
            "size": facts.nodes,
            "restartPolicy": "RecreateGroupOnPodRestart",  # ranks that lost one cannot go on
            "leaderTemplate": first,
            "workerTemplate": other,
        },
    }


def _together(platform: Platform, facts: Facts) -> dict[str, str]:
    """Annotations that ask Kueue for nodes near each other, where its flavor knows how they stand."""
    levels = facts.pool.topology.levels if facts.pool.topology else ()
    wider = [level for level in levels if level != HOSTNAME]
    if not wider or not facts.service.queued or "queueing" not in platform.cluster.manage:
        return {}
    return {"kueue.x-k8s.io/podset-preferred-topology": wider[-1], "kueue.x-k8s.io/podset-group-name": "replica"}


def _queue(platform: Platform, facts: Facts) -> dict[str, str]:
    """Labels that bring the pods into their team's queue, ahead of jobs: somebody waits for answers."""
    if not facts.service.queued:
        return {}
    found = {"kueue.x-k8s.io/queue-name": platform.queueing.local_queue}
    if ranks := platform.queueing.priorities:
        found["kueue.x-k8s.io/priority-class"] = min(ranks, key=lambda name: (-ranks[name], name))
    return found


def _steps(platform: Platform, facts: Facts) -> Obj:
    """A new version beside the old one where GPUs for it are surely there, else in the place of one."""
    return {"maxSurge": 1, "maxUnavailable": 0} if spare(platform, facts) else {"maxSurge": 0, "maxUnavailable": 1}


def spare(platform: Platform, facts: Facts) -> bool:
    """Whether one replica more than the most has GPUs that nobody else was promised."""
    service, pool = facts.service, facts.pool
    unit = derive.unit_of(pool, service)
    key, more = (pool.name, unit), service.gpus_per_replica
    if service.queued:
        mates = [
            each
            for each in platform.services
            if each.queued
            and (each.team, each.pool) == (service.team, service.pool)
            and derive.unit_of(pool, each) == unit
        ]
        held = sum(each.gpus_per_replica * each.replicas.max for each in mates)
        return held + more <= derive.quota(platform).get(key, {}).get(service.team, 0)
    offer = next((each for each in derive.offers(pool) if each.unit == unit), None)
    taken = derive.quota_sums(platform).get(key, 0) + sum(derive.set_aside(platform).get(key, {}).values())
    return offer is not None and taken + more <= offer.highest
