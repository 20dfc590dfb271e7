"""Checks on creation: are the pods of the operands accepted, and can their images be had? GPU018, GPU019."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, containers, name, namespace, number, text
from plimsoll.pillars.operator.checks import nfd
from plimsoll.pillars.operator.checks.hints import machines
from plimsoll.pillars.operator.checks.placement import some
from plimsoll.pillars.operator.checks.placements import Placement, placements, refusal


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


@check("GPU018", Severity.ERROR, Layer.PLACEMENT, reads=(kinds.NODE,), whole=(kinds.DAEMON_SET, kinds.POD),
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
        if not (says := refusal(case.snapshot, worker)):
            continue
        bare = [name(node) for node in machines(case.snapshot) if name(node) not in nfd.worker_pods(case.snapshot)]
        if bare:
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
        f"{missing} {'pod' if missing == 1 else 'pods'} of {name(subject)} cannot be created: {brief(says, 200)}",
        "status.desiredNumberScheduled",
        "status.currentNumberScheduled",
        seen={"message": says, "nodes": some(nodes), "operands without pod": ", ".join(operands) or name(subject)},
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
       source="gpu-operator driver image tags (<driver>-<os><version>)")  # fmt: skip
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
            f"Image {image or 'of ' + first.operand} of {first.operand} cannot be pulled on {some(nodes)}",
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
