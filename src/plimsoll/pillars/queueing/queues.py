"""ClusterQueues: can anything be admitted at all?"""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import condition, get, name, text
from plimsoll.pillars.queueing.closed import closed_as, is_wanted
from plimsoll.pillars.queueing.facts import near, queue_tokens


@check(
    "Q10", Severity.ERROR, Layer.QUOTA, reads=(kinds.CLUSTER_QUEUE,),
    remedy="kubectl patch clusterqueue <name> --type merge -p '{\"spec\":{\"namespaceSelector\":{}}}'",
    source="kueue ClusterQueueSpec.namespaceSelector: nil selects nothing",
)  # fmt: skip
def selector_is_set(case: Case) -> Iterator[Finding]:
    """Every ClusterQueue says which namespaces may use it.

    A ClusterQueue without `namespaceSelector` serves no namespace at all; an empty one (`{}`)
    serves all. Nothing but the scheduling message of each waiting Workload tells the difference.
    """
    for queue, _ in closed_as(case.snapshot, "Q10"):
        wanted = is_wanted(case.snapshot, queue)
        yield case.finding(
            queue,
            f"ClusterQueue {name(queue)} has no namespaceSelector and so takes no namespace",
            "spec.namespaceSelector",
            "status.pendingWorkloads",
            affects=queue_tokens(case.snapshot, name(queue)),
            severity=Severity.ERROR if wanted else Severity.WARNING,
            remedy=f"kubectl patch clusterqueue {name(queue)} --type merge"
            ' -p \'{"spec":{"namespaceSelector":{}}}\'   # all namespaces; or matchLabels for some',
        )


@check(
    "Q11", Severity.ERROR, Layer.QUOTA, reads=(kinds.CLUSTER_QUEUE,),
    remedy="kubectl get resourceflavors; kubectl get clusterqueue <name> -o yaml",
    source="kueue ClusterQueue condition Active=False, reason FlavorNotFound",
)  # fmt: skip
def flavors_exist(case: Case) -> Iterator[Finding]:
    """Every ResourceFlavor a ClusterQueue names exists.

    One missing flavor closes the whole ClusterQueue: nothing is admitted, not even on its other
    flavors, and its LocalQueues turn inactive. What already runs goes on running, so the fault is
    noticed only when the next job does not start.
    """
    have = [name(each) for each in case.snapshot.list(kinds.RESOURCE_FLAVOR)]
    for queue, why in closed_as(case.snapshot, "Q11"):
        missing = why.what or "a flavor"
        guess = near(missing.split(", ")[0], have)
        hint = f"   # did you mean {guess}?" if guess else ""
        yield case.finding(
            queue,
            f"ClusterQueue {name(queue)} names ResourceFlavor {missing}, which does not exist; it admits nothing",
            "status.conditions[Active].reason",
            "status.conditions[Active].message",
            seen={"missing": missing, "existing flavors": ", ".join(have)},
            affects=queue_tokens(case.snapshot, name(queue)),
            remedy=f"kubectl get resourceflavors{hint}\n"
            f"Create the flavor ({missing}) with the labels of its nodes, or correct the name:\n"
            f"kubectl edit clusterqueue {name(queue)}   # spec.resourceGroups[].flavors[].name",
        )


@check(
    "Q12", Severity.ERROR, Layer.QUOTA, reads=(kinds.CLUSTER_QUEUE,),
    remedy="kubectl get admissionchecks; kubectl describe clusterqueue <name>",
    source="kueue ClusterQueue condition Active=False, reasons AdmissionCheckNotFound, AdmissionCheckInactive",
)  # fmt: skip
def admission_checks_work(case: Case) -> Iterator[Finding]:
    """Every admission check a ClusterQueue asks for exists and is active.

    A check that is missing, or whose controller does not run, closes the ClusterQueue. It stays
    closed until the check is there, or is taken off the queue.
    """
    have = [name(each) for each in case.snapshot.list(kinds.ADMISSION_CHECK)]
    for queue, why in closed_as(case.snapshot, "Q12"):
        known = all(each in have for each in why.what.split(", "))
        guess = "" if known else near(why.what, have)
        state = "is not active" if known else "is missing or not active"
        if why.message and "missing" in why.message:
            state = "does not exist"
        hint = f"   # did you mean {guess}?" if guess else ""
        said = [
            text(condition(case.snapshot.get(kinds.ADMISSION_CHECK, each) or {}, "Active"), "message")
            for each in why.what.split(", ")
        ]
        yield case.finding(
            queue,
            f"ClusterQueue {name(queue)} asks for AdmissionCheck {why.what or '(unnamed)'}, which {state}",
            "status.conditions[Active].reason",
            "status.conditions[Active].message",
            seen={"the check says": "; ".join(each for each in said if each)},
            affects=queue_tokens(case.snapshot, name(queue)),
            remedy=f"kubectl get admissionchecks{hint}\n"
            f"Create the check or start its controller; or take it off the queue:\n"
            f"kubectl edit clusterqueue {name(queue)}   # spec.admissionChecksStrategy (v1beta1: admissionChecks)",
        )


