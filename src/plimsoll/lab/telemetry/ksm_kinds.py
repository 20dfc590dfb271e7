"""What kube-state-metrics says of pods, nodes, jobs, Deployments and ReplicaSets, one object at a time.

Each family has a name, a help text, and a function from an object to series: pairs of labels and a value.
Source: kube-state-metrics v2 internal/store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, number, text
from plimsoll.lab.telemetry.exposition import Labels, sanitised
from plimsoll.units import moment, quantity

Series = tuple[Labels, float | str]
Family = tuple[str, str, Callable[[Obj], Iterable[Series]]]
_NOBODY: tuple[Obj, ...] = ({},)


def _time(obj: Obj, *path: str) -> Iterator[Series]:
    """A moment in seconds of the epoch; nothing where there is none."""
    if found := moment(text(obj, *path)):
        yield (), int(found.timestamp())


def _created(obj: Obj) -> Iterator[Series]:
    return _time(obj, "metadata", "creationTimestamp")


def _labels(obj: Obj) -> Iterator[Series]:
    """Labels of the object as `label_…`; those that become the same name are told apart by a number."""
    have = labels(obj)
    names = [f"label_{sanitised(key)}" for key in sorted(have)]
    twice = {each for each in names if names.count(each) > 1} if len(set(names)) < len(names) else set()
    seen: dict[str, int] = {}
    pairs = []
    for title, key in zip(names, sorted(have), strict=True):
        if title in twice:
            seen[title] = seen.get(title, 0) + 1
            title = f"{title}_conflict{seen[title]}"
        pairs.append((title, text(have, key)))
    yield pairs, 1


def _owners(obj: Obj) -> Iterator[Series]:
    for each in items(obj, "metadata", "ownerReferences") or _NOBODY:
        controls = ("true" if each.get("controller") else "false") if each else ""
        yield (
            (
                ("owner_kind", text(each, "kind")),
                ("owner_name", text(each, "name")),
                ("owner_is_controller", controls),
            ),
            1,
        )


def _field(*path: str) -> Callable[[Obj], Iterator[Series]]:
    """A whole number of the object; nothing where it is absent."""

    def read(obj: Obj) -> Iterator[Series]:
        value = get(obj, *path)
        if isinstance(value, int):
            yield (), int(value)

    return read


def _counted(*path: str) -> Callable[[Obj], Iterator[Series]]:
    """A whole number of the object; 0 where it is absent, as Go reads it."""
    return lambda obj: [((), number(obj, *path))]


def _always(_: Obj) -> Iterator[Series]:
    yield (), 1


_UNITS = {"cpu": "core", "memory": "byte", "ephemeral-storage": "byte", "storage": "byte"}


def resources(amounts: dict[str, object]) -> Iterator[tuple[str, str, str]]:
    """Resource, unit and value of a list of amounts, the resource as a label value of kube-state-metrics."""
    for resource in sorted(amounts):
        value = quantity(amounts[resource])
        if value is not None:
            unit = "byte" if resource.startswith("hugepages-") else _UNITS.get(resource, "integer")
            yield sanitised(resource), unit, _decimal(value)


def _decimal(value: Decimal) -> str:
    return str(int(value)) if value == int(value) else f"{value.normalize():f}"


def _conditions(status: str) -> Iterator[tuple[str, int]]:
    for each in ("true", "false", "unknown"):
        yield each, int(status.lower() == each)


# ---- pods


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


def _of_condition(kind: str) -> Callable[[Obj], Iterator[Series]]:
    def read(pod: Obj) -> Iterator[Series]:
        for each in items(pod, "status", "conditions"):
            if each.get("type") == kind:
                for value, holds in _conditions(text(each, "status")):
                    yield (("condition", value),), holds

    return read


def _scheduled_time(pod: Obj) -> Iterator[Series]:
    for each in items(pod, "status", "conditions"):
        if each.get("type") == "PodScheduled" and each.get("status") == "True":
            yield from _time(each, "lastTransitionTime")


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
    ("kube_pod_labels", "Kubernetes labels converted to Prometheus labels.", _labels),
    ("kube_pod_owner", "Information about the Pod's owner.", _owners),
    ("kube_pod_created", "Unix creation timestamp", _created),
    ("kube_pod_start_time", "Start time in unix timestamp for a pod.", lambda pod: _time(pod, "status", "startTime")),
    ("kube_pod_completion_time", "Completion time in unix timestamp for a pod.", _completed),
    ("kube_pod_status_phase", "The pods current phase.", _phase),
    ("kube_pod_status_ready", "Describes whether the pod is ready to serve requests.", _of_condition("Ready")),
    ("kube_pod_status_scheduled", "Describes the status of the scheduling process for the pod.",
     _of_condition("PodScheduled")),
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
     _containers(_counted("restartCount"))),
    ("kube_pod_container_state_started", "Start time in unix timestamp for a pod container.",
     _containers(lambda status: _time(status, "state", "running", "startedAt"))),
)  # fmt: skip


# ---- nodes


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
        for value, holds in _conditions(text(each, "status")):
            yield (("condition", text(each, "type")), ("status", value)), holds


NODE: tuple[Family, ...] = (
    ("kube_node_info", "Information about a cluster node.", _node_info),
    ("kube_node_labels", "Kubernetes labels converted to Prometheus labels.", _labels),
    ("kube_node_created", "Unix creation timestamp", _created),
    ("kube_node_spec_unschedulable", "Whether a node can schedule new pods.",
     lambda node: [((), int(get(node, "spec", "unschedulable") is True))]),
    ("kube_node_spec_taint", "The taint of a cluster node.", _taints),
    ("kube_node_status_condition", "The condition of a cluster node.", _node_conditions),
    ("kube_node_status_capacity", "The total amount of resources available for a node.", _node_amounts("capacity")),
    ("kube_node_status_allocatable",
     "The amount of resources allocatable for pods (after reserving some for system daemons).",
     _node_amounts("allocatable")),
)  # fmt: skip


# ---- workloads


def _job_failed(job: Obj) -> Iterator[Series]:
    failed = number(job, "status", "failed")
    if not failed:
        yield (), 0
        return
    known = ("BackoffLimitExceeded", "DeadlineExceeded", "Evicted")
    reasons = [text(each, "reason") for each in items(job, "status", "conditions") if each.get("type") == "Failed"]
    for own in reasons:
        for each in known:
            yield (("reason", each),), int(each == own)
    if not any(own in known for own in reasons):
        yield (("reason", ""),), failed


def _suspended(job: Obj) -> Iterator[Series]:
    for each in items(job, "status", "conditions"):
        if each.get("type") == "Suspended":
            yield (), int(each.get("status") == "True")


JOB: tuple[Family, ...] = (
    ("kube_job_info", "Information about job.", _always),
    ("kube_job_labels", "Kubernetes labels converted to Prometheus labels.", _labels),
    ("kube_job_owner", "Information about the Job's owner.", _owners),
    ("kube_job_created", "Unix creation timestamp", _created),
    ("kube_job_spec_parallelism", "The maximum desired number of pods the job should run at any given time.",
     _field("spec", "parallelism")),
    ("kube_job_spec_completions", "The desired number of successfully finished pods the job should be run with.",
     _field("spec", "completions")),
    ("kube_job_status_active", "The number of actively running pods.", _counted("status", "active")),
    ("kube_job_status_succeeded", "The number of pods which reached Phase Succeeded.",
     _counted("status", "succeeded")),
    ("kube_job_status_failed", "The number of pods which reached Phase Failed and the reason for failure.",
     _job_failed),
    ("kube_job_status_suspended", "The number of pods which reached Phase Suspended.", _suspended),
    ("kube_job_complete", "The job has completed its execution.", _of_condition("Complete")),
    ("kube_job_failed", "The job has failed its execution.", _of_condition("Failed")),
    ("kube_job_status_start_time", "StartTime represents time when the job was acknowledged by the Job Manager.",
     lambda job: _time(job, "status", "startTime")),
    ("kube_job_status_completion_time", "CompletionTime represents time when the job was completed.",
     lambda job: _time(job, "status", "completionTime")),
)  # fmt: skip
DEPLOYMENT: tuple[Family, ...] = (
    ("kube_deployment_labels", "Kubernetes labels converted to Prometheus labels.", _labels),
    ("kube_deployment_created", "Unix creation timestamp", _created),
    ("kube_deployment_spec_replicas", "Number of desired pods for a deployment.", _field("spec", "replicas")),
    ("kube_deployment_status_replicas", "The number of replicas per deployment.", _counted("status", "replicas")),
    ("kube_deployment_status_replicas_ready", "The number of ready replicas per deployment.",
     _counted("status", "readyReplicas")),
    ("kube_deployment_status_replicas_available", "The number of available replicas per deployment.",
     _counted("status", "availableReplicas")),
    ("kube_deployment_status_replicas_unavailable", "The number of unavailable replicas per deployment.",
     _counted("status", "unavailableReplicas")),
    ("kube_deployment_status_replicas_updated", "The number of updated replicas per deployment.",
     _counted("status", "updatedReplicas")),
    ("kube_deployment_status_observed_generation", "The generation observed by the deployment controller.",
     _counted("status", "observedGeneration")),
    ("kube_deployment_metadata_generation",
     "Sequence number representing a specific generation of the desired state.", _counted("metadata", "generation")),
)  # fmt: skip
REPLICA_SET: tuple[Family, ...] = (
    ("kube_replicaset_owner", "Information about the ReplicaSet's owner.", _owners),
)  # fmt: skip


def of_pod(pod: Obj) -> Labels:
    """The labels that every series of a pod begins with; of a node, a job, … likewise below."""
    return ("namespace", namespace(pod)), ("pod", name(pod)), ("uid", text(pod, "metadata", "uid"))


def of_node(node: Obj) -> Labels:
    return (("node", name(node)),)


def of_job(job: Obj) -> Labels:
    return ("namespace", namespace(job)), ("job_name", name(job))


def of_deployment(deployment: Obj) -> Labels:
    return ("namespace", namespace(deployment)), ("deployment", name(deployment))


def of_replica_set(replica_set: Obj) -> Labels:
    return ("namespace", namespace(replica_set)), ("replicaset", name(replica_set))
