"""Checks on discovery: is every GPU seen, and does the operator adopt the node? GPU001 to GPU004."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.nodes import PCI_LABELS, untolerated
from plimsoll.kube.objects import Obj, condition, get, items, labels, name, namespace, pod_template, text
from plimsoll.kube.operands import cluster_policy, operand_daemonsets, operator_deployment
from plimsoll.kube.pods import trouble
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.operator.checks import nfd
from plimsoll.pillars.operator.checks.hints import NFD, adopted, dead, installed, machines, tell
from plimsoll.pillars.operator.checks.plugins import is_plugin, plugin_pods
from plimsoll.pillars.operator.checks.versions import UPGRADE, upgrade

_WORKER = "kubectl get ds -A -l app.kubernetes.io/name=node-feature-discovery"


@fact
def undiscovered(snapshot: Snapshot) -> dict[str, str]:
    """Why the operator does not know a node with GPUs that offers none: node name to the one reason.

    no-nfd | worker-tainted | master-down | unseen | unadopted. Nodes the operator has adopted are left out,
    unless nothing is there any more for what their labels say.
    """
    found = {}
    for node in dead(snapshot):
        if adopted(node) and not _abandoned(snapshot):
            continue
        if installed(snapshot) is None and name(node) in plugin_pods(snapshot):
            continue  # GPU055 speaks of a node with a device plugin of its own
        if nfd.seen(node):
            found[name(node)] = "unadopted"
        elif installed(snapshot) is None and not nfd.workers(snapshot):
            if not any(is_plugin(pod_template(each)) for each in snapshot.list(kinds.DAEMON_SET)):
                found[name(node)] = "unadopted"  # nothing is there that could adopt it
        elif not nfd.labelled(snapshot):
            found[name(node)] = "no-nfd"
        elif _shut_out(snapshot, node):
            found[name(node)] = "worker-tainted"
        else:
            found[name(node)] = "master-down" if nfd.master_down(snapshot) else "unseen"
    return found


@fact
def _abandoned(snapshot: Snapshot) -> bool:
    """Whether the ClusterPolicy went and took every operand along: labels of nodes are all that is left of it."""
    if cluster_policy(snapshot) is not None or snapshot.list(kinds.GPU_CLUSTER) or operand_daemonsets(snapshot):
        return False
    return snapshot.whole(kinds.CLUSTER_POLICY, kinds.GPU_CLUSTER, kinds.DAEMON_SET)


def _shut_out(snapshot: Snapshot, node: Obj) -> list[Obj]:
    """The taints that keep every NFD worker off a node that has none; [] if one runs there or may."""
    if name(node) in nfd.worker_pods(snapshot) or not snapshot.whole(kinds.POD):
        return []
    found = [
        untolerated(node, items(pod_template(each), "spec", "tolerations"), daemon=True)
        for each in nfd.workers(snapshot)
    ]
    return min(found, key=len, default=[])


@check("GPU001", Severity.ERROR, Layer.DISCOVERY, reads=(kinds.CLUSTER_POLICY,), whole=(kinds.NODE,),
       remedy=f"{UPGRADE}nfd.enabled=true",
       source="gpu-operator clusterpolicy_controller.go (NFDLabelsMissing), #149")  # fmt: skip
def features_discovered(case: Case) -> Iterator[Finding]:
    """Node feature discovery labels the nodes.

    The operator finds GPU nodes by the labels of node feature discovery and by nothing
    else. Without them it deploys nothing, and still reports `ready` with the reason
    NFDLabelsMissing: an installation that looks healthy and offers no GPU.
    """
    snapshot, subject = case.snapshot, installed(case.snapshot)
    if subject is None or nfd.labelled(snapshot) or not snapshot.list(kinds.NODE):
        return
    reason = text(condition(subject, "Ready"), "reason")
    broken = [title for title, why in undiscovered(snapshot).items() if why == "no-nfd"]
    if not machines(snapshot) and reason != "NFDLabelsMissing":
        return
    there = nfd.workers(snapshot)
    what = "its workers run but no label arrives" if there else "node feature discovery does not run"
    yield case.finding(
        subject,
        f"No node carries a label of node feature discovery: {what}",
        *(["status.state", "status.conditions[Ready].reason"] if subject["kind"] == "ClusterPolicy" else []),
        seen={"nodes": len(snapshot.list(kinds.NODE)), "NFD worker DaemonSets": len(there)},
        affects=[f"node/{title}" for title in broken] or ([] if machines(snapshot) else ["node/*"]),
        remedy=f"{_WORKER}\nkubectl get pods -A | grep -iE 'nfd|node-feature'\n"
        f"no such DaemonSet: {upgrade(snapshot, 'nfd.enabled=true')}\n"
        "it runs: kubectl logs -n gpu-operator -l app.kubernetes.io/name=node-feature-discovery,role=master --tail=50",
        severity=None if broken or not machines(snapshot) else Severity.WARNING,
    )


@check("GPU002", Severity.ERROR, Layer.DISCOVERY, reads=(kinds.NODE, kinds.DAEMON_SET),
       remedy="kubectl get nodes -L feature.node.kubernetes.io/pci-10de.present",
       source="gpu-operator state_manager.go (GPU node labels), NFD worker PCI settings")  # fmt: skip
def gpus_seen(case: Case) -> Iterator[Finding]:
    """Node feature discovery sees the GPUs of every GPU machine.

    A machine type with GPUs whose node has no `pci-10de.present` label is invisible to the
    operator: changed PCI settings (deviceClassWhitelist, deviceLabelFields) write another
    label name, a second NFD took the labels away, or the GPU is not attached at all.
    """
    policy = cluster_policy(case.snapshot) or {}
    for node in dead(case.snapshot):
        title = name(node)
        if undiscovered(case.snapshot).get(title) != "unseen":
            continue
        other = sorted(key for key in labels(node) if key.startswith(f"{NFD}pci-") and key not in PCI_LABELS)
        pod = nfd.worker_pods(case.snapshot).get(title)
        stuck = trouble(pod) if pod else None
        worker = f"{stuck.state}: {stuck.reason}" if stuck else "runs" if pod else "has no pod"
        yield case.finding(
            node,
            f"{title} has GPUs ({tell(node)}) but no label pci-10de.present"
            + ("" if worker == "runs" else f"; its NFD worker {worker}"),
            f"metadata.labels[{PCI_LABELS[0]}]",
            seen={"NFD worker on the node": worker, "other PCI labels": ", ".join(other) or "none",
                  "ClusterPolicy reason": text(condition(policy, "Ready"), "reason") or "none"},
            affects=[f"node/{title}"],
            remedy=f"kubectl get pods -A -o wide --field-selector spec.nodeName={title} | grep -i feature-discovery\n"
            f"on {title}: lspci -d 10de:   # nothing: the GPU is not attached, ask the provider\n"
            "else give NFD its settings back: worker.config.sources.pci.deviceClassWhitelist "
            "['02','0200','0207','0300','0302'], deviceLabelFields ['vendor']",
        )  # fmt: skip


@check("GPU003", Severity.ERROR, Layer.DISCOVERY, reads=(kinds.NODE,), whole=(kinds.DAEMON_SET, kinds.POD),
       remedy=_WORKER, source="k8s-device-plugin #1934; NFD chart worker.tolerations")  # fmt: skip
def discovery_tolerates_taints(case: Case) -> Iterator[Finding]:
    """The workers of node feature discovery tolerate the taints of every GPU node.

    A worker that may not run on a tainted node never labels it, so no operand follows:
    the DaemonSets show DESIRED 0 and no event is written. A toleration with a value
    (`Equal present`) does not match a taint with another (`true`): use `Exists`.
    """
    for node in machines(case.snapshot):
        taints = _shut_out(case.snapshot, node)
        if not taints:
            continue
        title, written = name(node), ", ".join(map(_taint, taints))
        broken = undiscovered(case.snapshot).get(title) == "worker-tainted"
        worker = nfd.workers(case.snapshot)[0]
        yield case.finding(
            node,
            f"{title} has taint {written}, which the NFD worker does not tolerate: "
            + ("its GPUs are never discovered" if broken else "its labels are no longer refreshed"),
            "spec.taints",
            seen={"tolerations of the worker": get(worker, "spec", "template", "spec", "tolerations") or "none"},
            affects=[f"node/{title}"],
            remedy=f"kubectl -n {namespace(worker)} get ds {name(worker)} -o yaml | grep -A9 tolerations\n"
            "add to node-feature-discovery.worker.tolerations and to daemonsets.tolerations of the chart:\n"
            + "\n".join(
                f"- {{key: {text(each, 'key')}, operator: Exists, effect: {text(each, 'effect')}}}" for each in taints
            ),
            severity=None if broken else Severity.WARNING,
        )


def _taint(taint: Obj) -> str:
    value = text(taint, "value")
    return f"{text(taint, 'key')}{'=' + value if value else ''}:{text(taint, 'effect')}"


@check("GPU004", Severity.ERROR, Layer.DISCOVERY, reads=(kinds.NODE,),
       whole=(kinds.CLUSTER_POLICY, kinds.DEPLOYMENT),
       remedy="kubectl get clusterpolicy; kubectl -n gpu-operator get deploy gpu-operator",
       source="gpu-operator state_manager.go labelGPUNodes")  # fmt: skip
def gpu_nodes_adopted(case: Case) -> Iterator[Finding]:
    """The operator has adopted every node with GPUs.

    An adopted node carries nvidia.com/gpu.present=true and the gpu.deploy labels that let
    driver, toolkit and plugin run. Without them nothing starts there: the operator is not
    installed, does not run, has no ClusterPolicy, or may not change nodes. When the
    ClusterPolicy is deleted every operand goes with it; only the labels stay.
    """
    policy, operator = cluster_policy(case.snapshot), operator_deployment(case.snapshot)
    if policy is None and case.snapshot.list(kinds.GPU_CLUSTER):
        return  # the DRA stack: its own labels
    if operator is None and policy is None:
        why, look = (
            "no GPU Operator is installed",
            "helm install gpu-operator nvidia/gpu-operator -n gpu-operator --create-namespace",
        )
    elif policy is None:
        why, look = (
            "there is no ClusterPolicy",
            f"{upgrade(case.snapshot)}   # the chart makes one",
        )
    else:
        why = "the operator has not labelled it"
        look = "kubectl -n gpu-operator logs deploy/gpu-operator --tail=50; kubectl get clusterpolicy"
    for node in dead(case.snapshot):
        title = name(node)
        if undiscovered(case.snapshot).get(title) != "unadopted":
            continue
        if operator is None and policy is None and not case.snapshot.whole(kinds.RESOURCE_SLICE):
            yield case.unknown(node, f"{title} may hand out its GPUs by ResourceSlices, which were not all read")
        else:
            yield case.finding(
                node,
                f"{title} has GPUs ({tell(node)}) but {why}",
                "metadata.labels[nvidia.com/gpu.present]",
                seen={
                    "ClusterPolicies": len(case.snapshot.list(kinds.CLUSTER_POLICY)),
                    "operator": operator is not None,
                },
                affects=[f"node/{title}"],
                remedy=f"kubectl get node {title} --show-labels | tr ',' '\\n' | grep nvidia\n{look}",
            )
