"""What passes by itself, or shows in little of a cluster: operator and MIG scenarios put into the healthy recording.

The root causes above info that each gives are the whole list; none means that nothing may be called a fault.
The shapes are those of tests/faults.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plimsoll.check.model import Severity
from plimsoll.check.run import review
from plimsoll.kube import kinds
from plimsoll.kube.snapshot import Coverage, Snapshot, Source
from plimsoll.pillars import all_checks
from plimsoll.units import moment
from tests.faults import NOW, OPERANDS, Cluster, healthy, new_roots
from tests.test_faults import nouveau_is_loaded, toolkit_crashes

Fault = Callable[[Cluster], None]
FAULTS: list[tuple[Fault, set[str]]] = []
JUST_NOW = "2026-11-24T11:01:30Z"  # 90 seconds before the recording ends


def gives(*roots: str) -> Callable[[Fault], Fault]:
    """The root causes a scenario must give, as `ID Kind/name`."""

    def note(fault: Fault) -> Fault:
        FAULTS.append((fault, set(roots)))
        return fault

    return note


def begun(c: Cluster, *operands: str, node: str, since: str = JUST_NOW) -> None:
    """The pods of a node began at that time; its ClusterPolicy became not ready then."""
    for operand in operands:
        pod = c.pod(operand, node)
        pod["metadata"]["creationTimestamp"] = pod["status"]["startTime"] = since
    for entry in c.find("ClusterPolicy", "cluster-policy")["status"]["conditions"]:
        entry["lastTransitionTime"] = since


def driver_compiles(c: Cluster, node: str, since: str = JUST_NOW) -> None:
    """The driver container runs since then and is not ready; all that needs it waits."""
    pod = c.pod("driver", node)
    for status in pod["status"]["containerStatuses"]:
        status |= {"ready": False, "started": False, "state": {"running": {"startedAt": since}}}
    c.ready(pod, "False")
    for operand in ("toolkit", "validator"):
        c.hold(c.pod(operand, node), "driver-validation")
    for operand in ("plugin", "gfd", "exporter", "mig"):
        c.hold(c.pod(operand, node), "toolkit-validation")
    c.count(*OPERANDS)
    begun(c, *OPERANDS, node=node, since=since)


@gives()
def a_driver_upgrade_rolls(c: Cluster) -> None:
    node = c.node("h100-1")
    node["metadata"]["labels"]["nvidia.com/gpu-driver-upgrade-state"] = "pod-restart-required"
    node["spec"]["unschedulable"] = True
    node["spec"]["taints"].append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    driver_compiles(c, "h100-1")
    c.offer("h100-1", allocatable="0")


@gives()
def a_new_node_compiles_its_driver(c: Cluster) -> None:
    node = c.node("h100-1")
    node["metadata"]["creationTimestamp"] = JUST_NOW
    for entry in node["status"]["conditions"]:
        entry["lastTransitionTime"] = JUST_NOW
    driver_compiles(c, "h100-1")
    for side in ("capacity", "allocatable"):
        node["status"][side].pop("nvidia.com/gpu")


@gives()
def a_driver_still_compiles_after_twelve_minutes(c: Cluster) -> None:
    driver_compiles(c, "h100-1", since="2026-11-24T10:51:00Z")
    c.offer("h100-1", allocatable="0")


@gives()
def a_driver_pod_was_deleted_by_hand(c: Cluster) -> None:
    driver_compiles(c, "h100-1")
    c.offer("h100-1", allocatable="0")


@pytest.mark.parametrize(("fault", "roots"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_the_roots_are_these_and_no_others(fault: Fault, roots: set[str]) -> None:
    cluster = healthy()
    fault(cluster)
    found = new_roots(cluster)
    assert set(found) == roots, found


@pytest.mark.parametrize(
    ("fault", "root"), [(nouveau_is_loaded, "GPU031 Node/h100-3"), (toolkit_crashes, "GPU045 Node/h100-2")]
)
def test_nodes_and_pods_alone_tell_the_root(fault: Fault, root: str) -> None:
    """What `kubectl get nodes,pods -A` prints: no DaemonSet, no policy, no event."""
    cluster = healthy()
    fault(cluster)
    read = [obj for obj in cluster.items if obj["kind"] in ("Node", "Pod")]
    coverage = {kinds.NODE: Coverage.WHOLE, kinds.POD: Coverage.WHOLE}
    answer = review(
        Snapshot(read, source=Source("list", "test", "inferred"), taken_at=moment(NOW), coverage=coverage), all_checks()
    )
    assert {
        f"{each.check.id} {each.finding.object}"
        for each in answer.failures
        if each.root_cause and each.severity >= Severity.ERROR
    } == {root}
