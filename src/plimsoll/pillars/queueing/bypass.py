"""GPU work that goes past the queues."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, name, namespace
from plimsoll.pillars.queueing.blame import SERVICES, Bypass, bypasses, harms
from plimsoll.pillars.queueing.facts import cluster_queue_of
from plimsoll.pillars.queueing.supply import has, promised
from plimsoll.spec.derive import namespace_of
from plimsoll.spec.model import Platform

Owner = tuple[str, str, str]


def _object(case: Case, owner: Owner, pods: list[Bypass]) -> Obj:
    """The controller to change, or the pod where the controller was not read."""
    kind, space, title = owner
    known = kinds.BY_NAME.get(kind)
    found = case.snapshot.get(known, title, space) if known else None
    return pods[0].pod if found is None else found


def _amount(pods: list[Bypass]) -> str:
    total: dict[str, int] = defaultdict(int)
    for each in pods:
        for resource, amount in each.wanted.items():
            total[resource] += amount
    return ", ".join(f"{amount} {resource}" for resource, amount in sorted(total.items()))


@check(
    "Q01", Severity.ERROR, Layer.QUOTA, reads=(kinds.WORKLOAD, kinds.CLUSTER_QUEUE, kinds.RESOURCE_FLAVOR),
    whole=(kinds.NODE, kinds.POD),
    remedy="kubectl get pods -A -o wide   # GPU pods without kueue.x-k8s.io labels on the flavor's nodes",
    source="kueue docs manage_jobs, manageJobsWithoutQueueName; kubernetes-sigs/kueue#3637, #5451",
)  # fmt: skip
def nobody_takes_promised_gpus(case: Case) -> Iterator[Finding]:
    """No pod outside the queues holds GPUs that an admitted workload needs now.

    Kueue counts only what it admits. A GPU pod that no queue knows of takes a promised GPU
    all the same: Kueue goes on admitting within quota, and the admitted pod stays Pending.
    A bypass is a fault here only if it does harm: an admitted pod is unschedulable for lack of
    GPUs, the promise is not larger than the hardware, and without the unqueued pods it would fit
    whole on one node. Pods are taken away in thought one by one until it fits: bare pods before
    jobs before services, of equals the one that came last, then the largest. So a service that was there
    all along is not blamed for a newcomer. A pod that would fit on a node which is cordoned or broken
    now, or is just being emptied for it, is not harmed by a bypass.
    """
    by_owner: dict[Owner, dict[str, Bypass]] = defaultdict(dict)
    hurt: dict[Owner, list[str]] = defaultdict(list)
    affects: dict[Owner, set[str]] = defaultdict(set)
    for each in harms(case.snapshot):
        for one in each.blamed:
            by_owner[one.owner][name(one.pod)] = one
            hurt[one.owner].append(f"{namespace(each.stuck.workload)}/{name(each.stuck.workload)}")
            affects[one.owner] |= each.stuck.tokens | {f"node/{one.node}"}
            affects[one.owner].add(f"queue/{cluster_queue_of(case.snapshot, each.stuck.workload)}")
    for owner, found in sorted(by_owner.items()):
        pods = list(found.values())
        kind, space, title = owner
        victims = ", ".join(sorted(set(hurt[owner])))
        nodes = ", ".join(sorted({one.node for one in pods}))
        yield case.finding(
            _object(case, owner, pods),
            f"{kind} {space}/{title} holds {_amount(pods)} on {nodes} outside every queue;"
            f" admitted workload {victims} finds no room",
            "metadata.creationTimestamp",
            seen={
                "pods": ", ".join(f"{space}/{name(one.pod)}" for one in pods),
                "nodes": nodes,
                "waiting for these GPUs": victims,
                "kueue.x-k8s.io/queue-name": None,
            },
            affects=affects[owner] | {f"pod/{space}/{name(one.pod)}" for one in pods},
            remedy=_remedy(owner),
        )


def _remedy(owner: Owner) -> str:
    kind, space, title = owner
    end = (
        f"kubectl -n {space} delete pod {title}   # ends its work: ask its owner first"
        if kind == "Pod"
        else f"kubectl -n {space} get {kind.lower()} {title}   # give it a queue, or scale it down"
    )
    return (
        f"kubectl -n {space} describe {kind.lower()} {title}\n{end}\n"
        f"Let it queue: make it anew with the label kueue.x-k8s.io/queue-name, which names a LocalQueue of {space}\n"
        f"kubectl -n {space} get localqueues\n"
        "Keep it from coming back: manageJobsWithoutQueueName: true in Kueue's Configuration, with a\n"
        f"managedJobsNamespaceSelector that takes in {space}, and a ValidatingAdmissionPolicy that refuses GPU pods\n"
        "without kueue.x-k8s.io/queue-name there (a ResourceQuota cannot tell queued pods from others)"
    )


@check(
    "Q02", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_QUEUE, kinds.RESOURCE_FLAVOR, kinds.NODE, kinds.POD),
    remedy="label the workload kueue.x-k8s.io/queue-name with a LocalQueue of its namespace, or lower the quota by "
    "what it holds; a service of platform.yaml that is meant to stay outside says so with queued: false",
    source="kueue docs manage_jobs",
)  # fmt: skip
def gpu_work_is_queued(case: Case) -> Iterator[Finding]:
    """GPU work on a queue's nodes goes through the queue.

    What runs past Kueue is in nobody's quota, is never preempted, and is missing from every fair
    share. It does no harm while the rest suffices. A long-lived service may live outside on purpose:
    then lower the quota by what it holds at most, and where there is a platform.yaml say `queued: false`.
    """
    snapshot = case.snapshot
    blamed = {one.owner for each in harms(snapshot) for one in each.blamed}
    outside = _outside_on_purpose(case)
    by_owner: dict[Owner, list[Bypass]] = defaultdict(list)
    for one in bypasses(snapshot):
        if one.owner not in blamed and one.owner[1:] not in outside:
            by_owner[one.owner].append(one)
    for owner, pods in sorted(by_owner.items()):
        kind, space, title = owner
        yield case.finding(
            _object(case, owner, pods),
            f"{kind} {space}/{title} holds {_amount(pods)} of a queue's nodes outside every queue",
            "metadata.labels",
            seen={"pods": len(pods), "nodes": ", ".join(sorted({one.node for one in pods})[:10]), **_room(case, pods)},
            severity=Severity.INFO if kind in SERVICES else Severity.WARNING,
        )


def _outside_on_purpose(case: Case) -> set[tuple[str, str]]:
    """(namespace, name) of the services that platform.yaml keeps out of the queues."""
    if not isinstance(case.platform, Platform):
        return set()
    return {(namespace_of(case.platform, each), each.name) for each in case.platform.services if not each.queued}


def _room(case: Case, pods: list[Bypass]) -> dict[str, str]:
    """Promise and hardware of the GPU pots these pods take from."""
    return {
        f"{resource} of flavor {flavor}": f"{promised(case.snapshot, (flavor, resource))} promised,"
        f" {has(case.snapshot, (flavor, resource))} there"
        for flavor, resource in sorted(set().union(*(one.pots for one in pods)))
    }
