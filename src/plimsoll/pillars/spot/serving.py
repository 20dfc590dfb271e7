"""What must not run on spot: services, and the programs everything else stands on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import has_gpu
from plimsoll.kube.objects import Obj, items, labels, name, namespace, text
from plimsoll.kube.pods import pods_by_node
from plimsoll.pillars.spot.facts import (
    SPOT_KEYS,
    asks_for_spot,
    on_spot,
    owner_of,
    pool_of,
    services,
    spot_key,
    spot_nodes,
    templates,
)

# Taints that do not keep services off spot: of a node's life cycle, or for every GPU node.
_OTHER_TAINTS = ("node.kubernetes.io/", "nvidia.com/", "karpenter.sh/disrupted", "karpenter.sh/unregistered")

# Programs whose loss stops more than themselves, by a part of their name.
_VITAL = ("kueue-controller", "keda-operator", "keda-metrics", "gpu-operator", "karpenter", "cluster-autoscaler",
          "prometheus", "coredns", "cert-manager", "cilium-operator", "plimsoll")  # fmt: skip


@check(
    "S01", Severity.ERROR, Layer.RISK, reads=(kinds.DEPLOYMENT, kinds.STATEFUL_SET),
    remedy="Remove the spot toleration and selector; require nodes that are not spot",
    source="EC2, GCE, AKS spot documentation: reclaimed after 120, 30, 30 seconds",
)  # fmt: skip
def services_do_not_choose_spot(case: Case) -> Iterator[Finding]:
    """No real-time service chooses spot nodes.

    A spot node goes with 30 to 120 seconds of warning, a model needs minutes to load elsewhere. A
    service that tolerates a spot taint or selects a spot label drops its requests at the next
    reclaim, and reclaims come in waves. Serving over several clouds with spare replicas is the known
    exception: waive it there.
    """
    for service in services(case.snapshot):
        key, path = next((found for each in templates(service) if (found := asks_for_spot(each))[0]), ("", ""))
        if not key:
            continue
        kind, space, title = owner_of(service)
        there = len(on_spot(case.snapshot).get(owner_of(service), []))
        yield case.finding(
            service,
            f"{kind} {space}/{title} serves requests and chooses spot nodes ({key})",
            path,
            seen={"pods on spot nodes now": there},
            remedy=f"kubectl -n {space} edit {kind.lower()} {title}   # remove the toleration or selector for {key},\n"
            f"and require: affinity.nodeAffinity: {{key: {key}, operator: NotIn, values: [{SPOT_KEYS[key]}]}}",
        )


@check(
    "S02", Severity.WARNING, Layer.RISK, reads=(kinds.NODE, kinds.POD, kinds.DEPLOYMENT),
    remedy="Taint spot pools; let jobs tolerate the taint",
    source="EKS managed node groups and Karpenter put no taint on spot nodes",
)  # fmt: skip
def spot_nodes_are_tainted(case: Case) -> Iterator[Finding]:
    """Spot GPU nodes carry a taint, so that only what tolerates it lands there.

    GKE and AKS taint spot pools, EKS node groups and Karpenter do not. Without a taint the scheduler
    puts a service on a spot node as gladly as anywhere.
    """
    snapshot = case.snapshot
    pools: dict[tuple[str, str], list[Obj]] = defaultdict(list)
    for node in spot_nodes(snapshot).values():
        taints = [t for t in items(node, "spec", "taints") if t.get("effect") in ("NoSchedule", "NoExecute")]
        lasting = [t for t in taints if not text(t, "key").startswith(_OTHER_TAINTS)]
        if has_gpu(node) and not lasting:
            pools[pool_of(node)].append(node)
    serving: dict[str, set[str]] = defaultdict(set)
    for service in services(snapshot):
        for pod in on_spot(snapshot).get(owner_of(service), []):
            serving[text(pod, "spec", "nodeName")].add(f"{namespace(service)}/{name(service)}")
    for (key, pool), nodes in sorted(pools.items()):
        here = {name(node) for node in nodes}
        exposed = sorted(set().union(*(serving.get(node, set()) for node in here)))
        holder = snapshot.get(kinds.NODE_POOL, pool) if key == "karpenter.sh/nodepool" else None
        spot = spot_key(labels(nodes[0])) or "karpenter.sh/capacity-type"
        yield case.finding(
            holder or nodes[0],
            f"{many(len(nodes), 'spot GPU node')}{f' of pool {pool}' if pool else ''} "
            + ("carries no taint" if len(nodes) == 1 else "carry no taint")
            + (f"; {', '.join(exposed)} {'serves' if len(exposed) == 1 else 'serve'} there now" if exposed else ""),
            "spec.template.spec.taints" if holder else "spec.taints",
            seen={"nodes": ", ".join(sorted(here)[:10]), "services there": ", ".join(exposed)},
            severity=Severity.ERROR if exposed else None,
            remedy=f"Taint the pool where it is defined: {spot}={SPOT_KEYS[spot]}:NoSchedule\n"
            + (f"kubectl edit nodepool {pool}   # spec.template.spec.taints\n" if holder else "")
            + "and give spot jobs (or their ResourceFlavor) the toleration",
        )


@check(
    "S30", Severity.WARNING, Layer.RISK, reads=(kinds.POD,), whole=(kinds.NODE,),
    remedy="Give them a small on-demand node pool of their own",
    source="Karpenter, Kueue and KEDA installation guides: controllers run outside the nodes they manage",
)  # fmt: skip
def vital_programs_are_safe(case: Case) -> Iterator[Finding]:
    """Schedulers, operators, DNS and monitoring do not run on spot nodes alone.

    When a wave of reclaims comes, these are what must go on working: they requeue, replace and
    report. If all pods of one of them stand on spot nodes they go in the same wave.
    """
    snapshot = case.snapshot
    everywhere: dict[tuple[str, str], int] = defaultdict(int)
    if not spot_nodes(snapshot):
        return
    for pods in pods_by_node(snapshot).values():
        for pod in pods:
            everywhere[namespace(pod), text(pod, "metadata", "generateName")] += 1
    for (kind, space, title), pods in sorted(on_spot(snapshot).items()):
        known = kinds.BY_NAME.get(kind)
        if kind not in ("Deployment", "StatefulSet") or known is None or not any(part in title for part in _VITAL):
            continue
        total = sum(everywhere[key] for key in {(namespace(p), text(p, "metadata", "generateName")) for p in pods})
        if total > len(pods):
            continue
        yield case.finding(
            snapshot.get(known, title, space) or pods[0],
            f"{kind} {space}/{title} runs on spot nodes only ({many(len(pods), 'pod')})",
            "spec.template.spec.nodeSelector",
            seen={"nodes": ", ".join(sorted({text(pod, "spec", "nodeName") for pod in pods}))},
            remedy=f"kubectl -n {space} edit {kind.lower()} {title}   # nodeSelector or affinity for an on-demand pool",
        )
