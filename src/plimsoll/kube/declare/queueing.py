"""The queueing section: what Kueue's objects and its manager's configuration say, for all teams together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

from plimsoll.errors import InputError
from plimsoll.kube import kinds
from plimsoll.kube.declare.teams import cohort_of, gpu_queues
from plimsoll.kube.declare.words import Say, gap, usual, valid
from plimsoll.kube.objects import Obj, containers, get, mapping, name, number, pod_template, text
from plimsoll.kube.snapshot import Snapshot
from plimsoll.spec import document
from plimsoll.spec.queueing import Preemption, Priority, Queueing
from plimsoll.spec.values import Duration, Name, Version, as_name
from plimsoll.units import version

T = TypeVar("T")

_WITHIN: dict[str, Literal["never", "lower-priority", "lower-or-newer-equal-priority"]] = {
    "Never": "never",
    "LowerPriority": "lower-priority",
    "LowerOrNewerEqualPriority": "lower-or-newer-equal-priority",
}
_RECLAIM: dict[str, Literal["never", "lower-priority", "any"]] = {
    "Never": "never",
    "LowerPriority": "lower-priority",
    "Any": "any",
}
_ORDER: dict[str, Literal["best-effort-fifo", "strict-fifo"]] = {
    "BestEffortFIFO": "best-effort-fifo",
    "StrictFIFO": "strict-fifo",
}
_READY_BY_DEFAULT = (0, 19)  # since then Kueue waits 30 minutes unless told otherwise. Source: kueue apis/config
_GO_DURATION = re.compile(r"([0-9]{1,6}h)?([0-9]{1,9}m)?([0-9]{1,11}s)?\Z")


def find_queueing(snapshot: Snapshot, say: Say) -> Queueing:
    queues = gpu_queues(snapshot)
    if not queues:
        missed = gap(snapshot, kinds.CLUSTER_QUEUE)
        why = f"the ClusterQueues were not read ({missed})" if missed else "no ClusterQueue with GPUs was found"
        say(f"{why}: queueing has its defaults")
        return Queueing()
    standard = Queueing()
    release = _release(snapshot)
    if not release:
        missed = gap(snapshot, kinds.DEPLOYMENT)
        how = f"read ({missed})" if missed else "found"
        say(f"the version of Kueue was not {how}: declared the default, {standard.version}")
    local = usual(name(each) for each in snapshot.list(kinds.LOCAL_QUEUE) if valid(name(each), Name))
    cohort = usual(cohort for each in queues if (cohort := cohort_of(each)))
    fair, ready = _configuration(snapshot, release, say)
    return Queueing(
        version=release or standard.version,
        cohort=as_name(cohort or "", standard.cohort),
        local_queue=local or standard.local_queue,
        order=_same(queues, ("queueingStrategy",), _ORDER, "BestEffortFIFO", say),
        fair_sharing=fair,
        priorities=_priorities(snapshot, say),
        preemption=Preemption(
            within_team=_same(queues, ("preemption", "withinClusterQueue"), _WITHIN, "Never", say),
            reclaim=_same(queues, ("preemption", "reclaimWithinCohort"), _RECLAIM, "Never", say),
        ),
        wait_for_pods_ready=ready,
    )


def _release(snapshot: Snapshot) -> str:
    """The Kueue version by its manager's image tag; "" if it was not found."""
    for deployment in snapshot.list(kinds.DEPLOYMENT):
        for _, container in containers(pod_template(deployment)):
            repository, _, tag = text(container, "image").partition("@")[0].rpartition(":")
            if repository.endswith("/kueue") and "." in tag and valid(tag, Version):
                return tag.removeprefix("v")
    return ""


def _same(queues: Iterable[Obj], path: tuple[str, ...], words: dict[str, T], default: str, say: Say) -> T:
    """What most queues say at a path of their spec, in the file's words."""
    said = [text(queue, "spec", *path) or default for queue in queues]
    known = [words[each] for each in said if each in words]
    most = usual(known) or words[default]
    if len(set(known)) > 1:
        say(f"ClusterQueues differ in {'.'.join(path)}: declared {most}, which most of them have")
    return most


def _priorities(snapshot: Snapshot, say: Say) -> dict[str, int]:
    found, odd = {}, []
    for each in sorted(snapshot.list(kinds.WORKLOAD_PRIORITY), key=lambda each: (-number(each, "value"), name(each))):
        if valid(name(each), Name) and valid(get(each, "value"), Priority):
            found[name(each)] = number(each, "value")
        else:
            odd.append(name(each))
    for title in odd:
        say(f"WorkloadPriorityClass {title} is left out: its name or value is not one a declaration can have")
    if not found and (missed := gap(snapshot, kinds.WORKLOAD_PRIORITY)):
        say(f"the priorities of workloads were not read ({missed}): declared the defaults")
        return Queueing().priorities
    if not found:
        say("there is no WorkloadPriorityClass: no priorities are declared")
    return found


def _configuration(snapshot: Snapshot, release: str, say: Say) -> tuple[bool, Duration]:
    """Fair sharing, and how long admitted jobs may take to be ready, by the manager's configuration."""
    config = _manager_config(snapshot)
    if config is None:
        say("Kueue's configuration was not read: fair sharing and waitForPodsReady have their defaults")
        return Queueing().fair_sharing, Queueing().wait_for_pods_ready
    fair = isinstance(config.get("fairSharing"), dict) and get(config, "fairSharing", "enable") is not False
    block = mapping(config, "waitForPodsReady")
    timeout = _duration(text(block, "timeout"))
    if timeout and block.get("enable") is not False:
        return fair, timeout
    if not block and version(release) >= _READY_BY_DEFAULT:
        return fair, Duration.read("30m")
    if block and block.get("enable") is not False:
        return fair, Duration.read("5m" if version(release) < _READY_BY_DEFAULT else "30m")
    say("Kueue does not wait for pods to be ready: waitForPodsReady is the default of a declaration")
    return fair, Queueing().wait_for_pods_ready


def _manager_config(snapshot: Snapshot) -> dict[str, Any] | None:
    """Kueue's Configuration from the ConfigMap its manager reads; None where it cannot be read."""
    for each in snapshot.list(kinds.CONFIG_MAP):
        for value in mapping(each, "data").values():
            if isinstance(value, str) and "config.kueue.x-k8s.io/" in value:
                try:
                    found = document.read(value, name(each)).value
                except InputError:
                    return None
                return found if isinstance(found, dict) else None
    return None


def _duration(written: str) -> Duration | None:
    """A duration as Go prints it (`10m0s`), or None."""
    return Duration.read(written) or None if written and _GO_DURATION.match(written) else None
