"""What expressions share: labels of devices, names of both generations, series under their real pod."""

from __future__ import annotations

UNIT = "node, UUID, GPU_I_ID"  # what tells a GPU or a MIG instance from every other
DEVICE = f"{UNIT}, GPU_I_PROFILE, gpu, modelName"
GPU_RESOURCE = 'resource=~"nvidia_com_(gpu|gpu_shared|mig_.+)"'  # as kube-state-metrics writes extended resources
_EXPORTER = ".*dcgm-exporter.*"


def either(*exprs: str) -> str:
    """The first of these that a device has: names before dcgm-exporter 4.9, then those since."""
    return " or ".join(exprs)


def on_node(expr: str) -> str:
    """Series with the node's name in `node`.

    A monitor of ours writes it there. Without one the exporter's own label is the next best: `hostname`, before 4.8.3
    `Hostname`. It is the node's name where the exporter was told it, as the GPU Operator does.
    """
    joined = f'label_join({expr}, "node", ";", "node", "hostname", "Hostname")'
    return f'label_replace({joined}, "node", "$1", "node", ";*([^;]+).*")'


def per_device(expr: str, labels: str = DEVICE) -> str:
    """One series for each device. An exporter that knows of shares repeats a reading for each of the pods that share
    a GPU, so a sum over its series counts it several times; the largest is the device's own."""
    return f"max by ({labels}) ({on_node(expr)})"


def held(metric: str) -> str:
    """Those series of a metric of the exporter that name a pod which uses the device, in namespace, pod, container.

    Where the scrape does not honour labels they are called exported_…, and pod is the exporter's. Where it does, and
    target labels are kept, a device that nobody uses seems to be the exporter's own.
    """
    renamed = f'{metric}{{exported_pod!=""}}'
    for label in ("namespace", "pod", "container"):
        renamed = f'label_replace({renamed}, "{label}", "$1", "exported_{label}", "(.+)")'
    return f'({renamed} or {metric}{{exported_pod="",pod!="",pod!~"{_EXPORTER}"}})'
