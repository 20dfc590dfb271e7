"""ResourceFlavors and quota against the nodes that are there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import autoscaled, has_gpu, untolerated
from plimsoll.kube.objects import Obj, items, labels, mapping, name, text
from plimsoll.kube.pods import gpu_pods
from plimsoll.kube.snapshot import Snapshot
from plimsoll.pillars.queueing.blame import stuck_by
from plimsoll.pillars.queueing.facts import (
    Pot,
    cluster_queue_of,
    flavor_nodes,
    gpu_promises,
    managed,
    near,
    queue_tokens,
    quotas,
)
from plimsoll.pillars.queueing.supply import Stuck, hardware, has, mismatch, passing, promised

_FLAVOR_NODES = "kubectl get resourceflavors -o custom-columns=FLAVOR:.metadata.name,LABELS:.spec.nodeLabels"


def _tokens(snapshot: Snapshot, victims: list[Stuck]) -> set[str]:
    """What stuck pods take with them: their pods, workloads and the queues that admitted them."""
    found = {f"queue/{cluster_queue_of(snapshot, each.workload)}" for each in victims} - {"queue/"}
    return found.union(*(each.tokens for each in victims))


def _users(snapshot: Snapshot, flavor: str) -> list[Obj]:
    """ClusterQueues with quota above zero on a flavor, by name."""
    return [
        queue
        for queue in sorted(snapshot.list(kinds.CLUSTER_QUEUE), key=name)
        if any(line.flavor == flavor and line.nominal > 0 for line in quotas(queue))
    ]


def _depends(queue: Obj, flavors: set[str]) -> bool:
    """Whether some resource of a ClusterQueue has quota on these flavors only."""
    places: dict[str, set[str]] = defaultdict(set)
    for line in quotas(queue):
        if line.nominal > 0:
            places[line.resource].add(line.flavor)
    return any(found <= flavors for found in places.values())


@check(
    "Q19", Severity.ERROR, Layer.QUOTA, reads=(kinds.CLUSTER_QUEUE, kinds.RESOURCE_FLAVOR), whole=(kinds.NODE,),
    remedy="kubectl get nodes -o yaml | grep nvidia.com/; kubectl get clusterqueues -o yaml",
    source="kueue ClusterQueue coveredResources; k8s-device-plugin mig-strategy and sharing resource names",
)  # fmt: skip
def quota_names_real_resources(case: Case) -> Iterator[Finding]:
    """Every GPU resource with quota is one the flavor's nodes offer.

    MIG and time-slicing change resource names: `nvidia.com/gpu` becomes `nvidia.com/mig-1g.10gb` or
    `nvidia.com/gpu.shared`. Quota under the old name is admitted against and never runs, and what
    the nodes do offer is in nobody's quota.
    """
    snapshot = case.snapshot
    for queue in snapshot.list(kinds.CLUSTER_QUEUE):
        for line in quotas(queue):
            pot = line.flavor, line.resource
            offered = mismatch(snapshot, pot) if line.nominal > 0 and pot in gpu_promises(snapshot) else {}
            if not offered:
                continue
            victims = [
                each
                for each in stuck_by(snapshot, "Q19")
                if (each.flavor, each.resource) == pot and cluster_queue_of(snapshot, each.workload) == name(queue)
            ]
            shown = ", ".join(f"{amount} {resource}" for resource, amount in offered.items())
            yield case.finding(
                queue,
                f"ClusterQueue {name(queue)} promises {line.nominal} {line.resource} on flavor {line.flavor},"
                f" whose nodes offer {', '.join(offered)} instead",
                "spec.resourceGroups",
                seen={"offered": shown, "pods waiting for it": len(victims)},
                affects={f"queue/{name(queue)}"}
                | _tokens(snapshot, victims)
                | {f"node/{name(node)}" for node in flavor_nodes(snapshot).get(line.flavor, ())},
                remedy=f"kubectl edit clusterqueue {name(queue)}   # cover {', '.join(offered)} instead\n"
                "or map the names in Kueue's Configuration: resources.transformations[] {input, outputs}",
            )


@check(
    "Q21", Severity.ERROR, Layer.QUOTA, reads=(kinds.CLUSTER_QUEUE, kinds.RESOURCE_FLAVOR), whole=(kinds.NODE,),
    remedy="Lower nominalQuota to what the flavor's nodes have",
    source="kubernetes-sigs/kueue#2665: nothing in Kueue compares quota with capacity",
)  # fmt: skip
def promises_can_be_kept(case: Case) -> Iterator[Finding]:
    """No more GPUs are promised than the flavor's nodes have.

    Kueue admits against quota, not against nodes. With more quota than hardware a job is admitted,
    its pods stay Pending, and it holds the quota of others while it waits. Nodes count with what they
    have when well; where an autoscaler may add nodes, the sum proves nothing and is not judged.
    """
    snapshot = case.snapshot
    if autoscaled(snapshot):
        return
    for pot, lines in gpu_promises(snapshot).items():
        flavor, resource = pot
        total, there = promised(snapshot, pot), has(snapshot, pot)
        if total <= there or not flavor_nodes(snapshot).get(flavor) or mismatch(snapshot, pot):
            continue
        if not there and not any(has_gpu(node) for node in flavor_nodes(snapshot)[flavor]):
            continue  # nobody has found a GPU there yet: that is the operator's trouble, not the quota's
        victims = [each for each in stuck_by(snapshot, "Q21") if (each.flavor, each.resource) == pot]
        holder = _largest(snapshot, lines)
        if holder is None:
            continue
        if any(not mapping(node, "status", "capacity") for node in flavor_nodes(snapshot)[flavor]):
            yield case.unknown(holder, f"the capacity of some node of flavor {flavor} was not read")
            continue
        listed = ", ".join(f"{who} {amount}" for who, amount in sorted(lines.items()))
        yield case.finding(
            holder,
            f"{total} {resource} are promised on flavor {flavor}, whose nodes have {there}"
            + (f"; {many(len(victims), 'admitted pod', 'finds', 'find')} no room" if victims else ""),
            "spec.resourceGroups",
            seen={"promised": listed, "nodes": len(flavor_nodes(snapshot)[flavor]), "GPUs there": there},
            affects=_tokens(snapshot, victims),
            severity=Severity.ERROR if victims else Severity.WARNING,
            layer=Layer.QUOTA if victims else Layer.RISK,
            remedy=f"kubectl edit {text(holder, 'kind').lower()} {name(holder)}"
            f"   # nominalQuota of {resource}: together at most {there}\n"
            "A lower quota evicts nothing; what is admitted above it runs to its end",
        )


def _largest(snapshot: Snapshot, lines: dict[str, int]) -> Obj | None:
    """The ClusterQueue with the largest promise; a Cohort where only cohorts promise."""
    for prefix, kind in (("", kinds.CLUSTER_QUEUE), ("cohort ", kinds.COHORT)):
        own = {who: amount for who, amount in lines.items() if who.startswith("cohort ") == bool(prefix)}
        if own:
            return snapshot.get(kind, max(own, key=lambda who: (own[who], who)).removeprefix(prefix))
    return None


@check(
    "Q24", Severity.ERROR, Layer.QUOTA, reads=(kinds.RESOURCE_FLAVOR, kinds.CLUSTER_QUEUE), whole=(kinds.NODE,),
    remedy=f"{_FLAVOR_NODES}; kubectl get nodes --show-labels",
    source="kueue ResourceFlavor.spec.nodeLabels: injected as nodeSelector of admitted pods",
)  # fmt: skip
def flavors_have_nodes(case: Case) -> Iterator[Finding]:
    """Every ResourceFlavor with quota selects at least one node.

    Kueue writes the flavor's labels into the nodeSelector of every pod it admits there. If no node
    carries them, workloads are admitted, hold quota, and their pods never start. A typo in a label
    and a relabelled node pool look the same.
    """
    snapshot = case.snapshot
    dead = {title for title, nodes in flavor_nodes(snapshot).items() if not nodes}
    victims: dict[str, list[Stuck]] = defaultdict(list)
    for each in stuck_by(snapshot, "Q24"):
        victims[each.flavor].append(each)
    for flavor in snapshot.list(kinds.RESOURCE_FLAVOR):
        title = name(flavor)
        users = _users(snapshot, title)
        if title not in dead or not users or (autoscaled(snapshot) and not victims[title]):
            continue
        closed = [queue for queue in users if _depends(queue, dead)]
        yield case.finding(
            flavor,
            f"ResourceFlavor {title} selects no node, yet {', '.join(map(name, users))}"
            f" {'promises' if len(users) == 1 else 'promise'} quota on it",
            "spec.nodeLabels",
            seen={"closest labels on nodes": _closest(snapshot, flavor), "pods waiting for it": len(victims[title])},
            affects=_tokens(snapshot, victims[title]).union(*(queue_tokens(snapshot, name(each)) for each in closed)),
            severity=Severity.ERROR if victims[title] or closed else Severity.WARNING,
            remedy=f"kubectl get resourceflavor {title} -o yaml; kubectl get nodes --show-labels\n"
            f"kubectl edit resourceflavor {title}   # spec.nodeLabels, or label the nodes that were meant\n"
            "Pods admitted with the old labels keep them: evict their workloads so that they are admitted anew",
        )


def _closest(snapshot: Snapshot, flavor: Obj) -> str:
    """For each label of a flavor the values nodes have under that key, or a key that looks alike."""
    have: dict[str, set[str]] = defaultdict(set)
    for node in snapshot.list(kinds.NODE):
        for key, value in labels(node).items():
            have[key].add(str(value))
    hints = []
    for key, value in sorted(mapping(flavor, "spec", "nodeLabels").items()):
        close = key if key in have else near(key, have)
        guess = near(str(value), have[close]) if close else ""
        hints.append(f"{close}={guess or '|'.join(sorted(have[close])[:8])}" if close else f"no node has {key}")
    return "; ".join(hints)


@check(
    "Q25", Severity.WARNING, Layer.RISK, reads=(kinds.RESOURCE_FLAVOR, kinds.CLUSTER_QUEUE), whole=(kinds.NODE,),
    remedy=_FLAVOR_NODES,
    source="kueue ResourceFlavor.spec.nodeLabels: flavors that share nodes share capacity",
)  # fmt: skip
def flavors_do_not_overlap(case: Case) -> Iterator[Finding]:
    """No node's GPUs are promised through two flavors beyond what it has.

    Kueue accounts for each flavor alone. A node that two flavors select is counted twice, and both
    can be admitted to the full. It is harmless while their quotas together fit the hardware.
    """
    snapshot = case.snapshot
    at: dict[tuple[str, str], set[str]] = defaultdict(set)
    for flavor, resource in gpu_promises(snapshot):
        if promised(snapshot, (flavor, resource)) > 0:
            for node in flavor_nodes(snapshot).get(flavor, ()):
                at[name(node), resource].add(flavor)
    shared = sorted({(resource, *sorted(flavors)) for (_, resource), flavors in at.items() if len(flavors) > 1})
    for resource, *flavors in shared:
        pots: list[Pot] = [(flavor, resource) for flavor in flavors]
        nodes = {name(node): node for flavor in flavors for node in flavor_nodes(snapshot)[flavor]}
        total = sum(promised(snapshot, pot) for pot in pots)
        there = sum(hardware(node, resource) for node in nodes.values())
        last = snapshot.get(kinds.RESOURCE_FLAVOR, flavors[-1])
        counted = all(mapping(node, "status", "capacity") for node in nodes.values())
        if total <= there or last is None or autoscaled(snapshot) or not counted:
            continue
        both = sum(set(flavors) <= found for (_, each), found in at.items() if each == resource)
        yield case.finding(
            last,
            f"Flavors {' and '.join(flavors)} select the same {many(both, 'node')}; together they promise"
            f" {total} {resource} of {there}",
            "spec.nodeLabels",
            seen={flavor: f"{promised(snapshot, (flavor, resource))} promised" for flavor in flavors},
            remedy=f"{_FLAVOR_NODES}\nGive each flavor labels of its own, or take the {resource} quota off one of them",
        )


@check(
    "Q27", Severity.WARNING, Layer.QUOTA, reads=(kinds.RESOURCE_FLAVOR, kinds.CLUSTER_QUEUE),
    whole=(kinds.NODE, kinds.POD),
    remedy="kubectl edit resourceflavor <name>   # spec.tolerations",
    source="kueue ResourceFlavor.spec.nodeTaints, tolerations",
)  # fmt: skip
def flavor_tolerates_its_nodes(case: Case) -> Iterator[Finding]:
    """Pods admitted to a flavor tolerate the taints of its nodes.

    Kueue looks at the taints a flavor declares, not at those its nodes carry. A taint that neither
    `nodeTaints` nor `tolerations` of the flavor names lets workloads be admitted whose pods no node
    takes. Taints of a node's life cycle are left out, and flavors whose pods do run there.
    """
    snapshot = case.snapshot
    victims: dict[str, list[Stuck]] = defaultdict(list)
    for each in stuck_by(snapshot, "Q27"):
        victims[each.flavor].append(each)
    for flavor in snapshot.list(kinds.RESOURCE_FLAVOR):
        title = name(flavor)
        nodes = flavor_nodes(snapshot)[title]
        kept = [(node, taints) for node in nodes if (taints := _undeclared(flavor, node))]
        hurt = victims[title]
        if not kept or not _users(snapshot, title):
            continue
        if not hurt and (len(kept) < len(nodes) or _in_use(snapshot, {name(node) for node, _ in kept})):
            continue
        taint = kept[0][1][0]
        shown = f"{text(taint, 'key')}={text(taint, 'value')}:{text(taint, 'effect')}"
        yield case.finding(
            flavor,
            f"ResourceFlavor {title} does not tolerate {shown}, which {len(kept)} of its"
            f" {many(len(nodes), 'node')} {'carries' if len(kept) == 1 else 'carry'}",
            "spec.tolerations",
            "spec.nodeTaints",
            seen={"nodes": ", ".join(name(node) for node, _ in kept[:10]), "pods kept out": len(hurt)},
            affects=_tokens(snapshot, hurt) | {f"node/{name(node)}" for node, _ in kept},
            severity=Severity.ERROR if hurt else None,
            remedy=f"kubectl edit resourceflavor {title}   # spec.tolerations:"
            f" [{{key: {text(taint, 'key')}, operator: Exists, effect: {text(taint, 'effect')}}}]\n"
            f"or take the taint off: kubectl taint node {' '.join(name(node) for node, _ in kept[:5])}"
            f" {text(taint, 'key')}:{text(taint, 'effect')}-",
        )


def _in_use(snapshot: Snapshot, nodes: set[str]) -> bool:
    """Whether a GPU pod of Kueue's runs on one of these nodes."""
    return any(text(pod, "spec", "nodeName") in nodes and managed(snapshot, pod) for pod, _ in gpu_pods(snapshot))


def _undeclared(flavor: Obj, node: Obj) -> list[Obj]:
    """Lasting taints of a node that its flavor neither tolerates nor declares."""
    declared = {(text(each, "key"), text(each, "effect")) for each in items(flavor, "spec", "nodeTaints")}
    return [
        taint
        for taint in untolerated(node, items(flavor, "spec", "tolerations"))
        if not passing(taint)
        and (text(taint, "key"), text(taint, "effect")) not in declared
        and not text(taint, "key").startswith("nvidia.com/")  # ExtendedResourceToleration adds it to GPU pods
    ]
