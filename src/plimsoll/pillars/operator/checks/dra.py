"""Checks on dynamic resource allocation and NVLink domains: GPU063, GPU108, GPU109, GPU110."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief, drain, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import DRA_DRIVER, allocatable, dra_nodes, gpu_nodes
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, text
from plimsoll.pillars.operator.checks.age import lasting

_RACK = re.compile(r"GB200|GB300|VR200", re.I)  # machines whose NVLink domain spans nodes
_SICK = ("gpu.nvidia.com/xid", "gpu.nvidia.com/gpu-lost")


@check("GPU063", Severity.ERROR, Layer.RISK, reads=(kinds.NODE, kinds.RESOURCE_SLICE),
       remedy="kubectl get resourceslices; kubectl get nodes -o custom-columns=N:.metadata.name,G:.status.allocatable",
       source="dra-driver-nvidia-gpu prerequisites; NVIDIA/aicr #1664")  # fmt: skip
def gpus_advertised_once(case: Case) -> Iterator[Finding]:
    """No GPU is handed out by both the device plugin and the DRA driver.

    Neither knows what the other has given away. With nvidia.com/gpu in allocatable and the
    same GPUs in ResourceSlices, two pods can hold one GPU, each believing it is alone.
    """
    nodes = {name(node): node for node in gpu_nodes(case.snapshot)}
    twice = sorted(title for title in dra_nodes(case.snapshot) if any(allocatable(nodes.get(title, {})).values()))
    if not twice:
        return
    policies = case.snapshot.list(kinds.CLUSTER_POLICY)
    yield case.finding(
        policies[0] if policies else dra_nodes(case.snapshot)[twice[0]][0],
        f"{many(len(twice), 'node', 'hands', 'hand')} out the same GPUs as nvidia.com/gpu and through DRA: "
        f"{', '.join(twice[:3])}",
        *(["spec.devicePlugin.enabled"] if policies else ["spec.driver", "spec.nodeName"]),
        seen={"nodes": ", ".join(twice[:20])},
        remedy="keep one for each node. DRA: set devicePlugin.enabled=false in the ClusterPolicy (drain first)\n"
        "device plugin: set resources.gpus.enabled=false in the dra-driver-nvidia-gpu chart",
    )


@check("GPU108", Severity.WARNING, Layer.VALIDATOR, reads=(kinds.NODE, kinds.COMPUTE_DOMAIN),
       remedy="kubectl get computedomains -A; kubectl get nodes -L nvidia.com/gpu.clique",
       source="dra-driver-nvidia-gpu ComputeDomain; GPU feature discovery")  # fmt: skip
def nvlink_domains_up(case: Case) -> Iterator[Finding]:
    """Every rack-scale node knows its NVLink clique, and every ComputeDomain is Ready.

    On NVL72 machines GPUs of many nodes share one NVLink fabric. A node without the clique
    label has not joined it (fabric manager, IMEX), and a job across nodes falls back to the
    network or waits for a ComputeDomain that never becomes Ready.
    """
    for node in gpu_nodes(case.snapshot):
        tags, product = labels(node), text(labels(node), "nvidia.com/gpu.product")
        if _RACK.search(product) and "nvidia.com/gpu.clique" not in tags:
            yield case.finding(
                node,
                f"{name(node)} ({product}) is in no NVLink domain: no label nvidia.com/gpu.clique",
                "metadata.labels[nvidia.com/gpu.product]",
                "metadata.labels[nvidia.com/gpu.clique]",
                affects=[f"node/{name(node)}"],
                remedy=f"on {name(node)}: nvidia-smi -q | grep -A4 Fabric   # State must be Completed\n"
                "systemctl is-active nvidia-imex   # must be masked where the DRA driver runs its own",
            )
    for domain in case.snapshot.list(kinds.COMPUTE_DOMAIN):
        joined = items(domain, "status", "nodes")
        state = text(domain, "status", "status")
        if state != "NotReady" or not joined or not lasting(case, text(domain, "metadata", "creationTimestamp")):
            continue  # without a single node its pods have not started: nothing to be ready for
        missing = sorted(text(entry, "name") for entry in joined if entry.get("status") != "Ready")
        yield case.finding(
            domain,
            f"ComputeDomain {namespace(domain)}/{name(domain)} is NotReady: "
            f"{len(joined) - len(missing)} of {get(domain, 'spec', 'numNodes')} nodes ready",
            "status.status",
            "spec.numNodes",
            seen={"nodes not ready": ", ".join(missing)},
            affects=[f"node/{each}" for each in missing],
            remedy=f"kubectl -n {namespace(domain)} describe computedomain {name(domain)}\n"
            "kubectl get pods -A -l resource.nvidia.com/computeDomain -o wide   # its IMEX daemons",
        )


@check("GPU109", Severity.ERROR, Layer.PLUGIN, reads=(kinds.RESOURCE_CLAIM,),
       whole=(kinds.DEVICE_CLASS, kinds.RESOURCE_SLICE),
       remedy="kubectl get deviceclasses,resourceslices; kubectl get resourceclaims -A",
       source="dra-driver-nvidia-gpu installation")  # fmt: skip
def dra_driver_serves_claims(case: Case) -> Iterator[Finding]:
    """Every claim for a GPU names a DeviceClass that exists and that a driver serves.

    Without the DRA driver (or with one too old for the cluster's API version) there is no
    class or no ResourceSlice: the claim stays pending, its pod stays Pending, and the
    message speaks only of claims.
    """
    classes = {name(each) for each in case.snapshot.list(kinds.DEVICE_CLASS)}
    waiting: dict[str, list[Obj]] = defaultdict(list)
    for claim in case.snapshot.list(kinds.RESOURCE_CLAIM):
        if get(claim, "status", "allocation") or not lasting(case, text(claim, "metadata", "creationTimestamp")):
            continue
        for wanted in _classes(claim):
            waiting[wanted].append(claim)
    for wanted, claims in sorted(waiting.items()):
        if wanted in classes and (not wanted.endswith(DRA_DRIVER) or dra_nodes(case.snapshot)):
            continue
        lacking = f"DeviceClass {wanted} does not exist" if wanted not in classes else f"no node publishes {DRA_DRIVER}"
        first = min(claims, key=lambda claim: (namespace(claim), name(claim)))
        pods = {
            f"pod/{namespace(claim)}/{text(owner, 'name')}"
            for claim in claims
            for owner in items(claim, "metadata", "ownerReferences")
            if owner.get("kind") == "Pod"
        }
        yield case.finding(
            first,
            f"{many(len(claims), 'ResourceClaim', 'waits', 'wait')} for {wanted}: {lacking}",
            "spec.devices.requests",
            seen={"DeviceClasses": ", ".join(sorted(classes)) or "none"},
            affects=pods,
            remedy="install or upgrade dra-driver-nvidia-gpu (Kubernetes 1.34.2 or later), then\n"
            "kubectl get pods -A -l app.kubernetes.io/name=dra-driver-nvidia-gpu -o wide; kubectl get resourceslices",
        )


def _classes(claim: Obj) -> set[str]:
    """NVIDIA device classes a claim asks for, in any API version."""
    found = set()
    for request in items(claim, "spec", "devices", "requests"):
        for entry in (request, mapping(request, "exactly"), *items(request, "firstAvailable")):
            found.add(text(entry, "deviceClassName"))
    return {each for each in found if each.endswith(".nvidia.com")}


@check("GPU110", Severity.WARNING, Layer.CAPACITY, reads=(kinds.RESOURCE_SLICE,),
       remedy="kubectl get resourceslices -o yaml | grep -B5 gpu.nvidia.com/",
       source="Kubernetes device taints; dra-driver-nvidia-gpu health checks")  # fmt: skip
def dra_devices_healthy(case: Case) -> Iterator[Finding]:
    """No GPU published through DRA carries a health taint.

    The driver taints a device after a critical XID or when it is gone from the bus. Claims
    then avoid it (or lose it), so the node has one GPU less until it is drained and mended.
    """
    for node, parts in sorted(dra_nodes(case.snapshot).items()):
        for part in parts:
            sick = [
                (text(device, "name"), text(taint, "key"), text(taint, "effect"))
                for device in items(part, "spec", "devices")
                for taint in (*items(device, "taints"), *items(device, "basic", "taints"))
                if taint.get("key") in _SICK
            ]
            if not sick:
                continue
            unusable = any(effect in ("NoSchedule", "NoExecute") for _, _, effect in sick)
            what = ", ".join(f"{device} ({key.rpartition('/')[2]})" for device, key, _ in sick)
            yield case.finding(
                part,
                f"{many(len(sick), 'GPU')} of {node} published through DRA "
                f"{'is' if len(sick) == 1 else 'are'} tainted as unhealthy: {brief(what, 160)}",
                "spec.nodeName",
                seen={"taints": "; ".join(f"{device} {key}:{effect}" for device, key, effect in sick)},
                affects=[f"node/{node}"],
                remedy=f"kubectl cordon {node}\non {node}: dmesg | grep -i xid; nvidia-smi -q\n"
                f"XID 79 or gpu-lost: {drain(node)}\nthen reboot; if it stays away open a hardware ticket\n"
                f"it is back: kubectl uncordon {node}",
                severity=Severity.ERROR if unusable else None,
            )
