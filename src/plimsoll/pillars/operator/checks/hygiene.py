"""Checks on risky habits of GPU pods that run: GPU068, GPU116."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, annotations_of, containers, get, items, labels, name, namespace, text
from plimsoll.kube.operands import operator_namespace
from plimsoll.kube.pods import by_template, controller, gpu_pods, gpu_requests
from plimsoll.kube.snapshot import Snapshot

Owner = tuple[str, str, str]  # kind, namespace, name


def _by_owner(snapshot: Snapshot, pods: list[tuple[Obj, str]]) -> Iterator[tuple[Owner, Obj, list[str], int]]:
    """Pods with a remark, joined by what must be changed: its name, its object (else a pod), the remarks, pods."""
    found: dict[Owner, list[tuple[Obj, str]]] = defaultdict(list)
    for pod, remark in pods:
        found[controller(snapshot, pod)].append((pod, remark))
    for owner, members in sorted(found.items()):
        kind, here, title = owner
        known = kinds.BY_NAME.get(kind)
        obj = (snapshot.get(known, title, here) if known else None) or min((pod for pod, _ in members), key=name)
        yield owner, obj, sorted({remark for _, remark in members}), len(members)


@check("GPU068", Severity.WARNING, Layer.RISK, reads=(kinds.NODE, kinds.POD),
       remedy="kubectl get pods -A -o wide --field-selector spec.nodeName=<node>",
       source="nvidia-container-toolkit (ACCEPT_NVIDIA_VISIBLE_DEVICES_*)")  # fmt: skip
def gpu_use_is_requested(case: Case) -> Iterator[Finding]:
    """Every pod that can reach GPUs has asked for them.

    A pod that sets NVIDIA_VISIBLE_DEVICES, names the nvidia runtime class, mounts /dev/nvidia*
    or is privileged reaches every GPU of its node without asking. The scheduler does not
    know, so two jobs share one GPU unseen, memory runs out, and the use is billed to nobody.
    Monitoring and other DaemonSets are left alone.
    """
    on_gpus = {name(node) for node in gpu_nodes(case.snapshot)}
    spared = ("kube-system", operator_namespace(case.snapshot))
    found = [
        (pod, how)
        for pod, how in by_template(case.snapshot, _reaches_gpus)
        if text(pod, "spec", "nodeName") in on_gpus and namespace(pod) not in spared and not _is_shared_out(pod)
    ]
    for (kind, here, title), obj, ways, count in _by_owner(case.snapshot, found):
        inner = "spec" if obj.get("kind") == "Pod" else "spec.template.spec"
        yield case.finding(
            obj,
            f"{kind} {here}/{title} reaches GPUs it never asked for: {', '.join(ways)}",
            f"{inner}.runtimeClassName",
            f"{inner}.containers[0].securityContext",
            seen={"pods on GPU nodes": count},
            remedy="ask for nvidia.com/gpu in resources.limits, or take the setting away\n"
            "for the whole cluster: toolkit.env ACCEPT_NVIDIA_VISIBLE_DEVICES_ENVVAR_WHEN_UNPRIVILEGED=false and "
            "ACCEPT_NVIDIA_VISIBLE_DEVICES_AS_VOLUME_MOUNTS=true in the ClusterPolicy; taint GPU nodes",
        )


def _is_agent(pod: Obj) -> bool:
    """Whether a pod looks after its node."""
    owners = items(pod, "metadata", "ownerReferences")
    return any(owner.get("kind") in ("DaemonSet", "Node") for owner in owners)


def _is_shared_out(pod: Obj) -> bool:
    """Whether another system accounts for a pod's share of a GPU."""
    marks = (*labels(pod), *annotations_of(pod))
    return any(mark.startswith(("runai", "run.ai/", "gpu-fraction", "gpu-memory", "hami.io/")) for mark in marks)


def _reaches_gpus(pod: Obj) -> str:
    """How a pod that claims no GPU and is no agent of its node reaches GPUs; "" if it does not."""
    if _is_agent(pod) or items(pod, "spec", "resourceClaims") or gpu_requests(pod):
        return ""
    for _, container in containers(pod):
        for entry in items(container, "env"):
            if entry.get("name") == "NVIDIA_VISIBLE_DEVICES" and entry.get("value") not in (None, "", "none", "void"):
                return f"NVIDIA_VISIBLE_DEVICES={entry['value']}"
    if any(text(volume, "hostPath", "path").startswith("/dev/nvidia") for volume in items(pod, "spec", "volumes")):
        return "a /dev/nvidia* host path"
    if text(pod, "spec", "runtimeClassName").startswith("nvidia"):
        return "the nvidia runtime class"
    if any(get(container, "securityContext", "privileged") is True for _, container in containers(pod)):
        return "a privileged container"
    return ""


@check("GPU116", Severity.INFO, Layer.RISK, reads=(kinds.POD,),
       remedy="mount an emptyDir with medium Memory at /dev/shm",
       source="NCCL troubleshooting (shared memory), PyTorch DataLoader")  # fmt: skip
def multi_gpu_pods_have_shared_memory(case: Case) -> Iterator[Finding]:
    """Every pod with several GPUs has more shared memory than the default 64 MiB.

    NCCL and data loaders pass tensors between the processes of a pod through /dev/shm. A
    container gets 64 MiB of it; with several GPUs that ends in "No space left on device" or
    a bus error, often only hours into a run, when the first large exchange happens. Whether a
    program does this no object shows: it is worth knowing, and a warning once one has died of it.
    """
    found = [
        (pod, f"{sum(wants.values())} GPUs")
        for pod, wants in gpu_pods(case.snapshot)
        if wants.get("nvidia.com/gpu", 0) > 1 and not _has_shared_memory(pod)
    ]
    died = {controller(case.snapshot, pod) for pod, _ in found if _bus_error(pod)}
    for owner, obj, amounts, count in _by_owner(case.snapshot, found):
        kind, here, title = owner
        path = "spec.volumes" if obj.get("kind") == "Pod" else "spec.template.spec.volumes"
        yield case.finding(
            obj,
            f"{kind} {here}/{title} uses {amounts[0]} in one pod with 64 MiB of shared memory",
            path,
            seen={"pods": count},
            severity=Severity.WARNING if owner in died else None,
            remedy="volumes: [{name: shm, emptyDir: {medium: Memory, sizeLimit: 64Gi}}]\n"
            "volumeMounts: [{name: shm, mountPath: /dev/shm}]   # counts against the memory limit",
        )


def _bus_error(pod: Obj) -> bool:
    """Whether a container of a pod was killed by SIGBUS, as happens when /dev/shm is full."""
    return any(
        get(status, when, "terminated", "exitCode") == 135  # 128 + SIGBUS
        for status in items(pod, "status", "containerStatuses")
        for when in ("state", "lastState")
    )


def _has_shared_memory(pod: Obj) -> bool:
    if get(pod, "spec", "hostIPC") is True:
        return True
    mounted = {
        text(entry, "name")
        for _, container in containers(pod)
        for entry in items(container, "volumeMounts")
        if text(entry, "mountPath").rstrip("/") == "/dev/shm"  # noqa: S108  a path in somebody else's pod
    }
    return any(
        text(volume, "name") in mounted and ("emptyDir" not in volume or get(volume, "emptyDir", "medium") == "Memory")
        for volume in items(pod, "spec", "volumes")
    )
