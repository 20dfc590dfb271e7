"""Checks on placement: may the operands be created, and may they run on each GPU node? GPU018 to GPU021."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes, untolerated
from plimsoll.kube.objects import Obj, containers, get, items, labels, name, namespace, number, pod_template, text
from plimsoll.kube.operands import (
    GATE,
    OPT_OUT,
    SUPPORTING,
    cluster_policy,
    enabled,
    gate,
    operand_states,
    operator_namespace,
)
from plimsoll.pillars.operator.checks import nfd
from plimsoll.pillars.operator.checks.hints import machines
from plimsoll.pillars.operator.checks.offer import shortfalls
from plimsoll.pillars.operator.checks.placements import Placement, placements, refusal


def _some(names: list[str]) -> str:
    """Names for a title: at most three, then how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _groups(case: Case, kind: str) -> list[tuple[Obj, list[str], list[Placement]]]:
    """Placement troubles of one kind by the DaemonSet (or pod) to change, with the nodes concerned."""
    groups: dict[tuple[str, str, str], list[tuple[str, Placement]]] = defaultdict(list)
    for node, wrong in sorted(placements(case.snapshot).items()):
        subject = wrong.state.daemonset or wrong.state.pod
        if wrong.kind == kind and subject is not None:
            groups[text(subject, "kind"), namespace(subject), name(subject)].append((node, wrong))
    found = []
    for _, members in sorted(groups.items()):
        first = members[0][1].state
        subject = first.daemonset or first.pod or {}
        found.append((subject, [node for node, _ in members], [wrong for _, wrong in members]))
    return found


@check("GPU018", Severity.ERROR, Layer.PLACEMENT, reads=(kinds.NODE, kinds.EVENT), whole=(kinds.DAEMON_SET, kinds.POD),
       remedy="kubectl -n gpu-operator get events --field-selector reason=FailedCreate",
       source="Kubernetes Pod Security admission, ResourceQuota scopes; gpu-operator psa.enabled")  # fmt: skip
def operand_pods_accepted(case: Case) -> Iterator[Finding]:
    """The API server accepts the pods of every operand.

    Operands are privileged and use the priority class system-node-critical. A namespace
    that enforces a stricter Pod Security level, or a cluster that allows that class only
    under a ResourceQuota (GKE), refuses them. No pod exists then, so that nothing looks
    broken but the numbers of the DaemonSet and its events.
    """
    for subject, nodes, wrongs in _groups(case, "refused"):
        severity = max(each.severity for each in wrongs)
        yield _refused(case, subject, nodes, wrongs[0].says, severity, wrongs[0].operands)
    for worker in nfd.workers(case.snapshot):
        says = refusal(case.snapshot, worker)
        bare = [name(node) for node in machines(case.snapshot) if name(node) not in nfd.worker_pods(case.snapshot)]
        if says and bare:
            yield _refused(case, worker, bare, says, Severity.ERROR)


def _refused(
    case: Case, subject: Obj, nodes: list[str], says: str, severity: Severity, operands: tuple[str, ...] = ()
) -> Finding:
    here = namespace(subject)
    if "PodSecurity" in says or "Pod Security" in says:
        look = (
            f"kubectl label namespace {here} pod-security.kubernetes.io/enforce=privileged --overwrite\n"
            "or in the chart's values: psa.enabled=true, which sets it"
        )
    elif "quota" in says:
        look = (
            f"kubectl -n {here} get resourcequota\ncreate one whose scopeSelector names PriorityClass In "
            "[system-node-critical, system-cluster-critical], with enough pods"
        )
    else:
        look = f"kubectl -n {here} get events --field-selector reason=FailedCreate"
    missing = number(subject, "status", "desiredNumberScheduled") - number(subject, "status", "currentNumberScheduled")
    return case.finding(
        subject,
        f"{missing} {'pod' if missing == 1 else 'pods'} of {name(subject)} cannot be created: {says[:200]}",
        "status.desiredNumberScheduled",
        "status.currentNumberScheduled",
        seen={"message": says, "nodes": _some(nodes), "operands without pod": ", ".join(operands) or name(subject)},
        affects=[f"node/{node}" for node in nodes],
        remedy=look,
        severity=severity,
        layer=Layer.DISCOVERY if nfd.role(subject) else None,
    )


_NO_TAG = re.compile(r"not found|manifest unknown|does not exist|no such (image|manifest)", re.I)
_DENIED = re.compile(r"unauthori[sz]ed|denied|forbidden|authentication|no basic auth|401|403", re.I)
_NETWORK = re.compile(r"timeout|timed out|no such host|connection refused|dial tcp|i/o|TLS|x509|EOF", re.I)


