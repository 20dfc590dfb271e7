"""What Kueue's objects say, read once for all queueing checks.

v1beta1 and v1beta2 name some fields differently; every reader here takes both.
Source: kueue apis/kueue/v1beta1, v1beta2.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.objects import (
    Obj,
    annotations_of,
    condition,
    get,
    items,
    labels,
    mapping,
    name,
    namespace,
    owner,
    selects,
    text,
)
from plimsoll.kube.pods import gpu_pods, gpu_pods_by_template, is_gpu
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.units import moment, quantity

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"
Key = tuple[str, str]  # namespace, name
Pot = tuple[str, str]  # flavor, resource: the unit Kueue accounts in


class Quota(NamedTuple):
    """What one ClusterQueue (or Cohort) is promised of one flavor and resource."""

    flavor: str
    resource: str
    nominal: Decimal
    borrowing: Decimal | None  # None: as much as the cohort lends


def key_of(obj: Obj) -> Key:
    return namespace(obj), name(obj)


def quotas(holder: Obj) -> list[Quota]:
    """Every quota line of a ClusterQueue or Cohort."""
    return [
        Quota(
            text(flavor, "name"),
            text(line, "name"),
            quantity(line.get("nominalQuota")) or Decimal(0),
            quantity(line.get("borrowingLimit")),
        )
        for group in items(holder, "spec", "resourceGroups")
        for flavor in items(group, "flavors")
        for line in items(flavor, "resources")
    ]


def flavor_names(queue: Obj) -> list[str]:
    """The flavors a ClusterQueue names, in its order of preference."""
    groups = items(queue, "spec", "resourceGroups")
    return [text(flavor, "name") for group in groups for flavor in items(group, "flavors") if text(flavor, "name")]


def covered(queue: Obj) -> set[str]:
    """The resources a ClusterQueue has quota lines for."""
    found = {line.resource for line in quotas(queue)}
    for group in items(queue, "spec", "resourceGroups"):
        listed = group.get("coveredResources")
        found |= {each for each in listed if isinstance(each, str)} if isinstance(listed, list) else set()
    return found


def cohort_of(queue: Obj) -> str:
    """v1beta2 says `cohortName`, v1beta1 says `cohort`."""
    return text(queue, "spec", "cohortName") or text(queue, "spec", "cohort")


def admission_checks(queue: Obj) -> list[str]:
    """Names of the admission checks of a ClusterQueue, in either spelling."""
    strategy = [text(each, "name") for each in items(queue, "spec", "admissionChecksStrategy", "admissionChecks")]
    plain = get(queue, "spec", "admissionChecks")
    return [*strategy, *(each for each in (plain if isinstance(plain, list) else []) if isinstance(each, str))]


def stopped(queue: Obj) -> str:
    """The stop policy of a ClusterQueue or LocalQueue where it stops; else ""."""
    policy = text(queue, "spec", "stopPolicy")
    return policy if policy in ("Hold", "HoldAndDrain") else ""


def state(workload: Obj) -> str:
    """finished | inactive | admitted | reserved | waiting."""
    if condition(workload, "Finished").get("status") == "True":
        return "finished"
    if get(workload, "spec", "active") is False:
        return "inactive"
    if condition(workload, "Admitted").get("status") == "True":
        return "admitted"
    return "reserved" if condition(workload, "QuotaReserved").get("status") == "True" else "waiting"


def submitter(workload: Obj) -> str:
    """What a user knows a Workload as: `Job rank-3`; the Workload itself if nobody owns it."""
    own = owner(workload)
    return f"{text(own, 'kind')} {text(own, 'name')}" if text(own, "name") else f"Workload {name(workload)}"


def waited(case_now: datetime | None, since: object) -> timedelta | None:
    """How long ago a condition changed; None where one of the moments is unknown."""
    then = moment(since)
    return case_now - then if case_now is not None and then is not None else None


def at_least(age: timedelta | None, limit: timedelta) -> bool:
    """Whether an age has passed a limit; an unknown age counts as passed (judge by state alone)."""
    return age is None or age >= limit


def near(wanted: str, have: Iterable[str]) -> str:
    """The existing name somebody probably meant; "" if none is close."""
    found = difflib.get_close_matches(wanted, sorted(set(have) - {wanted}), n=1, cutoff=0.6)
    return found[0] if found else ""


@fact
def local_queues_of(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """LocalQueues by the ClusterQueue they point to."""
    found: dict[str, list[Obj]] = defaultdict(list)
    for queue in snapshot.list(kinds.LOCAL_QUEUE):
        found[text(queue, "spec", "clusterQueue")].append(queue)
    return dict(found)


def cluster_queue_of(snapshot: Snapshot, workload: Obj) -> str:
    """The ClusterQueue that holds, or would hold, a Workload; "" if unknown."""
    admitted = text(workload, "status", "admission", "clusterQueue")
    if admitted:
        return admitted
    queue = snapshot.get(kinds.LOCAL_QUEUE, text(workload, "spec", "queueName"), namespace(workload))
    return text(queue, "spec", "clusterQueue") if queue else ""


@fact
def waiting_by_local_queue(snapshot: Snapshot) -> dict[Key, list[Obj]]:
    """Workloads without quota, oldest first, by (namespace, LocalQueue name)."""
    found: dict[Key, list[Obj]] = defaultdict(list)
    for workload in snapshot.list(kinds.WORKLOAD):
        if state(workload) == "waiting":
            found[namespace(workload), text(workload, "spec", "queueName")].append(workload)
    for each in found.values():
        each.sort(key=lambda workload: (text(workload, "metadata", "creationTimestamp"), name(workload)))
    return dict(found)


@fact
def waiting_by_cluster_queue(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """Workloads without quota by the ClusterQueue their LocalQueue points to."""
    found: dict[str, list[Obj]] = defaultdict(list)
    for (space, title), workloads in waiting_by_local_queue(snapshot).items():
        queue = snapshot.get(kinds.LOCAL_QUEUE, title, space)
        if queue is not None:
            found[text(queue, "spec", "clusterQueue")] += workloads
    return dict(found)


def workload_token(workload: Obj) -> str:
    return f"workload/{namespace(workload)}/{name(workload)}"


def local_queue_token(queue: Obj) -> str:
    return f"localqueue/{namespace(queue)}/{name(queue)}"


def queue_tokens(snapshot: Snapshot, cluster_queue: str) -> set[str]:
    """Everything that stops when a ClusterQueue admits nothing: itself, its LocalQueues, who waits in them."""
    found = {f"queue/{cluster_queue}"}
    found |= {local_queue_token(queue) for queue in local_queues_of(snapshot).get(cluster_queue, [])}
    return found | {workload_token(each) for each in waiting_by_cluster_queue(snapshot).get(cluster_queue, [])}


@fact
def workload_by_owner(snapshot: Snapshot) -> dict[str, Obj]:
    """Workloads by the uid of the object they stand for."""
    found: dict[str, Obj] = {}
    for workload in snapshot.list(kinds.WORKLOAD):
        for uid in (labels(workload).get("kueue.x-k8s.io/job-uid"), owner(workload).get("uid")):
            if isinstance(uid, str) and uid:
                found.setdefault(uid, workload)
    return found


def workload_of(snapshot: Snapshot, pod: Obj) -> Obj | None:
    """The Workload a pod belongs to: by Kueue's annotation, by its owner chain, or the pod itself."""
    return _own_workload(snapshot, pod) or _workload_above(snapshot, pod)


