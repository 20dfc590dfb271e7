"""LocalQueues, the namespaces they stand in, and queues somebody stopped."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, get, labels, mapping, name, namespace, text
from plimsoll.pillars.queueing.closed import accepts_namespace, closed, closed_as, closed_local, is_wanted
from plimsoll.pillars.queueing.facts import (
    key_of,
    local_queue_token,
    near,
    queue_tokens,
    stopped,
    waiting_by_local_queue,
    workload_token,
)


@check(
    "Q07", Severity.ERROR, Layer.QUEUE, reads=(kinds.LOCAL_QUEUE, kinds.CLUSTER_QUEUE),
    remedy="kubectl get localqueues -A; kubectl get clusterqueues",
    source="kueue LocalQueue condition Active: ClusterQueueDoesNotExist, ClusterQueueIsInactive",
)  # fmt: skip
def local_queue_leads_somewhere(case: Case) -> Iterator[Finding]:
    """Every LocalQueue leads to a ClusterQueue that exists and is active.

    A LocalQueue is only a door. If the ClusterQueue behind it is missing or admits nothing,
    jobs are accepted, stay suspended and say little about why. `spec.clusterQueue` cannot be
    changed: a LocalQueue that points to the wrong name has to be made anew.
    """
    snapshot = case.snapshot
    reasons = closed_local(snapshot)
    for queue in snapshot.list(kinds.LOCAL_QUEUE):
        why = reasons.get(key_of(queue))
        target = text(queue, "spec", "clusterQueue")
        parent = snapshot.get(kinds.CLUSTER_QUEUE, target)
        if why is None or stopped(queue):
            continue
        if parent is not None and target not in closed(snapshot) and accepts_namespace(
            snapshot, parent, namespace(queue)
        ) is False:  # fmt: skip
            continue  # Q09 says so
        space, title = key_of(queue)
        guess = near(target, (name(each) for each in snapshot.list(kinds.CLUSTER_QUEUE)))
        waiting = waiting_by_local_queue(snapshot).get((space, title), [])
        if parent is None:
            remedy = (
                f"kubectl get clusterqueues{f'   # did you mean {guess}?' if guess else ''}\n"
                f"Create ClusterQueue {target}, or make the LocalQueue anew (spec.clusterQueue cannot be changed):\n"
                f"kubectl -n {space} get localqueue {title} -o yaml   # to {title}.yaml; set clusterQueue, then\n"
                f"kubectl -n {space} delete localqueue {title} && kubectl apply -f {title}.yaml"
            )
        else:
            remedy = f"kubectl get clusterqueue {target} -o yaml   # its Active condition says what to mend"
        yield case.finding(
            queue,
            f"LocalQueue {space}/{title} admits nothing: {why}",
            "spec.clusterQueue",
            "status.conditions[Active].reason",
            seen={"workloads waiting": len(waiting)},
            affects={local_queue_token(queue), f"queue/{target}", *map(workload_token, waiting)},
            remedy=remedy,
        )


@check(
    "Q09", Severity.ERROR, Layer.QUOTA,
    reads=(kinds.CLUSTER_QUEUE, kinds.LOCAL_QUEUE, kinds.NAMESPACE),
    remedy="kubectl get clusterqueue -o custom-columns=QUEUE:.metadata.name,SELECTOR:.spec.namespaceSelector",
    source="kueue pkg/scheduler: Workload namespace doesn't match ClusterQueue selector",
)  # fmt: skip
def namespace_is_selected(case: Case) -> Iterator[Finding]:
    """Every namespace with a LocalQueue is selected by its ClusterQueue.

    A LocalQueue in a namespace that the ClusterQueue's `namespaceSelector` does not match looks
    active and takes jobs, but none of them is ever admitted. Usually a label of the namespace was
    lost, or the selector was edited.
    """
    snapshot = case.snapshot
    for queue, why in closed_as(case.snapshot, "Q09"):
        yield case.finding(
            queue,
            f"ClusterQueue {name(queue)} selects none of the namespaces that use it ({why.what})",
            "spec.namespaceSelector",
            seen={f"labels of namespace {each}": _labels(case, each) for each in why.what.split(", ")},
            affects=queue_tokens(snapshot, name(queue)),
            remedy=_select(queue, why.what.split(", ")[0]),
        )
    for queue in snapshot.list(kinds.LOCAL_QUEUE):
        space = namespace(queue)
        parent = snapshot.get(kinds.CLUSTER_QUEUE, text(queue, "spec", "clusterQueue"))
        if (
            parent is None
            or name(parent) in closed(snapshot)
            or accepts_namespace(snapshot, parent, space) is not False
        ):
            continue
        waiting = waiting_by_local_queue(snapshot).get(key_of(queue), [])
        yield case.finding(
            queue,
            f"ClusterQueue {name(parent)} does not take workloads from namespace {space}",
            "spec.clusterQueue",
            seen={
                "namespaceSelector": get(parent, "spec", "namespaceSelector"),
                f"labels of namespace {space}": _labels(case, space),
                "workloads waiting": len(waiting),
            },
            affects={local_queue_token(queue), *map(workload_token, waiting)},
            severity=Severity.ERROR if waiting else Severity.WARNING,
            remedy=_select(parent, space),
        )


def _labels(case: Case, space: str) -> dict[str, str]:
    return labels(case.snapshot.get(kinds.NAMESPACE, space) or {})


def _select(queue: Obj, space: str) -> str:
    wanted = mapping(queue, "spec", "namespaceSelector", "matchLabels")
    given = " ".join(f"{key}={value}" for key, value in wanted.items()) or "KEY=VALUE"
    return (
        f"kubectl get namespace {space} --show-labels\n"
        f"kubectl label namespace {space} {given}   # or widen the selector:\n"
        f"kubectl edit clusterqueue {name(queue)}   # spec.namespaceSelector"
    )


@check(
    "Q15", Severity.ERROR, Layer.QUOTA, reads=(kinds.CLUSTER_QUEUE, kinds.LOCAL_QUEUE),
    remedy="kubectl patch clusterqueue <name> --type merge -p '{\"spec\":{\"stopPolicy\":\"None\"}}'",
    source="kueue ClusterQueue.spec.stopPolicy, LocalQueue.spec.stopPolicy",
)  # fmt: skip
def no_queue_is_stopped(case: Case) -> Iterator[Finding]:
    """No queue that somebody waits in is stopped.

    `stopPolicy: Hold` stops admission, `HoldAndDrain` also evicts what runs. It is meant for
    maintenance and easily forgotten afterwards; nobody is told but the people who wait.
    """
    for queue, _ in closed_as(case.snapshot, "Q15"):
        wanted = is_wanted(case.snapshot, queue)
        yield case.finding(
            queue,
            f"ClusterQueue {name(queue)} is stopped ({stopped(queue) or 'Stopped'})"
            + (" while workloads wait in it" if wanted else ""),
            "spec.stopPolicy",
            "status.pendingWorkloads",
            "status.conditions[Active].lastTransitionTime",
            affects=queue_tokens(case.snapshot, name(queue)),
            severity=Severity.ERROR if wanted else Severity.WARNING,
            remedy=f"If the maintenance is over:\nkubectl patch clusterqueue {name(queue)} --type merge"
            ' -p \'{"spec":{"stopPolicy":"None"}}\'',
        )
    for queue in case.snapshot.list(kinds.LOCAL_QUEUE):
        if not stopped(queue):
            continue
        space, title = key_of(queue)
        waiting = waiting_by_local_queue(case.snapshot).get((space, title), [])
        yield case.finding(
            queue,
            f"LocalQueue {space}/{title} is stopped ({stopped(queue)})"
            + (" while workloads wait in it" if waiting else ""),
            "spec.stopPolicy",
            "status.pendingWorkloads",
            affects={local_queue_token(queue), *map(workload_token, waiting)},
            layer=Layer.QUEUE,
            severity=Severity.ERROR if waiting else Severity.WARNING,
            remedy=f"If the maintenance is over:\nkubectl -n {space} patch localqueue {title} --type merge"
            ' -p \'{"spec":{"stopPolicy":"None"}}\'',
        )
