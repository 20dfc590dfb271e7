"""Checks on how the runtime gives GPUs to containers: GPU047 to GPU050."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import drain, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, get, mapping, name, namespace, pod_template, text
from plimsoll.kube.operands import cluster_policy
from plimsoll.kube.pods import by_template, gpu_requests
from plimsoll.pillars.operator.checks.placements import placements, troubled

_CDI = "unresolvable CDI devices"
_NVML = "Failed to initialize NVML: Unknown Error"


def _saying(case: Case, phrase: str) -> dict[str, list[tuple[Obj, str, str]]]:
    """Pods that are not ready and whose container says a phrase: node to (pod, message, path)."""
    found: dict[str, list[tuple[Obj, str, str]]] = defaultdict(list)
    for pod, wrong in troubled(case.snapshot):
        if phrase in wrong.message:
            found[text(pod, "spec", "nodeName")].append((pod, wrong.message, wrong.path))
    return dict(sorted(found.items()))


@check("GPU047", Severity.ERROR, Layer.TOOLKIT, reads=(kinds.POD,),
       remedy="kubectl -n gpu-operator rollout restart ds/nvidia-container-toolkit-daemonset",
       source="gpu-operator #531; CDI specification in /var/run/cdi")  # fmt: skip
def cdi_devices_resolve(case: Case) -> Iterator[Finding]:
    """The runtime of every GPU node can resolve the CDI devices pods are given.

    CDI names devices, and files the toolkit and the plugin write say what they are. Files
    that are missing or from before a reboot or a MIG change, or a containerd without CDI,
    make every GPU container fail to start on the node.
    """
    for node, members in _saying(case, _CDI).items():
        pod, said, path = members[0]
        yield case.finding(
            case.snapshot.get(kinds.NODE, node) or pod,
            f"The runtime of {node} cannot resolve CDI devices: {many(len(members), 'pod')} cannot start",
            "status.nodeInfo.containerRuntimeVersion",
            seen={f"Pod/{namespace(pod)}/{name(pod)} {path}": said},
            affects=[f"node/{node}", *(f"pod/{namespace(each)}/{name(each)}" for each, _, _ in members)],
            remedy=f"on {node}: nvidia-ctk cdi list; ls -l /var/run/cdi\n"
            "kubectl -n gpu-operator delete pod -l 'app in (nvidia-container-toolkit-daemonset,"
            f"nvidia-device-plugin-daemonset)' --field-selector spec.nodeName={node}   # writes the files again\n"
            "containerd before 1.7: upgrade it, or cdi.enabled=false as a last resort",
        )


@check(
    "GPU048",
    Severity.ERROR,
    Layer.PLACEMENT,
    reads=(kinds.POD,),
    whole=(kinds.RUNTIME_CLASS,),
    remedy="kubectl get runtimeclass",
    source="Kubernetes RuntimeClass admission; gpu-operator operator.runtimeClass",
)
def runtime_classes_exist(case: Case) -> Iterator[Finding]:
    """Every nvidia RuntimeClass that pods name exists.

    The API server refuses to create a pod whose RuntimeClass does not exist: old pods live
    on and new ones never come. The operator makes `nvidia`, unless operator.runtimeClass
    has another name, it injects devices by NRI, or somebody deleted it.
    """
    have = {name(each) for each in case.snapshot.list(kinds.RUNTIME_CLASS)}

    def lacking(obj: Obj) -> str:
        wanted = text(pod_template(obj), "spec", "runtimeClassName")
        if not wanted or wanted in have:
            return ""
        return wanted if "nvidia" in wanted or gpu_requests(pod_template(obj)) else ""

    owners = (kinds.DAEMON_SET, kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.JOB)
    found = [(obj, lacking(obj)) for kind in owners for obj in case.snapshot.list(kind)]
    users: dict[str, list[Obj]] = defaultdict(list)
    for obj, wanted in [*found, *by_template(case.snapshot, lacking, ended=True)]:
        if wanted:
            users[wanted].append(obj)
    policy = cluster_policy(case.snapshot)
    stuck = [f"node/{node}" for node, wrong in placements(case.snapshot).items() if wrong.kind == "runtime-class"]
    for wanted, unordered in sorted(users.items()):
        objects = sorted(unordered, key=_order)
        first, waiting = objects[0], _owners(objects)
        yield case.finding(
            policy or first,
            f"RuntimeClass {wanted} does not exist; {text(first, 'kind')} {namespace(first)}/{name(first)}"
            + (f" and {many(len(objects) - 1, 'other')} name it" if len(objects) > 1 else " names it"),
            *(["spec.operator.runtimeClass"] if policy else []),
            seen={"RuntimeClasses": ", ".join(sorted(have)) or "none", "users": len(objects)},
            affects=[*stuck, *waiting],
            severity=Severity.ERROR if stuck or waiting else Severity.WARNING,
            remedy="kubectl get runtimeclass\n"
            "kubectl apply -f runtimeclass.yaml   # apiVersion: node.k8s.io/v1, kind: RuntimeClass, "
            f"metadata: {{name: {wanted}}}, handler: nvidia\n"
            "or take runtimeClassName out of the pods: with CDI or NRI they need none",
        )


def _order(obj: Obj) -> tuple[bool, str, str, str]:
    """Owners before their pods, then by name: the same order whatever order a snapshot has."""
    kind = text(obj, "kind")
    return kind == "Pod", kind, namespace(obj), name(obj)


def _owners(objects: list[Obj]) -> list[str]:
    """Tokens of the workloads among these objects; those of running pods are left alone."""
    return [f"service/{namespace(each)}/{name(each)}" for each in objects
            if text(each, "kind") in ("Deployment", "StatefulSet")
            and mapping(each, "status").get("readyReplicas", 0) != get(each, "spec", "replicas")]  # fmt: skip


@check(
    "GPU049",
    Severity.ERROR,
    Layer.TOOLKIT,
    reads=(kinds.POD,),
    remedy="kubectl -n <namespace> delete pod <pod>   # made anew it gets its GPUs back",
    source="nvidia-container-toolkit troubleshooting (systemctl daemon-reload), gpu-operator #485",
)
def containers_keep_gpus(case: Case) -> Iterator[Finding]:
    """Running containers keep their GPUs.

    With the systemd cgroup driver a `systemctl daemon-reload` on the node takes the device
    permissions the toolkit injected away from every running container: NVML says Unknown
    Error in all of them at once, while the node still offers its GPUs.
    """
    for node, members in _saying(case, _NVML).items():
        yield case.finding(
            case.snapshot.get(kinds.NODE, node) or members[0][0],
            f"{many(len(members), 'pod')} on {node} lost {'its' if len(members) == 1 else 'their'} GPUs: "
            "NVML says Unknown Error",
            "status.nodeInfo.containerRuntimeVersion",
            seen={f"Pod/{namespace(each)}/{name(each)} {where}": words for each, words, where in members[:5]},
            affects=[f"node/{node}", *(f"pod/{namespace(each)}/{name(each)}" for each, _, _ in members)],
            remedy="\n".join(f"kubectl -n {namespace(each)} delete pod {name(each)}" for each, _, _ in members[:5])
            + "\nfor good: cdi.enabled=true, which names devices instead of injecting permissions; "
            "or udev links for /dev/nvidia* (nvidia-ctk system create-dev-char-symlinks --create-all)",
        )


@check(
    "GPU050",
    Severity.WARNING,
    Layer.RISK,
    reads=(kinds.NODE, kinds.CLUSTER_POLICY),
    remedy="kubectl get nodes -o wide",
    source="gpu-operator getRuntime (one runtime for the cluster)",
)
def one_container_runtime(case: Case) -> Iterator[Finding]:
    """All GPU nodes use the same container runtime.

    The operator finds out the runtime once and configures the toolkit of every node for
    it: containerd if any GPU node uses it. Nodes with another runtime get a configuration
    their runtime never reads.
    """
    policy = cluster_policy(case.snapshot)
    found: dict[str, list[str]] = defaultdict(list)
    for node in gpu_nodes(case.snapshot):
        runtime = text(node, "status", "nodeInfo", "containerRuntimeVersion").partition("://")[0]
        if runtime:
            found[runtime].append(name(node))
    if policy is not None and len(found) > 1:
        shown = sorted(found.items(), key=lambda each: (len(each[1]), each[0]))
        yield case.finding(
            policy,
            "GPU nodes use different container runtimes: "
            + ", ".join(f"{runtime} on {len(nodes)}" for runtime, nodes in shown),
            "spec.operator.defaultRuntime",
            seen={runtime: ", ".join(nodes[:10]) for runtime, nodes in shown},
            remedy="move the nodes of the smaller group to the runtime of the others:\n"
            f"{drain(shown[0][1][0])}\n"
            "install it there, set it in the kubelet's --container-runtime-endpoint, and restart the kubelet\n"
            f"kubectl uncordon {shown[0][1][0]}",
        )
