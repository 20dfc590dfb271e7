"""Faults of Kueue beside those of `queues`: flavors, cohorts and checks, and workloads that are admitted in vain."""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.kube.objects import Obj, get, items, mapping, name, namespace, number, text
from plimsoll.kube.pods import trouble
from plimsoll.lab.faults import operands, work
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.queues import CLUSTER_QUEUE, FLAVOR, LOCAL_QUEUE
from plimsoll.lab.faults.work import DUE, GPU, NAME, state

_V = "kueue.x-k8s.io/v1beta2"
_WORKLOAD, _COHORT, _CHECK = f"{_V}/Workload", f"{_V}/Cohort", f"{_V}/AdmissionCheck"
_ROLE = ("rbac.authorization.k8s.io/v1/ClusterRole", "kueue-manager-role")
_QUOTA = "v1/ResourceQuota"
_SHARE, _SLICE = f"{GPU}.shared", "nvidia.com/mig-1g.10gb"
_AFTER_HOURS = 90  # minutes: a check that decides is given an hour


def _door(hands: Hands) -> Obj:
    """The first LocalQueue, by namespace and name."""
    return operands.first(hands, sorted(hands.client.list(LOCAL_QUEUE), key=work.key), "a LocalQueue")


def _queue(hands: Hands) -> Obj:
    """The ClusterQueue behind it."""
    return hands.get(CLUSTER_QUEUE, text(_door(hands), "spec", "clusterQueue"))


def _submit(hands: Hands, pods: Obj | None = None, *, queue: str = "") -> None:
    """A job of one pod comes through the door."""
    door = _door(hands)
    work.job(hands, namespace(door), pods or work.template({GPU: "1"}), queue=queue or name(door))


def _workload(hands: Hands) -> Obj:
    """The Workload of that job; {} where Kueue has made none."""
    found = hands.client.list(_WORKLOAD, namespace(_door(hands)))
    return next((each for each in found if NAME in _owners(each)), {})


def _owners(obj: Obj) -> list[str]:
    return [text(each, "name") for each in items(obj, "metadata", "ownerReferences")]


def _waits(hands: Hands) -> bool:
    return state(_workload(hands), "QuotaReserved")[0] == "False"


def _admitted(hands: Hands) -> bool:
    return state(_workload(hands), "Admitted")[0] == "True"


def _pending(hands: Hands) -> bool:
    """Whether that job is admitted, and the scheduler finds no node for its pod."""
    return _admitted(hands) and work.waiting(hands, namespace(_door(hands)))


def _group(queue: Obj, resource: str) -> Obj:
    """The resource group of a ClusterQueue that covers a resource."""
    return next(each for each in items(queue, "spec", "resourceGroups") if resource in each["coveredResources"])


def _flavor_of(hands: Hands, resource: str) -> str:
    """The last flavor on which that ClusterQueue gives a resource: of whole GPUs the one that is always there."""
    return text(items(_group(_queue(hands), resource), "flavors")[-1], "name")


def _second_flavor(hands: Hands, title: str, quota: int, **more: object) -> None:
    """A flavor of the same nodes as that one, with quota in that ClusterQueue."""
    known = hands.get(FLAVOR, _flavor_of(hands, GPU))
    spec = {"nodeLabels": mapping(known, "spec", "nodeLabels"), "tolerations": work.TOLERATIONS, **more}
    hands.create({"apiVersion": _V, "kind": "ResourceFlavor", "metadata": {"name": title}, "spec": spec})

    def how(queue: Obj) -> None:
        group = _group(queue, GPU)
        amounts = [{"name": each, "nominalQuota": quota} for each in group["coveredResources"]]
        group["flavors"].append({"name": title, "resources": amounts})

    hands.change(CLUSTER_QUEUE, name(_queue(hands)), how)


def _no_racks(hands: Hands) -> None:
    """A flavor that counts by rack, before anybody has said what a rack is."""
    _second_flavor(hands, "by-rack", 0, topologyName="racks")
    _submit(hands)


def _cycle(hands: Hands) -> None:
    """Two cohorts that are each other's parent, and a job."""
    cohort = text(_queue(hands), "spec", "cohortName")
    hands.create({"apiVersion": _V, "kind": "Cohort", "metadata": {"name": "all"}, "spec": {"parentName": cohort}})
    hands.change(_COHORT, cohort, {"spec": {"parentName": "all"}})
    _submit(hands)