def _own_workload(snapshot: Snapshot, pod: Obj) -> Obj | None:
    noted = text(annotations_of(pod), "kueue.x-k8s.io/workload")
    found = snapshot.get(kinds.WORKLOAD, noted, namespace(pod)) if noted else None
    return found or workload_by_owner(snapshot).get(text(pod, "metadata", "uid"))


def _workload_above(snapshot: Snapshot, pod: Obj) -> Obj | None:
    """The Workload of a pod's owner, or of the owner of its Job."""
    own, by_owner = owner(pod), workload_by_owner(snapshot)
    found = by_owner.get(text(own, "uid"))
    if found is None and own.get("kind") == "Job":
        job = snapshot.get(kinds.JOB, text(own, "name"), namespace(pod))
        return by_owner.get(text(owner(job), "uid")) if job else None
    return found


@fact
def gpu_pods_of(snapshot: Snapshot) -> dict[Key, list[tuple[Obj, dict[str, int]]]]:
    """GPU pods, with what they ask for, by the Workload they belong to."""
    found: dict[Key, list[tuple[Obj, dict[str, int]]]] = defaultdict(list)
    if snapshot.list(kinds.WORKLOAD):
        above = {
            id(pod): workload
            for alike, _ in gpu_pods_by_template(snapshot)
            if (workload := _workload_above(snapshot, alike[0]))
            for pod in alike
        }
        for pod, wanted in gpu_pods(snapshot):
            if workload := _own_workload(snapshot, pod) or above.get(id(pod)):
                found[key_of(workload)].append((pod, wanted))
    return dict(found)


def managed(snapshot: Snapshot, pod: Obj) -> bool:
    """Whether Kueue decides about a pod: it carries a label of Kueue's, or its owner chain has a Workload."""
    if any(str(each).startswith("kueue.x-k8s.io/") for each in labels(pod)):
        return True
    if workload_of(snapshot, pod) is not None:
        return True
    own = owner(pod)
    job = snapshot.get(kinds.JOB, text(own, "name"), namespace(pod)) if own.get("kind") == "Job" else None
    return job is not None and bool(labels(job).get(QUEUE_LABEL))


@fact
def flavor_nodes(snapshot: Snapshot) -> dict[str, tuple[Obj, ...]]:
    """The nodes each ResourceFlavor's nodeLabels select; a flavor without labels selects all."""
    nodes = sorted(snapshot.list(kinds.NODE), key=name)
    return {
        name(flavor): tuple(
            node for node in nodes if selects({"matchLabels": mapping(flavor, "spec", "nodeLabels")}, labels(node))
        )
        for flavor in snapshot.list(kinds.RESOURCE_FLAVOR)
    }


@fact
def gpu_promises(snapshot: Snapshot) -> dict[Pot, dict[str, int]]:
    """GPU devices promised per (flavor, resource): ClusterQueue or `cohort NAME` to nominal quota."""
    found: dict[Pot, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for kind, prefix in ((kinds.CLUSTER_QUEUE, ""), (kinds.COHORT, "cohort ")):
        for holder in snapshot.list(kind):
            for line in quotas(holder):
                if is_gpu(line.resource):
                    found[line.flavor, line.resource][prefix + name(holder)] += int(line.nominal)
    return {pot: dict(lines) for pot, lines in sorted(found.items())}


@fact
def manager_config(snapshot: Snapshot) -> tuple[Obj, str] | None:
    """The ConfigMap with Kueue's Configuration and its text, or None."""
    for each in snapshot.list(kinds.CONFIG_MAP):
        for value in mapping(each, "data").values():
            if isinstance(value, str) and "config.kueue.x-k8s.io/" in value:
                return each, value
    return None


def block(config: str, key: str) -> str | None:
    """The text under a top-level key of Kueue's Configuration; None where the key is absent."""
    match = re.search(rf"^{re.escape(key)}:[^\n]*(?:\n(?:[ \t-][^\n]*)?)*", config, re.MULTILINE)
    return match.group(0) if match else None
