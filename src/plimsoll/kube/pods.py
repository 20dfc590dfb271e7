"""What a pod asks for and how it is doing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple, TypeVar

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, get, items, labels, mapping, namespace, number, owner, text
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.units import count

T = TypeVar("T")
GPU_PREFIXES = ("nvidia.com/gpu", "nvidia.com/mig-")
_AMOUNTS = ("nvidia.com/gpumem", "nvidia.com/gpucores")  # HAMi: MiB and percent beside nvidia.com/gpu, no devices


@lru_cache(maxsize=1024)  # the same dozen names on every node and container
def is_gpu(resource: str) -> bool:
    """Whether an extended resource name is a GPU or a share of one."""
    return resource.startswith(GPU_PREFIXES) and not resource.startswith(_AMOUNTS)


def gpu_requests(pod: Obj) -> dict[str, int]:
    """GPU resources a pod (or template) holds: resource name to number of devices.

    Kubernetes rule for extended resources: the sum over containers, or the largest
    init container if that is more; sidecar init containers (restartPolicy Always) add.
    """
    running: dict[str, int] = defaultdict(int)
    starting: dict[str, int] = defaultdict(int)
    for field in ("containers", "initContainers"):
        for container in items(pod, "spec", field):
            sidecar = field == "containers" or container.get("restartPolicy") == "Always"
            for resource, amount in mapping(container, "resources", "limits").items():
                if is_gpu(resource):
                    if sidecar:
                        running[resource] += count(amount)
                    else:
                        starting[resource] = max(starting[resource], count(amount))
    if not running and not starting:  # nearly every pod
        return {}
    total = {resource: max(running[resource], starting[resource]) for resource in {*running, *starting}}
    return {resource: amount for resource, amount in sorted(total.items()) if amount}


_Template = tuple[bool, str, *tuple[int, ...]]  # whether it has ended, its namespace, its parts


class _Census(NamedTuple):
    """What one pass over every pod finds."""

    bound: dict[str, list[Obj]]
    ended: list[Obj]
    troubled: list[tuple[Obj, Trouble]]
    templates: dict[_Template, list[int]]  # places in the list of pods


@fact
def _census(snapshot: Snapshot) -> _Census:
    """Every pod looked at once.

    Pods are of one template where they have the very same parts: a snapshot keeps equal parts as one
    object, so thousands do. In other forms of input every pod stands alone.
    """
    found = _Census(defaultdict(list), [], [], defaultdict(list))
    for place, pod in enumerate(snapshot.list(kinds.POD)):
        head, spec, status = mapping(pod, "metadata").get, mapping(pod, "spec").get, mapping(pod, "status")
        over = _over(status)
        found.templates[
            over,
            namespace(pod),
            id(head("labels")),
            id(head("ownerReferences")),
            id(spec("containers")),
            id(spec("initContainers")),
            id(spec("volumes")),
            id(spec("runtimeClassName")),
            id(spec("resourceClaims")),
        ].append(place)
        if over:
            found.ended.append(pod)
            continue
        node = spec("nodeName")
        if node and type(node) is str:
            found.bound[node].append(pod)
        if not _ready(status):
            found.troubled.append((pod, _obstacle(pod)))
    return found._replace(bound=dict(found.bound))


@fact
def pods_by_node(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """Pods that have not ended, by the node they are bound to."""
    return _census(snapshot).bound


@fact
def ended_pods(snapshot: Snapshot) -> list[Obj]:
    """Every pod that has succeeded or failed."""
    return _census(snapshot).ended


@fact
def troubled_pods(snapshot: Snapshot) -> list[tuple[Obj, Trouble]]:
    """Every pod that is not ready and has not ended, with its trouble."""
    return _census(snapshot).troubled


def by_template(snapshot: Snapshot, judge: Callable[[Obj], T], *, ended: bool = False) -> list[tuple[Obj, T]]:
    """Every pod whose template `judge` says something true of, with what it says; in reading order.

    It is asked once for a template, so it may read nothing but namespace, labels, owners, containers,
    volumes, runtime class and claims. `ended`: pods that have ended too.
    """
    return _in_order(snapshot, _judged(snapshot, judge, ended=ended))


def _judged(snapshot: Snapshot, judge: Callable[[Obj], T], *, ended: bool) -> list[tuple[list[int], T]]:
    """The places of each template's pods, with what is said of it."""
    pods = snapshot.list(kinds.POD)
    made = (places for template, places in _census(snapshot).templates.items() if ended or not template[0])
    return [(places, said) for places in made if (said := judge(pods[places[0]]))]