def _alone(hands: Hands) -> None:
    """A letter of a cohort's name is lost."""
    queue = _queue(hands)
    hands.change(CLUSTER_QUEUE, name(queue), {"spec": {"cohortName": text(queue, "spec", "cohortName")[:-1]}})


def _relabelled(hands: Hands) -> None:
    """The flavor's label no longer is that of the nodes, and a job is sent to them."""
    title = _flavor_of(hands, _SHARE)
    wrong = {key: f"{value}-v2" for key, value in mapping(hands.get(FLAVOR, title), "spec", "nodeLabels").items()}
    hands.change(FLAVOR, title, {"spec": {"nodeLabels": wrong}})
    _submit(hands, work.template({_SHARE: "1"}))


def _reserved(hands: Hands) -> None:
    """Somebody taints the nodes of a flavor, and a job is sent to them."""
    wanted = mapping(hands.get(FLAVOR, _flavor_of(hands, _SLICE)), "spec", "nodeLabels")
    taint = {"key": "example.com/reserved", "value": "audit", "effect": "NoSchedule"}
    for machine in hands.client.list("v1/Node", labels=",".join(f"{key}={value}" for key, value in wanted.items())):
        hands.change("v1/Node", name(machine), {"spec": {"taints": [*items(machine, "spec", "taints"), taint]}})
    _submit(hands, work.template({_SLICE: "1"}))


def _tainted(hands: Hands) -> None:
    """A flavor says that its nodes are tainted, and nobody tolerates it."""
    taint = {"key": "example.com/reserved", "value": "audit", "effect": "NoSchedule"}
    hands.change(FLAVOR, _flavor_of(hands, GPU), {"spec": {"nodeTaints": [taint]}})
    _submit(hands)


def _may_not(hands: Hands) -> None:
    """Kueue's role is tightened by somebody who does not know what it makes."""

    def how(role: Obj) -> None:
        for rule in items(role, "rules"):
            if "workloads" in rule["resources"]:
                rule["verbs"] = [each for each in rule["verbs"] if each not in ("create", "delete")]

    hands.change(*_ROLE, how)
    operands.until(lambda: not _can_make(hands), "Kueue may make no Workloads")
    _submit(hands)


def _can_make(hands: Hands) -> bool:
    """Whether Kueue's controller may create Workloads, as the API server judges it."""
    asked = {"group": "kueue.x-k8s.io", "resource": "workloads", "verb": "create"}
    user = "system:serviceaccount:kueue-system:kueue-controller-manager"
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": asked}}  # fmt: skip
    said = hands.client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return get(said, "status", "allowed") is True


def _unseen(hands: Hands) -> bool:
    """Whether that job is suspended, and Kueue says why it has no Workload."""
    here = namespace(_door(hands))
    waits = get(hands.get(work.JOB, NAME, here), "spec", "suspend") is True
    return waits and not _workload(hands) and not _can_make(hands)


def _past(hands: Hands) -> None:
    """A job that no queue knows of takes a GPU that nobody waits for."""
    pool = mapping(hands.get(FLAVOR, _flavor_of(hands, GPU)), "spec", "nodeLabels")
    work.job(hands, work.space(hands), work.template({GPU: "1"}, nodeSelector=pool))


def _runs_past(hands: Hands) -> bool:
    found = hands.client.list("v1/Pod", f"{NAME}-{hands.fault.lower()}")
    return any(text(each, "status", "phase") == "Running" for each in found)


def _tight(hands: Hands) -> None:
    """The namespace's ResourceQuota is cut to what is in use, below what its queue gives."""
    here = namespace(_door(hands))
    line = f"requests.{GPU}"
    limits = [each for each in hands.client.list(_QUOTA, here) if line in mapping(each, "spec", "hard")]
    quota = operands.first(hands, limits, f"a ResourceQuota of {line} in {here}")
    used = text(quota, "status", "used", line)
    hands.change(_QUOTA, name(quota), {"spec": {"hard": {line: used}}}, here)
    operands.until(lambda: text(hands.get(_QUOTA, name(quota), here), "status", "hard", line) == used, "quota cut")
    _submit(hands)


