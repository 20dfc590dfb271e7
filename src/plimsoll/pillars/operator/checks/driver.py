"""Checks on the driver of each node: GPU030 to GPU033."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief, drain, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, get, items, name, namespace, text
from plimsoll.kube.operands import OperandState, cluster_policy
from plimsoll.kube.pods import events_of
from plimsoll.kube.snapshot import Snapshot
from plimsoll.pillars.operator.checks.age import lasting
from plimsoll.pillars.operator.checks.hints import robbed
from plimsoll.pillars.operator.checks.plugins import of_node
from plimsoll.pillars.operator.checks.starting import DRIVER, driver_state, starting_drivers, startup_window

_SOURCE = "gpu-operator driver container and k8s-driver-manager"
_MANAGER = "k8s-driver-manager"
_KERNEL = re.compile(
    r"nouveau|in use|GPL-incompatible|Required key|Key was rejected|Secure ?Boot|Lockdown|module verification"
    r"|modprobe|insmod|Unknown symbol|File exists",
    re.I,
)
_HEADERS = re.compile(r"(kernel|linux)-(headers|devel)|kernel (headers|packages)|Unable to locate package", re.I)
_MANAGER_PATIENCE = timedelta(minutes=15)
_STUCK = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError")


class DriverFault(NamedTuple):
    """What is wrong with the driver pod of one node, as one class."""

    id: str  # the check that reports it
    state: OperandState
    says: str  # its last message, or the event that explains it
    severity: Severity


def _judge(case: Case, node: str) -> DriverFault | None:
    """The one fault of a node's driver pod; None where it runs, waits for somebody else, or has no pod."""
    state = driver_state(case.snapshot, node)
    if state is None or state.pod is None or state.trouble is None:
        return None
    found, pod = state.trouble, state.pod
    said = state.says
    age = text(pod, "status", "startTime") or text(pod, "metadata", "creationTimestamp")
    if found.state == "crash":
        if found.container == _MANAGER:
            return DriverFault("GPU032", state, said, Severity.ERROR)
        if _killed_by_probe(case, state):
            return DriverFault("GPU033", state, said or "killed by its startup probe", Severity.ERROR)
        kernel = found.container == DRIVER and _KERNEL.search(said) and not _HEADERS.search(said)
        return DriverFault("GPU031" if kernel else "GPU030", state, said, Severity.ERROR)
    if found.state == "init":
        slow = found.container == _MANAGER and (lasting(case, age, _MANAGER_PATIENCE) or robbed(case.snapshot, node))
        return DriverFault("GPU032", state, "it still waits for GPU pods to leave", Severity.ERROR) if slow else None
    if found.state == "waiting":
        says = said or _warning(case.snapshot, pod)
        stuck = found.reason in _STUCK or (bool(says) and (lasting(case, age) or robbed(case.snapshot, node)))
        return DriverFault("GPU030", state, says, Severity.ERROR) if stuck else None
    if found.state == "unready":
        starts = node in starting_drivers(case.snapshot)
        return DriverFault("GPU033", state, said, Severity.INFO if starts else Severity.ERROR)
    return None


def _killed_by_probe(case: Case, state: OperandState) -> bool:
    """Whether the kubelet ended the driver because its startup probe ran out."""
    pod = state.pod or {}
    if state.trouble is None or state.trouble.container != DRIVER or state.trouble.reason == "OOMKilled":
        return False
    ended = [get(each, "lastState", "terminated", "exitCode") for each in items(pod, "status", "containerStatuses")
             if each.get("name") == DRIVER]  # fmt: skip
    probed = any("tartup probe failed" in text(each, "message") for each in events_of(case.snapshot, pod))
    return probed and any(code in (137, 143) for code in ended)


def _warning(snapshot: Snapshot, pod: Obj) -> str:
    """The newest warning about a pod: why it cannot start; "" if there is none."""
    found = [each for each in events_of(snapshot, pod) if each.get("type") == "Warning"]
    return text(max(found, key=lambda each: text(each, "lastTimestamp"), default={}), "message")


def _faults(case: Case, id_: str) -> Iterator[tuple[str, DriverFault]]:
    for node in gpu_nodes(case.snapshot):
        fault = _judge(case, name(node))
        if fault is not None and fault.id == id_:
            yield name(node), fault


def driver_broken(case: Case, node: str) -> bool:
    """Whether a node's driver pod has a fault of its own; one that is only starting has none."""
    fault = _judge(case, node)
    return fault is not None and fault.severity >= Severity.ERROR


def _finding(case: Case, node: str, fault: DriverFault, what: str, look: str) -> Finding:
    pod, found = fault.state.pod or {}, fault.state.trouble
    here, title = namespace(pod), name(pod)
    restarts = f" ({found.reason}, {many(found.restarts, 'restart')})" if found and found.restarts else ""
    path = found.path if found else "status.phase"
    container = found.container if found else ""
    return of_node(
        case,
        node,
        pod,
        f"{what}{restarts}" + (f": {brief(fault.says, 160)}" if fault.says else ""),
        *([f"{path}.reason", f"{path}.message"] if path.endswith(("terminated", "waiting")) else [path]),
        seen={"container": container or DRIVER, "message": fault.says} if fault.says else {"container": container},
        remedy=f"kubectl -n {here} logs {title} -c {container or DRIVER}{' --previous' if restarts else ''}\n{look}",
        severity=fault.severity,
    )


@check("GPU030", Severity.ERROR, Layer.DRIVER, reads=(kinds.NODE, kinds.POD),
       remedy="kubectl -n gpu-operator logs ds/nvidia-driver-daemonset -c nvidia-driver-ctr --previous",
       source=_SOURCE)  # fmt: skip
