"""Who may say of an object that it is Kueue's business already.

Kueue does not hold back a pod whose owner it manages, and marks the pods of a job that it has started. It believes
both of whoever may write objects in a namespace (its own source: "same-namespace ownership spoofing is out of
scope"). A team may, so the API server has to tell them from the cluster's controllers.
"""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.plan.model import thing
from plimsoll.spec import derive
from plimsoll.spec.model import Platform

OWNERS = "owners-are-true"
STARTED = "jobs-do-not-say-started"
ADMISSION = "admissionregistration.k8s.io/v1"
PODSET = "kueue.x-k8s.io/podset"
# A controller of the cluster, and not a person or an account that a team's own pods may run as.
CONTROLLER = (
    "request.userInfo.username.startsWith('system:') && "
    "!request.userInfo.username.startsWith('system:serviceaccount:' + request.namespace + ':')"
)
# Whether somebody says that a controller made this. `kubectl create job --from=cronjob/…` does; Kueue knows no CronJob.
_OWNED = "object.metadata.ownerReferences.exists(o, o.?controller.orValue(false) && o.kind != 'CronJob')"
OWNED = f"has(object.metadata.ownerReferences) && {_OWNED}"
# Kinds that stand between a pod and what Kueue manages, or that it manages.
_BETWEEN = (
    ("apps", ("deployments", "replicasets", "statefulsets")),
    ("batch", ("jobs",)),
    ("jobset.x-k8s.io", ("jobsets",)),
    ("leaderworkerset.x-k8s.io", ("leaderworkersets",)),
    ("kubeflow.org", ("mpijobs", "pytorchjobs")),
    ("trainer.kubeflow.org", ("trainjobs",)),
    ("ray.io", ("rayclusters", "rayjobs", "rayservices")),
)
# Who makes the jobs that JobSets and MPIJobs consist of. What a CronJob makes is as its author wrote it.
_MAKES_JOBS = f"{CONTROLLER} && request.userInfo.username != 'system:serviceaccount:kube-system:cronjob-controller'"
_QUEUED = "has(object.metadata.labels) && 'kueue.x-k8s.io/queue-name' in object.metadata.labels"


def objects(platform: Platform) -> Iterator[Obj]:
    yield from _owners(platform)
    yield from _started(platform)


def _owners(platform: Platform) -> Iterator[Obj]:
    kept = (
        "request.operation == 'UPDATE' && has(oldObject.metadata.ownerReferences) && "
        "object.metadata.ownerReferences.all(o, !o.?controller.orValue(false) || "
        "oldObject.metadata.ownerReferences.exists(old, old.uid == o.uid && old.?controller.orValue(false)))"
    )
    rules = [_rule(group, resources, "CREATE", "UPDATE") for group, resources in _BETWEEN]
    message = "only controllers say that they made this: leave out ownerReferences with controller: true"
    yield from policy(
        OWNERS,
        rules,
        [{"expression": f"({CONTROLLER}) || ({kept})", "reason": "Forbidden", "message": message}],
        derive.home_selector(platform),
        matchConditions=[{"name": "says-who-made-it", "expression": OWNED}],
    )


def _started(platform: Platform) -> Iterator[Obj]:
    """A job that names no queue, and whose template has the mark of one that Kueue has started."""
    labels = "object.spec.template.metadata.labels"
    marked = f"has(object.spec.template.metadata) && has({labels}) && '{PODSET}' in {labels}"
    yield from policy(
        STARTED,
        [_rule("batch", ("jobs",), "CREATE")],
        [
            {
                "expression": f"({_QUEUED}) || ({_MAKES_JOBS})",
                "reason": "Forbidden",
                "message": f"the label {PODSET} is Kueue's to set: take it out of the template",
            }
        ],
        derive.home_selector(platform),
        matchConditions=[{"name": "says-started", "expression": marked}],
    )


def _rule(group: str, resources: tuple[str, ...], *operations: str) -> Obj:
    return {"apiGroups": [group], "apiVersions": ["*"], "resources": list(resources), "operations": list(operations)}


def policy(name: str, rules: list[Obj], validations: list[Obj], namespaces: Obj, **fields: list[Obj]) -> Iterator[Obj]:
    """A policy that refuses, and its binding in namespaces by their labels. fields: matchConditions, variables."""
    spec = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules}, **fields, "validations": validations}
    yield thing(ADMISSION, "ValidatingAdmissionPolicy", name, spec=spec)
    yield thing(
        ADMISSION,
        "ValidatingAdmissionPolicyBinding",
        name,
        spec={
            "policyName": name,
            "validationActions": ["Deny", "Audit"],
            "matchResources": {"namespaceSelector": namespaces},
        },
    )
