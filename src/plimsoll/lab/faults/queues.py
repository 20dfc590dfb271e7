"""Faults of Kueue: its controller, its queues, what they promise, and jobs that go to or past them."""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.kube.nodes import allocatable, selected
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, number, text
from plimsoll.kube.pods import finished, gpu_requests
from plimsoll.lab.faults import operands, work
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.work import DUE, GPU, NAME, state

_V = "kueue.x-k8s.io/v1beta2"
CLUSTER_QUEUE, LOCAL_QUEUE, FLAVOR = f"{_V}/ClusterQueue", f"{_V}/LocalQueue", f"{_V}/ResourceFlavor"
_WORKLOAD = f"{_V}/Workload"
_SPACE, _MANAGER = "kueue-system", "kueue-controller-manager"
_CONFIG = ("v1/ConfigMap", "kueue-manager-config", _SPACE)


def _door(hands: Hands) -> Obj:
    """The first LocalQueue whose ClusterQueue always gives whole GPUs and may lend its users more."""
    found = sorted(hands.client.list(LOCAL_QUEUE), key=work.key)
    fit = [each for each in found if _gives(hands.client.get(CLUSTER_QUEUE, text(each, "spec", "clusterQueue")) or {})]
    return operands.first(hands, fit, "a LocalQueue with quota of GPUs")


def _gives(queue: Obj) -> list[Obj]:
    """The flavors of a ClusterQueue that give whole GPUs."""
    every = [flavor for group in items(queue, "spec", "resourceGroups") for flavor in items(group, "flavors")]
    return [
        flavor
        for flavor in every
        if any(each.get("name") == GPU and str(each.get("nominalQuota")) != "0" for each in items(flavor, "resources"))
    ]


def _queue(hands: Hands) -> str:
    """The ClusterQueue behind that door."""
    return text(_door(hands), "spec", "clusterQueue")


def _submit(hands: Hands, gpus: int = 1, *, queue: str = "", parallel: int = 1, resource: str = GPU,
            priority: str = "") -> None:  # fmt: skip
    """A job comes through the door."""
    door = _door(hands)
    pods = work.template({resource: str(gpus)})
    work.job(hands, namespace(door), pods, queue=queue or name(door), parallel=parallel, priority=priority)


def _waits(hands: Hands) -> bool:
    """Whether Kueue has looked at that job and not admitted it."""
    found = [each for each in hands.client.list(_WORKLOAD, namespace(_door(hands))) if _is_trial(each)]
    return bool(found) and all(state(each, "QuotaReserved")[0] == "False" for each in found)


def _is_trial(workload: Obj) -> bool:
    return any(each.get("name") == NAME for each in items(workload, "metadata", "ownerReferences"))


def _closed(id_: str, title: str, how: Callable[[Obj], None], reason: str) -> Fault:
    """A ClusterQueue is changed so that it admits nothing, and a job comes. reason: as Kueue gives it; "" for none."""

    def inject(hands: Hands) -> None:
        hands.change(CLUSTER_QUEUE, _queue(hands), how)
        _submit(hands)

    def shown(hands: Hands) -> bool:
        said = state(hands.get(CLUSTER_QUEUE, _queue(hands)), "Active")
        return (not reason or said == ("False", reason)) and _waits(hands)

    return Fault(id=id_, title=title, where="queue", inject=inject, shown=shown)


def _refused(id_: str, title: str, *, parallel: int = 1, gpus: int = 1, resource: str = GPU, queue: str = "") -> Fault:
    """A job that can never be admitted."""
    return Fault(
        id=id_,
        title=title,
        where="queue",
        inject=lambda hands: _submit(hands, gpus, parallel=parallel, resource=resource, queue=queue),
        shown=_waits,
    )


def _no_namespace(queue: Obj) -> None:
    queue["spec"].pop("namespaceSelector", None)


def _others(queue: Obj) -> None:
    queue["spec"]["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": "somebody-else"}}


def _no_flavor(queue: Obj) -> None:
    """A flavor of a pool that is still to come is named before it is made."""
    group = next(each for each in items(queue, "spec", "resourceGroups") if GPU in each["coveredResources"])
    amounts = [{"name": each, "nominalQuota": 0} for each in group["coveredResources"]]
    group["flavors"].append({"name": "b200", "resources": amounts})


