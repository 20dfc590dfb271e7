"""What the ledger keeps of a pod: whose it is, what it asks for, when it began, ran and ended."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from plimsoll.agents.meter.nodes import millis
from plimsoll.agents.meter.vllm import NAME_MAX, short
from plimsoll.cost.sample import Pod
from plimsoll.kube import pods
from plimsoll.kube.objects import Obj, condition, items, labels, mapping, name, namespace, number, owner, text
from plimsoll.kube.served import flag, vllm_container, words
from plimsoll.spec import derive
from plimsoll.spec.model import Platform

Uid = Callable[[str, str, str], str]  # kind, namespace, name of a workload: its uid, "" where it is gone

# Labels of pods that belong to one job of several: their key, and the kind whose name it is.
_JOBS = {
    "jobset.sigs.k8s.io/jobset-name": "JobSet",
    "leaderworkerset.sigs.k8s.io/name": "LeaderWorkerSet",
    "training.kubeflow.org/job-name": "",
    "ray.io/cluster": "",
    "kueue.x-k8s.io/pod-group-name": "",
}
_SERVES = ("LeaderWorkerSet",)  # workloads that go on: no jobs
_KEPT = ("kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class", "app", "app.kubernetes.io/name",
         "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by")  # fmt: skip
_OURS = "plimsoll.dev/"
LABELS = (*_JOBS, *_KEPT, derive.TEAM_LABEL, derive.SERVICE_LABEL, "pod-template-hash")  # that `record` reads
_KEPT_MAX = 16
_WHOLE_MAX = 64 + NAME_MAX  # of `namespace/name`; what a pod says of its owner nobody checks
_CRON = re.compile(r"(.+)-\d{8,10}")


class End(NamedTuple):
    """exact: the cluster told the moment."""

    moment: int
    exact: bool
    why: str


class Belongs(NamedTuple):
    """The job a pod is part of, and the outermost thing that made it: `namespace/name`."""

    job: str
    job_uid: str
    workload: str


def record(pod: Obj, node: str, platform: Platform | None, uid: Uid) -> Pod:
    """node: uid of its node."""
    space, have = namespace(pod), labels(pod)
    belongs = belonging(pod, uid)
    team = derive.team_of_namespace(platform).get(space, "") if platform else ""
    kept = {key: have[key] for key in sorted(have) if key in _KEPT or key.startswith(_OURS)}
    return Pod(
        uid=text(pod, "metadata", "uid"), namespace=space, name=name(pod), node=node,
        team=team or text(have, derive.TEAM_LABEL), job=short(belongs.job, _WHOLE_MAX), job_uid=short(belongs.job_uid),
        workload=short(belongs.workload, _WHOLE_MAX), model=model(pod), labels=dict(list(kept.items())[:_KEPT_MAX]),
        created=millis(text(pod, "metadata", "creationTimestamp")), began=began(pod),
    )  # fmt: skip


def belonging(pod: Obj, uid: Uid) -> Belongs:
    space, have, own = namespace(pod), labels(pod), owner(pod)
    kind, title = text(own, "kind"), text(own, "name")
    for key, of in _JOBS.items():
        if found := text(have, key):
            whole = f"{space}/{found}"
            if of in _SERVES:
                return Belongs("", "", whole)
            return Belongs(whole, uid(of, space, found) if of else "", whole)
    if kind == "Job":
        cron = _CRON.fullmatch(title)
        return Belongs(f"{space}/{title}", text(own, "uid"), f"{space}/{cron[1] if cron else title}")
    if kind == "ReplicaSet" and (hash_ := text(have, "pod-template-hash")) and title.endswith(f"-{hash_}"):
        title = title.removesuffix(f"-{hash_}")
    return Belongs("", "", f"{space}/{title}" if title else "")


def model(pod: Obj) -> str:
    """The name a pod serves its model by; "" where it runs no vLLM. Engines tell their requests by the same name."""
    found = vllm_container(pod)
    if found is None:
        return ""
    line = words(found[1])
    after = line[line.index("serve") + 1] if "serve" in line[:-1] else ""
    said = flag(found[1], "--served-model-name") or flag(found[1], "--model")
    return short(said or ("" if after.startswith("-") else after))


def began(pod: Obj) -> int:
    """Since when it holds its devices: its schedule, or where nobody scheduled it, its start. 0: it does not yet."""
    if not text(pod, "spec", "nodeName"):
        return 0
    placed = condition(pod, "PodScheduled")
    return (
        (millis(text(placed, "lastTransitionTime")) if placed.get("status") == "True" else 0)
        or millis(text(pod, "status", "startTime"))
        or millis(text(pod, "metadata", "creationTimestamp"))
    )


def ran(pod: Obj) -> int:
    """When the last of its containers had started; 0 while one has not."""
    wanted = len(items(pod, "spec", "containers"))
    said = items(pod, "status", "containerStatuses")
    starts = [
        millis(text(each, "state", "running", "startedAt") or text(each, "state", "terminated", "startedAt")
               or text(each, "lastState", "terminated", "startedAt"))
        for each in said
    ]  # fmt: skip
    return max(starts) if starts and len(starts) >= wanted and all(starts) else 0


def ended(pod: Obj, now: int, *, gone: bool = False) -> End | None:
    """When it gave its devices back, or None while it holds them. gone: its object was deleted; now: when that is told.

    A pod that is deleted while its containers run ends at the latest when its grace is over.
    """
    stops = [millis(text(each, "state", "terminated", "finishedAt")) for each in _statuses(pod)]
    all_stopped = bool(stops) and all(stops) and len(stops) >= len(items(pod, "spec", "containers"))
    if pods.finished(pod):
        if any(stops):
            return End(max(stops), True, _why(pod))
        told = [millis(text(each, "lastTransitionTime")) for each in items(pod, "status", "conditions")
                if each.get("type") in ("Ready", "ContainersReady", "DisruptionTarget")]  # fmt: skip
        found = max((each for each in told if each), default=0)
        return End(found or now, bool(found), _why(pod))
    if not gone:
        return None
    if all_stopped:
        return End(max(stops), True, _why(pod))
    deadline = millis(text(pod, "metadata", "deletionTimestamp"))
    why = _why(pod)
    return End(min(now, deadline) if deadline else now, False, "Deleted" if why in ("", "Completed") else why)


def _statuses(pod: Obj) -> list[Obj]:
    return [each for field in ("containerStatuses", "initContainerStatuses") for each in items(pod, "status", field)
            if field == "containerStatuses" or "running" in mapping(each, "state")]  # fmt: skip


def _why(pod: Obj) -> str:
    """Why it ended, in the cluster's own word: Evicted, PreemptionByScheduler, OOMKilled, Error, Completed."""
    if reason := text(pod, "status", "reason"):
        return reason
    disrupted = condition(pod, "DisruptionTarget")
    if disrupted.get("status") == "True" and text(disrupted, "reason"):
        return text(disrupted, "reason")
    stopped = [mapping(each, "state", "terminated") for each in items(pod, "status", "containerStatuses")]
    failed = [each for each in stopped if number(each, "exitCode")]
    return next((text(each, "reason") for each in (*failed, *stopped) if text(each, "reason")), "")