def _refused(hands: Hands) -> bool:
    """Whether that job is admitted and told that it may have no pod."""
    told = hands.client.list("v1/Event", namespace(_door(hands)), fields="reason=FailedCreate")
    return _admitted(hands) and any(text(each, "involvedObject", "name") == NAME for each in told)


def _unpullable(hands: Hands) -> None:
    _submit(hands, work.template({GPU: "1"}, notes={"lab.plimsoll.dev/image-pull": NAME}))


def _unpulled(hands: Hands) -> bool:
    found = [trouble(each) for each in work.pods_of(hands, namespace(_door(hands)))]
    return _admitted(hands) and any(each is not None and each.state == "image" for each in found)


def _check_by_hand(hands: Hands) -> None:
    """An admission check of somebody's own controller, which no lab has: what that says is written by hand.

    It is asked for shares of GPUs only, so that what runs on whole ones is not asked anew.
    """
    meta = {"name": "budget"}
    hands.create({"apiVersion": _V, "kind": "AdmissionCheck", "metadata": meta,
                  "spec": {"controllerName": "example.com/budget"}})  # fmt: skip
    active = {"type": "Active", "status": "True", "reason": "Active", "message": "The budget is known",
              "lastTransitionTime": text(hands.get(_CHECK, "budget"), "metadata", "creationTimestamp")}  # fmt: skip
    hands.status(_CHECK, "budget", {"conditions": [active]})
    asked = {"admissionChecks": [{"name": "budget", "onFlavors": [_flavor_of(hands, _SHARE)]}]}
    hands.change(CLUSTER_QUEUE, name(_queue(hands)), {"spec": {"admissionChecksStrategy": asked}})
    operands.until(lambda: state(_queue(hands), "Active")[0] == "True", "the queue knows its check")
    _submit(hands, work.template({_SHARE: "1"}))
    operands.until(lambda: _undecided(hands), "the check is asked")


def _undecided(hands: Hands) -> bool:
    return _decisions(hands) == ["Pending"] and state(_workload(hands), "QuotaReserved")[0] == "True"


def _decisions(hands: Hands) -> list[str]:
    return [text(each, "state") for each in items(_workload(hands), "status", "admissionChecks")]


def _rejected(hands: Hands) -> None:
    """The check says no; Kueue then gives the workload up."""
    _check_by_hand(hands)
    asked = _workload(hands)
    said = items(asked, "status", "admissionChecks")
    no = [{**each, "state": "Rejected", "message": "the team's budget is spent"} for each in said]
    hands.client.patch(
        _WORKLOAD, name(asked), {"status": {"admissionChecks": no}}, namespace(asked), subresource="status"
    )


