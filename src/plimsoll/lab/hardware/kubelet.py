"""A pod's status as a kubelet writes it, from what holds its containers up.

Source: kubelet's pod status generation (pkg/kubelet/kubelet_pods.go, status/generate.go) as the API shows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from plimsoll.kube.objects import Obj, get, items, mapping, name, namespace, number, text

UNREADY = "NotReady"
_PULL = ("ErrImagePull", "ImagePullBackOff")


class Trouble(msgspec.Struct, frozen=True):
    """What is wrong with one container. Fields as in `conditions.Condition`."""

    reason: str
    message: str = ""
    exit_code: int = 1
    ended: str = "Error"
    restarts: int = 5


class Plan(msgspec.Struct, frozen=True):
    """How far a pod gets.

    stuck: why it gets no sandbox or volume, "" where it does. waits: the init container that runs and waits for
    something outside, "" where none does. troubles: what is wrong, by container. The first of these ends the way.
    """

    stuck: str = ""
    waits: str = ""
    troubles: Mapping[str, Trouble] = msgspec.field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return not (self.stuck or self.waits or self.troubles)


def started(pod: Obj) -> bool:
    """Whether the init containers of a pod have run and its containers were started, if only once."""
    past = all("terminated" in mapping(each, "state") for each in items(pod, "status", "initContainerStatuses"))
    return past and text(pod, "status", "phase") == "Running"


def passed(pod: Obj, plan: Plan, container: str) -> bool:
    """Whether an init container of the pod ends well under this plan."""
    if plan.stuck:
        return False
    for each in items(pod, "spec", "initContainers"):
        if each.get("name") == plan.waits or each.get("name") in plan.troubles:
            return False
        if each.get("name") == container:
            return True
    return False


def status(pod: Obj, plan: Plan, host: str, now: str) -> Obj:
    """The whole status. host: the node's address. Times of what did not change stay."""
    old = mapping(pod, "status")
    init, past = _containers(pod, "initContainers", plan, now, past=not plan.stuck, init=True)
    main, _ = _containers(pod, "containers", plan, now, past=past, init=False)
    unready = [each["name"] for each in main if not each["ready"]]
    left = [each["name"] for each in init if not each["ready"]]
    up = not plan.stuck
    conditions = {
        "PodReadyToStartContainers": (up, "", ""),
        "Initialized": _because(past, "ContainersNotInitialized", "incomplete", left),
        "Ready": _because(not unready, "ContainersNotReady", "unready", unready),
        "ContainersReady": _because(not unready, "ContainersNotReady", "unready", unready),
    }
    made: dict[str, Any] = {
        "phase": _phase(main),
        "conditions": _conditions(pod, conditions, now),
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "startTime": old.get("startTime") or now,
        "containerStatuses": main,
        "qosClass": old.get("qosClass") or "BestEffort",
    }
    if init:
        made["initContainerStatuses"] = init
    if up:
        address = host if get(pod, "spec", "hostNetwork") is True else _address(text(pod, "metadata", "uid"))
        made |= {"podIP": address, "podIPs": [{"ip": address}]}
    return made


def _phase(main: list[Obj]) -> str:
    """Pending while a container waits that never ran."""
    never = any("waiting" in each["state"] and not each["lastState"] for each in main)
    return "Pending" if never else "Running"


def _because(well: bool, reason: str, word: str, names: list[str]) -> tuple[bool, str, str]:
    return (True, "", "") if well else (False, reason, f"containers with {word} status: [{' '.join(names)}]")


def _conditions(pod: Obj, wanted: Mapping[str, tuple[bool, str, str]], now: str) -> list[Obj]:
    """These, and those that others wrote, such as PodScheduled."""
    old = {text(each, "type"): each for each in items(pod, "status", "conditions")}
    made = [each for type_, each in old.items() if type_ not in wanted]
    for type_, (holds, reason, message) in wanted.items():
        said = "True" if holds else "False"
        before = old.get(type_, {})
        entry = {"type": type_, "status": said, "lastProbeTime": None}
        entry["lastTransitionTime"] = before["lastTransitionTime"] if before.get("status") == said else now
        if reason:
            entry |= {"reason": reason, "message": message}
        made.append(entry)
    return made


