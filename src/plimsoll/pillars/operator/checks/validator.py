"""Checks on NVIDIA's own validation of a node: GPU105, GPU106, GPU107."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief
from plimsoll.kube import kinds
from plimsoll.kube.nodes import capacity, gpu_nodes, selected
from plimsoll.kube.objects import Obj, get, items, labels, name, namespace, text
from plimsoll.kube.pods import Trouble, labelled_pods, trouble
from plimsoll.pillars.operator.checks.age import lasting
from plimsoll.pillars.operator.checks.offer import shortfalls
from plimsoll.pillars.operator.checks.plugins import of_node
from plimsoll.pillars.operator.checks.starting import starting_drivers

_STAGES = ("driver-validation", "toolkit-validation", "cuda-validation", "plugin-validation")
_MEANS = {
    "driver-validation": "the driver does not answer",
    "toolkit-validation": "containers of the nvidia runtime see no GPU",
    "cuda-validation": "CUDA does not run",
    "plugin-validation": "it finds no GPU resource on the node",
}
_STAGE_TIME = timedelta(minutes=5)  # the longest one, plugin-validation, looks thirty times, every five seconds
_NVSWITCH = ("SXM", "HBM3", "B200", "B300", "HGX", "GB200", "GB300")


def _stage(pod: Obj) -> tuple[str, Trouble] | None:
    """The validation a validator pod is stuck in: its name and the trouble; None if there is none."""
    found = trouble(pod)
    if found is None or found.state in ("unschedulable", "image"):
        return None
    return found.container if found.container in _STAGES else "", found


def _since(pod: Obj, stage: str) -> str:
    """When a stage began to run; else when the pod was made."""
    stages = (each for each in items(pod, "status", "initContainerStatuses") if each.get("name") == stage)
    began = (text(each, "state", "running", "startedAt") for each in stages)
    return next(began, "") or text(pod, "metadata", "creationTimestamp")


def _validators(case: Case, app: str) -> Iterator[tuple[str, Obj]]:
    """Pods of a validator with the node each one is about, by name."""
    for pod in sorted(labelled_pods(case.snapshot, "app", app), key=name):
        node = text(pod, "spec", "nodeName") or text(pod, "spec", "nodeSelector", "kubernetes.io/hostname")
        if node:
            yield node, pod


def _layer(case: Case, node: str, stage: str) -> Layer:
    """Where a failed validation sits: what it says of the numbers follows from the numbers."""
    return (
        Layer.OPERATOR_STATUS if stage == "plugin-validation" and node in shortfalls(case.snapshot) else Layer.VALIDATOR
    )


@check("GPU105", Severity.ERROR, Layer.VALIDATOR, reads=(kinds.POD,),
       remedy="kubectl -n gpu-operator get pods -l app=nvidia-operator-validator -o wide",
       source="gpu-operator validator")  # fmt: skip
def node_validated(case: Case) -> Iterator[Finding]:
    """NVIDIA's validator has passed every stage on every GPU node.

    The validator checks driver, toolkit, CUDA and device plugin in that order and stops at
    the first that fails: the name of its waiting init container is the name of the broken
    layer. Other operands wait for its marks, so one stuck stage can hold back a whole node.
    """
    for node, pod in _validators(case, "nvidia-operator-validator"):
        stuck = _stage(pod)
        if stuck is None or stuck[0] == "cuda-validation":
            continue
        stage, found = stuck
        if found.state != "crash" and not lasting(case, _since(pod, stage), _STAGE_TIME):
            continue
        if found.state == "waiting" and found.reason == "PodInitializing":
            continue
        if found.state == "init" and node in starting_drivers(case.snapshot):
            continue
        what = f"has not passed {stage}: {_MEANS[stage]}" if stage else "does not run"
        yield of_node(
            case,
            node,
            pod,
            f"The validator on {node} {what}" + (f" ({found.reason})" if found.reason else ""),
            found.path,
            remedy=f"kubectl -n {namespace(pod)} logs {name(pod)} -c {stage or 'nvidia-operator-validator'}\n"
            f"kubectl -n {namespace(pod)} get pods -o wide --field-selector spec.nodeName={node}\n"
            f"when the layer is mended: kubectl -n {namespace(pod)} delete pod {name(pod)}",
            layer=_layer(case, node, stage),
        )


def _cuda_trouble(pod: Obj) -> tuple[str, str] | None:
    """(path, what it said) of a CUDA validation that failed, from either of its two pods; None if it did not."""
    if labels(pod).get("app") == "nvidia-operator-validator":
        stuck = _stage(pod)
        if stuck is None or stuck[0] != "cuda-validation":
            return None
        return stuck[1].path, stuck[1].message or stuck[1].reason
    if get(pod, "status", "phase") == "Failed":
        ended = [get(each, "state", "terminated") for each in items(pod, "status", "initContainerStatuses")]
        said = next((text(each, "message") or text(each, "reason") for each in ended if each), "")
        return "status.phase", said or text(pod, "status", "reason")
    found = trouble(pod)
    return (found.path, found.message or found.reason) if found and found.state == "crash" else None


@check("GPU106", Severity.ERROR, Layer.VALIDATOR, reads=(kinds.POD,),
       remedy="kubectl -n gpu-operator logs -l app=nvidia-cuda-validator --all-containers",
       source="gpu-operator troubleshooting (fabric manager), #2781")  # fmt: skip
def cuda_runs(case: Case) -> Iterator[Finding]:
    """A CUDA program runs on every GPU node.

    Driver and toolkit can look fine while CUDA fails: on NVSwitch machines error 802 (system
    not yet initialized) until the fabric manager of the driver's version runs, on MIG nodes
    without instances, on vGPU without a licence. nvidia-smi shows nothing of this, and every
    job that lands on the node dies at its first CUDA call.
    """
    reported: set[str] = set()
    for app in ("nvidia-operator-validator", "nvidia-cuda-validator"):
        for node, pod in _validators(case, app):
            bad = _cuda_trouble(pod)
            if bad is None or node in reported:
                continue
            fresh = not lasting(case, _since(pod, "cuda-validation"), _STAGE_TIME)
            waits = (trouble(pod) or Trouble("crash", "", "", "", 0, "")).state != "crash"
            if fresh and waits:
                continue
            reported.add(node)
            yield _cuda_finding(case, node, pod, *bad)


def _cuda_finding(case: Case, node: str, pod: Obj, path: str, said: str) -> Finding:
    machine = case.snapshot.get(kinds.NODE, node) or {}
    product = text(labels(machine), "nvidia.com/gpu.product")
    look = f"kubectl -n {namespace(pod)} logs {name(pod)} --all-containers"
    if any(mark in product for mark in _NVSWITCH):
        look += (
            f"\n{product} needs the fabric manager: on {node}: nvidia-smi -q | grep -A2 Fabric   # must say Completed"
            "\nsystemctl status nvidia-fabricmanager   # its version must equal the driver's, "
            f"{labels(machine).get('nvidia.com/cuda.driver-version.full', 'see nvidia-smi')}\n"
            "B200: modprobe mlx5_ib ib_umad first"
        )
    if any(resource.startswith("nvidia.com/mig-") for resource in capacity(machine)):
        look += f"\nMIG: on {node}: nvidia-smi -L must list MIG devices; else set nvidia.com/mig.config"
    if labels(machine).get("nvidia.com/vgpu.present") == "true":
        look += f"\nvGPU: on {node}: nvidia-smi -q | grep -i license"
    title = f"CUDA does not run on {node}" + (f": {brief(said, 160)}" if said else "")
    return of_node(case, node, pod, title, path, remedy=look)


@check("GPU107", Severity.WARNING, Layer.SCHEDULING, reads=(kinds.POD,),
       remedy="kubectl -n gpu-operator get pods -l app=nvidia-device-plugin-validator -o wide",
       source="gpu-operator validator (plugin workload)")  # fmt: skip
def plugin_validation_placed(case: Case) -> Iterator[Finding]:
    """The validator's test pod finds a GPU to run on.

    The plugin validation can start a pod that asks for one GPU. While jobs hold every GPU
    of the node, as during an operator upgrade, it waits, and the node counts as not
    validated although nothing is broken. It passes as soon as one GPU is free.
    """
    for pod in labelled_pods(case.snapshot, "app", "nvidia-device-plugin-validator"):
        found = trouble(pod)
        if found is None or found.state != "unschedulable" or "Insufficient" not in found.message:
            continue
        if not lasting(case, text(pod, "metadata", "creationTimestamp")):
            continue
        about = [name(node) for node in gpu_nodes(case.snapshot) if selected(node, pod)]
        yield case.finding(
            pod,
            f"The validator's test pod {name(pod)} waits for a free GPU",
            "status.conditions[PodScheduled].message",
            affects=[f"pod/{namespace(pod)}/{name(pod)}", *(f"node/{node}" for node in about)],
            remedy=f"kubectl -n {namespace(pod)} describe pod {name(pod)}\n"
            "wait until one job ends, or move one; validator.plugin.env WITH_WORKLOAD=false skips the test pod",
        )