def _in_order(snapshot: Snapshot, judged: list[tuple[list[int], T]]) -> list[tuple[Obj, T]]:
    pods = snapshot.list(kinds.POD)
    found = [(place, said) for places, said in judged for place in places]
    found.sort(key=itemgetter(0))
    return [(pods[place], said) for place, said in found]


@fact
def _labelled(snapshot: Snapshot) -> dict[tuple[str, str], list[int]]:
    """Places in the list of pods, by each label that names applications."""
    pods = snapshot.list(kinds.POD)
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for places in _census(snapshot).templates.values():
        have = labels(pods[places[0]])
        for key in _NAMING:
            if value := text(have, key):
                found[key, value] += places
    return dict(found)


_NAMING = ("app", "app.kubernetes.io/name")


def labelled_pods(snapshot: Snapshot, key: str, value: str) -> list[Obj]:
    """Every pod with that value of a label that names applications (_NAMING), in reading order."""
    pods = snapshot.list(kinds.POD)
    return [pods[place] for place in sorted(_labelled(snapshot).get((key, value), []))]


@fact
def gpu_pods(snapshot: Snapshot) -> tuple[tuple[Obj, dict[str, int]], ...]:
    """Every pod that asks for GPUs and has not ended, with what it asks for."""
    return tuple(_in_order(snapshot, _gpu_templates(snapshot)))


@fact
def gpu_pods_by_template(snapshot: Snapshot) -> tuple[tuple[list[Obj], dict[str, int]], ...]:
    """The same, those of one template together: they have one namespace, one owner and equal labels."""
    pods = snapshot.list(kinds.POD)
    return tuple(([pods[place] for place in places], wanted) for places, wanted in _gpu_templates(snapshot))


@fact
def _gpu_templates(snapshot: Snapshot) -> list[tuple[list[int], dict[str, int]]]:
    return _judged(snapshot, gpu_requests, ended=False)


@fact
def _gpu_pods_bound(snapshot: Snapshot) -> dict[str, list[tuple[Obj, dict[str, int]]]]:
    found: dict[str, list[tuple[Obj, dict[str, int]]]] = defaultdict(list)
    for pod, wanted in gpu_pods(snapshot):
        if node := text(pod, "spec", "nodeName"):
            found[node].append((pod, wanted))
    return dict(found)


