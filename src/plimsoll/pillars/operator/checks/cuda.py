"""Checks on driver and hardware or programs that do not fit each other: GPU039, GPU040."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief
from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, get, labels, name, namespace, text
from plimsoll.kube.operands import cluster_policy, enabled
from plimsoll.kube.pods import controller
from plimsoll.pillars.operator.checks.driver import driver_broken
from plimsoll.pillars.operator.checks.hints import hint
from plimsoll.pillars.operator.checks.operator import drives
from plimsoll.pillars.operator.checks.placements import troubled
from plimsoll.pillars.operator.checks.versions import UPGRADE, upgrade

_TOO_OLD = re.compile(
    r"unsatisfied condition: cuda|driver version is insufficient|requirement error|"
    r"system has unsupported display driver|forward compatibility was attempted",
    re.I,
)
_OPEN_ONLY = re.compile(r"GB200|GB300|GH200|B200|B300|RTX-50|RTX-PRO-6000-Blackwell|p6-|a4-|a4x-", re.I)
_OPEN_FAMILIES = ("blackwell", "rubin")
_CLOSED_FAMILIES = ("volta", "pascal", "maxwell", "kepler")
_OWNERS: dict[str, Kind] = {"Deployment": kinds.DEPLOYMENT, "StatefulSet": kinds.STATEFUL_SET, "Job": kinds.JOB,
                            "DaemonSet": kinds.DAEMON_SET}  # fmt: skip


@check(
    "GPU039",
    Severity.ERROR,
    Layer.TOOLKIT,
    reads=(kinds.POD,),
    remedy="kubectl get nodes -L nvidia.com/cuda.driver-version.full,nvidia.com/cuda.runtime-version.full",
    source="CUDA compatibility guide; nvidia-container-cli requirements (NVIDIA_REQUIRE_CUDA)",
)
def cuda_fits_driver(case: Case) -> Iterator[Finding]:
    """No container needs a newer CUDA than the driver of its node supports.

    An image built for a newer CUDA refuses to start, or fails at its first CUDA call with
    `driver version is insufficient`. It may work on one pool and fail on another whose
    driver is older, so that only some replicas crash.
    """
    groups: dict[tuple[str, str, str], list[tuple[Obj, str, str]]] = defaultdict(list)
    for pod, found in troubled(case.snapshot):
        if _TOO_OLD.search(found.message):
            groups[controller(case.snapshot, pod)].append((pod, found.message, found.path))
    for (kind, here, title), members in sorted(groups.items()):
        pod, said, path = members[0]
        node = case.snapshot.get(kinds.NODE, text(pod, "spec", "nodeName")) or {}
        have = labels(node).get("nvidia.com/cuda.driver-version.full", "unknown")
        runs = labels(node).get("nvidia.com/cuda.runtime-version.full", "unknown")
        subject = (case.snapshot.get(_OWNERS[kind], title, here) if kind in _OWNERS else None) or pod
        yield case.finding(
            subject,
            f"{kind} {here}/{title} needs a newer CUDA than driver {have} of {name(node) or 'its node'} supports "
            f"(CUDA {runs}): {brief(said, 120)}",
            seen={f"Pod/{namespace(pod)}/{name(pod)} {path}": said, "CUDA of the driver": runs, "pods": len(members)},
            affects=[*(f"pod/{here}/{name(each)}" for each, _, _ in members), f"service/{here}/{title}"],
            remedy=f"kubectl -n {here} describe pod {name(pod)} | tail\n"
            f"build on an image of CUDA {runs} or older, or upgrade the driver (driver.version), "
            "or add the cuda-compat package to the image",
        )


@check(
    "GPU040",
    Severity.WARNING,
    Layer.RISK,
    reads=(kinds.NODE, kinds.CLUSTER_POLICY),
    remedy=f"{UPGRADE}driver.kernelModuleType=auto",
    source="NVIDIA open GPU kernel modules (supported GPUs); gpu-operator driver.kernelModuleType",
)
def kernel_modules_fit_gpus(case: Case) -> Iterator[Finding]:
    """The kind of kernel module fits the GPUs.

    Blackwell and Grace GPUs work only with the open kernel modules, GPUs before Turing only
    with the proprietary ones. The wrong kind builds and loads, and then finds no device:
    the driver of such a node never becomes ready. `auto` chooses by GPU and driver.
    """
    policy = cluster_policy(case.snapshot)
    crd = policy is not None and get(policy, "spec", "driver", "useNvidiaDriverCRD") is True
    if policy is not None and not crd and enabled(case.snapshot, "driver"):
        said = text(policy, "spec", "driver", "kernelModuleType")
        yield from _module_kind(case, policy, said, "spec.driver.kernelModuleType")
    for driver in case.snapshot.list(kinds.NVIDIA_DRIVER):
        yield from _module_kind(case, driver, text(driver, "spec", "kernelModuleType"), "spec.kernelModuleType")


def _module_kind(case: Case, subject: Obj, kind: str, path: str) -> Iterator[Finding]:
    if kind not in ("proprietary", "open"):
        return
    wrong, broken = [], []
    for node in gpu_nodes(case.snapshot):
        have = labels(node)
        if have.get("nvidia.com/gpu.deploy.driver") == "pre-installed":
            continue
        if subject["kind"] == "NVIDIADriver" and not drives(subject, node):
            continue
        family, model = have.get("nvidia.com/gpu.family", ""), have.get("nvidia.com/gpu.product", "") or hint(node)
        needs_open = family in _OPEN_FAMILIES or bool(_OPEN_ONLY.search(model))
        if (kind == "proprietary" and needs_open) or (kind == "open" and family in _CLOSED_FAMILIES):
            wrong.append(f"{name(node)} ({model})")
            if driver_broken(case, name(node)):
                broken.append(f"node/{name(node)}")
    if wrong:
        needed = "open" if kind == "proprietary" else "proprietary"
        yield case.finding(
            subject,
            f"Kernel modules are {kind}, but {wrong[0]} needs the {needed} ones",
            path,
            seen={"nodes": ", ".join(wrong[:10])},
            affects=broken,
            remedy=f"{upgrade(case.snapshot, 'driver.kernelModuleType=auto')}\nor one NVIDIADriver per kind of GPU",
            severity=Severity.ERROR if broken else None,
            layer=Layer.PLACEMENT if broken else None,
        )
