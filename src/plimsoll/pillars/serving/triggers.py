"""Prometheus triggers of ScaledObjects, as the checks on them read them."""

from __future__ import annotations

from typing import NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, get, items, name, namespace, number, text
from plimsoll.kube.pods import gpu_requests
from plimsoll.kube.served import find_target, template_of
from plimsoll.kube.snapshot import Snapshot, fact

EDIT = "kubectl -n <namespace> edit scaledobject <name>"


class Trigger(NamedTuple):
    """One Prometheus trigger of a ScaledObject that may drive GPUs."""

    scaled: Obj
    place: int  # in spec.triggers
    query: str
    at: str  # path of its metadata

    @property
    def where(self) -> str:
        return f"Trigger {self.place} of ScaledObject {namespace(self.scaled)}/{name(self.scaled)}"

    def meta(self, key: str) -> str:
        value = get(self.scaled, "spec", "triggers", self.place, "metadata", key)
        return str(value) if value is not None else ""


@fact
def prometheus_triggers(snapshot: Snapshot) -> tuple[Trigger, ...]:
    """Every Prometheus trigger with a query, less those whose target is known to hold no GPU."""
    found = []
    for scaled in snapshot.list(kinds.SCALED_OBJECT):
        aim = find_target(snapshot, scaled)
        if aim is not None and not gpu_requests(template_of(aim)[1]):
            continue
        for index, each in enumerate(items(scaled, "spec", "triggers")):
            query = text(each, "metadata", "query")
            if each.get("type") == "prometheus" and query:
                found.append(Trigger(scaled, index, query, f"spec.triggers[{index}].metadata"))
    return tuple(found)


def edit(scaled: Obj, then: str) -> str:
    return f"kubectl -n {namespace(scaled)} edit scaledobject {name(scaled)}\n{then}"


def replica_range(scaled: Obj) -> tuple[int, int]:
    """The lowest and highest replicas of a ScaledObject. KEDA's defaults are 0 and 100."""
    top = get(scaled, "spec", "maxReplicaCount")
    return number(scaled, "spec", "minReplicaCount"), top if isinstance(top, int) else 100
