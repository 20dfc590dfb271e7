"""Who may do what: NS-05, NS-07 to NS-09."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube.objects import Obj, items, name, namespace, text
from plimsoll.kube.operands import operator_namespace
from plimsoll.pillars.security.rbac import READS, Grant, Subject, allows, by_role, everything, grants, strings
from plimsoll.pillars.security.tenants import by_namespace

_POD_VERBS = ("create", "patch", "update")
_EXEC_VERBS = ("create", "get")


def _role_title(role: Obj) -> str:
    return f"{text(role, 'kind')} {namespace(role) + '/' if namespace(role) else ''}{name(role)}"


@check("NS-05", Severity.ERROR, Layer.RISK, reads=READS, remedy="kubectl get clusterrolebinding,rolebinding -A -o wide",
       source="gpu-operator (privileged operands); nvidia-container-toolkit NRI plugin")  # fmt: skip
def operator_namespace_is_closed(case: Case) -> Iterator[Finding]:
    """Only administrators make or enter pods in the operator's namespace.

    Pods there may be privileged, and the toolkit may hand them every GPU of the node. Whoever can make a pod
    there, change one, or open a shell in one is root on every GPU node. Controllers with accounts of their
    own and the cluster-admin role are taken for administrators; people, groups and tenants' accounts are not.
    """
    here = operator_namespace(case.snapshot)
    for each in grants(case.snapshot) if here else ():
        if each.scope not in ("", here) or each.role is None or (each.role_name == "cluster-admin" and not each.scope):
            continue
        outsiders = [who for who in each.subjects if _outsider(case, who)]
        ways = [
            what
            for what, resource, verbs in (
                ("make or change pods", "pods", _POD_VERBS),
                ("open a shell in them", "pods/exec", _EXEC_VERBS),
            )
            if allows(each.role, resource, verbs)
        ]
        if outsiders and ways:
            yield case.finding(
                each.binding,
                f"{outsiders[0]}{f' and {len(outsiders) - 1} more' if outsiders[1:] else ''} may {' and '.join(ways)} "
                f"in {here}, and so become root on every GPU node",
                "roleRef.name",
                "subjects",
                severity=Severity.CRITICAL if any(who.everybody for who in outsiders) else None,
                remedy=f"kubectl {'-n ' + each.scope + ' ' if each.scope else ''}get "
                f"{text(each.binding, 'kind').lower()} {name(each.binding)} -o yaml\n"
                f"bind {each.role_name} in the namespaces it is meant for, not in {here}",
            )


def _outsider(case: Case, who: Subject) -> bool:
    """Whether a subject is a person, a group, or an account of a namespace that uses GPUs."""
    return who.kind in ("User", "Group") or who.namespace in by_namespace(case.snapshot) or who.namespace == "default"


def _proxies(role: Obj) -> Obj | None:
    """The rule of a role that allows nodes/proxy, or None."""
    wanted = {"nodes/proxy", "nodes/*"}
    return next((each for each in items(role, "rules") if wanted & set(strings(each, "resources"))), None)


@check("NS-07", Severity.WARNING, Layer.RISK, reads=READS,
       remedy="kubectl get clusterrole -o yaml | grep -B5 nodes/proxy",
       source="kubernetes/kubernetes#136550; fine-grained kubelet authorization; CIS 5.1.10")  # fmt: skip
def nobody_proxies_to_kubelets(case: Case) -> Iterator[Finding]:
    """Nobody holds nodes/proxy.

    Even `get` on nodes/proxy reaches the kubelet's exec over a WebSocket: a shell in every pod of every node,
    past admission and past the audit log. Monitoring agents that read only metrics need
    `nodes/metrics`. An error where people, groups or tenants hold it.
    """
    for found in by_role(case.snapshot).values():
        role = found[0].role
        if role is None or everything(role):
            continue  # NS-08 reports those that hold everything
        rule = _proxies(role)
        if rule is None or all(each.stock for each in found):
            continue
        who = [subject for each in found for subject in each.subjects]
        yield case.finding(
            role,
            f"{_role_title(role)} gives {who[0]}{f' and {len(who) - 1} more' if who[1:] else ''} nodes/proxy: "
            "a shell in every pod of the cluster",
            "rules",
            seen={
                "verbs": ", ".join(strings(rule, "verbs")),
                "bound by": ", ".join(name(each.binding) for each in found),
            },
            severity=Severity.ERROR if any(_outsider(case, each) for each in who) else None,
            remedy=f"kubectl edit {text(role, 'kind').lower()} {name(role)}\n"
            "replace nodes/proxy by what is used: nodes/metrics, nodes/stats, nodes/pods, nodes/healthz, nodes/configz "
            "(Kubernetes 1.33 and later); of a chart: look for a newer one",
        )


def _wide(role: Obj) -> Obj | None:
    """The rule of a role that allows changing or reading everything, or every verb on pods, secrets or nodes."""
    for rule in items(role, "rules"):
        groups = {"", "*"} & set(strings(rule, "apiGroups"))
        every = "*" in strings(rule, "resources")
        all_verbs = "*" in strings(rule, "verbs")
        if groups and (every or (all_verbs and {"pods", "secrets", "nodes"} & set(strings(rule, "resources")))):
            return rule
    return None


@check("NS-08", Severity.WARNING, Layer.RISK, reads=READS, remedy="kubectl get clusterrolebinding -o wide",
       source="CIS 5.1.1, 5.1.3")  # fmt: skip
def no_role_holds_everything(case: Case) -> Iterator[Finding]:
    """No account is handed `*`.

    A rule with `*` for its resources reaches Secrets and whatever kinds are added later; `*` for the verbs adds
    impersonation and escalation. One stolen token of such an account is the whole cluster. People who are
    administrators, Kubernetes itself and KEDA (NS-09) are left out. An error where everybody holds it.
    """
    for found in by_role(case.snapshot).values():
        role = found[0].role
        rule = _wide(role) if role is not None else None
        if role is None or rule is None:
            continue
        stock = name(role) == "cluster-admin"
        for each in found:
            accounts = [who for who in each.subjects if who.kind == "ServiceAccount" or who.everybody]
            accounts = [who for who in accounts if not _is_keda(who)]
            if not accounts:
                continue
            yield case.finding(
                each.binding if stock else role,
                f"{accounts[0]} holds {'cluster-admin' if stock else '* through ' + _role_title(role)}"
                + (f" in {each.scope}" if each.scope else ""),
                *(("roleRef.name", "subjects") if stock else ("rules",)),
                seen={"apiGroups": ", ".join(strings(rule, "apiGroups")), "verbs": ", ".join(strings(rule, "verbs"))},
                severity=Severity.ERROR if any(who.everybody for who in accounts) else None,
                remedy=f"kubectl get {text(each.binding, 'kind').lower()} {name(each.binding)} -o yaml\n"
                "list the kinds and verbs that are used (the audit log tells) in a role of its own",
            )
            if not stock:
                break  # the role is what has to change, once


def _is_keda(who: Subject) -> bool:
    return who.kind == "ServiceAccount" and who.name.startswith("keda-operator")


@check("NS-09", Severity.WARNING, Layer.RISK, reads=READS,
       remedy="helm upgrade keda kedacore/keda -n keda --reset-then-reuse-values "
              "--set permissions.operator.restrict.secret=true",
       source="kedacore/charts#605, kedacore/keda#3668")  # fmt: skip
def keda_reads_only_its_secrets(case: Case) -> Iterator[Finding]:
    """KEDA cannot read every Secret of the cluster.

    Its chart gives the operator `get` on every kind, so that it can scale any of them, and that includes
    Secrets; `KEDA_RESTRICT_SECRET_ACCESS` alone does not take it away. Whoever takes over the operator, which
    talks to addresses that tenants write into their ScaledObjects, reads all keys of the cluster.
    """
    for found in by_role(case.snapshot).values():
        role = found[0].role
        own = [each for each in found if not each.scope and any(_is_keda(who) for who in each.subjects)]
        rule = allows(role, "secrets", ("get", "list")) if role is not None and own else None
        if role is None or rule is None:
            continue
        yield case.finding(
            role,
            f"{_role_title(role)} lets KEDA read every Secret of the cluster",
            "rules",
            seen={
                "apiGroups": ", ".join(strings(rule, "apiGroups")),
                "resources": ", ".join(strings(rule, "resources")),
            },
            remedy="helm list -A | grep keda   # which version?\n"
            "in KEDA's chart set permissions.operator.restrict.secret=true, and instead of get on */* the kinds "
            "that are scaled (deployments/scale, statefulsets/scale); credentials then go into KEDA's own "
            "namespace as "
            "ClusterTriggerAuthentication\n"
            f"kubectl auth can-i get secrets -A --as=system:serviceaccount:{_account(own)}",
        )


def _account(own: list[Grant]) -> str:
    who = next(who for each in own for who in each.subjects if _is_keda(who))
    return f"{who.namespace}:{who.name}"