@check("GPU019", Severity.ERROR, Layer.PLACEMENT, reads=(kinds.NODE, kinds.POD),
       remedy="kubectl -n gpu-operator describe pods | grep -A3 Failed",
       source="gpu-operator driver image tags (<driver>-<os><version>); facts GPU019")  # fmt: skip
def operand_images_pulled(case: Case) -> Iterator[Finding]:
    """The image of every operand can be pulled.

    The tag of the driver image is made of the driver version and the operating system of
    the first GPU node, `570.148.08-ubuntu22.04`; for a pair NVIDIA does not publish there
    is none. Other reasons are a missing pull secret, a rate limit, a registry out of reach.
    """
    for subject, nodes, wrongs in _groups(case, "image"):
        first = wrongs[0].state
        found, pod = first.trouble, first.pod or {}
        image = next(
            (text(each, "image") for _, each in containers(pod) if found and each.get("name") == found.container), ""
        )
        here, says = namespace(subject), wrongs[0].says
        yield case.finding(
            subject,
            f"Image {image or 'of ' + first.operand} of {first.operand} cannot be pulled on {_some(nodes)}",
            *([f"spec.template.spec.containers[{found.container}].image"] if found else []),
            seen={"reason": found.reason if found else "", "message": says,
                  "operands without image": ", ".join(sorted({op for each in wrongs for op in each.operands}))},
            affects=[f"node/{node}" for node in nodes],
            remedy=f"kubectl -n {here} describe pod {name(pod)} | tail\n" + _pull(first.operand, says),
            severity=max(each.severity for each in wrongs),
        )  # fmt: skip


def _pull(operand: str, says: str) -> str:
    if _DENIED.search(says):
        return f"no access: create a pull secret and name it in {operand}.imagePullSecrets of the chart's values"
    if _NO_TAG.search(says) and operand == "driver":
        return (
            "no such tag: kubectl get nodes -L feature.node.kubernetes.io/system-os_release.ID,"
            "feature.node.kubernetes.io/system-os_release.VERSION_ID\n"
            "set driver.version to one that exists for this operating system; "
            "for a kernel without precompiled driver set driver.usePrecompiled=false"
        )
    if _NETWORK.search(says):
        return "the node does not reach the registry: check DNS, proxy and firewall, or mirror it and set repository"
    return "check repository, image and version in the chart's values"


@check("GPU020", Severity.WARNING, Layer.PLACEMENT, reads=(kinds.NODE, kinds.CLUSTER_POLICY),
       remedy="kubectl label node <node> nvidia.com/gpu.deploy.operands-",
       source="gpu-operator state_manager.go; facts GPU020")  # fmt: skip
def no_operand_opted_out(case: Case) -> Iterator[Finding]:
    """No label keeps the operator's operands off a GPU node.

    `nvidia.com/gpu.deploy.operands=false`, or `false` for one operand, keeps them away for
    good. That is right for a node whose GPUs are managed otherwise, and a forgotten note
    of some repair everywhere else. It is a warning where the node offers no GPU now.
    Switching the device plugin off in the ClusterPolicy does the same to every node.
    """
    yield from _plugin_off(case)
    for node in gpu_nodes(case.snapshot):
        title, have = name(node), labels(node)
        out = {f"{GATE}{op}" for op, each in operand_states(case.snapshot)[title].items() if each.state == "opted-out"}
        keys = [OPT_OUT] if have.get(OPT_OUT) == "false" else sorted(out & set(have))
        if not keys:
            continue
        offers = title not in shortfalls(case.snapshot)
        vital = any(key.removeprefix(GATE) not in SUPPORTING for key in keys)
        yield case.finding(
            node,
            f"{', '.join(f'{key}={have[key]}' for key in keys)} keeps operands off {title}"
            + ("" if offers else ", which offers no GPU"),
            *(f"metadata.labels[{key}]" for key in keys),
            affects=[f"node/{title}"],
            remedy="if that is not meant, let the operator set it anew:\n"
            f"kubectl label node {title} {' '.join(key + '-' for key in keys)}",
            severity=Severity.WARNING if vital and not offers else Severity.INFO,
        )


