"""Faults of admission: jobs that Kueue never sees, cannot judge, gives up, or admits in vain."""

from __future__ import annotations

from plimsoll.kube.objects import Obj, get, items, mapping, name, namespace, text
from plimsoll.kube.pods import trouble
from plimsoll.lab.faults import operands, work
from plimsoll.lab.faults.door import (
    SHARE,
    VERSION,
    WORKLOAD,
    admitted,
    door,
    fault,
    flavor_of,
    group_of,
    queue_of,
    submit,
    waits,
    workload,
)
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.queues import CLUSTER_QUEUE, FLAVOR
from plimsoll.lab.faults.work import DUE, GPU, NAME, state

_CHECK = f"{VERSION}/AdmissionCheck"
_ROLE = ("rbac.authorization.k8s.io/v1/ClusterRole", "kueue-manager-role")
_QUOTA = "v1/ResourceQuota"
_AFTER_HOURS = 90  # minutes: a check that decides is given an hour


def _may_not(hands: Hands) -> None:
    """Kueue's role is tightened by somebody who does not know what it makes."""

    def how(role: Obj) -> None:
        for rule in items(role, "rules"):
            if "workloads" in rule["resources"]:
                rule["verbs"] = [each for each in rule["verbs"] if each not in ("create", "delete")]

    hands.change(*_ROLE, how)
    operands.until(lambda: not _can_make(hands), "Kueue may make no Workloads")
    submit(hands)


def _can_make(hands: Hands) -> bool:
    """Whether Kueue's controller may create Workloads, as the API server judges it."""
    asked = {"group": "kueue.x-k8s.io", "resource": "workloads", "verb": "create"}
    user = "system:serviceaccount:kueue-system:kueue-controller-manager"
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": asked}}  # fmt: skip
    said = hands.client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return get(said, "status", "allowed") is True


def _unseen(hands: Hands) -> bool:
    """Whether that job is suspended, and has no Workload."""
    job = hands.get(work.JOB, NAME, namespace(door(hands)))
    return get(job, "spec", "suspend") is True and not workload(hands)


def _past(hands: Hands) -> None:
    """A job that no queue knows of takes a GPU that nobody waits for."""
    pool = mapping(hands.get(FLAVOR, flavor_of(hands, GPU)), "spec", "nodeLabels")
    work.job(hands, work.space(hands), work.template({GPU: "1"}, nodeSelector=pool))


def _runs_past(hands: Hands) -> bool:
    found = hands.client.list("v1/Pod", f"{NAME}-{hands.fault.lower()}")
    return any(text(each, "status", "phase") == "Running" for each in found)


def _tight(hands: Hands) -> None:
    """The namespace's ResourceQuota is cut to what is in use, below what its queue gives."""
    here = namespace(door(hands))
    line = f"requests.{GPU}"
    limits = [each for each in hands.client.list(_QUOTA, here) if line in mapping(each, "spec", "hard")]
    quota = operands.first(hands, limits, f"a ResourceQuota of {line} in {here}")
    used = text(quota, "status", "used", line)
    hands.change(_QUOTA, name(quota), {"spec": {"hard": {line: used}}}, here)
    operands.until(lambda: text(hands.get(_QUOTA, name(quota), here), "status", "hard", line) == used, "quota cut")
    submit(hands)


def _refused(hands: Hands) -> bool:
    """Whether that job is admitted and told that it may have no pod."""
    told = hands.client.list("v1/Event", namespace(door(hands)), fields="reason=FailedCreate")
    return admitted(hands) and any(text(each, "involvedObject", "name") == NAME for each in told)


def _unpullable(hands: Hands) -> None:
    submit(hands, work.template({GPU: "1"}, notes={"lab.plimsoll.dev/image-pull": NAME}))


def _unpulled(hands: Hands) -> bool:
    found = [trouble(each) for each in work.pods_of(hands, namespace(door(hands)))]
    return admitted(hands) and any(each is not None and each.state == "image" for each in found)