def _limited(hands: Hands) -> None:
    """A LimitRange that lets no container have what the job asks for."""
    meta = {"name": "small", "namespace": namespace(_door(hands))}
    limits = [{"type": "Container", "max": {"memory": "2Gi"}}]
    hands.create({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": {"limits": limits}})
    _submit(hands)


def _half_deleted(hands: Hands) -> None:
    """A ClusterQueue that lives by borrowing, deleted while a job of it runs."""
    model, here = _queue(hands), namespace(_door(hands))
    group = _group(model, GPU)
    lent = [{"name": each, "nominalQuota": 0} for each in group["coveredResources"]]
    groups = [{"coveredResources": group["coveredResources"],
               "flavors": [{"name": _flavor_of(hands, GPU), "resources": lent}]}]  # fmt: skip
    kept = ("cohortName", "namespaceSelector", "preemption")
    spec = {**{each: model["spec"][each] for each in kept}, "resourceGroups": groups}
    hands.create({"apiVersion": _V, "kind": "ClusterQueue", "metadata": {"name": "guests"}, "spec": spec})
    meta = {"name": "guests", "namespace": here}
    hands.create({"apiVersion": _V, "kind": "LocalQueue", "metadata": meta, "spec": {"clusterQueue": "guests"}})
    _submit(hands, queue="guests")
    operands.until(lambda: _admitted(hands), "the job is admitted")
    hands.remove(CLUSTER_QUEUE, "guests")


def _terminates(hands: Hands) -> bool:
    found = hands.get(CLUSTER_QUEUE, "guests")
    return bool(get(found, "metadata", "deletionTimestamp")) and state(found, "Active")[1] == "Terminating"


def _closed_door(hands: Hands) -> None:
    """A LocalQueue is held, and a job comes."""
    door = _door(hands)
    hands.change(LOCAL_QUEUE, name(door), {"spec": {"stopPolicy": "Hold"}}, namespace(door))
    _submit(hands)


def _setting(id_: str, title: str, preemption: Obj, *, busiest: bool = False) -> Fault:
    """A setting of preemption that does not do what it seems to; on the queue with most workloads where asked for."""

    def chosen(hands: Hands) -> Obj:
        if not busiest:
            return _queue(hands)
        found = sorted(hands.client.list(CLUSTER_QUEUE), key=name)
        return max(found, key=lambda each: number(each, "status", "admittedWorkloads"))

    def inject(hands: Hands) -> None:
        hands.change(CLUSTER_QUEUE, name(chosen(hands)), {"spec": {"preemption": preemption}})

    def shown(hands: Hands) -> bool:
        have = mapping(chosen(hands), "spec", "preemption")
        return all(key in have for key in preemption)

    return Fault(id=id_, title=title, where="queue", inject=inject, shown=shown)


def _fault(id_: str, title: str, inject: Callable[[Hands], None], shown: Callable[[Hands], bool], later: int = 0) -> (
    Fault
):  # fmt: skip
    return Fault(id=id_, title=title, where="queue", inject=inject, shown=shown, later=later)


FAULTS: tuple[Fault, ...] = (
    _fault("Q02", "a job that no queue knows of runs on a queue's nodes", _past, _runs_past),
    _fault("Q05", "Kueue may no longer make Workloads, and a job waits without one", _may_not, _unseen, DUE),
    _fault(
        "Q14", "a flavor names a topology that does not exist", _no_racks,
        lambda hands: state(_queue(hands), "Active") == ("False", "TopologyNotFound") and _waits(hands),
    ),
    _fault("Q15+local", "a queue of a namespace is still stopped after maintenance", _closed_door, _waits),
    _fault("Q16", "two cohorts are each other's parent", _cycle, lambda hands: bool(_workload(hands))),
    _fault(
        "Q17", "a ClusterQueue misspells its cohort and has nobody to borrow from", _alone,
        lambda hands: hands.client.get(_COHORT, text(_queue(hands), "spec", "cohortName")) is None,
    ),
    _fault("Q24", "a flavor's labels are those of no node", _relabelled, _pending),
    _fault(
        "Q25", "two flavors count the same nodes, and together promise more than they have",
        lambda hands: _second_flavor(hands, "reserve", 8),
        lambda hands: state(_queue(hands), "Active")[0] == "True",
    ),
    _fault("Q27", "nodes of a flavor carry a taint that it does not know of", _reserved, _pending),
    _fault(
        "Q28", "a job chooses nodes that no flavor of its queue has",
        lambda hands: _submit(hands, work.template({GPU: "1"}, nodeSelector={"plimsoll.dev/pool": "h200"})), _waits,
    ),
    _fault("Q28+taint", "a flavor declares a taint that nobody tolerates", _tainted, _waits),
    _setting(
        "Q31", "priorities are used in a queue where none preempts another", {"withinClusterQueue": "Never"},
        busiest=True,
    ),
    _setting(
        "Q32", "a setting of preemption is void because fair sharing is on",
        {"borrowWithinCohort": {"policy": "LowerPriority"}},
    ),
    _fault("Q40", "a ResourceQuota refuses the pods of a job that its queue has admitted", _tight, _refused, DUE),
    _fault("Q40+image", "a job is admitted and its image cannot be pulled", _unpullable, _unpulled, DUE),
    _fault(
        "Q43", "an admission check has rejected a job, and Kueue has given it up", _rejected,
        lambda hands: get(_workload(hands), "spec", "active") is False,
    ),
    _fault("Q44", "a job holds quota while an admission check does not decide", _check_by_hand, _undecided,
           _AFTER_HOURS),
    _fault("Q50", "a job asks for more than the LimitRange of its namespace allows", _limited, _waits),
    _fault("Q53", "a ClusterQueue was deleted while a job of it runs", _half_deleted, _terminates),
)  # fmt: skip
