"""Checks on the device plugin itself: GPU054, GPU062, GPU070."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes, selected, untolerated
from plimsoll.kube.objects import Obj, items, labels, name, namespace, number, pod_template, text
from plimsoll.kube.pods import Trouble, trouble
from plimsoll.pillars.operator.checks.age import lasting
from plimsoll.pillars.operator.checks.plugins import is_plugin, of_node, plugin_pods

_NO_NVML = re.compile(r"libnvidia-ml|NVML library|initialize NVML|Driver Not Loaded", re.I)
_LAYOUT = re.compile(r"MIG device type|migEnabled|MIG-INVALID", re.I)
_CONFIGURATION = re.compile(r"config|replicas|timeSlicing|MPS (control )?daemon", re.I)
_CANNOT_START = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError")


def _broken(case: Case, pod: Obj) -> Trouble | None:
    """The plugin's own trouble; None where it waits for driver or toolkit, which other checks judge."""
    found = trouble(pod)
    if found is None or found.container == "toolkit-validation" or found.state in ("init", "unschedulable"):
        return None
    if found.state == "waiting" and found.reason not in _CANNOT_START:
        return None
    fresh = not lasting(case, text(pod, "metadata", "creationTimestamp"))
    if fresh and found.state in ("unready", "waiting"):
        return None
    return found


@check("GPU054", Severity.ERROR, Layer.PLUGIN, reads=(kinds.POD,),
       remedy="kubectl -n gpu-operator logs ds/nvidia-device-plugin-daemonset --previous",
       source="k8s-device-plugin README, #477")  # fmt: skip
def device_plugin_runs(case: Case) -> Iterator[Finding]:
    """The device plugin runs on every node that has one.

    The plugin is what turns GPUs into nvidia.com/gpu. When it crashes the node offers 0
    GPUs within seconds; running jobs go on, so that nobody notices until the next one
    waits. Its last message names the cause: no NVML means that the driver or the nvidia
    runtime is not there, a message about MIG or configuration that it was given the wrong input.
    """
    for node, pods in sorted(plugin_pods(case.snapshot).items()):
        for pod in pods:
            if found := _broken(case, pod):
                yield _plugin_finding(case, node, pod, found)


def _plugin_finding(case: Case, node: str, pod: Obj, found: Trouble) -> Finding:
    here, title, said = namespace(pod), name(pod), found.message
    cause = ""
    if _LAYOUT.search(said):
        cause = (
            f"\nMIG layout against strategy: kubectl get node {node} -L nvidia.com/mig.config,nvidia.com/mig.strategy"
        )
    elif _NO_NVML.search(said):
        cause = (
            f"\nno NVML, is the driver ready? kubectl -n {here} get pods -o wide --field-selector spec.nodeName={node}"
            f"\nmust be the nvidia runtime: kubectl -n {here} get pod {title} -o jsonpath='{{.spec.runtimeClassName}}'"
        )
    elif found.container == "config-manager-init" or _CONFIGURATION.search(said):
        cause = (
            f"\nsharing: kubectl -n {here} get configmaps; kubectl get node {node} -L nvidia.com/device-plugin.config"
        )
    verb = {"crash": "crashes", "image": "cannot pull its image", "unready": "is not ready"}.get(
        found.state, "cannot start"
    )
    again = f", {many(found.restarts, 'restart')}" if found.restarts else ""
    why = f" ({found.reason}{again})" if found.reason else ""
    state = found.path.endswith(("waiting", "terminated"))
    return of_node(
        case,
        node,
        pod,
        f"The device plugin on {node} {verb}{why}" + (f": {brief(said, 160)}" if said else ""),
        *([f"{found.path}.reason", f"{found.path}.message"] if state else [found.path]),
        remedy=f"kubectl -n {here} logs {title} -c {found.container or 'nvidia-device-plugin'} --previous{cause}\n"
        f"when the cause is mended: kubectl -n {here} delete pod {title}",
    )  # fmt: skip


@check("GPU062", Severity.WARNING, Layer.RISK, reads=(kinds.NODE, kinds.DAEMON_SET),
       remedy="kubectl get ds -A | grep -i device-plugin",
       source="GKE and AKS GPU documentation, gpu-operator platform support")  # fmt: skip