def _check_by_hand(hands: Hands) -> None:
    """An admission check of somebody's own controller, and a job; what that controller says is written by hand.

    It is asked for shares of GPUs only, so that what runs on whole ones is not asked anew.
    """
    meta = {"name": "budget"}
    hands.create({"apiVersion": VERSION, "kind": "AdmissionCheck", "metadata": meta,
                  "spec": {"controllerName": "example.com/budget"}})  # fmt: skip
    active = {"type": "Active", "status": "True", "reason": "Active", "message": "The budget is known",
              "lastTransitionTime": text(hands.get(_CHECK, "budget"), "metadata", "creationTimestamp")}  # fmt: skip
    hands.status(_CHECK, "budget", {"conditions": [active]})
    asked = {"admissionChecks": [{"name": "budget", "onFlavors": [flavor_of(hands, SHARE)]}]}
    hands.change(CLUSTER_QUEUE, name(queue_of(hands)), {"spec": {"admissionChecksStrategy": asked}})
    operands.until(lambda: state(queue_of(hands), "Active")[0] == "True", "the queue knows its check")
    submit(hands, work.template({SHARE: "1"}))
    operands.until(lambda: _undecided(hands), "the check is asked")


def _undecided(hands: Hands) -> bool:
    return _decisions(hands) == ["Pending"] and state(workload(hands), "QuotaReserved")[0] == "True"


def _decisions(hands: Hands) -> list[str]:
    return [text(each, "state") for each in items(workload(hands), "status", "admissionChecks")]


def _rejected(hands: Hands) -> None:
    """The check says no; Kueue then gives the workload up."""
    _check_by_hand(hands)
    asked = workload(hands)
    said = items(asked, "status", "admissionChecks")
    no = [{**each, "state": "Rejected", "message": "the team's budget is spent"} for each in said]
    hands.client.patch(
        WORKLOAD, name(asked), {"status": {"admissionChecks": no}}, namespace(asked), subresource="status"
    )


def _limited(hands: Hands) -> None:
    """A LimitRange that lets no container have what the job asks for."""
    meta = {"name": "small", "namespace": namespace(door(hands))}
    limits = [{"type": "Container", "max": {"memory": "2Gi"}}]
    hands.create({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": {"limits": limits}})
    submit(hands)


def _half_deleted(hands: Hands) -> None:
    """A ClusterQueue that lives by borrowing, deleted while a job of it runs."""
    model, here = queue_of(hands), namespace(door(hands))
    group = group_of(model, GPU)
    lent = [{"name": each, "nominalQuota": 0} for each in group["coveredResources"]]
    groups = [{"coveredResources": group["coveredResources"],
               "flavors": [{"name": flavor_of(hands, GPU), "resources": lent}]}]  # fmt: skip
    kept = ("cohortName", "namespaceSelector", "preemption")
    spec = {**{each: model["spec"][each] for each in kept}, "resourceGroups": groups}
    hands.create({"apiVersion": VERSION, "kind": "ClusterQueue", "metadata": {"name": "guests"}, "spec": spec})
    meta = {"name": "guests", "namespace": here}
    hands.create({"apiVersion": VERSION, "kind": "LocalQueue", "metadata": meta, "spec": {"clusterQueue": "guests"}})
    submit(hands, queue="guests")
    operands.until(lambda: admitted(hands), "the job is admitted")
    hands.remove(CLUSTER_QUEUE, "guests")


def _terminates(hands: Hands) -> bool:
    found = hands.get(CLUSTER_QUEUE, "guests")
    return bool(get(found, "metadata", "deletionTimestamp")) and state(found, "Active")[1] == "Terminating"


FAULTS: tuple[Fault, ...] = (
    fault("Q02", "a job that no queue knows of runs on a queue's nodes", _past, _runs_past),
    fault("Q05", "Kueue may no longer make Workloads, and a job waits without one", _may_not, _unseen, DUE),
    fault("Q40", "a ResourceQuota refuses the pods of a job that its queue has admitted", _tight, _refused, DUE),
    fault("Q40+image", "a job is admitted and its image cannot be pulled", _unpullable, _unpulled, DUE),
    fault(
        "Q43", "an admission check has rejected a job, and Kueue has given it up", _rejected,
        lambda hands: get(workload(hands), "spec", "active") is False,
    ),
    fault("Q44", "a job holds quota while an admission check does not decide", _check_by_hand, _undecided,
           _AFTER_HOURS),
    fault("Q50", "a job asks for more than the LimitRange of its namespace allows", _limited, waits),
    fault("Q53", "a ClusterQueue was deleted while a job of it runs", _half_deleted, _terminates),
)  # fmt: skip
