"""Role-based access as one table: which rules each binding hands to whom."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, items, labels, name, namespace, text
from plimsoll.kube.snapshot import Snapshot, fact

READS = (kinds.CLUSTER_ROLE, kinds.CLUSTER_ROLE_BINDING, kinds.ROLE, kinds.ROLE_BINDING)


class Subject(NamedTuple):
    """Somebody a binding names. namespace is "" for users and groups."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {where}{self.name}"

    @property
    def everybody(self) -> bool:
        """Whether it stands for every user or every pod."""
        return self.kind == "Group" and (
            self.name in ("system:authenticated", "system:unauthenticated")
            or self.name.startswith("system:serviceaccounts")
        )

    @property
    def system(self) -> bool:
        """Whether Kubernetes itself is meant."""
        if self.kind == "ServiceAccount":
            return self.namespace == "kube-system"
        return self.name.startswith("system:") and not self.everybody


class Grant(NamedTuple):
    """One binding that hands a role to subjects other than Kubernetes itself."""

    binding: Obj
    role: Obj | None  # None where it was not read or does not exist
    role_name: str
    scope: str  # the namespace it holds in; "" for the whole cluster
    subjects: tuple[Subject, ...]

    @property
    def stock(self) -> bool:
        """Whether the role comes with Kubernetes (cluster-admin, edit, system:…)."""
        marks = labels(self.role) if self.role else {}
        return self.role_name.startswith("system:") or marks.get("kubernetes.io/bootstrapping") == "rbac-defaults"

    @property
    def to(self) -> str:
        shown = ", ".join(map(str, self.subjects[:3]))
        return shown if len(self.subjects) <= 3 else f"{shown} and {len(self.subjects) - 3} more"


@fact
def grants(snapshot: Snapshot) -> tuple[Grant, ...]:
    """Every binding that names anybody but Kubernetes itself, in reading order."""
    found = []
    for kind in (kinds.CLUSTER_ROLE_BINDING, kinds.ROLE_BINDING):
        for binding in snapshot.list(kind):
            subjects = tuple(
                Subject(text(each, "kind"), text(each, "namespace") or _home(each, binding), text(each, "name"))
                for each in items(binding, "subjects")
            )
            kept = tuple(each for each in subjects if not each.system)
            if not kept:
                continue
            title, scope = text(binding, "roleRef", "name"), namespace(binding)
            cluster = text(binding, "roleRef", "kind") == "ClusterRole"
            role = snapshot.get(kinds.CLUSTER_ROLE, title) if cluster else snapshot.get(kinds.ROLE, title, scope)
            found.append(Grant(binding, role, title, scope, kept))
    return tuple(found)


def _home(subject: Obj, binding: Obj) -> str:
    return namespace(binding) if text(subject, "kind") == "ServiceAccount" else ""


@fact
def by_role(snapshot: Snapshot) -> dict[tuple[str, str, str], list[Grant]]:
    """Grants by (kind, namespace, name) of the role, where it was read."""
    found: dict[tuple[str, str, str], list[Grant]] = defaultdict(list)
    for each in grants(snapshot):
        if each.role is not None:
            found[text(each.role, "kind"), namespace(each.role), name(each.role)].append(each)
    return dict(found)


def strings(rule: Obj, field: str) -> list[str]:
    """A list of a rule (`verbs`, `resources`, `apiGroups`) as strings."""
    value = rule.get(field)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def allows(role: Obj, resource: str, verbs: tuple[str, ...], group: str = "") -> Obj | None:
    """The first rule of a role that allows one of the verbs on a resource of a group, or None."""
    parent = f"{resource.partition('/')[0]}/*" if "/" in resource else resource
    for rule in items(role, "rules"):
        groups, resources, have = strings(rule, "apiGroups"), strings(rule, "resources"), strings(rule, "verbs")
        if (
            {group, "*"} & set(groups)
            and {resource, parent, "*"} & set(resources)
            and {*verbs, "*"} & set(have)
            and not rule.get("resourceNames")
        ):
            return rule
    return None


def everything(role: Obj) -> Obj | None:
    """The first rule of a role with `*` for the resources of the core group or of all, or None."""
    for rule in items(role, "rules"):
        if "*" in strings(rule, "resources") and {"", "*"} & set(strings(rule, "apiGroups")):
            return rule
    return None
