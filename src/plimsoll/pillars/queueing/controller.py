"""Kueue itself: its controller, its webhooks, and jobs it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import many
from plimsoll.kube import kinds
from plimsoll.kube.control import kueue_managers
from plimsoll.kube.objects import Obj, get, items, labels, name, namespace, number, owner, selects, text
from plimsoll.kube.pods import gpu_requests, trouble
from plimsoll.kube.served import pods_by_namespace
from plimsoll.kube.snapshot import Snapshot
from plimsoll.pillars.queueing.facts import (
    PRIORITY_LABEL,
    QUEUE_LABEL,
    at_least,
    block,
    manager_config,
    near,
    waited,
    workload_by_owner,
)

_EVERYTHING = ("queue/*", "localqueue/*", "workload/*")
_START = timedelta(minutes=2)  # pulls its image, wins the lease, builds its caches


@check(
    "Q00", Severity.CRITICAL, Layer.CLUSTER, reads=(kinds.CLUSTER_QUEUE,),
    whole=(kinds.DEPLOYMENT, kinds.POD),
    remedy="kubectl -n kueue-system get deployments,pods; kubectl -n kueue-system logs deploy/kueue-controller-manager",
    source="kueue charts/kueue: Deployment kueue-controller-manager, webhooks with failurePolicy Fail",
)  # fmt: skip
def kueue_runs(case: Case) -> Iterator[Finding]:
    """Kueue's controller runs wherever Kueue's queues exist, and its webhooks answer.

    Without the controller nothing is admitted, whatever the queues' conditions still say: they are
    from before. Its webhooks refuse on failure, so jobs, and with the pod integration even pods,
    cannot be created either.
    """
    snapshot = case.snapshot
    queues = snapshot.list(kinds.CLUSTER_QUEUE)
    if not queues:
        return
    managers = kueue_managers(snapshot)
    if not managers:
        yield case.finding(
            snapshot.get(kinds.CRD, "clusterqueues.kueue.x-k8s.io") or queues[0],
            f"No Kueue controller is installed, yet {many(len(queues), 'ClusterQueue', 'exists', 'exist')}",
            seen={"ClusterQueues": len(queues), "Deployments of Kueue": 0},
            affects=_EVERYTHING,
            remedy="kubectl get deployments -A | grep -i kueue\n"
            "helm upgrade --install kueue oci://registry.k8s.io/kueue/charts/kueue -n kueue-system --create-namespace "
            "--reset-then-reuse-values",
        )
        return
    for manager in managers:
        why = _down(case, manager)
        if why:
            yield _stopped(case, manager, why)
    if snapshot.whole(kinds.ENDPOINT_SLICE) and not any(_down(case, manager) for manager in managers):
        yield from _deaf(case, {namespace(manager) for manager in managers})


def _down(case: Case, manager: Obj) -> str:
    """Why a controller Deployment has no available pod, as a clause; "" if it has one or is starting."""
    if not get(manager, "status") or number(manager, "status", "availableReplicas"):
        return ""
    if get(manager, "spec", "replicas") == 0:
        return "it is scaled to 0"
    pods = _pods(case.snapshot, manager)
    if not pods:
        return "it has no pods"
    for pod in pods:
        found = trouble(pod)
        if found is not None and found.state in ("crash", "image", "unschedulable"):
            return f"{found.reason or found.state}" + (f" in container {found.container}" if found.container else "")
    youngest = max(text(pod, "metadata", "creationTimestamp") for pod in pods)
    return "no pod is ready" if at_least(waited(case.now, youngest), _START) else ""


def _pods(snapshot: Snapshot, manager: Obj) -> list[Obj]:
    selector = get(manager, "spec", "selector")
    space = namespace(manager)
    return [pod for pod in pods_by_namespace(snapshot).get(space, []) if selects(selector, labels(pod))]


def _stopped(case: Case, manager: Obj, why: str) -> Finding:
    space, title = namespace(manager), name(manager)
    pods = _pods(case.snapshot, manager)
    said = next((found.message for pod in pods if (found := trouble(pod)) and found.message), "")
    start = (
        f"kubectl -n {space} scale deployment {title} --replicas=1"
        if get(manager, "spec", "replicas") == 0
        else f"kubectl -n {space} logs deployment/{title} --previous\n"
        "OOMKilled: raise its memory limit. A wrong Configuration: kubectl -n "
        f"{space} get configmap kueue-manager-config -o yaml"
    )
    return case.finding(
        manager,
        f"Kueue's controller does not run: {why}; nothing is admitted",
        "spec.replicas",
        "status.availableReplicas",
        seen={"pods": ", ".join(map(name, pods)), "says": said},
        affects={*_EVERYTHING, *(f"pod/{space}/{name(pod)}" for pod in pods)},
        remedy=f"kubectl -n {space} get pods; kubectl -n {space} describe deployment {title}\n{start}",
    )


def _deaf(case: Case, spaces: set[str]) -> Iterator[Finding]:
    """Webhook services of Kueue without a ready endpoint although the controller runs."""
    snapshot = case.snapshot
    asked: dict[tuple[str, str], Obj] = {}
    for kind in (kinds.MUTATING_WEBHOOK, kinds.VALIDATING_WEBHOOK):
        for config in snapshot.list(kind):
            for hook in items(config, "webhooks"):
                space = text(hook, "clientConfig", "service", "namespace")
                if space in spaces and "kueue" in name(config):
                    asked.setdefault((space, text(hook, "clientConfig", "service", "name")), config)
    for (space, service), config in sorted(asked.items()):
        slices = [
            each
            for each in snapshot.list(kinds.ENDPOINT_SLICE)
            if namespace(each) == space and labels(each).get("kubernetes.io/service-name") == service
        ]
        ready = [e for each in slices for e in items(each, "endpoints") if get(e, "conditions", "ready") is not False]
        if not ready:
            yield case.finding(
                config,
                f"Kueue's webhook service {space}/{service} has no ready endpoint; jobs cannot be created",
                "webhooks[0].clientConfig.service.name",
                "webhooks[0].failurePolicy",
                seen={"ready endpoints": 0},
                affects=_EVERYTHING,
                remedy=f"kubectl -n {space} get service,endpointslices,pods --show-labels\n"
                f"The selector of service {service} must match the controller's pods",
            )


@check(
    "Q05", Severity.ERROR, Layer.ADMISSION, reads=(kinds.JOB,), whole=(kinds.WORKLOAD,),
    remedy="kubectl -n kueue-system get configmap kueue-manager-config -o yaml   # integrations.frameworks",
    source="kueue Configuration.integrations.frameworks; pkg/controller/jobframework",
)  # fmt: skip
def queued_jobs_have_a_workload(case: Case) -> Iterator[Finding]:
    """Every suspended Job with a queue name has its Workload.

    Kueue makes one Workload for each job it manages. A suspended Job without one was never seen:
    the integration `batch/job` is off, the controller is down, or its priority class does not exist.
    It waits for ever.
    """
    for job in _unseen(case):
        space, title, queue = namespace(job), name(job), str(labels(job).get(QUEUE_LABEL))
        if _priority_is_missing(case, job):
            continue  # Q38 says why
        class_ = labels(job).get(PRIORITY_LABEL)
        yield case.finding(
            job,
            f"Job {space}/{title} waits in LocalQueue {queue}, but Kueue never made a Workload for it",
            "spec.suspend",
            f"metadata.labels[{QUEUE_LABEL}]",
            f"metadata.labels[{PRIORITY_LABEL}]",
            affects={f"workload/{space}/{title}", f"localqueue/{space}/{queue}"},
            remedy="kubectl -n kueue-system get configmap kueue-manager-config -o yaml   # integrations: batch/job\n"
            + (f"kubectl get workloadpriorityclass {class_}\n" if class_ else "")
            + "kubectl -n kueue-system logs deployment/kueue-controller-manager",
        )


def _unseen(case: Case) -> Iterator[Obj]:
    """Suspended Jobs with a queue name, older than a minute, that no Workload stands for."""
    by_owner = workload_by_owner(case.snapshot)
    for job in case.snapshot.list(kinds.JOB):
        if not labels(job).get(QUEUE_LABEL) or get(job, "spec", "suspend") is not True:
            continue
        if text(job, "metadata", "uid") in by_owner or text(owner(job), "uid") in by_owner:
            continue
        if "kueue.x-k8s.io/prebuilt-workload-name" in labels(job):
            continue
        if at_least(waited(case.now, get(job, "metadata", "creationTimestamp")), timedelta(minutes=1)):
            yield job


def _priority_is_missing(case: Case, job: Obj) -> bool:
    class_ = labels(job).get(PRIORITY_LABEL)
    have = case.snapshot.whole(kinds.WORKLOAD_PRIORITY)
    return bool(class_) and have and case.snapshot.get(kinds.WORKLOAD_PRIORITY, str(class_)) is None


@check(
    "Q38", Severity.ERROR, Layer.ADMISSION, reads=(kinds.JOB,), whole=(kinds.WORKLOAD_PRIORITY, kinds.WORKLOAD),
    remedy="kubectl get workloadpriorityclasses",
    source="kueue label kueue.x-k8s.io/priority-class",
)  # fmt: skip
def priority_classes_exist(case: Case) -> Iterator[Finding]:
    """Every WorkloadPriorityClass a job names exists.

    A job whose `kueue.x-k8s.io/priority-class` names nothing gets no Workload: it stays suspended
    and appears in no queue.
    """
    have = [name(each) for each in case.snapshot.list(kinds.WORKLOAD_PRIORITY)]
    for job in _unseen(case):
        if not _priority_is_missing(case, job):
            continue
        space, title, class_ = namespace(job), name(job), str(labels(job).get(PRIORITY_LABEL))
        guess = near(class_, have)
        yield case.finding(
            job,
            f"Job {space}/{title} names WorkloadPriorityClass {class_}, which does not exist; it gets no Workload",
            f"metadata.labels[{PRIORITY_LABEL}]",
            "spec.suspend",
            seen={"existing classes": ", ".join(have)},
            affects={f"workload/{space}/{title}", f"localqueue/{space}/{labels(job).get(QUEUE_LABEL)}"},
            remedy="kubectl get workloadpriorityclasses"
            + (f"   # did you mean {guess}?" if guess else "")
            + "\n"
            + (
                f"kubectl -n {space} label job {title} {PRIORITY_LABEL}={guess} --overwrite"
                if guess
                else f"create {class_}, or set the label {PRIORITY_LABEL} of the job to a class that exists"
            ),
        )


@check(
    "Q04", Severity.ERROR, Layer.ADMISSION, reads=(kinds.JOB, kinds.CONFIG_MAP), whole=(kinds.WORKLOAD,),
    remedy="kubectl -n <namespace> label job <name> kueue.x-k8s.io/queue-name=<queue>",
    source="kubernetes-sigs/kueue#3637: manageJobsWithoutQueueName suspends jobs without a queue",
)  # fmt: skip
def no_job_waits_without_a_queue(case: Case) -> Iterator[Finding]:
    """No GPU job is suspended for want of a queue name.

    With `manageJobsWithoutQueueName` Kueue suspends every job, also one that names no queue and whose
    namespace has no LocalQueue `default`. Nothing on the job says what it waits for.
    """
    config = manager_config(case.snapshot)
    if config is None or "true" not in (block(config[1], "manageJobsWithoutQueueName") or ""):
        return
    for job in case.snapshot.list(kinds.JOB):
        wanted = gpu_requests(get(job, "spec", "template") or {})
        if labels(job).get(QUEUE_LABEL) or get(job, "spec", "suspend") is not True or not wanted:
            continue
        if text(job, "metadata", "uid") in workload_by_owner(case.snapshot) or owner(job).get("kind"):
            continue
        space, title = namespace(job), name(job)
        queues = [name(each) for each in case.snapshot.list(kinds.LOCAL_QUEUE) if namespace(each) == space]
        if at_least(waited(case.now, get(job, "metadata", "creationTimestamp")), timedelta(minutes=2)):
            yield case.finding(
                job,
                f"Job {space}/{title} is suspended and names no queue; Kueue will never start it",
                "spec.suspend",
                f"metadata.labels[{QUEUE_LABEL}]",
                seen={f"LocalQueues in {space}": ", ".join(queues), "asks for": str(wanted)},
                affects={f"workload/{space}/{title}"},
                remedy=(
                    f"kubectl -n {space} label job {title} {QUEUE_LABEL}={queues[0]}\n"
                    if queues
                    else f"make a LocalQueue in {space} and name it in the job's label {QUEUE_LABEL}\n"
                )
                + f"For all jobs of the namespace: a LocalQueue named default in {space}",
            )
