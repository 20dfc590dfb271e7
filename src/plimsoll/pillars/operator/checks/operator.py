"""Checks on the operator itself and its drivers' declarations: GPU014 to GPU017."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes, is_ready, selected
from plimsoll.kube.objects import Obj, annotations_of, condition, get, items, mapping, name, namespace, number, text
from plimsoll.kube.operands import cluster_policy, enabled, operand_states, operator_deployment
from plimsoll.kube.pods import Trouble, labelled_pods, trouble
from plimsoll.kube.snapshot import Coverage
from plimsoll.pillars.operator.checks.age import lasting
from plimsoll.pillars.operator.checks.nfd import down
from plimsoll.pillars.operator.checks.policy import forsaken
from plimsoll.pillars.operator.checks.versions import operator_version, upgrade

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SINCE = {  # ClusterPolicy fields and the operator release whose CRD first has them
    ("hostPaths",): (24, 6),
    ("driver", "kernelModuleType"): (25, 3),
    ("driver", "secretEnv"): (25, 10),
    ("cdi", "nriPluginEnabled"): (26, 3),
    ("hostPaths", "kubeletRootDir"): (26, 7),
}


def _schema(crd: Obj) -> Obj:
    """The schema of `spec` of the stored version of a CRD; empty where it has none or keeps unknown fields."""
    for version in items(crd, "spec", "versions"):
        if version.get("storage"):
            spec = mapping(version, "schema", "openAPIV3Schema", "properties", "spec")
            return {} if spec.get("x-kubernetes-preserve-unknown-fields") else spec
    return {}


def _pruned(wanted: Obj, have: Obj, schema: Obj, path: str = "spec") -> list[str]:
    """Paths of what was applied, is not there, and has no place in the schema."""
    found = []
    known = mapping(schema, "properties")
    for key, value in sorted(wanted.items()):
        if not known or schema.get("x-kubernetes-preserve-unknown-fields"):
            continue
        if key not in known and key not in have:
            found.append(f"{path}.{key}")
        elif isinstance(value, dict):
            found += _pruned(value, mapping(have, key), mapping(known, key), f"{path}.{key}")
    return found


@check("GPU014", Severity.ERROR, Layer.CLUSTER, reads=(kinds.CLUSTER_POLICY, kinds.CRD),
       remedy="kubectl apply --server-side --force-conflicts -f deployments/gpu-operator/crds/   # of its tag",
       source="gpu-operator chart operator.upgradeCRD, deployments/gpu-operator/crds")  # fmt: skip
def crd_matches_operator(case: Case) -> Iterator[Finding]:
    """The ClusterPolicy CRD is of the same release as the operator.

    Helm does not upgrade CRDs of its `crds` folder, and GitOps tools may leave them alone. An old CRD
    silently drops the fields it does not know: the new operator then runs with defaults
    in their place, and what was declared is neither there nor refused.
    """
    policy = cluster_policy(case.snapshot)
    if policy is None:
        return
    applied = _decoded(annotations_of(policy).get(_APPLIED))
    crd = case.snapshot.get(kinds.CRD, "clusterpolicies.nvidia.com")
    version = operator_version(case.snapshot)
    schema = _schema(crd) if crd else {}
    known = mapping(schema, "properties")
    gone = _pruned(mapping(applied, "spec"), mapping(policy, "spec"), schema)
    lacking = [
        ".".join(("spec", *path))
        for path, since in _SINCE.items()
        if known and version[:2] >= since and get(known, *_into(path)) is None
    ]
    if not gone and not lacking:
        return
    shown = ", ".join((gone or lacking)[:5])
    release = "v" + ".".join(map(str, version)) if version else "<its tag>"
    what = f"dropped what was declared: {shown}" if gone else f"does not know {shown} of operator {release}"
    yield case.finding(
        crd or policy,
        f"The ClusterPolicy CRD {what}",
        "metadata.creationTimestamp",
        seen={"operator": release, "fields dropped": ", ".join(gone[:10]) or "none seen",
              "fields the CRD lacks": ", ".join(lacking) or "none seen"},
        affects=[f"node/{node}" for node in forsaken(case.snapshot)],
        remedy="apply the CRDs of the operator's own release, server-side because they are large:\n"
        "kubectl apply --server-side --force-conflicts -f deployments/gpu-operator/crds/   # checked out at "
        f"{release}\nor let Helm do it: {upgrade(case.snapshot, 'operator.upgradeCRD=true')}\n"
        "then apply the ClusterPolicy again",
        severity=None if gone else Severity.WARNING,
    )  # fmt: skip


def _into(path: tuple[str, ...]) -> list[str]:
    """A field path as steps into `properties` of a schema."""
    steps: list[str] = []
    for field in path:
        steps += ["properties", field] if steps else [field]
    return steps


def _decoded(applied: object) -> Obj:
    """The object in a last-applied annotation; empty where there is none."""
    try:
        found = msgspec.json.decode(applied) if isinstance(applied, str) else {}
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _operator_pods(case: Case, operator: Obj) -> list[Obj]:
    found = labelled_pods(case.snapshot, "app", "gpu-operator")
    return [pod for pod in found if namespace(pod) == namespace(operator)]


def _operator_trouble(case: Case, operator: Obj) -> tuple[Obj, Trouble] | None:
    """The worst pod of the operator and its trouble; None if one works or none was read."""
    pods = _operator_pods(case, operator)
    troubles = [(pod, trouble(pod)) for pod in sorted(pods, key=name)]
    found = [(pod, why) for pod, why in troubles if why is not None]
    return found[0] if found and len(found) == len(pods) else None


@check("GPU015", Severity.ERROR, Layer.CLUSTER, reads=(kinds.DEPLOYMENT, kinds.POD),
       remedy="kubectl -n gpu-operator describe deploy gpu-operator",
       source="gpu-operator troubleshooting (operator out of memory)")  # fmt: skip
def operator_runs(case: Case) -> Iterator[Finding]:
    """The GPU Operator itself runs.

    Its operands go on without it, so that nothing seems wrong. But no new node is adopted,
    no driver upgraded, no operand repaired, and the ClusterPolicy keeps saying what was
    true when the operator died. On large clusters its memory limit is the usual reason.
    """
    operator, policy = operator_deployment(case.snapshot), cluster_policy(case.snapshot)
    waiting = [f"node/{node}" for node in forsaken(case.snapshot)]
    if operator is None:
        if policy is not None and case.snapshot.coverage(kinds.DEPLOYMENT) is Coverage.WHOLE:
            yield case.finding(
                policy, f"ClusterPolicy {name(policy)} exists, but no gpu-operator Deployment does", "status.state",
                affects=waiting, remedy="helm list -A | grep gpu-operator\n"
                f"its release is there: {upgrade(case.snapshot)}\n"
                f"it is not: {upgrade(case.snapshot).replace('upgrade', 'upgrade --install', 1)}",
            )  # fmt: skip
        return
    broken = _operator_trouble(case, operator)
    here, title = namespace(operator), name(operator)
    if broken is None and not down(operator):
        yield from _out_of_memory(case, operator)
        return
    pod, why = broken or (operator, None)
    starting = why is not None and why.state in ("waiting", "init", "unready")
    if starting and not lasting(case, text(pod, "metadata", "creationTimestamp")):
        return
    failure = text(condition(operator, "ReplicaFailure"), "message")
    if get(operator, "spec", "replicas") == 0:
        says = "is scaled to 0"
    elif why is not None:
        tells = why.message and not why.message.startswith("back-off")
        says = f"does not run: {why.reason or why.state}" + (f", {brief(why.message, 120)}" if tells else "")
    else:
        says = f"has no pod: {brief(failure, 160)}" if failure else "has no available pod"
    memory = get(operator, "spec", "template", "spec", "containers", 0, "resources", "limits", "memory")
    yield case.finding(
        operator,
        f"The GPU Operator {here}/{title} {says}",
        "status.availableReplicas",
        "spec.replicas",
        seen={"pod": name(pod), "reason": why.reason, "restarts": why.restarts, "memory limit": memory}
        if why
        else None,
        affects=[*waiting, *(f"pod/{here}/{name(each)}" for each in _operator_pods(case, operator))],
        remedy=_revive(here, title, says),
    )


def _revive(here: str, title: str, says: str) -> str:
    if "OOMKilled" in says:
        return (
            f"kubectl -n {here} set resources deploy {title} --limits=memory=1Gi\n"
            "then in the chart's values: operator.resources.limits.memory=1Gi"
        )
    if "scaled to 0" in says:
        return f"kubectl -n {here} scale deploy {title} --replicas=1"
    return (
        f"kubectl -n {here} describe pods -l app=gpu-operator | tail -20\n"
        f"kubectl -n {here} logs deploy/{title} --previous --tail=50"
    )


def _out_of_memory(case: Case, operator: Obj) -> Iterator[Finding]:
    """An operator that runs just now, but was killed for its memory before."""
    for pod in _operator_pods(case, operator):
        for index, status in enumerate(items(pod, "status", "containerStatuses")):
            if text(status, "lastState", "terminated", "reason") == "OOMKilled":
                yield case.finding(
                    operator,
                    "The GPU Operator was killed for its memory and restarted "
                    f"{many(number(status, 'restartCount'), 'time')}",
                    "spec.template.spec.containers[0].resources.limits.memory",
                    seen={f"{name(pod)} status.containerStatuses[{index}].lastState.terminated.reason": "OOMKilled"},
                    remedy=_revive(namespace(operator), name(operator), "OOMKilled"),
                    severity=Severity.WARNING,
                )


@check("GPU016", Severity.WARNING, Layer.CLUSTER, reads=(kinds.NVIDIA_DRIVER,),
       remedy="kubectl get nvidiadrivers -o yaml",
       source="gpu-operator NVIDIADriver controller (ConflictingNodeSelector)")  # fmt: skip
def driver_declarations_valid(case: Case) -> Iterator[Finding]:
    """Every NVIDIADriver can be reconciled.

    Two NVIDIADrivers that select one node contradict each other, and the operator acts on
    neither: their nodes get no driver, or keep the one they have for ever. It is an error
    where a node of theirs has no driver now.
    """
    for driver in case.snapshot.list(kinds.NVIDIA_DRIVER):
        error = condition(driver, "Error")
        reason = text(error, "reason")
        if error.get("status") != "True" or reason not in ("ConflictingNodeSelector", "ReconcileFailed"):
            continue
        nodes = [name(node) for node in gpu_nodes(case.snapshot) if drives(driver, node)]
        bare = [node for node in nodes if _driverless(case, node)]
        yield case.finding(
            driver,
            f"NVIDIADriver {name(driver)} is not reconciled: {brief(text(error, 'message'), 160) or reason}",
            "status.conditions[Error].reason",
            "status.conditions[Error].message",
            "spec.nodeSelector",
            seen={"nodes it selects": len(nodes), "of these without driver": ", ".join(bare[:10]) or "none"},
            affects=[f"node/{node}" for node in bare],
            remedy="kubectl get nvidiadrivers -o custom-columns=NAME:.metadata.name,SELECTOR:.spec.nodeSelector\n"
            "make the selectors disjoint; one NVIDIADriver with an empty selector serves every node",
            severity=Severity.ERROR if bare else None,
        )


def drives(driver: Obj, node: Obj) -> bool:
    """Whether an NVIDIADriver selects a node."""
    affinity = {"requiredDuringSchedulingIgnoredDuringExecution": get(driver, "spec", "nodeAffinity",
                "requiredDuringSchedulingIgnoredDuringExecution")}  # fmt: skip
    spec = {"nodeSelector": mapping(driver, "spec", "nodeSelector"), "affinity": {"nodeAffinity": affinity}}
    return selected(node, {"spec": spec})


def _driverless(case: Case, node: str) -> bool:
    state = operand_states(case.snapshot).get(node, {}).get("driver")
    return state is not None and state.state == "absent"


@check("GPU017", Severity.ERROR, Layer.PLACEMENT, reads=(kinds.CLUSTER_POLICY, kinds.NODE),
       whole=(kinds.DAEMON_SET, kinds.POD),
       remedy="kubectl get nvidiadrivers",
       source="gpu-operator driver.nvidiaDriverCRD (useNvidiaDriverCRD)")  # fmt: skip
def drivers_declared(case: Case) -> Iterator[Finding]:
    """Where drivers are declared as NVIDIADrivers, one of them selects every GPU node.

    With useNvidiaDriverCRD the ClusterPolicy installs no driver at all. Without an
    NVIDIADriver that selects a node nothing is deployed there, nothing fails, and every
    later operand waits for a driver that nobody will bring.
    """
    policy = cluster_policy(case.snapshot)
    if policy is None or get(policy, "spec", "driver", "useNvidiaDriverCRD") is not True:
        return
    if enabled(case.snapshot, "driver") is False:
        return
    drivers = case.snapshot.list(kinds.NVIDIA_DRIVER)
    bare = [node for node in gpu_nodes(case.snapshot)
            if _driverless(case, name(node)) and is_ready(node) is not False
            and not any(drives(driver, node) for driver in drivers)]  # fmt: skip
    listed = case.snapshot.coverage(kinds.NVIDIA_DRIVER) is Coverage.WHOLE
    if bare and not drivers:
        none = "there is none" if listed else "no DaemonSet of a driver exists"
        yield case.finding(
            policy,
            f"ClusterPolicy {name(policy)} leaves drivers to NVIDIADrivers, and {none}: "
            f"{len(bare)} GPU node{'' if len(bare) == 1 else 's'} without driver",
            "spec.driver.useNvidiaDriverCRD",
            seen={"nodes without driver": ", ".join(name(node) for node in bare[:10])},
            affects=[f"node/{name(node)}" for node in bare],
            remedy=f"{upgrade(case.snapshot, 'driver.nvidiaDriverCRD.deployDefaultCR=true')}\n"
            "or apply an NVIDIADriver of your own,\n"
            "or driver.nvidiaDriverCRD.enabled=false: the ClusterPolicy then brings the driver",
        )
        return
    for node in bare:
        if not listed:
            yield case.unknown(node, f"{name(node)} has no driver; not every NVIDIADriver was read")
            continue
        yield case.finding(
            node,
            f"No NVIDIADriver selects {name(node)}",
            "metadata.labels[nvidia.com/gpu.deploy.driver]",
            seen={"selectors": "; ".join(f"{name(d)}: {mapping(d, 'spec', 'nodeSelector')}" for d in drivers)},
            affects=[f"node/{name(node)}"],
            remedy="kubectl get nvidiadrivers -o custom-columns=NAME:.metadata.name,SELECTOR:.spec.nodeSelector\n"
            f"give {name(node)} the labels of one, or add an NVIDIADriver for it",
        )
