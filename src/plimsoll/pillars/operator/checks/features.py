"""Checks on the labels that discovery leaves on nodes: GPU005, GPU006, GPU007."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.nodes import dra_nodes, gpu_nodes
from plimsoll.kube.objects import Obj, get, items, labels, name, namespace, text
from plimsoll.kube.operands import operand_states
from plimsoll.kube.pods import pods_by_node
from plimsoll.pillars.operator.checks import nfd
from plimsoll.pillars.operator.checks.age import lasting
from plimsoll.pillars.operator.checks.discovery import undiscovered
from plimsoll.pillars.operator.checks.versions import UPGRADE, upgrade
from plimsoll.units import moment


@check("GPU005", Severity.WARNING, Layer.RISK, reads=(kinds.DEPLOYMENT,),
       remedy=f"{UPGRADE}nfd.enabled=false",
       source="gpu-operator platform support (NFD already installed)")  # fmt: skip
def one_feature_discovery(case: Case) -> Iterator[Finding]:
    """Node feature discovery is installed once.

    Two masters write the labels of the same nodes, each with its own rules, and each
    removes what it does not know: GPU labels come and go, and operands with them.
    """
    found = sorted(
        nfd.masters(case.snapshot), key=lambda each: (text(each, "metadata", "creationTimestamp"), name(each))
    )
    for second in found[1:]:
        first = found[0]
        yield case.finding(
            second,
            "Node feature discovery is installed twice: "
            f"{namespace(first)}/{name(first)} and {namespace(second)}/{name(second)}",
            "metadata.creationTimestamp",
            "metadata.labels[app.kubernetes.io/instance]",
            remedy="kubectl get deploy,ds -A | grep -iE 'nfd|node-feature'\n"
            "keep the one other systems use; where that is not the operator's own:\n"
            f"{upgrade(case.snapshot, 'nfd.enabled=false')}",
        )


@check("GPU006", Severity.WARNING, Layer.OPERATOR_STATUS, reads=(kinds.NODE, kinds.POD),
       remedy="kubectl -n gpu-operator rollout restart deploy -l app.kubernetes.io/name=node-feature-discovery",
       source="gpu-feature-discovery timestamp label, NodeFeature API")  # fmt: skip
def labels_arrive(case: Case) -> Iterator[Finding]:
    """What GPU feature discovery finds arrives as labels on the node.

    GPU feature discovery hands its labels to the NFD master, which writes them. When the
    master is down nodes keep the labels of yesterday: a changed MIG layout, driver or
    sharing setting never shows, and a new node gets none, so jobs that select by product
    wait for ever.
    """
    if master := nfd.master_down(case.snapshot):
        yield from _master_finding(case, master)
        return
    for node in gpu_nodes(case.snapshot):
        state = operand_states(case.snapshot)[name(node)].get("gpu-feature-discovery")
        if state is None or state.state != "ready" or state.pod is None:
            continue
        began = text(state.pod, "status", "containerStatuses", 0, "state", "running", "startedAt") or text(
            state.pod, "metadata", "creationTimestamp"
        )
        stamp, start = text(labels(node), "nvidia.com/gfd.timestamp"), moment(began)
        missing = not text(labels(node), "nvidia.com/gpu.product")
        stale = stamp.isdecimal() and start is not None and int(stamp[:12]) + 120 < start.timestamp()
        if not (missing or stale) or not lasting(case, began, timedelta(minutes=5)):
            continue
        what = "no label nvidia.com/gpu.product" if missing else "GPU labels from before it last started"
        yield case.finding(
            node,
            f"GPU feature discovery runs on {name(node)}, but the node carries {what}",
            "metadata.labels[nvidia.com/gpu.product]",
            "metadata.labels[nvidia.com/gfd.timestamp]",
            seen={"feature discovery started": began},
            affects=[f"node/{name(node)}"],
            remedy=f"kubectl get nodefeatures -A | grep {name(node)}\n"
            f"kubectl -n {namespace(state.pod)} logs {name(state.pod)} --all-containers | tail\n"
            "it found labels: restart the NFD master, which writes them\n"
            "it found none: its pod must run in the nvidia runtime, like the device plugin's",
        )


def _master_finding(case: Case, master: Obj) -> Iterator[Finding]:
    """The NFD master is down; out of memory is another check's."""
    pods = [pod for each in pods_by_node(case.snapshot).values() for pod in each if nfd.role(pod) == "master"]
    killed = [get(s, when, "terminated", "reason") for pod in pods for s in items(pod, "status", "containerStatuses")
              for when in ("state", "lastState")]  # fmt: skip
    if "OOMKilled" in killed:
        return
    broken = [title for title, why in undiscovered(case.snapshot).items() if why == "master-down"]
    here, title = namespace(master), name(master)
    yield case.finding(
        master,
        f"The NFD master {here}/{title} has no available replica: labels no longer reach the nodes",
        "status.availableReplicas",
        "spec.replicas",
        "status.conditions[Available].message",
        affects=[*(f"node/{node}" for node in broken), *(f"pod/{namespace(pod)}/{name(pod)}" for pod in pods)],
        remedy=f"kubectl -n {here} describe deploy {title}\nkubectl -n {here} logs deploy/{title} --previous\n"
        f"scaled to 0: kubectl -n {here} scale deploy {title} --replicas=1",
        severity=Severity.ERROR if broken else None,
        layer=Layer.DISCOVERY,
    )


@check("GPU007", Severity.WARNING, Layer.RISK, reads=(kinds.NODE, kinds.RESOURCE_SLICE),
       remedy="put different GPU models into different nodes, or select GPUs by ResourceClaim attribute",
       source="gpu-feature-discovery README (heterogeneous nodes)")  # fmt: skip
def one_model_per_node(case: Case) -> Iterator[Finding]:
    """Every GPU of a node is of one model.

    The labels describe one GPU model per node, and a request for nvidia.com/gpu gives any
    of its GPUs. On a node with two models a job is told one product and may get the other.
    Seen where the DRA driver lists the devices; labels alone cannot show it.
    """
    for title, slices in sorted(dra_nodes(case.snapshot).items()):
        models = {
            text(get(device, "attributes") or get(device, "basic", "attributes"), "productName", "string")
            for part in slices
            for device in items(part, "spec", "devices")
        } - {""}
        if len(models) > 1 and (node := case.snapshot.get(kinds.NODE, title)):
            yield case.finding(
                node,
                f"{title} holds different GPU models: {', '.join(sorted(models))}",
                "metadata.labels[nvidia.com/gpu.product]",
                seen={"models in its ResourceSlices": ", ".join(sorted(models))},
            )