def driver_builds(case: Case) -> Iterator[Finding]:
    """The driver container runs on every GPU node that has one.

    It compiles the kernel modules for the node's kernel, or fetches them. A kernel newer
    than its packages, no way to the package mirror, or a compiler that fails makes it start
    over for ever, and every other operand of the node waits for it.
    """
    for node, fault in _faults(case, "GPU030"):
        machine = case.snapshot.get(kinds.NODE, node) or {}
        kernel = text(machine, "status", "nodeInfo", "kernelVersion")
        if _HEADERS.search(fault.says):
            look = (
                f"no packages for kernel {kernel or 'of this node'}: use one the distribution still serves, "
                "driver.usePrecompiled=true, or driver.repoConfig.configMapName for a mirror"
            )
        else:
            look = f"kernel: {kernel}   # does driver.version support it? kubectl get node {node} -o wide"
        container = fault.state.trouble.container if fault.state.trouble else ""
        what = "The driver container" if container in ("", DRIVER) else f"Container {container} of the driver"
        yield _finding(case, node, fault, f"{what} does not run on {node}", look)


@check("GPU031", Severity.ERROR, Layer.DRIVER, reads=(kinds.NODE, kinds.POD),
       remedy="on the node: lsmod | grep -E 'nouveau|nvidia'; mokutil --sb-state",
       source="gpu-operator troubleshooting (nouveau), #751")  # fmt: skip
def driver_module_loads(case: Case) -> Iterator[Finding]:
    """The kernel of every GPU node loads the NVIDIA modules.

    nouveau or an older NVIDIA module that cannot be unloaded, or Secure Boot that refuses
    modules without a known signature, keeps the driver out although it was built well.
    Restarting the pod does not help; the node must change.
    """
    for node, fault in _faults(case, "GPU031"):
        if "nouveau" in fault.says.lower():
            look = (
                f"on {node}: printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' > /etc/modprobe.d/nouveau.conf; "
                "rebuild the initramfs; reboot (drain the node first)"
            )
        elif re.search(r"key|secure ?boot|lockdown|verification", fault.says, re.I):
            look = (
                f"on {node}: mokutil --sb-state   # enabled: use signed precompiled modules, or switch Secure Boot off"
            )
        else:
            look = f"on {node}: lsmod | grep -E 'nouveau|nvidia'; a module that stays in use: drain and reboot the node"
        yield _finding(case, node, fault, f"The NVIDIA kernel module does not load on {node}", look)


@check("GPU032", Severity.ERROR, Layer.DRIVER, reads=(kinds.NODE, kinds.POD),
       remedy="kubectl -n gpu-operator logs ds/nvidia-driver-daemonset -c k8s-driver-manager",
       source="k8s-driver-manager; gpu-operator #2509, #2166, #901")  # fmt: skip
def old_driver_unloads(case: Case) -> Iterator[Finding]:
    """The driver manager can unload the old driver before a new one starts.

    Modules cannot be unloaded while a process holds a GPU. The manager evicts GPU pods, and
    drains the node if it may; pods it may not touch, or a process outside Kubernetes, keep
    the modules in use, and the driver pod never gets past its first init container.
    """
    for node, fault in _faults(case, "GPU032"):
        policy = cluster_policy(case.snapshot) or {}
        env = {text(each, "name"): text(each, "value") for container in items(fault.state.pod, "spec", "initContainers")
               for each in items(container, "env")}  # fmt: skip
        drains = env.get("ENABLE_AUTO_DRAIN") or get(policy, "spec", "driver", "upgradePolicy", "drain", "enable")
        look = (
            f"kubectl get pods -A -o wide --field-selector spec.nodeName={node}   # who still uses GPUs?\n"
            f"on {node}: lsof /dev/nvidia*   # processes outside Kubernetes, DCGM, X\n"
            f"{drain(node)}\n"
            f"once its driver pod is ready: kubectl uncordon {node}\n"
            "for next time: driver.upgradePolicy.drain.enable=true, .gpuPodDeletion.force=true "
            f"(drain is now: {drains})"
        )
        yield _finding(case, node, fault, f"The driver manager cannot unload the old driver on {node}", look)


@check("GPU033", Severity.ERROR, Layer.DRIVER, reads=(kinds.NODE, kinds.POD),
       remedy="kubectl -n gpu-operator logs ds/nvidia-driver-daemonset -c nvidia-driver-ctr",
       source="gpu-operator driver startupProbe (60 s + 120 × 10 s)")  # fmt: skip
def driver_starts_in_time(case: Case) -> Iterator[Finding]:
    """The driver of every GPU node is ready within the time its startup probe grants.

    Ready means that nvidia-smi answers. A driver that runs but never gets there compiles
    for too long, waits for the network, or has a GPU whose firmware (GSP) does not start.
    When the probe's time is over the kubelet kills it and it starts over.
    """
    for node, fault in _faults(case, "GPU033"):
        window = int(startup_window(fault.state.pod or {}).total_seconds() // 60)
        look = (
            f"on {node}: dmesg | grep -iE 'nvrm|gsp|xid'   # a GPU that does not answer\n"
            "slow compilation: driver.usePrecompiled=true, or raise driver.startupProbe.failureThreshold"
        )
        late = fault.severity is Severity.ERROR
        what = f"is not ready on {node} (its startup probe grants {window} min)" if late else f"is starting on {node}"
        yield _finding(case, node, fault, f"The driver {what}", look)