def _no_check(queue: Obj) -> None:
    queue["spec"]["admissionChecksStrategy"] = {"admissionChecks": [{"name": "provision"}]}


def _hold(queue: Obj) -> None:
    queue["spec"]["stopPolicy"] = "Hold"


def _generous(queue: Obj) -> None:
    """Eight times the quota, for a quarter's end."""
    for each in _of_gpus(queue):
        each["nominalQuota"] = 8 * int(each["nominalQuota"])


def _promise(hands: Hands) -> None:
    hands.change(CLUSTER_QUEUE, _queue(hands), _generous)


def _promised(hands: Hands) -> bool:
    there = sum(allocatable(each).get(GPU, 0) for each in hands.client.list("v1/Node"))
    return sum(int(each["nominalQuota"]) for each in _of_gpus(hands.get(CLUSTER_QUEUE, _queue(hands)))) > there


def _of_gpus(queue: Obj) -> list[Obj]:
    return [each for flavor in _gives(queue) for each in items(flavor, "resources") if each.get("name") == GPU]


def _misnamed(queue: Obj) -> None:
    """Quota of whole GPUs on the pool whose GPUs are shared under another name."""
    for group in items(queue, "spec", "resourceGroups"):
        if f"{GPU}.shared" in group["coveredResources"]:
            group["coveredResources"] = ["nvidia.com/gpu-shared"]
            for each in items(group, "flavors", 0, "resources"):
                each["name"] = "nvidia.com/gpu-shared"


def _rename(hands: Hands) -> None:
    hands.change(CLUSTER_QUEUE, name(_spare(hands)), _misnamed)


def _spare(hands: Hands) -> Obj:
    """The last ClusterQueue that has quota of shares: nobody need wait in it."""
    found = sorted(hands.client.list(CLUSTER_QUEUE), key=name)
    fit = [each for each in found if f"{GPU}.shared" in str(mapping(each, "spec"))]
    return operands.first(hands, fit, "a ClusterQueue with quota of shared GPUs")


def _no_controller(hands: Hands) -> None:
    hands.stop("kueue")
    hands.change("apps/v1/Deployment", _MANAGER, {"spec": {"replicas": 0}}, _SPACE)


def _controller_gone(hands: Hands) -> bool:
    return not number(hands.get("apps/v1/Deployment", _MANAGER, _SPACE), "status", "replicas")


def _crash(hands: Hands) -> None:
    """A wrong line in its Configuration, and the controller comes up no more."""
    hands.stop("kueue")
    for pod in _managers(hands):
        operands.spoil(hands, pod, "manager", 'unable to load the configuration: unknown field "fairSharing.enabled"')


def _managers(hands: Hands) -> list[Obj]:
    return hands.client.list("v1/Pod", _SPACE, labels="control-plane=controller-manager")


def _crashes(hands: Hands) -> bool:
    found = hands.get("apps/v1/Deployment", _MANAGER, _SPACE)
    return operands.spoiled(_managers(hands)) and not number(found, "status", "availableReplicas")


def _unnamed(hands: Hands) -> None:
    """Jobs without a queue are Kueue's too from now on. One comes from a namespace that has none, and is suspended;
    by our hand, for the lab's Kueue does not read its Configuration again."""
    kind, title, here = _CONFIG
    file = "controller_manager_config.yaml"
    said = text(hands.get(*_CONFIG), "data", file)
    hands.change(kind, title, {"data": {file: f"manageJobsWithoutQueueName: true\n{said}"}}, here)
    work.job(hands, work.space(hands), work.template({GPU: "1"}), suspend=True)


def _lost_door(hands: Hands) -> None:
    """A LocalQueue for a ClusterQueue that does not exist, and a job that comes through it."""
    door = _door(hands)
    meta = {"name": "urgent", "namespace": namespace(door)}
    wrong = text(door, "spec", "clusterQueue") + "s"
    hands.create({"apiVersion": _V, "kind": "LocalQueue", "metadata": meta, "spec": {"clusterQueue": wrong}})
    _submit(hands, queue="urgent")


def _leads_nowhere(hands: Hands) -> bool:
    found = hands.get(LOCAL_QUEUE, "urgent", namespace(_door(hands)))
    return state(found, "Active") == ("False", "ClusterQueueDoesNotExist") and _waits(hands)


