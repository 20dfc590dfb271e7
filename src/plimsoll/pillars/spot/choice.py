"""Which spot capacity is bought, and in which order."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.nodes import selected
from plimsoll.kube.objects import Obj, items, mapping, name, text
from plimsoll.kube.snapshot import Snapshot
from plimsoll.pillars.spot.facts import SPOT_KEYS, required, spot_key, spot_nodes, spot_pools


@check(
    "S20", Severity.WARNING, Layer.RISK, reads=(kinds.NODE_POOL,),
    remedy="Allow at least two zones and several instance types",
    source="EC2 spot best practices; Karpenter requirements, minValues",
)  # fmt: skip
def spot_is_spread(case: Case) -> Iterator[Finding]:
    """A spot NodePool may choose between several zones or instance types.

    Spot capacity is reclaimed by zone and type. A pool that allows one of each loses all of its nodes
    at once and cannot buy others.
    """
    for pool in spot_pools(case.snapshot):
        zones = required(pool, "topology.kubernetes.io/zone")
        types = required(pool, "node.kubernetes.io/instance-type")
        if len(zones) == 1 and len(types) == 1:
            yield case.finding(
                pool,
                f"Spot NodePool {name(pool)} allows one instance type ({types[0]}) in one zone ({zones[0]})",
                "spec.template.spec.requirements",
                remedy=f"kubectl edit nodepool {name(pool)}   # requirements: more zones or types",
            )


@check(
    "S22", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_QUEUE, kinds.RESOURCE_FLAVOR),
    remedy="List the spot flavor before the on-demand one",
    source="kueue ClusterQueue.spec.resourceGroups[].flavors: the order is the preference",
)  # fmt: skip
def spot_comes_first(case: Case) -> Iterator[Finding]:
    """A ClusterQueue with spot and on-demand flavors tries spot first.

    Kueue takes the first flavor that fits, in the order listed. With on-demand first, spot is used
    only when on-demand is full: the dear nodes are bought, the cheap ones stand idle.
    """
    for queue in case.snapshot.list(kinds.CLUSTER_QUEUE):
        for index, group in enumerate(items(queue, "spec", "resourceGroups")):
            order = [text(each, "name") for each in items(group, "flavors")]
            flavors = [case.snapshot.get(kinds.RESOURCE_FLAVOR, each) for each in order]
            spot = [_buys_spot(case.snapshot, each) if each else None for each in flavors]
            if True in spot and False in spot and spot.index(False) < spot.index(True):
                yield case.finding(
                    queue,
                    f"ClusterQueue {name(queue)} tries {order[spot.index(False)]} before spot flavor"
                    f" {order[spot.index(True)]}",
                    f"spec.resourceGroups[{index}].flavors",
                    seen={"order": ", ".join(order)},
                    remedy=f"kubectl edit clusterqueue {name(queue)}   # move {order[spot.index(True)]} to the front",
                )


def _buys_spot(snapshot: Snapshot, flavor: Obj) -> bool:
    """Whether a ResourceFlavor stands for spot nodes: by its labels, a taint it declares, or because its nodes are."""
    wanted = mapping(flavor, "spec", "nodeLabels")
    declared = {text(each, "key"): text(each, "value") for each in items(flavor, "spec", "nodeTaints")}
    if spot_key(wanted) or any(
        value in (SPOT_KEYS.get(key), "") for key, value in declared.items() if key in SPOT_KEYS
    ):
        return True
    chosen = [node for node in snapshot.list(kinds.NODE) if selected(node, {"spec": {"nodeSelector": wanted}})]
    return bool(wanted and chosen) and all(name(node) in spot_nodes(snapshot) for node in chosen)
