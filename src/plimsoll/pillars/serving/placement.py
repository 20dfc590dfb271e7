"""Whether the replicas a service may have find room, storage and a way off a node: V25, V35, V57."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.nodes import capacity, gpu_nodes, selected
from plimsoll.kube.objects import get, items, labels, mapping, name, namespace, number, selects, text
from plimsoll.kube.served import Served, served
from plimsoll.kube.snapshot import Snapshot
from plimsoll.pillars.serving.servers import edit, title
from plimsoll.pillars.serving.state import replicas
from plimsoll.units import count


def _most(each: Served) -> int:
    """The most replicas a service may have."""
    tops = [number(scaler, "spec", "maxReplicas") for scaler in each.hpas]
    for scaler in each.scaled:
        top = get(scaler, "spec", "maxReplicaCount")
        tops.append(top if isinstance(top, int) else 100)
    return max([replicas(each.obj), *tops])


@check("V25", Severity.WARNING, Layer.RISK, reads=(kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.RESOURCE_QUOTA),
       remedy="kubectl get scaledobject,hpa,resourcequota -A",
       source="ResourceQuota and HPA behaviour (Pending pods count as replicas)")  # fmt: skip
def maximum_fits(case: Case) -> Iterator[Finding]:
    """The most replicas a service may have fit into its quota and onto its GPUs.

    Replicas beyond that stay Pending. The autoscaler counts them as there, the metric per replica falls,
    and the service looks scaled while its users wait. Where nodes are bought on demand only the quota counts.
    """
    for each in served(case.snapshot):
        most = _most(each)
        if most <= replicas(each.obj):
            continue
        for resource, wanted in each.gpus.items():
            room = min(_rooms(case.snapshot, each, resource), default=None)
            if room is None or most * wanted <= room[0]:
                continue
            yield case.finding(
                (each.scaled or each.hpas or (each.obj,))[0],
                f"{title(each)} may grow to {most} replicas of {wanted} {resource}, and {room[1]} {room[0]}",
                "spec.maxReplicaCount",
                "spec.maxReplicas",
                seen={"wanted at most": most * wanted, "there is": room[0]},
                remedy=f"lower the maximum to {room[0] // wanted}, or raise what limits it",
            )
            break


def _rooms(snapshot: Snapshot, each: Served, resource: str) -> list[tuple[int, str]]:
    """What limits a service's GPUs: number and whose it is."""
    found = []
    for quota in snapshot.list(kinds.RESOURCE_QUOTA):
        hard = mapping(quota, "spec", "hard").get(f"requests.{resource}")
        if namespace(quota) == namespace(each.obj) and hard is not None:
            found.append((count(hard), f"ResourceQuota {name(quota)} allows"))
    if snapshot.whole(kinds.NODE) and not _grows(snapshot):
        homes = [node for node in gpu_nodes(snapshot) if selected(node, each.template)]
        # what nodes have when well, taints and use aside: one that is broken today is another check's matter
        if homes and all(any(capacity(node).values()) for node in homes):
            found.append((sum(capacity(node).get(resource, 0) for node in homes), "its nodes have"))
    return found


def _grows(snapshot: Snapshot) -> bool:
    """Whether somebody adds nodes: Karpenter, or a cluster autoscaler."""
    return bool(snapshot.list(kinds.NODE_POOL)) or any(
        "cluster-autoscaler" in name(each) for each in snapshot.list(kinds.DEPLOYMENT)
    )


@check("V35", Severity.WARNING, Layer.RISK, reads=(kinds.DEPLOYMENT, kinds.PVC),
       remedy="kubectl get pvc -A", source="Kubernetes volume access modes")  # fmt: skip
def replicas_can_share_their_volume(case: Case) -> Iterator[Finding]:
    """Replicas that share a volume can all mount it.

    A ReadWriteOnce volume is mounted on one node at a time. The second replica of a Deployment that lands on
    another node waits with Multi-Attach for ever, and scaling out buys a GPU that loads nothing.
    """
    for each in served(case.snapshot):
        if text(each.obj, "kind") != "Deployment" or _most(each) < 2:
            continue
        for volume in items(each.template, "spec", "volumes"):
            claim = text(volume, "persistentVolumeClaim", "claimName")
            found = case.snapshot.get(kinds.PVC, claim, namespace(each.obj)) if claim else None
            modes = get(found, "spec", "accessModes") if found else None
            if isinstance(modes, list) and modes and not {"ReadWriteMany", "ReadOnlyMany"} & set(map(str, modes)):
                yield case.finding(
                    each.obj,
                    f"{title(each)} may have {_most(each)} replicas on volume {claim}, which one node can mount",
                    f"{each.at}.spec.volumes",
                    seen={f"PersistentVolumeClaim {claim}: spec.accessModes": ", ".join(map(str, modes))},
                    remedy=edit(each, "keep the weights on a ReadOnlyMany or ReadWriteMany volume, or in a node cache"),
                )  # fmt: skip
                break


@check("V57", Severity.WARNING, Layer.RISK, reads=(kinds.PDB,), whole=(kinds.DEPLOYMENT,),
       remedy="kubectl get pdb -A", source="Kubernetes docs (drain and disruption budgets)")  # fmt: skip
def budgets_let_nodes_drain(case: Case) -> Iterator[Finding]:
    """A disruption budget of a served model lets at least one replica go.

    A budget that needs every replica refuses each eviction: draining the node for a driver upgrade, a MIG
    change or a repair hangs, and ends in somebody deleting the pod by hand.
    """
    for budget in case.snapshot.list(kinds.PDB):
        healthy, wanted = number(budget, "status", "expectedPods"), number(budget, "status", "desiredHealthy")
        owners = [
            each
            for each in served(case.snapshot)
            if namespace(each.obj) == namespace(budget)
            and selects(get(budget, "spec", "selector"), labels(each.template))
        ]
        if not owners or not healthy or wanted < healthy:
            continue
        yield case.finding(
            budget,
            f"PodDisruptionBudget {namespace(budget)}/{name(budget)} needs {wanted} of {healthy} "
            f"replica{'' if healthy == 1 else 's'} of {name(owners[0].obj)}, so its nodes cannot be drained",
            "spec.minAvailable",
            "spec.maxUnavailable",
            "status.disruptionsAllowed",
            "status.expectedPods",
            remedy=f"kubectl -n {namespace(budget)} patch pdb {name(budget)} --type=merge "
            '-p \'{"spec":{"minAvailable":null,"maxUnavailable":1}}\'\n'
            "and a minimum of 2 replicas, so that one always serves",
        )
