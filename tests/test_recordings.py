"""The recorded clusters: the injected fault is the root cause, what follows is hidden, nothing else is new."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from plimsoll.check.model import Severity
from plimsoll.check.run import Judgement, Review, review
from plimsoll.kube.store import open_snapshot
from plimsoll.pillars import all_checks
from plimsoll.report.view import affected

LAB = Path(__file__).parents[1] / "examples" / "lab"
GPU_NODES = ("a100-mig-0", "h100-0", "h100-1", "h100-2", "h100-3", "l4-0", "l4-1")

# Recording: the root causes above info that the healthy one does not have, and what they break.
BROKEN = {
    "device-plugin-crash": ({("GPU054", "Node/h100-1")}, {"node/h100-1"}),
    "driver-init-crash": ({("GPU032", "Node/l4-0")}, {"node/l4-0"}),
    "mig-config-failed": ({("GPU075", "Node/a100-mig-0")}, {"node/a100-mig-0"}),
    "operands-taint": ({("GPU021", f"Node/{node}") for node in GPU_NODES}, {f"node/{node}" for node in GPU_NODES}),
    "queue-flavor-missing": ({("Q11", "ClusterQueue/team-b")}, {"queue/team-b"}),
    "queue-bypassed": ({("Q01", "Pod/default/debug")}, {"queue/team-a"}),
    "scaler-prometheus-dead": ({("V51", "ScaledObject/serving/chat")}, {"service/serving/chat"}),
}

# Every finding above info on the healthy recording, with the reason why it is true of it.
HEALTHY = {
    ("DEV-01", "ClusterPolicy/cluster-policy"): "toolkit.env does not set the variable, cdi.enabled is false",
    ("GPU118", "ClusterPolicy/cluster-policy"): "operand images are of v25.3.2; releases up to 25.10 get no fixes",
    ("IMG-01", "Namespace/serving"): "image registry.example.com/vllm:1 is a tag",
    ("IMG-01", "Namespace/team-a"): "image registry.example.com/train:1 is a tag",
    ("IMG-01", "Namespace/team-b"): "images registry.example.com/train:1 and nb:1 are tags",
    ("NET-01", "Namespace/serving"): "the cluster has no NetworkPolicy",
    ("NET-01", "Namespace/team-a"): "the cluster has no NetworkPolicy",
    ("NET-01", "Namespace/team-b"): "the cluster has no NetworkPolicy",
    ("NS-02", "Namespace/serving"): "it has neither a ResourceQuota nor a LocalQueue",
    ("NS-06", "Namespace/serving"): "it carries no pod-security label",
    ("NS-06", "Namespace/team-a"): "it carries no pod-security label",
    ("NS-06", "Namespace/team-b"): "it carries no pod-security label",
    ("NS-07", "ClusterRole/gpu-operator-node-feature-discovery-gc"): "its rules give get on nodes/proxy",
    ("NS-09", "ClusterRole/keda-operator"): "its rules give get, list and watch on secrets everywhere",
    ("OBS-09", "DaemonSet/gpu-operator/nvidia-dcgm-exporter"): "l4-0 and l4-1 are time-sliced, the variable is not set",
    ("V05", "ScaledObject/serving/chat"): "the trigger sets no ignoreNullValues and the object no fallback",
    ("V29", "Deployment/serving/chat"): "its container has no lifecycle.preStop",
    ("V57", "PodDisruptionBudget/serving/chat"): "minAvailable 1 of 1 replica",
    ("VER-02", "ClusterPolicy/cluster-policy"): "driver 570.148.08; bulletin 5821 of 2026-05 has no 570 release",
    ("VER-03", "ClusterPolicy/cluster-policy"): "toolkit image v1.17.8; fixed in 1.19.1",
    ("VER-07", "ClusterPolicy/cluster-policy"): "exporter image 4.2.3-4.1.3; fixed in 4.8.2",
}


@cache
def judged(name: str) -> Review:
    return review(open_snapshot(LAB / f"{name}.json.gz"), all_checks())


def serious(answer: Review) -> dict[tuple[str, str], Judgement]:
    found = (each for each in answer.failures if each.severity > Severity.INFO)
    return {(each.check.id, str(each.finding.object)): each for each in found}


def test_healthy_is_only_charged_with_what_is_true_of_it() -> None:
    answer = judged("healthy")
    assert set(serious(answer)) == set(HEALTHY)
    assert answer.worst is Severity.WARNING
    assert not affected(answer)


@pytest.mark.parametrize("name", ["healthy", *BROKEN])
def test_a_whole_export_leaves_nothing_unknown(name: str) -> None:
    answer = judged(name)
    assert not answer.broken
    assert [each.check.id for each in answer.judgements if each.verdict.value == "unknown"] == []


@pytest.mark.parametrize("name", BROKEN)
def test_the_injected_fault_is_the_root_cause(name: str) -> None:
    roots, subjects = BROKEN[name]
    answer = judged(name)
    new = {key: each for key, each in serious(answer).items() if key not in HEALTHY}
    assert {key for key, each in new.items() if each.root_cause} == roots
    assert all(each.hidden_behind for key, each in new.items() if key not in roots)
    broken = affected(answer)
    assert set(broken) == subjects
    assert all(len(causes) == 1 for causes in broken.values()), "one root cause per node, queue and service"


def test_the_recordings_in_shared_are_the_ones_judged_here() -> None:
    shared = LAB.parents[2] / "shared" / "samples" / "clusters"
    if not shared.is_dir():
        pytest.skip("needs ../shared/samples/clusters, which a clone does not have; CI has it")
    for path in sorted(shared.glob("*.json.gz")):
        assert (LAB / path.name).read_bytes() == path.read_bytes(), path.name
        assert path.name.removesuffix(".json.gz") in {"healthy", *BROKEN}
