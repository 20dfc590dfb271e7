"""Checks on the container toolkit and the runtime under it: GPU045, GPU046."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, name, namespace, text
from plimsoll.kube.operands import OperandState, operand_states
from plimsoll.kube.pods import events_by_object, finished, ready
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.operator.checks.age import lasting
from plimsoll.pillars.operator.checks.driver import driver_broken
from plimsoll.pillars.operator.checks.hints import robbed
from plimsoll.pillars.operator.checks.plugins import of_node
from plimsoll.pillars.operator.checks.starting import starting_drivers

_SOURCE = "nvidia-container-toolkit; gpu-operator troubleshooting"
_NO_RUNTIME = "no runtime for"


def _toolkit(case: Case, node: str) -> OperandState | None:
    return operand_states(case.snapshot).get(node, {}).get("container-toolkit")


def _config(case: Case, node: str) -> str:
    """What to set where a distribution keeps containerd elsewhere."""
    runtime = text(case.snapshot.get(kinds.NODE, node) or {}, "status", "nodeInfo", "containerRuntimeVersion")
    kubelet = text(case.snapshot.get(kinds.NODE, node) or {}, "status", "nodeInfo", "kubeletVersion")
    if "k3s" in runtime + kubelet or "rke2" in kubelet:
        base = "/var/lib/rancher/rke2" if "rke2" in kubelet else "/var/lib/rancher/k3s"
        return (
            f"{kubelet} keeps its containerd elsewhere: toolkit.env CONTAINERD_CONFIG={base}/agent/etc/containerd/"
            "config.toml.tmpl, CONTAINERD_SOCKET=/run/k3s/containerd/containerd.sock"
        )
    if "k0s" in kubelet:
        return (
            "toolkit.env CONTAINERD_CONFIG=/etc/k0s/containerd.d/nvidia.toml, "
            "CONTAINERD_SOCKET=/run/k0s/containerd.sock"
        )
    return f"on {node}: containerd config dump | grep -A5 nvidia; systemctl restart containerd"


@fact
def _without_runtime(snapshot: Snapshot) -> dict[str, tuple[Obj, str]]:
    """Nodes where the sandbox of a pod that still waits was refused for want of a runtime: node to (pod, message)."""
    found: dict[str, tuple[Obj, str]] = {}
    for (kind, here, title), events in events_by_object(snapshot).items():
        said = next((text(e, "message") for e in events if e.get("reason") == "FailedCreatePodSandBox"
                     and _NO_RUNTIME in text(e, "message")), "")  # fmt: skip
        pod = snapshot.get(kinds.POD, title, here) if kind == "Pod" and said else None
        if pod is not None and not ready(pod) and not finished(pod) and (node := text(pod, "spec", "nodeName")):
            found.setdefault(node, (pod, said))
    return found


@check(
    "GPU045",
    Severity.ERROR,
    Layer.TOOLKIT,
    reads=(kinds.POD,),
    remedy="kubectl -n gpu-operator logs ds/nvidia-container-toolkit-daemonset",
    source=_SOURCE,
)
def runtime_configured(case: Case) -> Iterator[Finding]:
    """The container runtime of every GPU node knows the nvidia runtime.

    The toolkit writes it into the configuration of containerd or CRI-O and restarts the
    runtime. Where it writes to another file than the runtime reads (k3s, RKE2, k0s), or
    cannot restart it, no pod of the nvidia runtime class gets a sandbox on the node.
    """
    for node in sorted({name(each) for each in gpu_nodes(case.snapshot)} | set(_without_runtime(case.snapshot))):
        state = _toolkit(case, node)
        found = state.trouble if state else None
        if state is not None and state.pod is not None and found is not None:
            own = found.state == "crash" and found.container not in ("driver-validation", "")
            if own:
                yield of_node(
                    case,
                    node,
                    state.pod,
                    f"The container toolkit on {node} crashes ({found.reason}, {many(found.restarts, 'restart')})"
                    + (f": {brief(state.says, 160)}" if state.says else ""),
                    f"{found.path}.reason",
                    f"{found.path}.message",
                    remedy=f"kubectl -n {namespace(state.pod)} logs {name(state.pod)} --previous\n"
                    + _config(case, node),
                )
            continue  # until the toolkit is ready nobody can expect its runtime
        if node in _without_runtime(case.snapshot):
            pod, said = _without_runtime(case.snapshot)[node]
            due = lasting(case, text(pod, "metadata", "creationTimestamp")) or robbed(case.snapshot, node)
            if due and not driver_broken(case, node):
                yield case.finding(
                    case.snapshot.get(kinds.NODE, node) or pod,
                    f"The container runtime of {node} has no runtime nvidia: {namespace(pod)}/{name(pod)} cannot start",
                    "status.nodeInfo.containerRuntimeVersion",
                    seen={"event": said},
                    affects=[f"node/{node}"],
                    remedy=f"{_config(case, node)}\nkubectl -n gpu-operator delete pod -l "
                    f"app=nvidia-container-toolkit-daemonset --field-selector spec.nodeName={node}   # writes it again",
                )


@check("GPU046", Severity.ERROR, Layer.TOOLKIT, reads=(kinds.NODE, kinds.POD),
       remedy="kubectl -n gpu-operator logs ds/nvidia-container-toolkit-daemonset -c driver-validation",
       source="gpu-operator validator (driver component)")  # fmt: skip
def toolkit_sees_driver(case: Case) -> Iterator[Finding]:
    """The container toolkit finds the driver on every GPU node.

    Its first init container waits until nvidia-smi works on the host or in the driver
    container. It waits for ever where the driver is broken, or where a driver on the host
    was promised and is not there, and everything after it waits too.
    """
    for node in gpu_nodes(case.snapshot):
        title = name(node)
        state = _toolkit(case, title)
        if (
            state is None
            or state.pod is None
            or state.trouble is None
            or state.trouble.container != "driver-validation"
        ):
            continue
        driver = operand_states(case.snapshot)[title].get("driver")
        due = lasting(case, text(state.pod, "metadata", "creationTimestamp")) or robbed(case.snapshot, title)
        if title in starting_drivers(case.snapshot) or (not due and not driver_broken(case, title)):
            continue
        how = driver.state if driver else "not-expected"
        host = how in ("not-expected", "pre-installed", "opted-out")
        yield of_node(
            case,
            title,
            state.pod,
            f"The container toolkit on {title} waits for the driver" + (" of the host" if host else f" ({how})"),
            state.trouble.path,
            seen={"driver": how},
            remedy=f"kubectl -n {namespace(state.pod)} logs {name(state.pod)} -c driver-validation\n"
            + (f"on {title}: nvidia-smi   # no driver: driver.enabled=true, or install one and reboot" if host
               else f"kubectl -n {namespace(state.pod)} get pods -o wide --field-selector spec.nodeName={title} "
                    "-l app.kubernetes.io/component=nvidia-driver"),
        )  # fmt: skip
