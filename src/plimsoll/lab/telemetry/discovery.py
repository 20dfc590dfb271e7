"""Targets for Prometheus' http_sd, with the labels that scraping through ServiceMonitors gives in a real cluster."""

from __future__ import annotations

from typing import TypedDict

from plimsoll.kube.objects import Obj, name, namespace, text
from plimsoll.lab.telemetry.exporter import PORT, Exporter
from plimsoll.lab.telemetry.serving import container_of, workload_of

MANY_NODES, MANY_OBJECTS = 64, 2000
"""From how many on Prometheus asks less often: a lab of hundreds of nodes on two cores has other work to do."""
_SLOWLY = {"__scrape_interval__": "15s", "__scrape_timeout__": "10s"}


class Group(TypedDict):
    """One target group, and whether the labels of its page win over those given here."""

    targets: list[str]
    labels: dict[str, str]
    honoured: bool


def gpus(listen: str, node: str, exporter: Exporter, *, honoured: bool, slow: bool) -> Group:
    """The dcgm-exporter of a node."""
    labels = {
        "__metrics_path__": f"/dcgm/{node}",
        "job": exporter.service,
        "namespace": exporter.namespace,
        "pod": exporter.pod,
        "container": exporter.container,
        "endpoint": "gpu-metrics",
        "service": exporter.service,
        "instance": f"{exporter.address or node}:{PORT}",
        "node": node,
    }
    return {"targets": [listen], "labels": labels | (_SLOWLY if slow else {}), "honoured": honoured}


def server(listen: str, pod: Obj, service: str) -> Group:
    """A model server: through a ServiceMonitor of its Service, or a PodMonitor where it has none."""
    container, port = container_of(pod)
    here, title = namespace(pod), name(pod)
    labels = {
        "__metrics_path__": f"/vllm/{here}/{title}",
        "job": service or f"{here}/{workload_of(pod)[2]}",
        "namespace": here,
        "pod": title,
        "container": container,
        "endpoint": "http",
        **({"service": service} if service else {}),
        "instance": f"{text(pod, 'status', 'podIP') or title}:{port}",
        "node": text(pod, "spec", "nodeName"),
    }
    return {"targets": [listen], "labels": labels, "honoured": False}


def state_metrics(listen: str, *, slow: bool) -> Group:
    """kube-state-metrics; its series are about other pods than its own, so its labels win."""
    labels = {
        "__metrics_path__": "/ksm",
        "job": "kube-state-metrics",
        "namespace": "monitoring",
        "pod": "kube-state-metrics-0",
        "container": "kube-state-metrics",
        "endpoint": "http",
        "service": "kube-state-metrics",
        "instance": listen,
    }
    return {"targets": [listen], "labels": labels | (_SLOWLY if slow else {}), "honoured": True}
