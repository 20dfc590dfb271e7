"""Who uses GPUs: the workloads that ask for them, by namespace, and how a finding about them is put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, condition, containers, get, items, name, namespace, owner, pod_template, text
from plimsoll.kube.operands import operator_namespace
from plimsoll.kube.pods import controller, gpu_pods_by_template, gpu_requests
from plimsoll.kube.snapshot import Snapshot, fact

_SYSTEM = ("kube-system", "kube-public", "kube-node-lease")
_KINDS = (kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.JOB, kinds.CRON_JOB)
READS = (kinds.POD, kinds.DEPLOYMENT)  # without these no tenant can be named


class Tenant(NamedTuple):
    """One workload that asks for GPUs: what to change, and the pod (or template) it makes."""

    kind: str
    namespace: str
    name: str
    obj: Obj
    pod: Obj
    at: str  # path of the pod in obj: "" or "spec.template."

    @property
    def title(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    def edit(self, then: str) -> str:
        """The remedy: where to change it, and to what. A pod or Job cannot be edited, only made anew."""
        if self.kind in ("Pod", "Job"):
            return f"in the manifest of {self.title}, which has to be made anew:\n{then}"
        return f"kubectl -n {self.namespace} edit {self.kind.lower()} {self.name}\n{then}"


@fact
def tenants(snapshot: Snapshot) -> tuple[Tenant, ...]:
    """Every workload outside the operator and the system that asks for GPUs, by namespace, kind and name."""
    skip = {*_SYSTEM, operator_namespace(snapshot)}
    found: dict[tuple[str, str, str], Tenant] = {}
    for kind in _KINDS:
        for obj in snapshot.list(kind):
            template = pod_template(obj)
            if not asks(template) or namespace(obj) in skip or _is_over(obj):
                continue
            if kind is kinds.JOB and items(obj, "metadata", "ownerReferences"):
                continue  # whoever makes it is the tenant
            at = "spec.jobTemplate.spec.template." if kind is kinds.CRON_JOB else "spec.template."
            found[namespace(obj), kind.kind, name(obj)] = Tenant(
                kind.kind, namespace(obj), name(obj), obj, template, at
            )
    for alike, _ in gpu_pods_by_template(snapshot):
        for pod in alike[:1] if text(owner(alike[0]), "kind") else alike:
            kind_, here, title = controller(snapshot, pod)
            if here in skip or (here, kind_, title) in found:
                continue
            known = kinds.BY_NAME.get(kind_)
            obj_ = (snapshot.get(known, title, here) if known else None) or pod
            inner = "" if obj_ is pod else "spec.template."
            found[here, kind_, title] = Tenant(kind_, here, title, obj_, pod, inner)
    return tuple(each for _, each in sorted(found.items()))


def _is_over(obj: Obj) -> bool:
    return any(condition(obj, type_).get("status") == "True" for type_ in ("Complete", "Failed"))


def asks(pod: Obj) -> bool:
    """Whether a pod or template asks for GPUs, through a resource or a claim."""
    return bool(gpu_requests(pod)) or bool(items(pod, "spec", "resourceClaims"))


@fact
def by_namespace(snapshot: Snapshot) -> dict[str, list[Tenant]]:
    """Workloads that ask for GPUs by namespace."""
    found: dict[str, list[Tenant]] = defaultdict(list)
    for each in tenants(snapshot):
        found[each.namespace].append(each)
    return dict(found)


def homes(snapshot: Snapshot, *, default: bool = False) -> Iterator[tuple[Obj, list[Tenant]]]:
    """The namespaces that use GPUs, where their objects were read, with their workloads.

    `default` only on request: nothing should run there (NS-18), so it needs no walls of its own.
    """
    for title, own in sorted(by_namespace(snapshot).items()):
        found = snapshot.get(kinds.NAMESPACE, title)
        if found is not None and (default or title != "default"):
            yield found, own


def env(each: Tenant) -> Iterator[tuple[str, Obj]]:
    """Every environment entry of a workload's containers with its path."""
    for path, container in containers(each.pod):
        for index, entry in enumerate(items(container, "env")):
            yield f"{each.at}{path}.env[{index}]", entry


def named(own: list[Tenant], most: int = 3) -> str:
    """Some workloads by name, the rest counted."""
    shown = ", ".join(each.name for each in own[:most])
    return shown if len(own) <= most else f"{shown} and {len(own) - most} more"


def account(each: Tenant) -> str:
    """The ServiceAccount a workload runs as."""
    return text(each.pod, "spec", "serviceAccountName") or "default"


def mounts_token(snapshot: Snapshot, each: Tenant) -> bool | None:
    """Whether a workload's pods carry an API token; None where its ServiceAccount was not read and must say."""
    own = get(each.pod, "spec", "automountServiceAccountToken")
    if isinstance(own, bool):
        return own
    found = snapshot.get(kinds.SERVICE_ACCOUNT, account(each), each.namespace)
    if found is None:
        return None
    return get(found, "automountServiceAccountToken") is not False
