"""What kube-state-metrics says of a pod."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from plimsoll.kube.objects import Obj, get, items, mapping, name, namespace, text
from plimsoll.lab.telemetry.exposition import Labels
from plimsoll.lab.telemetry.ksm.common import (
    Family,
    Series,
    condition_of,
    counted,
    created,
    labels_of,
    owners,
    resources,
    time_of,
)
from plimsoll.units import moment


def _pod_info(pod: Obj) -> Iterator[Series]:
    own = next((each for each in items(pod, "metadata", "ownerReferences") if each.get("controller")), {})
    yield (
        (
            ("host_ip", text(pod, "status", "hostIP")),
            ("pod_ip", text(pod, "status", "podIP")),
            ("node", text(pod, "spec", "nodeName")),
            ("created_by_kind", text(own, "kind")),
            ("created_by_name", text(own, "name")),
            ("priority_class", text(pod, "spec", "priorityClassName")),
            ("host_network", "true" if get(pod, "spec", "hostNetwork") is True else "false"),
        ),
        1,
    )


def _phase(pod: Obj) -> Iterator[Series]:
    now = text(pod, "status", "phase")
    if now:
        for each in ("Pending", "Succeeded", "Failed", "Unknown", "Running"):
            yield (("phase", each),), int(each == now)


def _scheduled_time(pod: Obj) -> Iterator[Series]:
    for each in items(pod, "status", "conditions"):
        if each.get("type") == "PodScheduled" and each.get("status") == "True":
            yield from time_of(each, "lastTransitionTime")


def _amounts(field: str) -> Callable[[Obj], Iterator[Series]]:
    def read(pod: Obj) -> Iterator[Series]:
        node = text(pod, "spec", "nodeName")
        for container in items(pod, "spec", "containers"):
            title = text(container, "name")
            for resource, unit, value in resources(mapping(container, "resources", field)):
                yield (("container", title), ("node", node), ("resource", resource), ("unit", unit)), value

    return read


def _containers(value: Callable[[Obj], Iterable[Series]]) -> Callable[[Obj], Iterator[Series]]:
    def read(pod: Obj) -> Iterator[Series]:
        for each in items(pod, "status", "containerStatuses"):
            for pairs, shown in value(each):
                yield (("container", text(each, "name")), *pairs), shown

    return read


def _running(status: Obj) -> Iterator[Series]:
    yield (), int("running" in mapping(status, "state"))


def _waits(status: Obj) -> Iterator[Series]:
    if reason := text(status, "state", "waiting", "reason"):
        yield (("reason", reason),), 1


def _ended(status: Obj) -> Iterator[Series]:
    if reason := text(status, "state", "terminated", "reason"):
        yield (("reason", reason),), 1


def _completed(pod: Obj) -> Iterator[Series]:
    times = (
        moment(text(each, "state", "terminated", "finishedAt")) for each in items(pod, "status", "containerStatuses")
    )
    ended = [each.timestamp() for each in times if each]
    if ended and text(pod, "status", "phase") in ("Succeeded", "Failed"):
        yield (), int(max(ended))


def _reason(pod: Obj) -> Iterator[Series]:
    if reason := text(pod, "status", "reason"):
        yield (("reason", reason),), 1


_DISRUPTIONS = ("PreemptionByScheduler", "DeletionByTaintManager", "EvictionByEvictionAPI", "DeletionByPodGC",
                "TerminationByKubelet")  # fmt: skip


def _disrupted(pod: Obj) -> Iterator[Series]:
    for each in items(pod, "status", "conditions"):
        if each.get("type") == "DisruptionTarget" and each.get("status") == "True":
            reason = text(each, "reason")
            yield (("reason", reason if reason in _DISRUPTIONS else "Other"),), 1


POD: tuple[Family, ...] = (
    ("kube_pod_info", "Information about pod.", _pod_info),
    ("kube_pod_labels", "Kubernetes labels converted to Prometheus labels.", labels_of),
    ("kube_pod_owner", "Information about the Pod's owner.", owners),
    ("kube_pod_created", "Unix creation timestamp", created),
    ("kube_pod_start_time", "Start time in unix timestamp for a pod.", lambda pod: time_of(pod, "status", "startTime")),
    ("kube_pod_completion_time", "Completion time in unix timestamp for a pod.", _completed),
    ("kube_pod_status_phase", "The pods current phase.", _phase),
    ("kube_pod_status_ready", "Describes whether the pod is ready to serve requests.", condition_of("Ready")),
    ("kube_pod_status_scheduled", "Describes the status of the scheduling process for the pod.",
     condition_of("PodScheduled")),
    ("kube_pod_status_scheduled_time", "Unix timestamp when pod moved into scheduled status", _scheduled_time),
    ("kube_pod_status_reason", "The pod status reasons", _reason),
    ("kube_pod_status_disruption_reason", "Why the pod is being disrupted.", _disrupted),
    ("kube_pod_container_resource_requests", "The number of requested request resource by a container.",
     _amounts("requests")),
    ("kube_pod_container_resource_limits", "The number of requested limit resource by a container.",
     _amounts("limits")),
    ("kube_pod_container_status_running", "Describes whether the container is currently in running state.",
     _containers(_running)),
    ("kube_pod_container_status_waiting_reason", "Describes the reason the container is currently in waiting state.",
     _containers(_waits)),
    ("kube_pod_container_status_terminated_reason",
     "Describes the reason the container is currently in terminated state.", _containers(_ended)),
    ("kube_pod_container_status_restarts_total", "The number of container restarts per container.",
     _containers(counted("restartCount"))),
    ("kube_pod_container_state_started", "Start time in unix timestamp for a pod container.",
     _containers(lambda status: time_of(status, "state", "running", "startedAt"))),
)  # fmt: skip


def of_pod(pod: Obj) -> Labels:
    """The labels that every series of a pod begins with."""
    return ("namespace", namespace(pod)), ("pod", name(pod)), ("uid", text(pod, "metadata", "uid"))