def _containers(pod: Obj, field: str, plan: Plan, now: str, *, past: bool, init: bool) -> tuple[list[Obj], bool]:
    """The statuses of one list of containers, and whether what comes after them may start.

    past: whether what comes before them has ended well.
    """
    statuses = "initContainerStatuses" if init else "containerStatuses"
    known = {text(each, "name"): each for each in items(pod, "status", statuses)}
    waiting = "PodInitializing" if items(pod, "spec", "initContainers") else "ContainerCreating"
    made = []
    for container in items(pod, "spec", field):
        title = text(container, "name")
        before, trouble = known.get(title, {}), plan.troubles.get(title)
        if not past:
            entry = _entry(pod, container, {"waiting": {"reason": waiting}})
        elif trouble and trouble.reason != UNREADY:
            entry = _troubled(pod, container, trouble, before, now)
            past = past and not init
        elif init and title != plan.waits and not trouble:
            entry = _entry(pod, container, {"terminated": _over(before, now)}, before, ready=True)
        else:
            entry = _entry(pod, container, {"running": {"startedAt": _since(before, now)}}, before, started=True)
            entry["ready"] = not init and not trouble
            entry["started"] = not trouble
            past = past and not init
        made.append(entry)
    return made, past


def _entry(
    pod: Obj, container: Obj, state: Obj, before: Obj | None = None, *, ready: bool = False, started: bool = False
) -> Obj:
    """A container's status; what is remembered of earlier tries stays."""
    title, image = text(container, "name"), text(container, "image")
    ran = "waiting" not in state
    return {
        "name": title,
        "image": image,
        "imageID": f"{image.rpartition(':')[0] or image}@sha256:{_digest(image)}" if ran else "",
        **(
            {"containerID": f"containerd://{_digest(text(pod, 'metadata', 'uid') + title + str(state))}"} if ran else {}
        ),
        "ready": ready,
        "started": started,
        "restartCount": number(before, "restartCount"),
        "state": state,
        "lastState": mapping(before, "lastState"),
    }


def _troubled(pod: Obj, container: Obj, trouble: Trouble, before: Obj, now: str) -> Obj:
    title, image = text(container, "name"), text(container, "image")
    message = trouble.message
    last: Obj = {}
    if trouble.reason == "CrashLoopBackOff":
        who = f"container={title} pod={name(pod)}_{namespace(pod)}({text(pod, 'metadata', 'uid')})"
        message = f"back-off 2m40s restarting failed {who}"
        end = text(before, "lastState", "terminated", "finishedAt") or now
        last = {"terminated": {"exitCode": trouble.exit_code, "reason": trouble.ended, "startedAt": end,
                               "finishedAt": end, "containerID": f"containerd://{_digest(end + title)}"}}  # fmt: skip
        if trouble.message:
            last["terminated"]["message"] = trouble.message
    elif trouble.reason == "ImagePullBackOff":
        message = f'Back-off pulling image "{image}": ErrImagePull: {trouble.message or "not found"}'
    waiting = {"reason": trouble.reason, **({"message": message} if message else {})}
    entry = _entry(pod, container, {"waiting": waiting}, before)
    restarts = trouble.restarts if trouble.reason not in _PULL else number(before, "restartCount")
    return entry | {"lastState": last, "restartCount": max(restarts, number(before, "restartCount"))}


def _over(before: Obj, now: str) -> Obj:
    """An end with success: the one there was, or one of just now."""
    end = mapping(before, "state", "terminated")
    if end.get("exitCode") == 0:
        return {key: end.get(key) for key in ("exitCode", "reason", "startedAt", "finishedAt")}
    return {"exitCode": 0, "reason": "Completed", "startedAt": _since(before, now), "finishedAt": now}


def _since(before: Obj, now: str) -> str:
    return text(before, "state", "running", "startedAt") or now


def _digest(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()


def _address(uid: str) -> str:
    """An address of the pod network, out of the range that kwok gives out first: 10.112.0.0/12."""
    low = int(_digest(uid)[:5], 16)
    return f"10.{112 + (low >> 16)}.{low >> 8 & 255}.{low & 255}"


def moment(now: datetime) -> str:
    """A time as the API writes it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
