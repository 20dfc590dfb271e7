"""What is collected: monitors for the Prometheus Operator.

Labels are as pillars and their charts write them; namespaces are named one by one, so that nothing of a tenant's is
collected by accident.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from plimsoll.kube.objects import Obj
from plimsoll.pillars.observability import render_meter, render_meter_node
from plimsoll.pillars.observability.pack.facts import sanitised
from plimsoll.plan.model import HOME, thing
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import POOL_LABEL

_API = "monitoring.coreos.com/v1"
_INTERVAL = "15s"
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def monitors(platform: Platform) -> Iterator[Obj]:
    """Monitors of what the declaration has: GPUs and queues always, services and the meter where there are any."""
    yield _exporter(platform)
    if platform.observability.prometheus.labels:
        # The operator makes a monitor of itself, without any label, so a Prometheus that selects by labels passes it.
        yield _service_monitor(
            platform,
            "gpu-operator",
            platform.operator.namespace,
            {"app": "gpu-operator"},
            {"port": "gpu-operator-metrics", "interval": _INTERVAL},
        )
    yield _kueue(platform)
    if platform.services:
        yield from (_keda(platform), _servers(platform))
    yield from _meter(platform)


def _service_monitor(
    platform: Platform, name: str, where: str, select: dict[str, str], endpoint: dict[str, Any], **more: Any
) -> Obj:
    return thing(
        _API,
        "ServiceMonitor",
        name,
        HOME,
        labels=platform.observability.prometheus.labels,
        spec={
            "namespaceSelector": {"matchNames": [where]},
            "selector": {"matchLabels": select},
            "endpoints": [endpoint],
            **more,
        },
    )


def _exporter(platform: Platform) -> Obj:
    """The exporter's own labels win, for they name the pod that uses the GPU. Labels of the target that say the same of
    the exporter go: with them a GPU that nobody uses would seem to be used by the exporter."""
    endpoint = {
        "port": "gpu-metrics",
        "interval": _INTERVAL,
        "honorLabels": True,
        "relabelings": [
            {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"},
            *_pools(platform),
            {"action": "labeldrop", "regex": "namespace|pod|container|service|endpoint"},
        ],
    }
    select = {"app": "nvidia-dcgm-exporter"}
    return _service_monitor(
        platform,
        "dcgm-exporter",
        platform.operator.namespace,
        select,
        endpoint,
        jobLabel="app",
        attachMetadata={"node": True},
    )


def _pools(platform: Platform) -> Iterator[dict[str, Any]]:
    """Relabellings that write the node's pool."""
    if any(not pool.node_selector for pool in platform.pools):
        label = f"__meta_kubernetes_node_label_{sanitised(POOL_LABEL)}"
        yield {"sourceLabels": [label], "regex": "(.+)", "targetLabel": "pool"}
    for pool in platform.pools:
        if pool.node_selector:
            yield {
                "sourceLabels": [f"__meta_kubernetes_node_label_{sanitised(key)}" for key in pool.node_selector],
                "regex": ";".join(map(re.escape, pool.node_selector.values())),
                "targetLabel": "pool",
                "replacement": pool.name,
            }


def _kueue(platform: Platform) -> Obj:
    """Over TLS with a certificate that Kueue makes itself; it asks the API server whether the reader may."""
    endpoint = {
        "port": "https",
        "scheme": "https",
        "interval": _INTERVAL,
        "honorLabels": True,  # `namespace` is the LocalQueue's
        "bearerTokenFile": _TOKEN,
        "tlsConfig": {"insecureSkipVerify": True},
    }
    select = {"app.kubernetes.io/name": "kueue", "app.kubernetes.io/component": "metrics-service"}
    return _service_monitor(platform, "kueue", "kueue-system", select, endpoint)


def _keda(platform: Platform) -> Obj:
    endpoint = {"port": "metrics", "interval": _INTERVAL, "honorLabels": True}  # `namespace` is the ScaledObject's
    return _service_monitor(platform, "keda", "keda", {"app.kubernetes.io/name": "keda-operator"}, endpoint)


def _meter(platform: Platform) -> Iterator[Obj]:
    """The meter says whose money it is, so labels of its own pod go; its pods on nodes say only how they do."""
    meter = platform.observability.meter
    if meter is None:
        return
    space = derive.meter_namespace(platform)
    of_pod = {"action": "labeldrop", "regex": "namespace|pod|container|service|endpoint"}
    endpoint = {"port": render_meter.PORT_NAME, "interval": "1m", "honorLabels": True, "relabelings": [of_pod]}
    yield _service_monitor(platform, render_meter.NAME, space, render_meter.LABELS, endpoint)
    if meter.mode == "node":
        named = {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
        yield thing(
            _API,
            "PodMonitor",
            render_meter_node.NAME,
            HOME,
            labels=platform.observability.prometheus.labels,
            spec={
                "namespaceSelector": {"matchNames": [space]},
                "selector": {"matchLabels": render_meter_node.LABELS},
                "podMetricsEndpoints": [
                    {"port": render_meter.PORT_NAME, "interval": "1m", "relabelings": [named, of_pod]}
                ],
            },
        )


def _servers(platform: Platform) -> Obj:
    """Every replica of every service. Of a replica that spans several nodes only the first pod answers."""
    spaces = sorted({derive.namespace_of(platform, service) for service in platform.services})
    names = sorted({service.name for service in platform.services})
    endpoint = {
        "port": "http",
        "interval": _INTERVAL,
        "relabelings": [
            {
                "action": "keep",
                "sourceLabels": ["__meta_kubernetes_pod_label_leaderworkerset_sigs_k8s_io_worker_index"],
                "regex": "0?",
            },
            {"sourceLabels": ["__meta_kubernetes_pod_label_app_kubernetes_io_name"], "targetLabel": "service"},
            {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"},
        ],
    }
    return thing(
        _API,
        "PodMonitor",
        "services",
        HOME,
        labels=platform.observability.prometheus.labels,
        spec={
            "namespaceSelector": {"matchNames": spaces},
            "selector": {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": names}]},
            "podMetricsEndpoints": [endpoint],
        },
    )
