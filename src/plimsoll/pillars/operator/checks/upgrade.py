"""Checks on driver versions and their upgrade: GPU034 to GPU038."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import drain, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, get, items, labels, name, namespace, number, selects, text
from plimsoll.kube.operands import cluster_policy, enabled, operand_states
from plimsoll.kube.pods import gpu_pods
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.operator.checks.age import lasting
from plimsoll.pillars.operator.checks.driver import driver_broken
from plimsoll.pillars.operator.checks.revisions import UPGRADE, outdated, revision_of

_HOLDING = ("wait-for-jobs-required", "pod-deletion-required", "drain-required")
_RESTING = ("", "upgrade-done", "upgrade-failed", "upgrade-required")


def _state(node: Obj) -> str:
    return text(labels(node), UPGRADE)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@check("GPU034", Severity.WARNING, Layer.RISK, reads=(kinds.NODE, kinds.CLUSTER_POLICY),
       remedy="kubectl get nodes -L nvidia.com/gpu.deploy.driver",
       source="k8s-driver-manager (pre-installed), gpu-operator #525")  # fmt: skip
def drivers_from_one_source(case: Case) -> Iterator[Finding]:
    """The drivers of all GPU nodes come from one source.

    Where the driver manager finds a driver on the host it steps aside: the node keeps the
    driver of its image, whatever `driver.version` says. Some nodes then follow the operator
    and some their image, and an upgrade reaches only the first; images with a driver (AKS,
    GKE, EKS) are the usual reason.
    """
    policy = cluster_policy(case.snapshot)
    if policy is None or not enabled(case.snapshot, "driver"):
        return
    gates = {name(node): labels(node).get("nvidia.com/gpu.deploy.driver", "") for node in gpu_nodes(case.snapshot)}
    host = sorted(node for node, value in gates.items() if value == "pre-installed")
    own = sorted(node for node, value in gates.items() if value == "true")
    if not host:
        return
    wanted = text(policy, "spec", "driver", "version")
    mixed = (
        f"{many(len(own), 'other', 'follows', 'follow')} driver.version"
        if own
        else f"driver.version {wanted} has no effect"
    )
    yield case.finding(
        policy,
        f"{len(host)} GPU node{'' if len(host) == 1 else 's'} keep{'s' if len(host) == 1 else ''} the driver "
        f"of the host image; {mixed}",
        "spec.driver.enabled",
        "spec.driver.version",
        seen={"driver of the host": _some(host), "driver of the operator": _some(own) or "none"},
        remedy="kubectl get nodes -L nvidia.com/gpu.deploy.driver,nvidia.com/cuda.driver-version.full\n"
        "host drivers everywhere: driver.enabled=false; the operator's everywhere: node images without driver "
        "(AKS: --gpu-driver none), then delete the label nvidia.com/gpu.deploy.driver",
        severity=None if own else Severity.INFO,
    )


@check("GPU035", Severity.WARNING, Layer.DRIVER, reads=(kinds.NODE, kinds.POD, kinds.DAEMON_SET),
       remedy="kubectl get nodes -L nvidia.com/gpu-driver-upgrade-state",
       source="gpu-operator driver upgrade controller (updateStrategy OnDelete)")  # fmt: skip
def drivers_up_to_date(case: Case) -> Iterator[Finding]:
    """Every node runs the driver its DaemonSet asks for.

    A driver pod is replaced only when the upgrade controller, or somebody, deletes it. With
    `autoUpgrade` off, or its budget used up by nodes that failed, the change never arrives:
    the declared version is not the running one, and the next reboot upgrades by surprise.
    """
    policy = cluster_policy(case.snapshot) or {}
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    subjects: dict[tuple[str, str], Obj] = {}
    for each in outdated(case.snapshot):
        node = case.snapshot.get(kinds.NODE, each.node) or {}
        if _state(node) not in ("", "upgrade-done", "upgrade-required") or driver_broken(case, each.node):
            continue
        daemonset = each.daemonset or {}
        key = namespace(daemonset), name(daemonset)
        groups[key].append(each.node)
        subjects[key] = daemonset
    for key, nodes in sorted(groups.items()):
        daemonset = subjects[key]
        revision = revision_of(case.snapshot, daemonset)
        auto = get(policy, "spec", "driver", "upgradePolicy", "autoUpgrade")
        changed = text(revision, "metadata", "creationTimestamp") if revision else ""
        if auto is not False and not lasting(case, changed, timedelta(hours=1)):
            continue
        why = "autoUpgrade is off" if auto is False else "the upgrade does not reach them"
        yield case.finding(
            daemonset,
            f"{len(nodes)} node{' runs' if len(nodes) == 1 else 's run'} an older driver than {name(daemonset)} "
            f"asks for: {why}",
            "status.updatedNumberScheduled",
            "status.desiredNumberScheduled",
            seen={"nodes": _some(nodes), "autoUpgrade": auto, "changed": changed or "unknown"},
            affects=[f"node/{node}" for node in nodes],
            remedy="kubectl get nodes -L nvidia.com/gpu-driver-upgrade-state\n"
            "driver.upgradePolicy.autoUpgrade=true lets the operator replace them node by node\n"
            f"or by hand: {drain(nodes[0])}\n"
            f"kubectl -n {key[0]} delete pod --field-selector spec.nodeName={nodes[0]} -l app={key[1]}\n"
            f"when it is ready: kubectl uncordon {nodes[0]}",
        )


@check("GPU036", Severity.ERROR, Layer.DRIVER, reads=(kinds.NODE,),
       remedy="kubectl label node <node> nvidia.com/gpu-driver-upgrade-state=upgrade-required --overwrite",
       source="gpu-operator driver upgrade troubleshooting")  # fmt: skip
def no_driver_upgrade_failed(case: Case) -> Iterator[Finding]:
    """No driver upgrade has failed.

    A failed upgrade (drain, pod deletion or validation took too long) stays failed: the
    node keeps the old driver or none, may stay cordoned, counts against the number of
    parallel upgrades, and the rollout stops there. It goes on only when it is told to.
    """
    for node in gpu_nodes(case.snapshot):
        title = name(node)
        if _state(node) != "upgrade-failed" or driver_broken(case, title):
            continue
        cordoned = bool(get(node, "spec", "unschedulable"))
        yield case.finding(
            node,
            f"The driver upgrade of {title} failed" + (", and the node is still cordoned" if cordoned else ""),
            f"metadata.labels[{UPGRADE}]",
            "spec.unschedulable",
            affects=[f"node/{title}"],
            remedy=f"kubectl get pods -A -o wide --field-selector spec.nodeName={title}\n"
            "kubectl -n gpu-operator logs deploy/gpu-operator | grep -i upgrade   # what took too long?\n"
            f"when mended: kubectl label node {title} {UPGRADE}=upgrade-required --overwrite",
        )


@check(
    "GPU037",
    Severity.WARNING,
    Layer.DRIVER,
    reads=(kinds.NODE, kinds.POD, kinds.PDB),
    remedy="kubectl get pdb -A",
    source="gpu-operator driver upgrade (drain, podDeletion)",
)
def driver_upgrades_proceed(case: Case) -> Iterator[Finding]:
    """No driver upgrade waits for a pod that will not leave.

    The upgrade cordons a node and waits for its GPU pods to end or to be evicted. A
    disruption budget that allows none, or a pod with local data that may not be deleted,
    holds it for ever: the node takes no new work and does not get its driver either.
    """
    for node in gpu_nodes(case.snapshot):
        title, state = name(node), _state(node)
        if state not in _HOLDING or driver_broken(case, title):
            continue
        held = _holders(case, title, state)
        if not held:
            continue
        pod, why = held[0]
        yield case.finding(
            node,
            f"The driver upgrade of {title} ({state}) waits for {namespace(pod)}/{name(pod)}: {why}"
            + (f" and {len(held) - 1} more" if len(held) > 1 else ""),
            f"metadata.labels[{UPGRADE}]",
            "spec.unschedulable",
            seen={f"Pod/{namespace(pod)}/{name(pod)}": why for pod, why in held[:5]},
            affects=[f"node/{title}"],
            remedy=f"kubectl get pdb -n {namespace(pod)}\n"
            f"kubectl -n {namespace(pod)} delete pod {name(pod)}   # ends its work\n"
            "for next time: minAvailable below the number of replicas, "
            "driver.upgradePolicy.gpuPodDeletion.deleteEmptyDir=true",
        )


@fact
def _tight(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """PodDisruptionBudgets that allow no disruption now, by namespace."""
    found: dict[str, list[Obj]] = defaultdict(list)
    for pdb in snapshot.list(kinds.PDB):
        if "disruptionsAllowed" in (pdb.get("status") or {}) and not number(pdb, "status", "disruptionsAllowed"):
            found[namespace(pdb)].append(pdb)
    return found


@fact
def _gpu_pods_by_node(snapshot: Snapshot) -> dict[str, list[Obj]]:
    found: dict[str, list[Obj]] = defaultdict(list)
    for pod, _ in gpu_pods(snapshot):
        found[text(pod, "spec", "nodeName")].append(pod)
    return found


def _holders(case: Case, node: str, state: str) -> list[tuple[Obj, str]]:
    """The GPU pods on a node that keep its driver upgrade waiting, each with why."""
    policy = cluster_policy(case.snapshot) or {}
    field = "podDeletion" if state == "pod-deletion-required" else "drain"
    may_delete = get(policy, "spec", "driver", "upgradePolicy", field, "deleteEmptyDir")
    awaited = text(policy, "spec", "driver", "upgradePolicy", "waitForCompletion", "podSelector")
    found = []
    for pod in _gpu_pods_by_node(case.snapshot).get(node, []):
        budget = next((pdb for pdb in _tight(case.snapshot).get(namespace(pod), [])
                       if selects(get(pdb, "spec", "selector"), labels(pod))), None)  # fmt: skip
        local = any("emptyDir" in volume for volume in items(pod, "spec", "volumes"))
        if state == "wait-for-jobs-required":
            if awaited and all(
                labels(pod).get(key) == value for key, _, value in (part.partition("=") for part in awaited.split(","))
            ):
                found.append((pod, f"it is still running, and {awaited} is waited for"))
        elif budget is not None:
            found.append((pod, f"PodDisruptionBudget {name(budget)} allows no disruption"))
        elif local and may_delete is False:
            found.append((pod, f"it has local data and {field}.deleteEmptyDir is false"))
    return found


@check("GPU038", Severity.WARNING, Layer.RISK, reads=(kinds.NODE,),
       remedy="kubectl get nodes -L nvidia.com/cuda.driver-version.full",
       source="gpu-feature-discovery cuda.driver-version labels")  # fmt: skip
def one_driver_version(case: Case) -> Iterator[Finding]:
    """Nodes that are managed alike run the same driver version.

    Nodes under one driver DaemonSet, or with the same GPU and a driver from their image,
    should not differ. Where they do a rollout stopped half way, and a job that spans nodes,
    or needs a feature of the newer driver, works on some of them only.
    """
    groups: dict[tuple[str, str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for node in gpu_nodes(case.snapshot):
        have = labels(node)
        version = text(have, "nvidia.com/cuda.driver-version.full") or ".".join(
            text(have, f"nvidia.com/cuda.driver.{part}") for part in ("major", "minor", "rev")
        ).strip(".")
        state = operand_states(case.snapshot)[name(node)].get("driver")
        if version and state is not None and state.daemonset is not None and state.expected:
            groups["DaemonSet", namespace(state.daemonset), name(state.daemonset)][version].append(name(node))
        elif version and state is not None:
            groups["host", "", text(have, "nvidia.com/gpu.product")][version].append(name(node))
    upgrading = any(_state(node) not in _RESTING for node in gpu_nodes(case.snapshot))
    for (kind, here, title), versions in sorted(groups.items()):
        subject = case.snapshot.get(kinds.DAEMON_SET, title, here) or cluster_policy(case.snapshot)
        if len(versions) < 2 or subject is None:
            continue
        shown = sorted(versions.items(), key=lambda each: (len(each[1]), each[0]))
        alike = f"under {title}" if kind == "DaemonSet" else f"with {title} and a host driver"
        yield case.finding(
            subject,
            f"Nodes {alike} run {len(versions)} driver versions: "
            + ", ".join(f"{version} on {_some(nodes)}" for version, nodes in shown[:3]),
            *(["status.updatedNumberScheduled", "status.desiredNumberScheduled"] if kind == "DaemonSet" else []),
            seen={f"driver {version}": _some(nodes) for version, nodes in shown},
            remedy="kubectl get nodes -L nvidia.com/cuda.driver-version.full,nvidia.com/gpu-driver-upgrade-state\n"
            "finish the rollout; versions meant to differ belong into one NVIDIADriver per pool",
            severity=Severity.INFO if upgrading else None,
        )
