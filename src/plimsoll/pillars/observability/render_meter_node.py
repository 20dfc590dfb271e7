"""The meter's pods on GPU nodes: they ask the driver and the kubelet, where no exporter is to be asked."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.plan.model import thing
from plimsoll.spec.model import Platform

NAME = "plimsoll-meter-node"
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "meter"}
_SOCKETS = "/var/lib/kubelet/pod-resources"
_RUNTIMES = {"aks": "nvidia-container-runtime"}  # as AKS calls it in containerd; the operator makes `nvidia`


def daemon_set(platform: Platform, space: str, template: Obj) -> Obj:
    """template: of the pod that watches the cluster; here it looks at its own node.

    hostPID: the driver names processes by their numbers on the node. The kubelet's socket is root's, so is the process;
    it has no capability and no way to gain any.
    """
    spec, container = template["spec"], template["spec"]["containers"][0]
    fixed = {"runAsUser": 0, "runAsNonRoot": False}
    env = [
        *container["env"],
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        # What the nvidia runtime puts into the container: the driver's tools, for all GPUs, and their MIG instances.
        {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"},
        {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "utility"},
    ]
    sockets = {"name": "kubelet", "mountPath": _SOCKETS, "readOnly": True}
    asking = container | {
        # What things cost is said once, by the pod that watches the cluster.
        "args": [*container["args"], "--node", "$(NODE_NAME)", "--costs-every", "0"],
        "env": env,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [*container["volumeMounts"], sockets],
        "securityContext": container["securityContext"] | fixed,
    }
    runtime = runtime_class(platform)
    pod = spec | {
        "hostPID": True,
        **({"runtimeClassName": runtime} if runtime else {}),
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _of_pools(platform)}},
        "tolerations": [{"operator": "Exists"}],  # whatever a node is tainted with, its GPUs are paid for
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [asking],
        "volumes": [*spec["volumes"], {"name": "kubelet", "hostPath": {"path": _SOCKETS, "type": "Directory"}}],
    }
    return thing(
        "apps/v1",
        "DaemonSet",
        NAME,
        space,
        labels=LABELS,
        spec={
            "selector": {"matchLabels": LABELS},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": {"metadata": template["metadata"] | {"labels": dict(LABELS)}, "spec": pod},
        },
    )


def runtime_class(platform: Platform) -> str:
    """The RuntimeClass that puts the driver into a container; "" where GKE's own driver is, which has none."""
    if platform.cluster.provider == "gke" and platform.operator.driver.managed_by == "cloud":
        return ""
    return _RUNTIMES.get(platform.cluster.provider, "nvidia")


def notes(platform: Platform) -> Iterator[str]:
    meter = platform.observability.meter
    if meter is None or meter.mode != "node":
        return
    if not runtime_class(platform):
        yield (
            f"No RuntimeClass brings GKE's own driver into DaemonSet {NAME}: read dcgm-exporter instead "
            "(observability.meter.mode: cluster), or let the operator install the driver"
        )
    if platform.cluster.provider == "openshift":
        yield (
            f"DaemonSet {NAME} sees processes and a socket of its node; OpenShift allows that by: oc adm policy "
            "add-scc-to-user privileged -z plimsoll-meter -n plimsoll-nodes"
        )


def _of_pools(platform: Platform) -> Obj:
    """Nodes of any pool, by their labels."""
    terms = [
        {
            "matchExpressions": [
                {"key": key, "operator": "In", "values": [value]} for key, value in sorted(pool.selector.items())
            ]
        }
        for pool in platform.pools
    ]
    return {"nodeSelectorTerms": terms}
