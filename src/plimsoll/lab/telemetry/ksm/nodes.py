"""What kube-state-metrics says of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from plimsoll.kube.objects import Obj, get, items, mapping, name, text
from plimsoll.lab.telemetry.exposition import Labels
from plimsoll.lab.telemetry.ksm.common import Family, Series, conditions, created, labels_of, resources


def _node_info(node: Obj) -> Iterator[Series]:
    info = mapping(node, "status", "nodeInfo")
    address = next(
        (text(each, "address") for each in items(node, "status", "addresses") if each.get("type") == "InternalIP"), ""
    )
    yield (
        (
            ("kernel_version", text(info, "kernelVersion")),
            ("os_image", text(info, "osImage")),
            ("container_runtime_version", text(info, "containerRuntimeVersion")),
            ("kubelet_version", text(info, "kubeletVersion")),
            ("kubeproxy_version", "deprecated"),
            ("provider_id", text(node, "spec", "providerID")),
            ("pod_cidr", text(node, "spec", "podCIDR")),
            ("system_uuid", text(info, "systemUUID")),
            ("internal_ip", address),
        ),
        1,
    )


def _node_amounts(field: str) -> Callable[[Obj], Iterator[Series]]:
    def read(node: Obj) -> Iterator[Series]:
        for resource, unit, value in resources(mapping(node, "status", field)):
            yield (("resource", resource), ("unit", unit)), value

    return read


def _taints(node: Obj) -> Iterator[Series]:
    for each in items(node, "spec", "taints"):
        yield tuple((field, text(each, field)) for field in ("key", "value", "effect")), 1


def _node_conditions(node: Obj) -> Iterator[Series]:
    for each in items(node, "status", "conditions"):
        for value, holds in conditions(text(each, "status")):
            yield (("condition", text(each, "type")), ("status", value)), holds


NODE: tuple[Family, ...] = (
    ("kube_node_info", "Information about a cluster node.", _node_info),
    ("kube_node_labels", "Kubernetes labels converted to Prometheus labels.", labels_of),
    ("kube_node_created", "Unix creation timestamp", created),
    ("kube_node_spec_unschedulable", "Whether a node can schedule new pods.",
     lambda node: [((), int(get(node, "spec", "unschedulable") is True))]),
    ("kube_node_spec_taint", "The taint of a cluster node.", _taints),
    ("kube_node_status_condition", "The condition of a cluster node.", _node_conditions),
    ("kube_node_status_capacity", "The total amount of resources available for a node.", _node_amounts("capacity")),
    ("kube_node_status_allocatable",
     "The amount of resources allocatable for pods (after reserving some for system daemons).",
     _node_amounts("allocatable")),
)  # fmt: skip


def of_node(node: Obj) -> Labels:
    return (("node", name(node)),)
