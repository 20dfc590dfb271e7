"""Why each waiting workload waits: one class per workload, the first that applies.

Waiting for quota that is in use is normal and has no class. Kueue's reasons are tokens since
0.19 and were `Pending`/`Inadmissible` before (and with the gate off); the messages are the same
in both, so both are read. Source: kueue pkg/scheduler, pkg/controller/core/workload_controller.go.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, condition, name, namespace, text
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.queueing.closed import closed_local
from plimsoll.pillars.queueing.facts import Key, waiting_by_local_queue

_UNCOVERED = re.compile(r"resource (\S+) unavailable in ClusterQueue")
_BEYOND = re.compile(r"insufficient quota for (\S+) in flavor ([^\s,]+)")
_INVALID = re.compile(r"^resources (validation failed|didn't satisfy LimitRange constraints)")
_MAXIMUM = re.compile(r"maximum capacity \((?:[^()]*> )?([^()]*)\)")


class Wait(NamedTuple):
    """Why one workload waits."""

    check: str
    workload: Obj
    message: str
    what: str  # the resource, queue or flavor it is about


@fact
def waits(snapshot: Snapshot) -> dict[str, list[Wait]]:
    """Workloads that wait for another reason than quota in use, by the check that reports them."""
    found: dict[str, list[Wait]] = defaultdict(list)
    for (space, queue), workloads in sorted(waiting_by_local_queue(snapshot).items()):
        shut = _shut(snapshot, (space, queue))
        for workload in workloads:
            wait = _classify(workload, shut)
            if wait is not None:
                found[wait.check].append(wait)
    return dict(found)


def _shut(snapshot: Snapshot, key: Key) -> str:
    """Why a LocalQueue leads nowhere, as a clause; "" if it is open or not known."""
    if snapshot.get(kinds.LOCAL_QUEUE, key[1], key[0]) is not None:
        return closed_local(snapshot).get(key, "")
    if not snapshot.whole(kinds.LOCAL_QUEUE):
        return ""
    return "it does not exist" if key[1] else "no queue is named"


def _classify(workload: Obj, shut: str) -> Wait | None:
    waits = condition(workload, "QuotaReserved")
    message, reason = text(waits, "message"), text(waits, "reason")
    queue = f"{namespace(workload)}/{text(workload, 'spec', 'queueName')}"

    def wait(check: str, what: str) -> Wait:
        return Wait(check, workload, message, what)

    if shut or re.search(r"LocalQueue \S* ?(doesn't exist|is terminating or missing|is inactive)", message):
        return wait("Q06", shut or message)
    if re.search(r"ClusterQueue \S+ (doesn't exist|is inactive)", message) or "doesn't match ClusterQueue" in message:
        return wait("Q06", message)
    if found := _UNCOVERED.search(message):
        return wait("Q18", found.group(1))
    if "insufficient unused quota" in message or "Pending the preemption" in message or reason == "WaitingForQuota":
        return None
    if reason == "ExceedsMaxQuota" or "maximum capacity" in message:
        where = _BEYOND.search(message)
        return wait("Q20", f"{where.group(1)} in flavor {where.group(2)}" if where else "its quota")
    if reason == "NoMatchingFlavor" or "untolerated taint" in message or "doesn't match node affinity" in message:
        return wait("Q28", queue)
    if reason in ("Inadmissible", "Misconfigured") or _INVALID.search(message):
        return wait("Q50", queue)
    return None


def maximum(message: str) -> str:
    """The most a ClusterQueue can ever give, as Kueue's message says it; "" if it does not."""
    found = _MAXIMUM.search(message)
    return found.group(1).strip() if found else ""


def titles(waits: list[Wait]) -> str:
    """The first few workloads by name, and how many more."""
    shown = ", ".join(name(each.workload) for each in waits[:3])
    return f"{shown} and {len(waits) - 3} more" if len(waits) > 3 else shown
