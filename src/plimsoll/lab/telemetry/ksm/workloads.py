"""What kube-state-metrics says of a Job, a Deployment and a ReplicaSet."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.kube.objects import Obj, items, name, namespace, number, text
from plimsoll.lab.telemetry.exposition import Labels
from plimsoll.lab.telemetry.ksm.common import (
    Family,
    Series,
    always,
    condition_of,
    counted,
    created,
    field,
    labels_of,
    owners,
    time_of,
)


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
    ("kube_job_info", "Information about job.", always),
    ("kube_job_labels", "Kubernetes labels converted to Prometheus labels.", labels_of),
    ("kube_job_owner", "Information about the Job's owner.", owners),
    ("kube_job_created", "Unix creation timestamp", created),
    ("kube_job_spec_parallelism", "The maximum desired number of pods the job should run at any given time.",
     field("spec", "parallelism")),
    ("kube_job_spec_completions", "The desired number of successfully finished pods the job should be run with.",
     field("spec", "completions")),
    ("kube_job_status_active", "The number of actively running pods.", counted("status", "active")),
    ("kube_job_status_succeeded", "The number of pods which reached Phase Succeeded.",
     counted("status", "succeeded")),
    ("kube_job_status_failed", "The number of pods which reached Phase Failed and the reason for failure.",
     _job_failed),
    ("kube_job_status_suspended", "The number of pods which reached Phase Suspended.", _suspended),
    ("kube_job_complete", "The job has completed its execution.", condition_of("Complete")),
    ("kube_job_failed", "The job has failed its execution.", condition_of("Failed")),
    ("kube_job_status_start_time", "StartTime represents time when the job was acknowledged by the Job Manager.",
     lambda job: time_of(job, "status", "startTime")),
    ("kube_job_status_completion_time", "CompletionTime represents time when the job was completed.",
     lambda job: time_of(job, "status", "completionTime")),
)  # fmt: skip
DEPLOYMENT: tuple[Family, ...] = (
    ("kube_deployment_labels", "Kubernetes labels converted to Prometheus labels.", labels_of),
    ("kube_deployment_created", "Unix creation timestamp", created),
    ("kube_deployment_spec_replicas", "Number of desired pods for a deployment.", field("spec", "replicas")),
    ("kube_deployment_status_replicas", "The number of replicas per deployment.", counted("status", "replicas")),
    ("kube_deployment_status_replicas_ready", "The number of ready replicas per deployment.",
     counted("status", "readyReplicas")),
    ("kube_deployment_status_replicas_available", "The number of available replicas per deployment.",
     counted("status", "availableReplicas")),
    ("kube_deployment_status_replicas_unavailable", "The number of unavailable replicas per deployment.",
     counted("status", "unavailableReplicas")),
    ("kube_deployment_status_replicas_updated", "The number of updated replicas per deployment.",
     counted("status", "updatedReplicas")),
    ("kube_deployment_status_observed_generation", "The generation observed by the deployment controller.",
     counted("status", "observedGeneration")),
    ("kube_deployment_metadata_generation",
     "Sequence number representing a specific generation of the desired state.", counted("metadata", "generation")),
)  # fmt: skip
REPLICA_SET: tuple[Family, ...] = (
    ("kube_replicaset_owner", "Information about the ReplicaSet's owner.", owners),
)  # fmt: skip


def of_job(job: Obj) -> Labels:
    return ("namespace", namespace(job)), ("job_name", name(job))


def of_deployment(deployment: Obj) -> Labels:
    return ("namespace", namespace(deployment)), ("deployment", name(deployment))


def of_replica_set(replica_set: Obj) -> Labels:
    return ("namespace", namespace(replica_set)), ("replicaset", name(replica_set))
