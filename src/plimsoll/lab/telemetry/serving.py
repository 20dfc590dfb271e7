"""Model servers of a lab: which pods are one, what they serve, and how the demand for a workload falls on its pods."""

from __future__ import annotations

import msgspec

from plimsoll.kube.objects import Obj, items, labels, mapping, name, namespace, number, owner, text
from plimsoll.kube.pods import ready
from plimsoll.kube.served import flag, vllm_container, words
from plimsoll.lab.telemetry import queue
from plimsoll.lab.telemetry.annotations import CAPACITY, DEMAND, amount, stated
from plimsoll.lab.telemetry.queue import Server

Key = tuple[str, str]  # namespace and name
WorkloadKey = tuple[str, str, str]  # kind, namespace, name
CAPABLE = 5.0  # requests a second that a replica serves, where its workload does not say
_IDLEST, _BUSIEST = 0.3, 0.95  # use of the GPUs by a server with hardly a request, and with all it can take
_PORT = 8000


def workload_of(pod: Obj) -> WorkloadKey:
    """The workload a pod belongs to: its Deployment, its other controller, or the pod itself."""
    own, here = owner(pod), namespace(pod)
    kind, title = text(own, "kind"), text(own, "name")
    if not kind:
        return "Pod", here, name(pod)
    revision = text(labels(pod), "pod-template-hash")
    if kind == "ReplicaSet" and revision and title.endswith(f"-{revision}"):
        return "Deployment", here, title.removesuffix(f"-{revision}")
    return kind, here, title


def serves(pod: Obj, workload: Obj | None) -> bool:
    """Whether a pod answers for a model: it runs vLLM, or its workload is said to be asked."""
    return vllm_container(pod) is not None or bool(stated(workload or pod, DEMAND))


def model_of(pod: Obj) -> str:
    """The name a pod serves its model by, as vLLM takes it from its command line; the workload's where it has none."""
    found = vllm_container(pod)
    container = found[1] if found else {}
    line = words(container)
    after = line[line.index("serve") + 1] if "serve" in line[:-1] else ""
    said = flag(container, "--served-model-name") or flag(container, "--model")
    return said or (after if not after.startswith("-") else "") or workload_of(pod)[2]


def container_of(pod: Obj) -> tuple[str, int]:
    """The container that serves, and its port."""
    found = vllm_container(pod)
    container = found[1] if found else next(iter(items(pod, "spec", "containers")), {})
    ports = [number(each, "containerPort") for each in items(container, "ports")]
    return text(container, "name"), next((each for each in ports if each > 0), _PORT)


class Demand(msgspec.Struct, frozen=True):
    """What is asked of a workload, and what each of its pods can do: requests a second."""

    requests: float
    capacity: float


def demand_of(workload: Obj | None, pod: Obj) -> Demand:
    """What a workload's annotations say; a pod without one speaks for itself."""
    source = workload or pod
    return Demand(amount(source, DEMAND, 0.0), amount(source, CAPACITY, CAPABLE))


def shared(pods: dict[Key, Obj], workload: Obj | None, before: dict[Key, Server], at: float) -> dict[Key, Server]:
    """The servers of one workload's pods, by key, from a time on: those that are ready share the demand evenly.

    before: the same, as they were last. A pod that is not ready is asked nothing, and what waited there is lost.
    """
    answering = sum(answers(pod) for pod in pods.values())
    found = {}
    for key, pod in pods.items():
        wanted = demand_of(workload, pod)
        asked, able = (wanted.requests / answering, wanted.capacity) if answers(pod) else (0.0, 0.0)
        found[key] = queue.demand(before.get(key) or Server(at), at, asked, able)
    return found


def answers(pod: Obj) -> bool:
    """Whether a Service sends requests to a pod."""
    return ready(pod) and not mapping(pod, "metadata").get("deletionTimestamp")


def gpu_use(server: Server) -> float:
    """How busy a server keeps its GPUs; even a few requests fill most of the time with kernels."""
    load = min(server.arriving / server.capacity, 1.0) if server.capacity else 0.0  # what it works off is not counted
    return _IDLEST + (_BUSIEST - _IDLEST) * load if load else 0.0
