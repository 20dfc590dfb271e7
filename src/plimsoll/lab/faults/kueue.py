"""Faults of Kueue's flavors, cohorts and settings; those of its queues are in `queues`."""

from __future__ import annotations

from plimsoll.kube.objects import Obj, items, mapping, name, namespace, number, text
from plimsoll.lab.faults import operands, work
from plimsoll.lab.faults.door import (
    SHARE,
    VERSION,
    door,
    fault,
    flavor_of,
    group_of,
    pending,
    queue_of,
    submit,
    waits,
    workload,
)
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.queues import CLUSTER_QUEUE, FLAVOR, LOCAL_QUEUE
from plimsoll.lab.faults.work import GPU, state

_COHORT = f"{VERSION}/Cohort"


def _second_flavor(hands: Hands, title: str, quota: int, **more: object) -> None:
    """A flavor of the same nodes as that one, with quota in that ClusterQueue."""
    known = hands.get(FLAVOR, flavor_of(hands, GPU))
    spec = {"nodeLabels": mapping(known, "spec", "nodeLabels"), "tolerations": work.TOLERATIONS, **more}
    hands.create({"apiVersion": VERSION, "kind": "ResourceFlavor", "metadata": {"name": title}, "spec": spec})

    def how(queue: Obj) -> None:
        group = group_of(queue, GPU)
        amounts = [{"name": each, "nominalQuota": quota} for each in group["coveredResources"]]
        group["flavors"].append({"name": title, "resources": amounts})

    hands.change(CLUSTER_QUEUE, name(queue_of(hands)), how)


def _no_racks(hands: Hands) -> None:
    """A flavor that counts by rack, before anybody has said what a rack is."""
    _second_flavor(hands, "by-rack", 0, topologyName="racks")
    submit(hands)


def _cycle(hands: Hands) -> None:
    """Two cohorts that are each other's parent, and a job."""
    cohort = text(queue_of(hands), "spec", "cohortName")
    hands.create({"apiVersion": VERSION, "kind": "Cohort", "metadata": {"name": "all"}, "spec": {"parentName": cohort}})
    hands.change(_COHORT, cohort, {"spec": {"parentName": "all"}})
    submit(hands)


def _alone(hands: Hands) -> None:
    """A letter of a cohort's name is lost."""
    queue = queue_of(hands)
    hands.change(CLUSTER_QUEUE, name(queue), {"spec": {"cohortName": text(queue, "spec", "cohortName")[:-1]}})


def _relabelled(hands: Hands) -> None:
    """The flavor's label no longer is that of the nodes, and a job is sent to them."""
    title = flavor_of(hands, SHARE)
    wrong = {key: f"{value}-v2" for key, value in mapping(hands.get(FLAVOR, title), "spec", "nodeLabels").items()}
    hands.change(FLAVOR, title, {"spec": {"nodeLabels": wrong}})
    submit(hands, work.template({SHARE: "1"}))


def _undeclared(hands: Hands) -> None:
    """A flavor no longer says that its nodes are tainted, and a job that does not tolerate it is sent there."""
    found = [each for each in hands.client.list(FLAVOR) if items(each, "spec", "nodeTaints")]
    flavor = operands.first(hands, found, "a flavor that declares a taint")
    hands.change(FLAVOR, name(flavor), {"spec": {"nodeTaints": None}})
    submit(hands)


def _tainted(hands: Hands) -> None:
    """A flavor says that its nodes are tainted, and nobody tolerates it."""
    taint = {"key": "example.com/reserved", "value": "audit", "effect": "NoSchedule"}
    hands.change(FLAVOR, flavor_of(hands, GPU), {"spec": {"nodeTaints": [taint]}})
    submit(hands)


def _closed_door(hands: Hands) -> None:
    """A LocalQueue is held, and a job comes."""
    entry = door(hands)
    hands.change(LOCAL_QUEUE, name(entry), {"spec": {"stopPolicy": "Hold"}}, namespace(entry))
    submit(hands)


def _setting(id_: str, title: str, preemption: Obj, *, busiest: bool = False) -> Fault:
    """A setting of preemption that does not do what it seems to; on the queue with most workloads where asked for."""

    def chosen(hands: Hands) -> Obj:
        if not busiest:
            return queue_of(hands)
        found = sorted(hands.client.list(CLUSTER_QUEUE), key=name)
        return max(found, key=lambda each: number(each, "status", "admittedWorkloads"))

    def inject(hands: Hands) -> None:
        hands.change(CLUSTER_QUEUE, name(chosen(hands)), {"spec": {"preemption": preemption}})

    def shown(hands: Hands) -> bool:
        have = mapping(chosen(hands), "spec", "preemption")
        return {**have, **preemption} == have

    return Fault(id=id_, title=title, where="queue", inject=inject, shown=shown)


FAULTS: tuple[Fault, ...] = (
    fault(
        "Q14", "a flavor names a topology that does not exist", _no_racks,
        lambda hands: state(queue_of(hands), "Active") == ("False", "TopologyNotFound") and waits(hands),
    ),
    fault("Q15+local", "a queue of a namespace is still stopped after maintenance", _closed_door, waits),
    fault("Q16", "two cohorts are each other's parent", _cycle, lambda hands: bool(workload(hands))),
    fault(
        "Q17", "a ClusterQueue misspells its cohort and has nobody to borrow from", _alone,
        lambda hands: hands.client.get(_COHORT, text(queue_of(hands), "spec", "cohortName")) is None,
    ),
    fault("Q24", "a flavor's labels are those of no node", _relabelled, pending),
    fault(
        "Q25", "two flavors count the same nodes, and together promise more than they have",
        lambda hands: _second_flavor(hands, "reserve", 16),
        lambda hands: "reserve" in [text(each, "name") for each in items(queue_of(hands), "status", "flavorsUsage")],
    ),
    fault("Q27", "a flavor does not declare the taint of its nodes", _undeclared, pending),
    fault(
        "Q28", "a job chooses nodes that no flavor of its queue has",
        lambda hands: submit(hands, work.template({GPU: "1"}, nodeSelector={"plimsoll.dev/pool": "h200"})), waits,
    ),
    fault("Q28+taint", "a flavor declares a taint that nobody tolerates", _tainted, waits),
    _setting(
        "Q31", "priorities are used in a queue where none preempts another", {"withinClusterQueue": "Never"},
        busiest=True,
    ),
    _setting(
        "Q32", "a setting of preemption is void because fair sharing is on",
        {"borrowWithinCohort": {"policy": "LowerPriority"}},
    ),
)  # fmt: skip
