"""Remedies that can be typed, with the names that are known put in."""

from __future__ import annotations

from plimsoll.diagnose.model import Signals

_SCALED = ("Deployment", "StatefulSet", "ReplicaSet")


def place(of: Signals) -> tuple[str, str]:
    """Namespace and name of a workload."""
    namespace, _, name = of.subject.name.partition("/")
    return namespace, name


def inside(of: Signals, command: str) -> str:
    """A command in one of the pods of a workload."""
    namespace, name = place(of)
    return f"kubectl -n {namespace} exec {of.facts.pod or name} -- {command}"


def shrink(of: Signals) -> str:
    """How to make a workload let go of its GPUs, so that it can come back."""
    namespace, name = place(of)
    owner = of.facts.owner
    if owner in _SCALED:
        return f"kubectl -n {namespace} scale {owner.lower()} {name} --replicas=0"
    if owner in ("Job", "CronJob", "JobSet"):
        return f'kubectl -n {namespace} patch {owner.lower()} {name} --type merge -p \'{{"spec":{{"suspend":true}}}}\''
    if owner == "Notebook":
        return f"kubectl -n {namespace} annotate notebook {name} kubeflow-resource-stopped=$(date -u +%FT%TZ)"
    if owner in ("", "Pod"):
        return f"kubectl -n {namespace} delete pod {of.facts.pod or name}"
    return f"kubectl -n {namespace} edit {owner.lower()} {name}"


def edit(of: Signals, what: str) -> str:
    """Open the workload in an editor; `what` to change there."""
    namespace, name = place(of)
    kind = of.facts.owner.lower() or "pod"
    return f"kubectl -n {namespace} edit {kind} {name}\n{what}"