def one_device_plugin_per_node(case: Case) -> Iterator[Finding]:
    """Only one device plugin serves a node.

    A managed add-on (GKE, AKS, a standalone chart) and the GPU Operator each bring a
    device plugin. Both register nvidia.com/gpu; the last one to register wins, and after
    any restart sharing settings, health checks and device names change hands unseen.
    """
    there = [each for each in case.snapshot.list(kinds.DAEMON_SET) if is_plugin(pod_template(each)) and _runs(each)]
    if len(there) < 2:
        return
    shared: dict[str, tuple[Obj, list[str]]] = {}
    for node in gpu_nodes(case.snapshot):
        here = [each for each in there if selected(node, pod_template(each)) and not _kept_off(node, each)]
        here.sort(key=lambda each: (not _is_operators(each), namespace(each), name(each)))
        for second in here[1:]:  # the operator's own comes first and stays
            shared.setdefault(f"{namespace(second)}/{name(second)}", (second, []))[1].append(name(node))
    for title, (second, nodes) in sorted(shared.items()):
        yield case.finding(
            second,
            f"DaemonSet {title} is a second device plugin on {len(nodes)} node{'s' * (len(nodes) > 1)}",
            "spec.template.spec.nodeSelector",
            "status.desiredNumberScheduled",
            seen={"nodes": ", ".join(nodes[:10])},
            remedy="keep one. GKE: label the node pool gke-no-default-nvidia-gpu-device-plugin=true; AKS: create "
            f"the pool with --gpu-driver none; standalone: kubectl -n {namespace(second)} delete ds {name(second)}\n"
            "or keep that one and set devicePlugin.enabled=false in the ClusterPolicy",
        )


def _runs(daemonset: Obj) -> bool:
    return number(daemonset, "status", "desiredNumberScheduled") > 0


def _is_operators(daemonset: Obj) -> bool:
    return labels(pod_template(daemonset)).get("app") == "nvidia-device-plugin-daemonset"


def _kept_off(node: Obj, daemonset: Obj) -> bool:
    return bool(untolerated(node, items(pod_template(daemonset), "spec", "tolerations"), daemon=True))


_GPU_LABEL = {
    "aws": "k8s.amazonaws.com/accelerator",
    "gce": "cloud.google.com/gke-accelerator",
    "azure": "accelerator",
}


@check("GPU070", Severity.WARNING, Layer.RISK, reads=(kinds.NODE, kinds.DEPLOYMENT),
       remedy="give GPU node groups the accelerator label, or a startup taint that is removed when GPUs are on offer",
       source="Cluster Autoscaler FAQ (GPU label, startup taints); gpu-operator #708")  # fmt: skip
def autoscaler_waits_for_gpus(case: Case) -> Iterator[Finding]:
    """The cluster autoscaler knows that a new GPU node needs minutes before it offers GPUs.

    A node is Ready long before driver, toolkit and plugin have made its GPUs allocatable.
    Without its accelerator label or a startup taint the autoscaler takes the new node for
    one without GPUs and buys another, and another: one pod costs two to four GPU nodes.
    """
    bare: dict[str, list[str]] = defaultdict(list)
    for node in gpu_nodes(case.snapshot):
        cloud = text(node, "spec", "providerID").partition("://")[0]
        label = _GPU_LABEL.get(cloud, "")
        if label and label not in labels(node) and "karpenter.sh/nodepool" not in labels(node):
            bare[label].append(name(node))
    for scaler in case.snapshot.list(kinds.DEPLOYMENT):
        for container in items(scaler, "spec", "template", "spec", "containers"):
            words = [container.get(field) for field in ("command", "args")]
            if "cluster-autoscaler" not in text(container, "image") or "--startup-taint" in str(words):
                continue
            for label, nodes in bare.items():
                yield case.finding(
                    scaler,
                    f"{many(len(nodes), 'GPU node', 'lacks', 'lack')} the label {label}: "
                    "the autoscaler may buy several nodes for one pod",
                    "spec.template.spec.containers[0].image",
                    seen={"nodes": ", ".join(sorted(nodes)[:10])},
                    remedy=f"label the GPU node groups {label}=<model> (AWS: also tag the group "
                    f"k8s.io/cluster-autoscaler/node-template/label/{label}),\n"
                    f"or start {name(scaler)} with --startup-taint=<key> and taint new nodes with it",
                )
