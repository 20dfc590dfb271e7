"""What a Deployment says its container runs with, resolved as a kubelet would."""

from __future__ import annotations

from plimsoll.kube.objects import Obj, get, items, namespace, text


def arguments(deployment: Obj) -> list[str]:
    """The first container's args."""
    found = get(deployment, "spec", "template", "spec", "containers", 0, "args")
    return [str(each) for each in found] if isinstance(found, list) else []


def account(deployment: Obj) -> str:
    """The ServiceAccount its pods run as."""
    return text(deployment, "spec", "template", "spec", "serviceAccountName") or "default"


def environment(deployment: Obj) -> dict[str, str]:
    """The first container's env; of the downward API, what a lab can know: the namespace."""
    env: dict[str, str] = {}
    for entry in items(deployment, "spec", "template", "spec", "containers", 0, "env"):
        field = text(entry, "valueFrom", "fieldRef", "fieldPath")
        env[text(entry, "name")] = namespace(deployment) if field == "metadata.namespace" else text(entry, "value")
    return env


def without(args: list[str], *flags: str) -> list[str]:
    """The arguments less the flags named, which the lab sets in its own way."""
    return [arg for arg in args if arg.lstrip("-").split("=")[0] not in flags]
