"""What faults of Kueue share: a job that comes through the first door there is, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.kube.objects import Obj, items, name, namespace, text
from plimsoll.lab.faults import operands, work
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.queues import CLUSTER_QUEUE, LOCAL_QUEUE
from plimsoll.lab.faults.work import GPU, NAME, state

VERSION = "kueue.x-k8s.io/v1beta2"
WORKLOAD = f"{VERSION}/Workload"
SHARE = f"{GPU}.shared"


def door(hands: Hands) -> Obj:
    """The first LocalQueue, by namespace and name."""
    return operands.first(hands, sorted(hands.client.list(LOCAL_QUEUE), key=work.key), "a LocalQueue")


def queue_of(hands: Hands) -> Obj:
    """The ClusterQueue behind it."""
    return hands.get(CLUSTER_QUEUE, text(door(hands), "spec", "clusterQueue"))


def submit(hands: Hands, pods: Obj | None = None, *, queue: str = "") -> None:
    """A job of one pod comes through the door."""
    entry = door(hands)
    work.job(hands, namespace(entry), pods or work.template({GPU: "1"}), queue=queue or name(entry))


def workload(hands: Hands) -> Obj:
    """The Workload of that job; {} where Kueue has made none."""
    found = hands.client.list(WORKLOAD, namespace(door(hands)))
    return next((each for each in found if NAME in _owners(each)), {})


def _owners(obj: Obj) -> list[str]:
    return [text(each, "name") for each in items(obj, "metadata", "ownerReferences")]


def waits(hands: Hands) -> bool:
    """Whether Kueue has looked at that job and reserves it no quota."""
    return state(workload(hands), "QuotaReserved")[0] == "False"


def admitted(hands: Hands) -> bool:
    """Whether Kueue has admitted that job."""
    return state(workload(hands), "Admitted")[0] == "True"


def pending(hands: Hands) -> bool:
    """Whether that job is admitted, and the scheduler finds no node for its pod."""
    return admitted(hands) and work.waiting(hands, namespace(door(hands)))


def group_of(queue: Obj, resource: str) -> Obj:
    """The resource group of a ClusterQueue that covers a resource."""
    return next(each for each in items(queue, "spec", "resourceGroups") if resource in each["coveredResources"])


def flavor_of(hands: Hands, resource: str) -> str:
    """The last flavor on which that ClusterQueue gives a resource: of whole GPUs the one that is always there."""
    return text(items(group_of(queue_of(hands), resource), "flavors")[-1], "name")


def fault(
    id_: str, title: str, inject: Callable[[Hands], None], shown: Callable[[Hands], bool], later: int = 0
) -> Fault:
    """A fault that befalls a queue."""
    return Fault(id=id_, title=title, where="queue", inject=inject, shown=shown, later=later)
