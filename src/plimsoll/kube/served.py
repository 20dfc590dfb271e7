"""Model servers: the workloads that hold GPUs to answer requests, what scales them, and how they are started."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, owner, pod_template, selects, text
from plimsoll.kube.pods import gpu_requests, is_gpu
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.units import version

Key = tuple[str, str, str]  # kind, namespace, name
TARGETS = (kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.LEADER_WORKER_SET)
_ENGINE = re.compile(r"vllm|sglang|tritonserver|text-generation-inference|trtllm|tensorrt[-_]llm|llama[.-]?cpp|nim/")
_VLLM_TAG = re.compile(r"vllm[^/:@]*:v?(0\.\d+(?:\.\d+)*)")


class Served(NamedTuple):
    """One workload that serves: it asks for GPUs and somebody sends it requests or scales it."""

    obj: Obj
    at: str  # path of its pod template in obj
    template: Obj
    gpus: dict[str, int]  # held by one replica
    scaled: tuple[Obj, ...]  # ScaledObjects that aim at it
    hpas: tuple[Obj, ...]  # autoscalers that aim at it and no ScaledObject owns

    @property
    def token(self) -> str:
        return f"service/{namespace(self.obj)}/{name(self.obj)}"


def target(scaler: Obj) -> Key:
    """What a ScaledObject or HPA scales: kind, namespace, name."""
    ref = mapping(scaler, "spec", "scaleTargetRef")
    return text(ref, "kind") or "Deployment", namespace(scaler), text(ref, "name")


def target_token(scaler: Obj) -> str:
    """The `service/NS/NAME` token of what a scaler scales."""
    _, here, title = target(scaler)
    return f"service/{here}/{title}"


def scaled_object_of(snapshot: Snapshot, hpa: Obj) -> Obj | None:
    """The ScaledObject that made an HPA, or None."""
    own = owner(hpa)
    if own.get("kind") != "ScaledObject":
        return None
    return snapshot.get(kinds.SCALED_OBJECT, text(own, "name"), namespace(hpa))


def find_target(snapshot: Snapshot, scaler: Obj) -> Obj | None:
    """The object a scaler scales, where it was read."""
    kind, here, title = target(scaler)
    known = next((each for each in TARGETS if each.kind == kind), None)
    return snapshot.get(known, title, here) if known else None


@fact
def scaled_by_target(snapshot: Snapshot) -> dict[Key, list[Obj]]:
    """ScaledObjects by what they scale."""
    found: dict[Key, list[Obj]] = defaultdict(list)
    for each in snapshot.list(kinds.SCALED_OBJECT):
        found[target(each)].append(each)
    return dict(found)


@fact
def hpas_by_target(snapshot: Snapshot) -> dict[Key, list[Obj]]:
    """HPAs that no ScaledObject owns, by what they scale."""
    found: dict[Key, list[Obj]] = defaultdict(list)
    for each in snapshot.list(kinds.HPA):
        if owner(each).get("kind") != "ScaledObject":
            found[target(each)].append(each)
    return dict(found)


def template_of(obj: Obj) -> tuple[str, Obj]:
    """The path and value of a workload's pod template; a LeaderWorkerSet's worker stands for its group."""
    if text(obj, "kind") == "LeaderWorkerSet":
        return "spec.leaderWorkerTemplate.workerTemplate", mapping(
            obj, "spec", "leaderWorkerTemplate", "workerTemplate"
        )
    return "spec.template", pod_template(obj)


@fact
def served(snapshot: Snapshot) -> tuple[Served, ...]:
    """Every workload that asks for GPUs and is scaled, behind a Service, or runs a known engine; by namespace, name."""
    services: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for service in snapshot.list(kinds.SERVICE):
        if selector := mapping(service, "spec", "selector"):
            services[namespace(service)].append(selector)
    found = []
    for obj in (each for kind in TARGETS for each in snapshot.list(kind)):
        at, template = template_of(obj)
        gpus = gpu_requests(template)
        key = (text(obj, "kind"), namespace(obj), name(obj))
        scaled, hpas = scaled_by_target(snapshot).get(key, []), hpas_by_target(snapshot).get(key, [])
        if gpus and (
            scaled
            or hpas
            or is_engine(template)
            or any(selects({"matchLabels": each}, labels(template)) for each in services[namespace(obj)])
        ):
            found.append(Served(obj, at, template, gpus, tuple(scaled), tuple(hpas)))
    return tuple(sorted(found, key=lambda each: (namespace(each.obj), name(each.obj))))


def is_engine(template: Obj) -> bool:
    """Whether a pod template runs a known inference engine."""
    return any(
        _ENGINE.search(" ".join([text(each, "image"), *words(each)])) for each in items(template, "spec", "containers")
    )


def words(container: Obj) -> list[str]:
    """The words of a container's command line, shell strings split."""
    found = []
    for field in ("command", "args"):
        value = container.get(field)
        for part in value if isinstance(value, list) else []:
            found += part.split() if isinstance(part, str) else []
    return found


