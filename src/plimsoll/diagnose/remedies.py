"""Remedies that can be typed, with the names that are known put in."""

from __future__ import annotations

import re

from plimsoll.diagnose.model import Signals

_SCALED = ("Deployment", "StatefulSet", "ReplicaSet")
_ODD = re.compile(r"[^A-Za-z0-9._:-]")


def name_of(text: str) -> str:
    """A name for a command line. What no Kubernetes name holds is taken out: a recording may hold anything."""
    return _ODD.sub("_", text)


def place(of: Signals) -> tuple[str, str]:
    """Namespace and name of a workload."""
    namespace, _, name = of.subject.name.partition("/")
    return name_of(namespace), name_of(name)


def inside(of: Signals, command: str) -> str:
    """A command in one of the pods of a workload; in its next one where it has none now."""
    namespace, _ = place(of)
    if not of.facts.pod:
        return f"in its next run: kubectl -n {namespace} exec POD -- {command}"
    return f"kubectl -n {namespace} exec {name_of(of.facts.pod)} -- {command}"


def shrink(of: Signals) -> str:
    """How to make a workload let go of its GPUs, so that it can come back."""
    namespace, name = place(of)
    kind = of.facts.owner
    if kind in _SCALED:
        return f"kubectl -n {namespace} scale {kind.lower()} {name} --replicas=0"
    if kind == "CronJob" or (kind in ("Job", "JobSet") and of.facts.pod):
        return f'kubectl -n {namespace} patch {kind.lower()} {name} --type merge -p \'{{"spec":{{"suspend":true}}}}\''
    if kind == "Notebook":
        return f"kubectl -n {namespace} annotate notebook {name} kubeflow-resource-stopped=$(date -u +%FT%TZ)"
    if not of.facts.pod:
        return "fewer GPUs in resources.limits of its next run"
    if kind in ("", "Pod"):
        return f"kubectl -n {namespace} delete pod {name_of(of.facts.pod)}"
    return f"kubectl -n {namespace} edit {name_of(kind.lower())} {name}"


def edit(of: Signals, what: str) -> str:
    """Open the workload in an editor; `what` to change there."""
    namespace, name = place(of)
    return f"kubectl -n {namespace} edit {name_of(of.facts.owner.lower()) or 'pod'} {name}\n{what}"
