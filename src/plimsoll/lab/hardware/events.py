"""The events a kubelet sends about a pod that does not start."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime

from plimsoll.kube.objects import Obj, items, name, namespace, text
from plimsoll.lab.hardware.kubelet import UNREADY, Plan, Trouble, moment
from plimsoll.units import moment as read

_MOUNT_SECONDS = 3.0  # a ConfigMap made together with the pod is there by then


def events(pod: Obj, plan: Plan, now: datetime) -> dict[str, Obj]:
    """The events of a pod by a key that begins with its uid."""
    found = {}
    for container, type_, reason, message in _said(pod, plan, now):
        uid = text(pod, "metadata", "uid")
        key = f"{uid}/{container}/{reason}/{message}"
        tag = hashlib.sha256(key.encode()).hexdigest()[:16]
        place = f"spec.{_field(pod, container)}{{{container}}}" if container else ""
        found[key] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name(pod)[:200]}.{tag}", "namespace": namespace(pod)},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": namespace(pod),
                "name": name(pod),
                "uid": uid,
                **({"fieldPath": place} if place else {}),
            },
            "type": type_,
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": text(pod, "spec", "nodeName")},
            "firstTimestamp": moment(now),
            "lastTimestamp": moment(now),
            "count": 1,
        }
    return found


def _said(pod: Obj, plan: Plan, now: datetime) -> Iterator[tuple[str, str, str, str]]:
    """Container, type, reason and message of each event."""
    if plan.stuck:
        reason, _, message = plan.stuck.partition(": ")
        created = read(text(pod, "metadata", "creationTimestamp")) or now
        if reason != "FailedMount" or (now - created).total_seconds() > _MOUNT_SECONDS:
            yield "", "Warning", reason, message
        return
    if plan.waits:
        return
    for container, trouble in plan.troubles.items():
        yield from ((container, *each) for each in _of(pod, container, trouble))


def _of(pod: Obj, container: str, trouble: Trouble) -> Iterator[tuple[str, str, str]]:
    image = next(
        (text(each, "image") for each in items(pod, "spec", _field(pod, container)) if each.get("name") == container),
        "",
    )
    if trouble.reason == "CrashLoopBackOff":
        who = f"{container} in pod {name(pod)}_{namespace(pod)}({text(pod, 'metadata', 'uid')})"
        yield "Warning", "BackOff", f"Back-off restarting failed container {who}"
    elif trouble.reason in ("ErrImagePull", "ImagePullBackOff"):
        yield "Warning", "Failed", f'Failed to pull image "{image}": {trouble.message or "not found"}'
        yield "Normal", "BackOff", f'Back-off pulling image "{image}"'
    elif trouble.reason == UNREADY:
        yield "Warning", "Unhealthy", f"Startup probe failed: {trouble.message}"
    else:
        yield "Warning", "Failed", f"Error: {trouble.message or trouble.reason}"


def _field(pod: Obj, container: str) -> str:
    init = any(each.get("name") == container for each in items(pod, "spec", "initContainers"))
    return "initContainers" if init else "containers"
