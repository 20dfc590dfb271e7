"""The workloads behind pods: the objects a person changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, get, items, mapping, owner, pod_template, text
from plimsoll.kube.pods import by_template, controller, gpu_requests
from plimsoll.kube.snapshot import Snapshot

WORKLOADS = (kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.JOB, kinds.CRON_JOB)
_VLLM = re.compile(r"(^|[/-])vllm", re.IGNORECASE)
_SHARE = re.compile(r"--gpu-memory-utilization[=\s]+(0?\.\d+|1(?:\.0*)?)\b")


def responsible(snapshot: Snapshot, pod: Obj) -> Obj:
    """The topmost object known to make a pod, or the pod itself."""
    kind, where, title = controller(snapshot, pod)
    found = snapshot.get(kinds.BY_NAME[kind], title, where) if kind in kinds.BY_NAME else None
    return found or pod


def gpu_templates(snapshot: Snapshot) -> Iterator[tuple[Obj, Obj, str]]:
    """Every workload that asks for GPUs, its pod template, and the template's path; bare pods too."""
    for kind in WORKLOADS:
        for obj in snapshot.list(kind):
            template = pod_template(obj)
            if not (kind is kinds.JOB and text(owner(obj), "kind") in kinds.BY_NAME) and gpu_requests(template):
                yield obj, template, "spec.jobTemplate.spec.template." if kind is kinds.CRON_JOB else "spec.template."
    for pod, _ in by_template(snapshot, lambda pod: not owner(pod) and gpu_requests(pod), ended=True):
        yield pod, pod, ""


def memory_share(pod: Obj) -> float:
    """The part of a GPU's memory that vLLM servers in a pod take at start; 0 where there is none.

    vLLM reserves `--gpu-memory-utilization` (default 0.9) of the whole GPU, whoever else is on it.
    """
    total = 0.0
    for container in items(pod, "spec", "containers"):
        given = [part for field in ("command", "args") for part in _strings(get(container, field))]
        if _VLLM.search(text(container, "image")) or any(part.endswith("vllm") for part in given):
            said = _SHARE.search(" ".join(given))
            total += float(said.group(1)) if said else 0.9
    return total


def _strings(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def last_words(pod: Obj) -> list[tuple[str, str]]:
    """(path, message) of every container end that left a message."""
    return [
        (f"status.{field}[{index}].{state}.terminated.message", said)
        for field in ("initContainerStatuses", "containerStatuses")
        for index, status in enumerate(items(pod, "status", field))
        for state in ("state", "lastState")
        if (said := text(mapping(status, state, "terminated"), "message"))
    ]
