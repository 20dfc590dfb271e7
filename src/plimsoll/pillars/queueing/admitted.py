"""Workloads that hold quota, or lost it, and do not run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import may_explain
from plimsoll.kube.objects import Obj, condition, get, items, name, namespace, number, owner, text
from plimsoll.kube.pods import controller, events_by_object, trouble
from plimsoll.kube.served import served
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.queueing.blame import causes, outlooks
from plimsoll.pillars.queueing.facts import (
    Key,
    at_least,
    gpu_pods_of,
    key_of,
    state,
    submitter,
    waited,
    workload_of,
    workload_token,
)
from plimsoll.pillars.queueing.supply import Stuck, stuck

_COUNTS = ("active", "ready", "succeeded", "failed")
PATIENCE = timedelta(minutes=10)  # image pull and model download; longer holds GPUs for nothing
_SAYS = {
    "Q01": "pods outside the queues hold its GPUs", "Q19": "its flavor's nodes offer other GPU resources",
    "Q21": "more GPUs are promised than there are", "Q24": "its flavor selects no node",
    "Q27": "its pods do not tolerate the flavor's nodes",
}  # fmt: skip


@check(
    "Q40", Severity.ERROR, Layer.ADMISSION, reads=(kinds.WORKLOAD, kinds.POD),
    remedy="kubectl get workloads -A; kubectl -n <namespace> describe pod <pod>",
    source="kueue Workload condition PodsReady; waitForPodsReady; kubernetes-sigs/kueue#5243",
)  # fmt: skip
def admitted_workloads_run(case: Case) -> Iterator[Finding]:
    """Every admitted workload gets its pods running.

    From admission on a workload holds quota, whether its pods run or not. Unschedulable pods of an
    admitted workload mean that quota and hardware disagree: unqueued pods, too much quota, broken or
    relabelled nodes, or free GPUs in pieces on several nodes. A workload without any pod is refused
    them: a ResourceQuota of the namespace below what its queue gives, a policy, a webhook. Where none of
    the causes we know explains it, ten minutes are allowed for nodes to come and images to be pulled.
    """
    snapshot = case.snapshot
    by_workload: dict[tuple[str, str], list[Stuck]] = {}
    for each in stuck(snapshot):
        by_workload.setdefault(key_of(each.workload), []).append(each)
    for workload in snapshot.list(kinds.WORKLOAD):
        if state(workload) != "admitted" or condition(workload, "PodsReady").get("status") == "True":
            continue
        pods = by_workload.get(key_of(workload), [])
        why = next((cause for each in pods if (cause := causes(snapshot)[key_of(each.pod)]) != "Q40"), "Q40")
        age = waited(case.now, condition(workload, "Admitted").get("lastTransitionTime"))
        if why == "Q40" and not at_least(age, PATIENCE):
            continue
        if pods:
            yield _unplaced(case, workload, pods, why)
        elif (broken := _broken(case, workload)) is not None:
            yield broken
        elif _has_no_pod(case.snapshot, workload):
            yield _podless(case, workload)


def _unplaced(case: Case, workload: Obj, pods: list[Stuck], why: str) -> Finding:
    first = pods[0]
    affects = {workload_token(workload)}.union(*(each.tokens for each in pods))
    seen: dict[str, object] = {"unschedulable pods": ", ".join(name(each.pod) for each in pods[:5])}
    reason = _SAYS.get(why, "")
    if why == "Q40":
        view = outlooks(case.snapshot)[first.shape]
        affects |= {f"node/{node}" for node in view.lost}
        seen |= {
            f"free {first.resource}": view.free,
            "most free on one node": view.most,
            "wanted by one pod": first.wanted,
        }
        scattered = not view.lost and view.most < first.wanted <= view.free
        reason = "free GPUs lie scattered over its nodes" if scattered else "the scheduler finds no node for its pods"
        reason += f" ({', '.join(view.lost[:5])} would have room but is not well)" if view.lost else ""
    return case.finding(
        workload,
        f"{submitter(workload)} in {namespace(workload)} is admitted but cannot run: {reason}",
        "status.conditions[PodsReady].reason",
        "status.admission.clusterQueue",
        seen={**seen, "the scheduler says": first.message},
        affects=affects,
        remedy=f"kubectl -n {namespace(workload)} describe pod {name(first.pod)}\n"
        "waitForPodsReady in Kueue's Configuration (timeout 5m to 15m) gives the quota back meanwhile;\n"
        "a Topology on the flavor (topology-aware scheduling) admits only what fits whole on nodes",
    )


def _broken(case: Case, workload: Obj) -> Finding | None:
    """An admitted workload whose pods have nodes but do not get ready."""
    for pod, _ in gpu_pods_of(case.snapshot).get(key_of(workload), []):
        found = trouble(pod)
        if found is None or found.state not in ("crash", "image", "waiting"):
            continue
        if found.state != "waiting" and controller(case.snapshot, pod) in _silent(case.snapshot):
            continue  # V52 says so, once for the service
        home = text(pod, "spec", "nodeName")
        return case.finding(
            workload,
            f"{submitter(workload)} in {namespace(workload)} holds quota but its pod {name(pod)} does not start:"
            f" {found.reason or found.state}",
            "status.conditions[PodsReady].reason",
            "status.conditions[Admitted].lastTransitionTime",
            seen={"pod": name(pod), "container": found.container, "says": found.message},
            affects={workload_token(workload), f"pod/{namespace(pod)}/{name(pod)}"}
            | ({f"node/{home}"} if may_explain(case.snapshot.get(kinds.NODE, home), found) else set()),
            remedy=f"kubectl -n {namespace(pod)} describe pod {name(pod)}\n"
            f"kubectl -n {namespace(pod)} logs {name(pod)} --all-containers --previous --ignore-errors=true",
        )
    return None


@fact
def _silent(snapshot: Snapshot) -> frozenset[tuple[str, str, str]]:
    """Workloads that serve, none of whose replicas is ready: (kind, namespace, name)."""
    every = (each.obj for each in served(snapshot) if not number(each.obj, "status", "readyReplicas"))
    return frozenset((text(each, "kind"), namespace(each), name(each)) for each in every)


@fact
def _with_pods(snapshot: Snapshot) -> frozenset[Key]:
    """The workloads that any pod belongs to, ended ones too."""
    owners = (workload_of(snapshot, pod) for pod in snapshot.list(kinds.POD))
    return frozenset(key_of(workload) for workload in owners if workload is not None)


def _has_no_pod(snapshot: Snapshot, workload: Obj) -> bool:
    """Whether nobody has made a single pod of an admitted workload, here or in another cluster.

    Of jobs other than batch/v1 only PodsReady says so: how their pods name them is not known of all.
    """
    if not snapshot.whole(kinds.POD) or text(workload, "status", "clusterName"):
        return False
    own = owner(workload)
    job = snapshot.get(kinds.JOB, text(own, "name"), namespace(workload)) if own.get("kind") == "Job" else None
    if job is None and condition(workload, "PodsReady").get("status") != "False":
        return False
    if job is not None and (get(job, "spec", "managedBy") or any(number(job, "status", each) for each in _COUNTS)):
        return False
    return key_of(workload) not in _with_pods(snapshot)


def _podless(case: Case, workload: Obj) -> Finding:
    own, space = owner(workload), namespace(workload)
    kind, title = text(own, "kind"), text(own, "name")
    refused = [
        text(event, "message")
        for event in events_by_object(case.snapshot).get((kind, space, title), [])
        if event.get("reason") == "FailedCreate"
    ]
    said = refused[-1] if refused else ""
    return case.finding(
        workload,
        f"{submitter(workload)} in {space} holds quota but nobody has made a pod of it: "
        + (brief(said, 200) or "no event says why"),
        "status.conditions[PodsReady].reason",
        "status.conditions[Admitted].lastTransitionTime",
        "status.admission.clusterQueue",
        seen={"pods": 0, "FailedCreate says": said or None},
        affects={workload_token(workload)},
        remedy=f"kubectl -n {space} describe {kind.lower() or 'workload'} {title or name(workload)}   # its events\n"
        f"kubectl -n {space} get resourcequotas,limitranges\n"
        f"exceeded quota: raise the ResourceQuota to what the LocalQueues of {space} may admit, or take its GPU "
        "lines out",
    )


@check(
    "Q41", Severity.WARNING, Layer.ADMISSION, reads=(kinds.WORKLOAD,),
    remedy="kubectl -n <namespace> describe workload <name>   # status.requeueState, Evicted",
    source="kueue waitForPodsReady.requeuingStrategy.backoffLimitCount (null: endless)",
)  # fmt: skip
def nothing_is_requeued_for_ever(case: Case) -> Iterator[Finding]:
    """No workload is admitted and evicted again and again.

    With waitForPodsReady a workload whose pods do not get ready is evicted and queued again; without
    `backoffLimitCount` this never ends, and each round holds GPUs for the whole timeout.
    """
    for workload in case.snapshot.list(kinds.WORKLOAD):
        rounds = number(workload, "status", "requeueState", "count")
        if rounds >= 3 and state(workload) in ("waiting", "reserved", "admitted"):
            yield case.finding(
                workload,
                f"{submitter(workload)} in {namespace(workload)} was evicted and queued again {many(rounds, 'time')}",
                "status.requeueState.count",
                "status.requeueState.requeueAt",
                "status.conditions[Evicted].message",
                affects={workload_token(workload)},
                remedy=f"kubectl -n {namespace(workload)} describe workload {name(workload)}\n"
                "Mend its pods; set waitForPodsReady.requeuingStrategy.backoffLimitCount in Kueue's Configuration",
            )


@check(
    "Q43", Severity.WARNING, Layer.ADMISSION, reads=(kinds.WORKLOAD,),
    remedy="kubectl -n <namespace> patch workload <name> --type merge -p '{\"spec\":{\"active\":true}}'",
    source="kueue Workload.spec.active, Evicted reasons DeactivatedDueTo…",
)  # fmt: skip
def nothing_was_given_up(case: Case) -> Iterator[Finding]:
    """No workload was given up by Kueue with nobody told.

    Kueue sets `spec.active: false` when a workload was requeued too often, ran past its maximum
    time, or an admission check rejected it. The job stays suspended without an event on it.
    A workload that a person switched off is left alone.
    """
    for workload in case.snapshot.list(kinds.WORKLOAD):
        if state(workload) != "inactive":
            continue
        evicted = condition(workload, "Evicted")
        reason = text(evicted, "reason")
        rejected = [
            text(each, "name")
            for each in items(workload, "status", "admissionChecks")
            if each.get("state") == "Rejected"
        ]
        if "DueTo" not in reason and not rejected and not get(workload, "status", "requeueState", "count"):
            continue
        yield case.finding(
            workload,
            f"{submitter(workload)} in {namespace(workload)} was given up by Kueue:"
            f" {reason.partition('DueTo')[2] or (f'check {rejected[0]} rejected it' if rejected else reason)}",
            "spec.active",
            "status.conditions[Evicted].reason",
            "status.conditions[Evicted].message",
            affects={workload_token(workload)},
            remedy=f"kubectl -n {namespace(workload)} describe workload {name(workload)}   # mend the cause, then\n"
            f"kubectl -n {namespace(workload)} patch workload {name(workload)} --type merge"
            ' -p \'{"spec":{"active":true}}\'',
        )


@check(
    "Q44", Severity.ERROR, Layer.ADMISSION, reads=(kinds.WORKLOAD,),
    remedy="kubectl -n <namespace> describe workload <name>; kubectl get provisioningrequests -A",
    source="kueue Workload.status.admissionChecks; kubernetes-sigs/kueue#3322",
)  # fmt: skip
def reserved_quota_is_used(case: Case) -> Iterator[Finding]:
    """No workload holds quota for over an hour while an admission check decides.

    Quota is held from reservation on. A check that stays Pending or goes on retrying, such as a
    ProvisioningRequest for nodes the cloud does not have, keeps GPUs from everybody else.
    """
    for workload in case.snapshot.list(kinds.WORKLOAD):
        since = condition(workload, "QuotaReserved").get("lastTransitionTime")
        if state(workload) != "reserved" or not at_least(waited(case.now, since), timedelta(hours=1)):
            continue
        for index, each in enumerate(items(workload, "status", "admissionChecks")):
            if each.get("state") in ("Pending", "Retry"):
                yield case.finding(
                    workload,
                    f"{submitter(workload)} in {namespace(workload)} holds quota while check {text(each, 'name')} is"
                    f" {text(each, 'state')}: {text(each, 'message') or 'no message'}",
                    f"status.admissionChecks[{index}].state",
                    f"status.admissionChecks[{index}].message",
                    "status.conditions[QuotaReserved].lastTransitionTime",
                    affects={workload_token(workload)},
                    remedy=f"kubectl -n {namespace(workload)} describe workload {name(workload)}\n"
                    f"kubectl get provisioningrequests -A; kubectl describe admissioncheck {text(each, 'name')}",
                )
                break