def flag(container: Obj, option: str) -> str | None:
    """The value of a `--option value` or `--option=value`; "" for a bare one, None where it is absent."""
    line = words(container)
    for index, word in enumerate(line):
        if word == option:
            following = line[index + 1] if index + 1 < len(line) else ""
            return "" if following.startswith("--") else following
        if word.startswith(f"{option}="):
            return word.partition("=")[2].strip("'\"")
    return None


def environment(container: Obj) -> dict[str, Any]:
    """A container's literal environment by name."""
    return {text(entry, "name"): entry["value"] for entry in items(container, "env") if "value" in entry}


def vllm_container(template: Obj) -> tuple[int, Obj] | None:
    """The container that runs vLLM and its index, or None."""
    for index, each in enumerate(items(template, "spec", "containers")):
        said = text(each, "image").rpartition("@")[0] or text(each, "image")
        if "vllm" in said.rpartition("/")[2] or any("vllm" in word for word in words(each)[:3]):
            return index, each
    return None


def vllm_version(template: Obj) -> tuple[int, ...]:
    """The vLLM version an image tag states (`vllm-openai:v0.11.0`); () where it states none."""
    found = vllm_container(template)
    match = _VLLM_TAG.search(text(found[1], "image")) if found else None
    numbers = version(match.group(1)) if match else ()
    return numbers if numbers >= (0, 5) else ()  # lower ones count something else, such as LMCache's releases


def vllm_servers(snapshot: Snapshot) -> Iterator[tuple[Served, str, Obj]]:
    """Every served workload that runs vLLM, with the path and value of its container."""
    for each in served(snapshot):
        if found := vllm_container(each.template):
            yield each, f"{each.at}.spec.containers[{found[0]}]", found[1]


def gpus_of(container: Obj) -> int:
    """GPU devices one container asks for, whatever their resource."""
    limits = mapping(container, "resources", "limits")
    return sum(int(amount) for res, amount in limits.items() if is_gpu(res) and str(amount).isdecimal())


@fact
def pods_by_namespace(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """Every pod by namespace."""
    found: dict[str, list[Obj]] = defaultdict(list)
    for pod in snapshot.list(kinds.POD):
        found[namespace(pod)].append(pod)
    return dict(found)


def pods_of(snapshot: Snapshot, workload: Obj) -> list[Obj]:
    """The pods a workload's selector matches; a LeaderWorkerSet's by its name label."""
    have = pods_by_namespace(snapshot).get(namespace(workload), [])
    if text(workload, "kind") == "LeaderWorkerSet":
        return [pod for pod in have if labels(pod).get("leaderworkerset.sigs.k8s.io/name") == name(workload)]
    selector = get(workload, "spec", "selector")
    return [pod for pod in have if selector and selects(selector, labels(pod))]