def _plugin_off(case: Case) -> Iterator[Finding]:
    """The ClusterPolicy switches the device plugin off, and nodes it manages offer nothing."""
    policy = cluster_policy(case.snapshot)
    if policy is None or enabled(case.snapshot, "device-plugin") is not False:
        return
    bare = sorted(
        node
        for node, wrong in shortfalls(case.snapshot).items()
        if wrong.kind in ("absent", "gone", "dead")
        and wrong.severity is None
        and node in operand_states(case.snapshot)
        and labels(case.snapshot.get(kinds.NODE, node) or {}).get(gate("device-plugin")) == "true"
    )
    if bare:
        yield case.finding(
            policy,
            f"ClusterPolicy {name(policy)} switches the device plugin off; {_some(bare)} offer no GPU",
            "spec.devicePlugin.enabled",
            affects=[f"node/{node}" for node in bare],
            remedy="helm upgrade with devicePlugin.enabled=true\nor bring another device plugin, or the DRA driver",
            severity=Severity.ERROR,
        )


@check("GPU021", Severity.ERROR, Layer.PLACEMENT, reads=(kinds.NODE, kinds.DAEMON_SET), whole=(kinds.POD,),
       remedy="helm upgrade with daemonsets.tolerations covering the taint",
       source="gpu-operator daemonsets.tolerations, #26; DaemonSet controller; facts GPU021")  # fmt: skip
def operands_placed(case: Case) -> Iterator[Finding]:
    """Every operand that belongs on a GPU node may run there, and does.

    A taint that `daemonsets.tolerations` does not cover lets running operands live but
    never come back: after a reboot, an upgrade or an eviction the DaemonSet says DESIRED 0
    for the node, the ClusterPolicy stays ready, and the node offers no GPU. The same goes
    for an operand whose pod the scheduler cannot place.
    """
    for node in gpu_nodes(case.snapshot):
        wrong = placements(case.snapshot).get(name(node))
        if wrong is None or wrong.kind not in ("taint", "unschedulable", "missing"):
            continue
        if wrong.kind == "taint":
            yield _tainted(case, node, wrong)
            continue
        title, gone = name(node), list(wrong.operands)
        subject = wrong.state.pod or wrong.state.daemonset or node
        stuck = wrong.kind == "unschedulable"
        what = f"cannot be scheduled: {wrong.says}" if stuck else "has no pod there"
        yield case.finding(
            subject if stuck else node,
            f"{wrong.state.operand} is meant for {title} but {what}",
            "status.conditions[PodScheduled].message" if stuck else f"metadata.labels[{gate(wrong.state.operand)}]",
            seen={"operands that do not run": ", ".join(gone)},
            affects=[f"node/{title}"],
            remedy=f"kubectl -n {namespace(subject)} describe {text(subject, 'kind').lower()} {name(subject)}\n"
            f"kubectl describe node {title}   # taints, pressure, free cpu and memory",
            severity=wrong.severity,
        )


def _tainted(case: Case, node: Obj, wrong: Placement) -> Finding:
    title, gone, daemonset = name(node), list(wrong.operands), wrong.state.daemonset or {}
    written = ", ".join(f"{text(t, 'key')}{'=' + text(t, 'value') if t.get('value') else ''}:{text(t, 'effect')}"
                        for t in wrong.taints)  # fmt: skip
    what = f"{len(gone)} cannot run there: {_some(gone)}" if gone else "they run only until their next restart"
    here = operator_namespace(case.snapshot) or namespace(daemonset)
    lines = "\n".join(
        f"- {{key: {text(t, 'key')}, operator: Exists, effect: {text(t, 'effect')}}}" for t in wrong.taints
    )
    return case.finding(
        node,
        f"{title} has taint {written}, which the operands do not tolerate; {what}",
        "spec.taints",
        seen={"tolerations of " + name(daemonset): get(pod_template(daemonset), "spec", "tolerations") or "none",
              "operands that do not run": ", ".join(gone) or "none",
              "NFD worker tolerates it": _nfd_tolerates(case, node)},
        affects=[f"node/{title}"],
        remedy=f"kubectl get ds -n {here}   # DESIRED leaves {title} out\n"
        "add to daemonsets.tolerations (ClusterPolicy: spec.daemonsets.tolerations) and "
        f"node-feature-discovery.worker.tolerations of the chart, then helm upgrade:\n{lines}\n"
        f"or take the taint away: kubectl taint node {title} {' '.join(text(t, 'key') + '-' for t in wrong.taints)}",
        severity=wrong.severity,
    )  # fmt: skip


def _nfd_tolerates(case: Case, node: Obj) -> bool | str:
    workers = nfd.workers(case.snapshot)
    if not workers:
        return "unknown"
    return any(not untolerated(node, items(pod_template(each), "spec", "tolerations"), daemon=True) for each in workers)