@fact
def gpu_pods_by_node(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """Pods that ask for GPUs and have not ended, by the node they are bound to."""
    return {node: [pod for pod, _ in bound] for node, bound in _gpu_pods_bound(snapshot).items()}


@fact
def gpus_held(snapshot: Snapshot) -> dict[str, dict[str, int]]:
    """GPU devices held by bound pods: node name to resource name to number."""
    held: dict[str, dict[str, int]] = {}
    for node, bound in _gpu_pods_bound(snapshot).items():
        amounts = held[node] = {}
        for _, wanted in bound:
            for resource, amount in wanted.items():
                amounts[resource] = amounts.get(resource, 0) + amount
    return held


@fact
def events_by_object(snapshot: Snapshot) -> dict[tuple[str, str, str], list[Obj]]:
    """Events by (kind, namespace, name) of the object they are about."""
    found: dict[tuple[str, str, str], list[Obj]] = defaultdict(list)
    for event in snapshot.list(kinds.EVENT):
        about = mapping(event, "involvedObject") or mapping(event, "regarding")
        found[text(about, "kind"), text(about, "namespace"), text(about, "name")].append(event)
    return dict(found)


def events_of(snapshot: Snapshot, obj: Obj) -> list[Obj]:
    """The events about one object, in reading order."""
    key = (text(obj, "kind"), namespace(obj), text(obj, "metadata", "name"))
    return events_by_object(snapshot).get(key, [])


def finished(pod: Obj) -> bool:
    return _over(mapping(pod, "status"))


def _over(status: Obj) -> bool:
    return status.get("phase") in ("Succeeded", "Failed")


def ready(pod: Obj) -> bool:
    return _ready(mapping(pod, "status"))


def _ready(status: Obj) -> bool:
    conditions = status.get("conditions")
    for each in conditions if type(conditions) is list else ():
        if type(each) is dict and each.get("type") == "Ready" and each.get("status") == "True":
            return True
    return False


class Trouble(NamedTuple):
    """The first container that keeps a pod from being ready, in the order containers start."""

    state: str  # crash | image | waiting | init | unready | unschedulable
    container: str  # "" where the pod itself is the trouble
    reason: str  # CrashLoopBackOff, ErrImagePull, OOMKilled, Unschedulable, ...
    message: str  # what it said last; "" if nothing
    restarts: int
    path: str  # where in the object this is written


_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")


def trouble(pod: Obj) -> Trouble | None:
    """What keeps a pod from being ready, or None if it is ready or has ended.

    `init` means a container is running but has not let the next one start:
    the pod waits for somebody else. `crash` means its own container fails.
    """
    return None if finished(pod) or ready(pod) else _obstacle(pod)


def _obstacle(pod: Obj) -> Trouble:
    placed = next((c for c in items(pod, "status", "conditions") if c.get("type") == "PodScheduled"), {})
    if placed.get("status") == "False":
        return Trouble(
            "unschedulable", "", text(placed, "reason"), text(placed, "message"), 0, "status.conditions[PodScheduled]"
        )
    for field in ("initContainerStatuses", "containerStatuses"):
        for index, status in enumerate(items(pod, "status", field)):
            found = _container_trouble(status, f"status.{field}[{index}]", init=field[0] == "i")
            if found:
                return found
    return Trouble("unready", "", text(pod, "status", "reason"), text(pod, "status", "message"), 0, "status.phase")


def _container_trouble(status: Obj, path: str, *, init: bool) -> Trouble | None:
    state, last = mapping(status, "state"), mapping(status, "lastState", "terminated")
    if _machine_went_down(last) and get(state, "waiting", "reason") != "CrashLoopBackOff":
        last = {}  # it did not fail
    restarts, title = number(status, "restartCount"), text(status, "name")

    def ended(how: Obj, where: str, reason: str = "", message: str = "") -> Trouble:
        why = text(how, "reason") if how.get("reason") == "OOMKilled" or not reason else reason
        return Trouble("crash", title, why, text(how, "message") or message, restarts, f"{path}.{where}")

    if "waiting" in state:
        reason, message = text(state, "waiting", "reason"), text(state, "waiting", "message")
        if reason in _IMAGE:
            return Trouble("image", title, reason, message, restarts, f"{path}.state.waiting")
        if reason == "CrashLoopBackOff" or last:
            return ended(last, "lastState.terminated" if last else "state.waiting", reason, message)
        return Trouble("waiting", title, reason, message, restarts, f"{path}.state.waiting")
    if "terminated" in state:
        how = mapping(state, "terminated")
        return None if init and how.get("exitCode", 0) == 0 else ended(how, "state.terminated")
    if status.get("ready") or (init and "running" not in state):
        return None
    if last and restarts:  # it failed before and is trying once more
        return ended(last, "lastState.terminated")
    if init:
        return Trouble("init", title, "ContainersNotInitialized", "", restarts, f"{path}.state.running")
    return Trouble("unready", title, "ContainersNotReady", "", restarts, f"{path}.ready")


def _machine_went_down(last: Obj) -> bool:
    """Whether a container ended because its node rebooted: the runtime then knows no exit code.

    Source: containerd cri `unknownExitCode` 255 and `unknownExitReason`.
    """
    return last.get("exitCode") == 255 and last.get("reason") == "Unknown"


def controller(snapshot: Snapshot, pod: Obj) -> tuple[str, str, str]:
    """(kind, namespace, name) of the topmost known controller of a pod; the pod itself if it has none.

    Follows ReplicaSet → Deployment and Job → CronJob; where the middle object was not
    read, the ReplicaSet's name without its hash stands for the Deployment.
    """
    here = namespace(pod)
    own = owner(pod)
    kind, title = text(own, "kind"), text(own, "name")
    if not kind:
        return "Pod", here, text(pod, "metadata", "name")
    middle = {"ReplicaSet": kinds.REPLICA_SET, "Job": kinds.JOB}.get(kind)
    parent = snapshot.get(middle, title, here) if middle else None
    if parent is not None:
        above = owner(parent)
        if above.get("kind"):
            return text(above, "kind"), here, text(above, "name")
    elif kind == "ReplicaSet" and str(labels(pod).get("pod-template-hash", "\0")) in title:
        return "Deployment", here, title.rpartition("-")[0]
    return kind, here, title
