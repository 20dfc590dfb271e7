"""Nodes and pods for the tests of the lab's telemetry."""

from __future__ import annotations

from typing import Any

from plimsoll.kube.objects import Obj

CREATED = "2026-11-24T10:00:00Z"
STARTED = "2026-11-24T11:00:00Z"
T0 = 1795604400.0  # 2026-11-25T11:00:00Z, when tests look


def node(
    title: str = "n",
    product: str = "NVIDIA-H100-80GB-HBM3",
    gpus: int = 8,
    capacity: dict[str, int] | None = None,
    labels: dict[str, str] | None = None,
    **annotations: str,
) -> Obj:
    """A GPU node; annotations without their prefix, dashes as underscores."""
    have = {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": product, "nvidia.com/gpu.count": str(gpus)}
    amounts = {key: str(value) for key, value in (capacity or {"nvidia.com/gpu": gpus}).items()}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": title,
            "creationTimestamp": CREATED,
            "labels": have | (labels or {}),
            "annotations": {f"lab.plimsoll.dev/{key.replace('_', '-')}": said for key, said in annotations.items()},
        },
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "addresses": [{"type": "InternalIP", "address": "10.0.0.7"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def pod(
    title: str = "p",
    resource: str = "nvidia.com/gpu",
    amount: int = 1,
    on: str = "n",
    phase: str = "Running",
    created: str = CREATED,
    image: str = "train:1",
    labels: dict[str, str] | None = None,
    owner: tuple[str, str] | None = None,
    args: list[str] | None = None,
    **annotations: str,
) -> Obj:
    """A pod with one container `main`."""
    meta: dict[str, Any] = {
        "name": title,
        "namespace": "team",
        "uid": f"uid-{title}",
        "creationTimestamp": created,
        "labels": labels or {},
        "annotations": {f"lab.plimsoll.dev/{key.replace('_', '-')}": said for key, said in annotations.items()},
    }
    if owner:
        meta["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "controller": True}]
    asked = {resource: str(amount)} if amount else {}
    container = {"name": "main", "image": image, "args": args or [], "resources": {"limits": asked, "requests": asked}}
    state: dict[str, Any] = {"running": {"startedAt": STARTED}} if phase == "Running" else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"nodeName": on, "containers": [container]},
        "status": {
            "phase": phase,
            "startTime": STARTED,
            "podIP": "10.1.0.9",
            "conditions": [{"type": "Ready", "status": "True" if phase == "Running" else "False"}],
            "containerStatuses": [{"name": "main", "state": state, "restartCount": 0}],
        },
    }


def deployment(title: str = "chat", **annotations: str) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": title,
            "namespace": "team",
            "creationTimestamp": CREATED,
            "generation": 2,
            "annotations": {f"lab.plimsoll.dev/{key.replace('_', '-')}": said for key, said in annotations.items()},
        },
        "spec": {"replicas": 2},
        "status": {"replicas": 2, "readyReplicas": 1},
    }


def replica(number: int, *, ready: bool = True, image: str = "vllm/vllm-openai:v0.32.0", gpus: int = 1) -> Obj:
    """A pod of the Deployment `chat`."""
    return pod(
        f"chat-5d9-{number}",
        amount=gpus,
        phase="Running" if ready else "Pending",
        image=image,
        labels={"pod-template-hash": "5d9", "app": "chat"},
        owner=("ReplicaSet", "chat-5d9"),
        args=["serve", "meta/llama", "--served-model-name=llama"],
    )