def _past_the_queue(hands: Hands) -> None:
    """A job of no queue takes every GPU that is free on a flavor's nodes; one that is admitted there then waits."""
    flavor = hands.get(FLAVOR, text(_gives(hands.get(CLUSTER_QUEUE, _queue(hands)))[0], "name"))
    pool = mapping(flavor, "spec", "nodeLabels")
    here = work.space(hands)
    free = _free(hands, pool)
    work.job(hands, here, work.template({GPU: "1"}, nodeSelector=pool), parallel=free)
    operands.until(lambda: len(_bound(hands, here)) == free, f"{free} pods outside the queues")
    _submit(hands)


def _free(hands: Hands, pool: dict[str, str]) -> int:
    """Whole GPUs that nobody holds on the nodes with these labels."""
    chooser = {"spec": {"nodeSelector": pool}}
    machines = {name(each): each for each in hands.client.list("v1/Node") if selected(each, chooser)}
    held = [each for each in hands.client.list("v1/Pod") if get(each, "spec", "nodeName") in machines]
    used = sum(gpu_requests(each).get(GPU, 0) for each in held if not finished(each))
    return sum(allocatable(each).get(GPU, 0) for each in machines.values()) - used


def _bound(hands: Hands, here: str) -> list[Obj]:
    return [each for each in work.pods_of(hands, here) if text(each, "spec", "nodeName")]


def _crowded_out(hands: Hands) -> bool:
    return work.waiting(hands, namespace(_door(hands)))


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="Q00",
        title="Kueue's controller is scaled to 0",
        where="cluster",
        inject=_no_controller,
        shown=_controller_gone,
    ),
    Fault(id="Q00+crash", title="Kueue's controller crashes", where="cluster", inject=_crash, shown=_crashes),
    Fault(
        id="Q01",
        title="a job that no queue knows of holds GPUs that an admitted job was promised",
        where="queue",
        inject=_past_the_queue,
        shown=_crowded_out,
        later=DUE,
    ),
    Fault(
        id="Q04",
        title="a job without a queue is suspended, and nothing ever starts it",
        where="queue",
        inject=_unnamed,
        shown=lambda hands: any(get(each, "spec", "suspend") is True for each in hands.client.list(work.JOB)
                                if name(each) == NAME),
        later=DUE,
    ),
    _refused("Q06", "a job names a queue that does not exist", queue="defualt"),
    Fault(
        id="Q07",
        title="a queue of a namespace leads to a ClusterQueue that does not exist",
        where="queue",
        inject=_lost_door,
        shown=_leads_nowhere,
    ),
    _closed("Q09", "a ClusterQueue no longer selects the namespace that uses it", _others, ""),
    _closed("Q10", "a ClusterQueue has lost its namespaceSelector and takes no namespace", _no_namespace, ""),
    _closed("Q11", "a ClusterQueue names a flavor that does not exist", _no_flavor, "FlavorNotFound"),
    _closed("Q12", "a ClusterQueue asks for an admission check that is not there", _no_check, "AdmissionCheckNotFound"),
    _closed("Q15", "a ClusterQueue is still stopped after maintenance", _hold, "Stopped"),
    _refused("Q18", "a job asks for a resource that its queue has no quota of", resource="nvidia.com/mig-7g.80gb"),
    Fault(
        id="Q19",
        title="a ClusterQueue has quota of a resource that its nodes do not offer",
        where="queue",
        inject=_rename,
        shown=lambda hands: "nvidia.com/gpu-shared" in str(hands.client.list(CLUSTER_QUEUE)),
    ),
    _refused("Q20", "a job asks for more GPUs than its queue can ever give", parallel=20, gpus=8),
    Fault(
        id="Q21",
        title="a ClusterQueue promises more GPUs than there are",
        where="queue",
        inject=_promise,
        shown=_promised,
    ),
    Fault(
        id="Q38",
        title="a job names a priority class that does not exist",
        where="queue",
        inject=lambda hands: _submit(hands, priority="prodution"),
        shown=lambda hands: any(labels(each).get("kueue.x-k8s.io/priority-class") == "prodution"
                                for each in hands.client.list(work.JOB)),
        later=DUE,
    ),
)  # fmt: skip
