"""Hand-made clusters for the tests of declarations."""

from __future__ import annotations

from typing import Any

from plimsoll.kube import kinds
from plimsoll.kube.declare import Declared, declare
from plimsoll.kube.objects import Obj
from plimsoll.kube.snapshot import Coverage, Snapshot, Source
from plimsoll.spec.dump import to_yaml
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform
from plimsoll.spec.problems import SpecError


def declared(*objects: Obj, partial: bool = False) -> Declared:
    """The declaration of these objects; it must load as a hand-written one does."""
    coverage = dict.fromkeys(kinds.ALL, Coverage.PARTIAL if partial else Coverage.WHOLE)
    found = declare(Snapshot(objects, source=Source("list", "test"), taken_at=None, coverage=coverage))
    assert loaded(found) == found.platform
    return found


def loaded(found: Declared) -> Platform:
    try:
        return load(to_yaml(found.platform), "platform.yaml")
    except SpecError as error:  # an InputError too, which some tests expect of the cluster
        raise AssertionError(str(error)) from error


def node(name: str, capacity: dict[str, str] | None = None, /, **labels: str) -> Obj:
    """A node; `product`, `gpus` and `type` are short for the labels that tell those."""
    have = {SHORT.get(key, key): value for key, value in labels.items()}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": have},
        "status": {"capacity": capacity or {}, "nodeInfo": {"kubeletVersion": "v1.34.2"}},
    }


SHORT = {
    "product": "nvidia.com/gpu.product",
    "gpus": "nvidia.com/gpu.count",
    "type": "node.kubernetes.io/instance-type",
}
H100 = {"product": "NVIDIA-H100-80GB-HBM3", "gpus": "8"}
A100 = {"product": "NVIDIA-A100-SXM4-80GB", "gpus": "8"}


def kueue(kind: str, name: str, spec: Any, namespace: str = "") -> Obj:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": metadata, "spec": spec}


def cluster_queue(name: str, *lines: dict[str, Any], flavor: str = "h100", **spec: Any) -> Obj:
    group = {
        "coveredResources": [line["name"] for line in lines],
        "flavors": [{"name": flavor, "resources": list(lines)}],
    }
    return kueue("ClusterQueue", name, {"resourceGroups": [group], **spec})


def gpu_line(nominal: int, **limits: int) -> dict[str, Any]:
    return {
        "name": "nvidia.com/gpu",
        "nominalQuota": str(nominal),
        **{key: str(value) for key, value in limits.items()},
    }


def pod(
    name: str,
    namespace: str,
    on: str,
    resource: str = "nvidia.com/gpu",
    count: int = 1,
    labels: dict[str, str] | None = None,
) -> Obj:
    """A running pod that holds GPUs on a node."""
    container = {"name": "c", "resources": {"limits": {resource: str(count)}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"nodeName": on, "containers": [container]},
        "status": {"phase": "Running"},
    }


def server(name: str, namespace: str, args: list[str], gpus: int = 1, **spec: Any) -> Obj:
    container = {
        "name": "vllm",
        "image": "vllm/vllm-openai:v0.11.0",
        "args": args,
        "resources": {"limits": {"nvidia.com/gpu": str(gpus)}},
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


def hundred(*names: str) -> list[Obj]:
    return [node(name, {"nvidia.com/gpu": "8"}, pool="h100", **H100) for name in names]


FLAVOR = kueue("ResourceFlavor", "h100", {"nodeLabels": {"pool": "h100"}})


def said(found: Declared, part: str) -> bool:
    return any(part in guess for guess in found.guesses)
