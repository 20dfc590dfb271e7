"""Workloads that wait for what will never come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief
from plimsoll.kube import kinds
from plimsoll.kube.nodes import capacity, gpu_nodes
from plimsoll.kube.objects import Obj, items, name, namespace, text
from plimsoll.kube.pods import gpu_requests
from plimsoll.pillars.queueing.facts import cluster_queue_of, covered, near, submitter, workload_token
from plimsoll.pillars.queueing.pending import Wait, maximum, titles, waits

_WHY = ("status.conditions[QuotaReserved].reason", "status.conditions[QuotaReserved].message")


@check(
    "Q06", Severity.ERROR, Layer.ADMISSION, reads=(kinds.WORKLOAD, kinds.LOCAL_QUEUE),
    remedy="kubectl get localqueues -A",
    source="kueue Workload condition QuotaReserved=False: LocalQueue X doesn't exist, ClusterQueue X is inactive",
)  # fmt: skip
def workloads_have_an_open_queue(case: Case) -> Iterator[Finding]:
    """Every waiting workload waits in a queue that exists and is open.

    A job that names a LocalQueue its namespace does not have stays suspended for ever, as does one
    whose queue is closed further up. Kueue says so in the Workload's condition, where few people
    look; the Job itself only says "suspended".
    """
    snapshot = case.snapshot
    groups: dict[tuple[str, str], list[Wait]] = defaultdict(list)
    for wait in waits(snapshot).get("Q06", []):
        groups[namespace(wait.workload), text(wait.workload, "spec", "queueName")].append(wait)
    for (space, queue), found in sorted(groups.items()):
        first = found[0].workload
        target = cluster_queue_of(snapshot, first)
        near_by = [name(each) for each in snapshot.list(kinds.LOCAL_QUEUE) if namespace(each) == space]
        guess = near(queue, near_by) or ", ".join(near_by)
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield case.finding(
            first,
            f"{submitter(first)} in {space}{more} cannot be admitted through LocalQueue {queue or '(none)'}:"
            f" {found[0].what}",
            "spec.queueName",
            *_WHY,
            seen={"workloads": titles(found), f"LocalQueues in {space}": ", ".join(near_by)},
            affects={workload_token(each.workload) for each in found}
            | {f"localqueue/{space}/{queue}"}
            | ({f"queue/{target}"} if target else set()),
            remedy=f"kubectl -n {space} get localqueues{f'   # there are: {guess}' if guess else ''}\n"
            f"Create LocalQueue {queue or 'default'}, or set the label kueue.x-k8s.io/queue-name of"
            f" {submitter(first)} to one that exists (a suspended Job's label may be changed)",
        )


@check(
    "Q18", Severity.ERROR, Layer.QUOTA, reads=(kinds.WORKLOAD, kinds.CLUSTER_QUEUE, kinds.NODE),
    remedy="kubectl edit clusterqueue <name>   # spec.resourceGroups[].coveredResources",
    source="kueue flavorassigner: resource R unavailable in ClusterQueue; Configuration.resources.quotaCheckStrategy",
)  # fmt: skip
def requested_resources_are_covered(case: Case) -> Iterator[Finding]:
    """Every resource a workload asks for has quota in its ClusterQueue.

    Kueue refuses a workload that asks for anything its ClusterQueue does not cover: a MIG profile,
    `nvidia.com/gpu.shared`, RDMA devices, ephemeral storage. Where nodes offer the resource the queue
    lacks a line; where none does the workload asks for a thing that does not exist.
    """
    snapshot = case.snapshot
    offered = {resource for node in gpu_nodes(snapshot) for resource, amount in capacity(node).items() if amount}
    groups: dict[tuple[str, str], list[Wait]] = defaultdict(list)
    for wait in waits(snapshot).get("Q18", []):
        groups[cluster_queue_of(snapshot, wait.workload), wait.what].append(wait)
    for (queue, resource), found in sorted(groups.items()):
        first = found[0].workload
        holder = snapshot.get(kinds.CLUSTER_QUEUE, queue)
        strange = resource.startswith("nvidia.com/") and resource not in offered and snapshot.whole(kinds.NODE)
        guess = near(resource, covered(holder) if holder else ())
        affects = {workload_token(each.workload) for each in found}
        seen = {"workloads": titles(found), "asks for": resource, "covered": ", ".join(sorted(covered(holder or {})))}
        if holder is None or strange:
            yield case.finding(
                first,
                f"{submitter(first)} asks for {resource}, which no node and no quota of ClusterQueue {queue} has",
                *_WHY, seen=seen, affects=affects, layer=Layer.ADMISSION,
                remedy=f"kubectl -n {namespace(first)} describe workload {name(first)}\n"
                f"Correct the resource name{f' (did you mean {guess}?)' if guess else ''} and submit again",
            )  # fmt: skip
        else:
            yield case.finding(
                holder,
                f"ClusterQueue {queue} has no quota for {resource}; {titles(found)} can never be admitted",
                "spec.resourceGroups[0].coveredResources", seen=seen, affects=affects,
                remedy=f"kubectl edit clusterqueue {queue}   # coveredResources and a quota line for {resource}\n"
                "or, if it needs no quota, in Kueue's Configuration: resources.excludeResourcePrefixes",
            )  # fmt: skip


@check(
    "Q20", Severity.ERROR, Layer.ADMISSION, reads=(kinds.WORKLOAD,),
    remedy="kubectl -n <namespace> describe workload <name>; kubectl get clusterqueue <name> -o yaml",
    source="kueue Workload QuotaReserved=False, ExceedsMaxQuota: request > maximum capacity",
)  # fmt: skip
def workloads_fit_their_queue(case: Case) -> Iterator[Finding]:
    """No workload asks for more than its ClusterQueue can ever give.

    Own quota plus what may be borrowed is a ceiling. A workload above it waits without end, and in a
    StrictFIFO queue everything behind it waits too.
    """
    snapshot = case.snapshot
    for wait in waits(snapshot).get("Q20", []):
        workload, queue = wait.workload, cluster_queue_of(snapshot, wait.workload)
        most = maximum(wait.message)
        strict = text(snapshot.get(kinds.CLUSTER_QUEUE, queue) or {}, "spec", "queueingStrategy") == "StrictFIFO"
        yield case.finding(
            workload,
            f"{submitter(workload)} asks for more {wait.what} than ClusterQueue {queue} can ever give"
            + (f" ({most})" if most else "")
            + ("; the queue is StrictFIFO, so those behind it wait too" if strict else ""),
            *_WHY,
            seen={"GPUs per pod": _gpus(workload), "most it can get": most or None},
            affects={workload_token(workload)},
            remedy=f"kubectl -n {namespace(workload)} describe workload {name(workload)}\n"
            f"Ask for less, or raise nominalQuota or borrowingLimit: kubectl edit clusterqueue {queue}",
        )


def _gpus(workload: Obj) -> str:
    sets = items(workload, "spec", "podSets")
    return "; ".join(
        f"{text(each, 'name')} {each.get('count')} x {gpu_requests(each.get('template') or {})}" for each in sets
    )


@check(
    "Q28", Severity.ERROR, Layer.ADMISSION, reads=(kinds.WORKLOAD,),
    remedy="kubectl -n <namespace> describe workload <name>; kubectl get resourceflavors -o yaml",
    source="kueue flavorassigner: untolerated taint in flavor, flavor doesn't match node affinity",
)  # fmt: skip
def workloads_match_a_flavor(case: Case) -> Iterator[Finding]:
    """Every waiting workload may run on at least one flavor of its queue.

    Kueue skips a flavor whose `nodeTaints` a workload does not tolerate, or whose labels contradict
    its nodeSelector or affinity. If it skips all, no free quota helps.
    """
    for wait in waits(case.snapshot).get("Q28", []):
        workload, queue = wait.workload, cluster_queue_of(case.snapshot, wait.workload)
        yield case.finding(
            workload,
            f"{submitter(workload)} may run on no flavor of ClusterQueue {queue}",
            *_WHY,
            affects={workload_token(workload)},
            remedy=f"kubectl -n {namespace(workload)} describe workload {name(workload)}   # which flavor, why\n"
            "Add the toleration to the job, or to the flavor for everybody (spec.tolerations);\n"
            "or take the nodeSelector off that contradicts the flavor's labels",
        )


@check(
    "Q50", Severity.ERROR, Layer.ADMISSION, reads=(kinds.WORKLOAD,),
    remedy="kubectl -n <namespace> describe workload <name>; kubectl get limitranges -A",
    source="kueue Workload QuotaReserved=False, Inadmissible or Misconfigured: LimitRange, resources validation, DRA",
)  # fmt: skip
def workloads_are_valid(case: Case) -> Iterator[Finding]:
    """No workload is refused for what it asks itself.

    Requests above limits, values outside the namespace's LimitRange, a missing RuntimeClass or a
    resource claim Kueue cannot count: Kueue calls the workload inadmissible and does not try again
    until it is changed.
    """
    for wait in waits(case.snapshot).get("Q50", []):
        workload = wait.workload
        yield case.finding(
            workload,
            f"{submitter(workload)} is inadmissible: {brief(wait.message, 200) or 'Kueue does not say why'}",
            *_WHY,
            affects={workload_token(workload)},
            remedy=f"kubectl -n {namespace(workload)} describe workload {name(workload)}\n"
            f"kubectl -n {namespace(workload)} get limitranges,resourcequotas\nCorrect the job and submit it again",
        )