@check(
    "Q13", Severity.ERROR, Layer.QUOTA, reads=(kinds.CLUSTER_QUEUE,),
    remedy="kubectl describe clusterqueue <name>",
    source="kueue ClusterQueue condition Active=False: MultiKueue… reasons, Unknown",
)  # fmt: skip
def checks_go_together(case: Case) -> Iterator[Finding]:
    """No ClusterQueue is inactive because its admission checks exclude each other.

    A ClusterQueue may have one MultiKueue check, for all of its flavors, and not together with
    ProvisioningRequest. Any other reason Kueue gives for an inactive queue is reported here too.
    """
    for queue, why in closed_as(case.snapshot, "Q13"):
        yield case.finding(
            queue,
            f"ClusterQueue {name(queue)} is inactive: {text(condition(queue, 'Active'), 'reason')}",
            "status.conditions[Active].reason",
            "status.conditions[Active].message",
            affects=queue_tokens(case.snapshot, name(queue)),
            remedy=f"kubectl describe clusterqueue {name(queue)}\n"
            f"Leave one MultiKueue check without onFlavors, or none: kubectl edit clusterqueue {name(queue)}\n"
            f"Kueue says: {why.message}",
        )


@check(
    "Q14", Severity.ERROR, Layer.QUOTA, reads=(kinds.CLUSTER_QUEUE, kinds.RESOURCE_FLAVOR),
    remedy="kubectl get topologies; kubectl get resourceflavors -o yaml",
    source="kueue ClusterQueue condition Active=False, reason TopologyNotFound",
)  # fmt: skip
def topologies_exist(case: Case) -> Iterator[Finding]:
    """Every Topology a ResourceFlavor names exists.

    A flavor with `topologyName` counts capacity per rack and node. Without the Topology it cannot,
    and every ClusterQueue that uses the flavor is closed. `topologyName` cannot be changed.
    """
    snapshot = case.snapshot
    hurt = [queue for queue, _ in closed_as(case.snapshot, "Q14")]
    for flavor in snapshot.list(kinds.RESOURCE_FLAVOR):
        wanted = text(flavor, "spec", "topologyName")
        users = [each for each in hurt if name(flavor) in str(get(each, "spec", "resourceGroups"))]
        if not wanted or not users or snapshot.get(kinds.TOPOLOGY, wanted) is not None:
            continue
        guess = near(wanted, (name(each) for each in snapshot.list(kinds.TOPOLOGY)))
        hint = f"   # did you mean {guess}?" if guess else ""
        yield case.finding(
            flavor,
            f"ResourceFlavor {name(flavor)} names Topology {wanted}, which does not exist;"
            f" {', '.join(map(name, users))} {'admits' if len(users) == 1 else 'admit'} nothing",
            "spec.topologyName",
            seen={"inactive ClusterQueues": ", ".join(map(name, users))},
            affects=set().union(*(queue_tokens(snapshot, name(each)) for each in users)),
            remedy=f"kubectl get topologies{hint}\nCreate Topology {wanted} (levels from zone to hostname);"
            " topologyName itself cannot be changed, a wrong name needs a new flavor",
        )


@check(
    "Q53", Severity.ERROR, Layer.QUOTA, reads=(kinds.CLUSTER_QUEUE,),
    remedy="kubectl get clusterqueue <name> -o yaml; kubectl get workloads -A",
    source="kueue ClusterQueue finalizer kueue.x-k8s.io/resource-in-use",
)  # fmt: skip
def no_queue_is_half_deleted(case: Case) -> Iterator[Finding]:
    """No ClusterQueue is being deleted while workloads hold its quota.

    A ClusterQueue deleted before it was drained stays with a deletion time until its last workload
    ends. Until then it admits nothing and cannot be made anew under its name.
    """
    for queue, _ in closed_as(case.snapshot, "Q53"):
        yield case.finding(
            queue,
            f"ClusterQueue {name(queue)} is being deleted and admits nothing",
            "metadata.deletionTimestamp",
            "status.reservingWorkloads",
            "status.pendingWorkloads",
            affects=queue_tokens(case.snapshot, name(queue)),
            remedy=f"kubectl get workloads -A -o custom-columns=NAMESPACE:.metadata.namespace,WORKLOAD:.metadata.name,"
            f"CQ:.status.admission.clusterQueue | grep {name(queue)}\n"
            "Let them end (or evict them, which restarts their jobs elsewhere), then apply the queue again",
        )
