"""What faults of workloads and queues share: somebody's namespace, and the jobs and servers that are started in it."""

from __future__ import annotations

from typing import Any

from plimsoll.kube.objects import Obj, condition, labels, name, namespace, number, text
from plimsoll.kube.pods import trouble
from plimsoll.lab.faults.hands import Hands

GPU = "nvidia.com/gpu"
IMAGE = "registry.example.com/trials/trial:1.4.0@sha256:" + "5d" * 32
TOLERATIONS = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
DEPLOYMENT, JOB = "apps/v1/Deployment", "batch/v1/Job"
NAME = "trial"
DUE = 12  # minutes: a pod that waits, and a node that lacks something, is given ten


def here(hands: Hands) -> str:
    """The name of the fault's own namespace."""
    return f"{NAME}-{hands.fault.lower().replace('+', '-')}"


def space(hands: Hands) -> str:
    """A namespace of no team and no queue, as safe as the others; its name. Of a fault's own, for it takes its time
    to go."""
    title = here(hands)
    level = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    hands.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": title, "labels": level}})
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    most = {f"requests.{each}": "64" for each in (GPU, f"{GPU}.shared", "nvidia.com/mig-1g.10gb")}
    _create(hands, "networking.k8s.io/v1", "NetworkPolicy", "default-deny", title, closed)
    _create(hands, "v1", "ResourceQuota", "gpus", title, {"hard": most})
    return title


def _create(hands: Hands, version: str, kind: str, title: str, here: str, spec: Obj) -> None:
    hands.create({"apiVersion": version, "kind": kind, "metadata": {"name": title, "namespace": here}, "spec": spec})


def template(
    limits: dict[str, str],
    *,
    notes: dict[str, str] | None = None,
    env: dict[str, str] | None = None,
    requests: dict[str, str] | None = None,
    **spec: Any,
) -> Obj:
    """A pod template that is nothing but sound. limits: the GPU resources it asks for. spec: more of the pod's."""
    container: Obj = {
        "name": NAME,
        "image": IMAGE,
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "1", "memory": "4Gi", **limits, **(requests or {})},
                      "limits": {"memory": "4Gi", **limits}},
    }  # fmt: skip
    whole: Obj = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": TOLERATIONS,
        "containers": [container],
        **spec,
    }
    return {"metadata": {"labels": {"app": NAME}, "annotations": notes or {}}, "spec": whole}


def deploy(hands: Hands, here: str, pods: Obj, *, replicas: int = 1, title: str = NAME) -> None:
    """Create a Deployment of such pods."""
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": NAME}}, "template": pods}
    _create(hands, "apps/v1", "Deployment", title, here, spec)


def job(hands: Hands, here: str, pods: Obj, *, parallel: int = 1, title: str = NAME, queue: str = "",
        priority: str = "", retries: int = 3, suspend: bool = False) -> None:  # fmt: skip
    """Create a Job that runs for a year; through a LocalQueue where one is named."""
    pods["metadata"]["annotations"] = {"lab.plimsoll.dev/run-seconds": "31536000", **pods["metadata"]["annotations"]}
    pods["spec"]["restartPolicy"] = "Never"
    spec: Obj = {"parallelism": parallel, "completions": parallel, "backoffLimit": retries, "template": pods}
    if suspend:
        spec["suspend"] = True
    said = {"kueue.x-k8s.io/queue-name": queue, "kueue.x-k8s.io/priority-class": priority}
    tags = {key: value for key, value in said.items() if value}
    meta = {"name": title, "namespace": here, "labels": tags}
    hands.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec})


def pods_of(hands: Hands, here: str) -> list[Obj]:
    """The trial's pods in a namespace."""
    return hands.client.list("v1/Pod", here, labels=f"app={NAME}")


def waiting(hands: Hands, here: str) -> bool:
    """Whether the scheduler has found no node for a pod of the trial."""
    found = [trouble(each) for each in pods_of(hands, here)]
    return any(each is not None and each.state == "unschedulable" for each in found)


def running(hands: Hands, here: str, count: int = 1) -> bool:
    """Whether so many replicas of the trial's Deployment are ready."""
    return number(hands.get(DEPLOYMENT, NAME, here), "status", "readyReplicas") == count


def state(obj: Obj | None, type_: str) -> tuple[str, str]:
    """(status, reason) of a condition; ("", "") without it."""
    said = condition(obj or {}, type_)
    return text(said, "status"), text(said, "reason")


def pool(machine: Obj) -> dict[str, str]:
    """The labels by which pods choose this node and no other."""
    return {"kubernetes.io/hostname": labels(machine).get("kubernetes.io/hostname", name(machine))}


def key(obj: Obj) -> tuple[str, str]:
    """For sorting: namespace and name."""
    return namespace(obj), name(obj)
