"""Checks on how workloads ask for GPUs and are refused: GPU066, GPU069, GPU115."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief
from plimsoll.kube import kinds
from plimsoll.kube.objects import (
    Obj,
    containers,
    get,
    items,
    mapping,
    name,
    namespace,
    pod_template,
    text,
)
from plimsoll.kube.pods import controller, ended_pods, events_of, gpu_requests, is_gpu
from plimsoll.pillars.operator.checks.age import recent

Owner = tuple[str, str, str]  # kind, namespace, name

_LINGER = timedelta(hours=1)  # refused pods stay as Failed until collected; older ones say nothing about now
_REFUSED = re.compile(r"UnexpectedAdmissionError|OutOfnvidia\.com/.+")
_TOO_MANY_SHARED = re.compile(r"request size for shared resources", re.I)


def _refused(case: Case, reason: re.Pattern[str]) -> Iterator[tuple[Obj, list[Obj]]]:
    """Pods with GPUs that a kubelet refused lately: the newest of each owner on each node, and all of them."""
    found: dict[tuple[str, Owner], list[Obj]] = defaultdict(list)
    for pod in ended_pods(case.snapshot):
        if get(pod, "status", "phase") != "Failed" or not gpu_requests(pod):
            continue
        said = (text(pod, "status", "reason"), *(text(event, "reason") for event in events_of(case.snapshot, pod)))
        if any(reason.fullmatch(each) for each in said) and recent(
            case, text(pod, "metadata", "creationTimestamp"), _LINGER
        ):
            found[text(pod, "spec", "nodeName"), controller(case.snapshot, pod)].append(pod)
    for _, pods in sorted(found.items()):
        yield max(pods, key=lambda pod: (text(pod, "metadata", "creationTimestamp"), name(pod))), pods


def _refusal(case: Case, pod: Obj) -> str:
    """What the kubelet said: the pod's own message, else that of its last event."""
    events = [text(event, "message") for event in events_of(case.snapshot, pod)]
    return text(pod, "status", "message") or (events[-1] if events else "")


@check("GPU066", Severity.ERROR, Layer.SCHEDULING, reads=(kinds.POD,),
       remedy="kubectl get pods -A --field-selector status.phase=Failed",
       source="k8s-device-plugin README (failRequestsGreaterThanOne), #2038")  # fmt: skip
def gpu_pods_admitted(case: Case) -> Iterator[Finding]:
    """The kubelet admits every GPU pod the scheduler sends it.

    A pod can be placed and still be refused by the device plugin: it asks for more than one
    share of a GPU where only one is allowed, the numbers the scheduler saw were stale, or
    the plugin cannot allocate after a GPU fell off the bus. Its controller makes pod after
    pod, each one fails within a second, and the GPUs look free.
    """
    for pod, pods in _refused(case, _REFUSED):
        here, node, said = namespace(pod), text(pod, "spec", "nodeName"), _refusal(case, pod)
        shared = bool(_TOO_MANY_SHARED.search(said))
        count = f"{len(pods)} GPU pods like" if len(pods) > 1 else "GPU pod"
        yield case.finding(
            pod,
            f"{node or 'A kubelet'} refused {count} {here}/{name(pod)}: {brief(said, 160) or 'no message'}",
            "status.reason",
            "status.message",
            seen={"asks for": gpu_requests(pod)},
            affects=[
                *(f"pod/{here}/{name(each)}" for each in pods),
                *([f"node/{node}"] if node and not shared else []),
            ],
            remedy="ask for exactly 1 of a shared resource (a share cannot be doubled), or set "
            "sharing.timeSlicing.failRequestsGreaterThanOne=false"
            if shared
            else f"kubectl describe node {node}\nkubectl get pods -A -o wide --field-selector spec.nodeName={node}\n"
            "restart the device plugin pod of that node once its jobs have ended",
        )


@check("GPU115", Severity.WARNING, Layer.SCHEDULING, reads=(kinds.POD,),
       remedy="kubectl get pods -A --field-selector status.phase=Failed | grep TopologyAffinityError",
       source="Kubernetes Topology Manager")  # fmt: skip
def gpu_pods_fit_numa(case: Case) -> Iterator[Finding]:
    """No GPU pod is refused for the NUMA layout of its node.

    The scheduler counts GPUs of a node, the kubelet's Topology Manager counts them per NUMA
    node. With `restricted` or `single-numa-node` a pod can be sent to a node with enough
    free GPUs on paper, and be refused there again and again because they sit on two sockets.
    """
    for pod, pods in _refused(case, re.compile("TopologyAffinityError")):
        here, node = namespace(pod), text(pod, "spec", "nodeName")
        count = f"{len(pods)} pods like " if len(pods) > 1 else ""
        yield case.finding(
            pod,
            f"{node} refused {count}{here}/{name(pod)}: its GPUs would span NUMA nodes",
            "status.reason",
            "status.message",
            seen={"asks for": gpu_requests(pod)},
            affects=[f"node/{node}", *(f"pod/{here}/{name(each)}" for each in pods)],
            remedy=f"on {node}: grep -i topologyManager /var/lib/kubelet/config.yaml   # best-effort admits the pod\n"
            "or let the job take whole nodes, and give small pods a pool of their own",
        )


@check("GPU069", Severity.WARNING, Layer.SCHEDULING, reads=(kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.JOB),
       remedy="set resources.limits for nvidia.com/*; requests may be left out",
       source="Kubernetes: extended resources cannot be overcommitted")  # fmt: skip
def gpu_requests_are_limits(case: Case) -> Iterator[Finding]:
    """Every container that requests GPUs sets the same limit.

    GPUs cannot be overcommitted: the API server refuses a pod whose GPU request has no limit
    or another one. A template in a custom resource (JobSet, LeaderWorkerSet) is not always
    validated, so that the object is accepted and its pods never appear.
    """
    for kind in (kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.JOB, kinds.CRON_JOB, kinds.JOB_SET,
                 kinds.LEADER_WORKER_SET):  # fmt: skip
        for owner in case.snapshot.list(kind):
            for path, template in _templates(owner):
                for inner, container in containers(template):
                    yield from _unlimited(case, owner, f"{path}.{inner}", container)


def _templates(owner: Obj) -> Iterator[tuple[str, Obj]]:
    """Every pod template of a workload object with its path."""
    kind = owner.get("kind")
    if kind == "JobSet":
        for index, job in enumerate(items(owner, "spec", "replicatedJobs")):
            yield f"spec.replicatedJobs[{index}].template.spec.template", mapping(job, "template", "spec", "template")
    elif kind == "LeaderWorkerSet":
        for part in ("leaderTemplate", "workerTemplate"):
            path = f"spec.leaderWorkerTemplate.{part}"
            yield path, mapping(owner, "spec", "leaderWorkerTemplate", part)
    else:
        yield "spec.jobTemplate.spec.template" if kind == "CronJob" else "spec.template", pod_template(owner)


def _unlimited(case: Case, owner: Obj, path: str, container: Obj) -> Iterator[Finding]:
    wanted, limits = mapping(container, "resources", "requests"), mapping(container, "resources", "limits")
    for resource, amount in wanted.items():
        if is_gpu(resource) and str(limits.get(resource)) != str(amount):
            limit = f"limit {limits[resource]}" if resource in limits else "no limit"
            yield case.finding(
                owner,
                f"{owner.get('kind')} {namespace(owner)}/{name(owner)} requests {amount} {resource} with {limit}",
                f"{path}.resources.requests[{resource}]",
                f"{path}.resources.limits[{resource}]",
                remedy=f"set {path}.resources.limits[{resource}] to {amount}",
            )
