"""Checks on pods that ask for GPUs and get no node: GPU064, GPU065, GPU067."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import name, namespace
from plimsoll.pillars.operator.checks.waiting import Wait, waits

_LOOK = "kubectl get pods -A --field-selector status.phase=Pending; kubectl -n <namespace> describe pod <pod>"


def _finding(case: Case, wait: Wait, remedy: str, severity: Severity | None = None) -> Finding:
    pod, others = wait.pods[0], len(wait.pods) - 1
    more = f" (and {others} more like it)" if others else ""
    return case.finding(
        pod,
        f"Pod {namespace(pod)}/{name(pod)}{more} {wait.says}",
        "status.conditions[PodScheduled].message",
        "spec.nodeSelector",
        seen={"asks for": wait.wants, "nodes it could use": ", ".join(sorted(wait.nodes)[:10])},
        affects=wait.affects,
        remedy=f"kubectl -n {namespace(pod)} describe pod {name(pod)}\n{remedy}",
        severity=severity,
    )


@check("GPU064", Severity.ERROR, Layer.SCHEDULING, reads=(kinds.POD,), whole=(kinds.NODE, kinds.POD),
       remedy=_LOOK, source="kube-scheduler NodeResourcesFit, NodeAffinity")  # fmt: skip
def waiting_pods_wait_for_use(case: Case) -> Iterator[Finding]:
    """A pod that waits for GPUs waits only because they are in use.

    Anything else never ends by itself: selectors that match no node with the resource, a
    request larger than any node (containers of one pod add up), GPUs that lie free in
    pieces on several nodes, or a node that has them but is refused for another reason.
    Pods younger than ten minutes do not count (two, where no autoscaler could bring another
    kind of node and time cannot help), nor do pods a node is being bought for.
    """
    remedies = {
        "selector": "kubectl get nodes -L nvidia.com/gpu.product,node.kubernetes.io/instance-type\n"
        "correct nodeSelector or affinity of its owner",
        "size": "ask for no more than one node has: lower the request or split the job over several pods",
        "free": "the message names what else is short: CPU, memory, a volume's zone, anti-affinity, topology spread",
        "scattered": "move small pods together, or let the job take fewer GPUs per pod: kubectl get pods -A -o wide\n"
        "to avoid it: schedule small pods with MostAllocated scoring, or give them a pool of their own",
        "lost": "mend the nodes named above, or uncordon them: kubectl get nodes",
    }
    for wait in waits(case.snapshot):
        if wait.reason in remedies:
            milder = Severity.WARNING if wait.reason == "scattered" else None  # it starts when one more job ends
            yield _finding(case, wait, remedies[wait.reason], milder)


@check("GPU065", Severity.ERROR, Layer.SCHEDULING, reads=(kinds.POD,), whole=(kinds.NODE, kinds.DEVICE_CLASS),
       remedy=_LOOK, source="Kubernetes extended resources; k8s-device-plugin README")  # fmt: skip
def requested_resources_exist(case: Case) -> Iterator[Finding]:
    """Every GPU resource a waiting pod asks for is one that some node has.

    Sharing with `renameByDefault` turns nvidia.com/gpu into nvidia.com/gpu.shared, MIG turns
    it into nvidia.com/mig-..., and the profile names differ between GPU models. A pod that
    asks for the wrong name waits for ever, and its message only says "Insufficient".
    """
    for wait in waits(case.snapshot):
        if wait.reason == "nobody":
            yield _finding(
                case, wait,
                "kubectl get nodes -o custom-columns=NODE:.metadata.name,OFFERS:.status.allocatable\n"
                "ask for a name from that list, or give a pool the layout that has it",
            )  # fmt: skip


@check("GPU067", Severity.ERROR, Layer.SCHEDULING, reads=(kinds.POD,), whole=(kinds.NODE,), remedy=_LOOK,
       source="Kubernetes taints and tolerations, ExtendedResourceToleration admission")  # fmt: skip
def gpu_pods_tolerate_gpu_nodes(case: Case) -> Iterator[Finding]:
    """A pod that asks for GPUs tolerates the taints of the nodes that have them.

    Tainting GPU nodes keeps other pods away, but a GPU pod without the toleration is kept
    away too and waits for ever. The admission plugin ExtendedResourceToleration adds the
    toleration to every pod that asks for the resource of the same name as the taint.
    """
    for wait in waits(case.snapshot):
        if wait.reason == "taint":
            yield _finding(
                case, wait,
                "add to its owner's template, with the key named above:\n"
                "tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]\n"
                "or switch on --enable-admission-plugins=ExtendedResourceToleration in the API server",
            )  # fmt: skip
