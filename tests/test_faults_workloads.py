"""Faults of queued jobs, model servers and the parts that scale them, put into the healthy recording.

Each gives one root cause per node, queue or service and nothing else new, as in tests/test_faults.py;
what is under way or deliberate gives none.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from plimsoll.check.run import review
from plimsoll.pillars import all_checks
from tests.faults import AGO, Cluster, healthy
from tests.recorded import whole
from tests.test_faults import Fault, Roots, _before, _failed

FAULTS: list[tuple[Fault, Roots]] = []
JUST_NOW = "2026-11-24T11:02:45Z"  # 15 seconds before the recording


def gives(*roots: str) -> Callable[[Fault], Fault]:
    """The root causes a fault must give, as `ID Kind/name`."""

    def note(fault: Fault) -> Fault:
        FAULTS.append((fault, {(root.partition(" ")[0], root.partition(" ")[2]) for root in roots}))
        return fault

    return note


@gives("V52 Deployment/serving/chat", "GPU058 Node/h100-0")
def an_image_that_cannot_be_pulled_beside_a_failing_gpu(c: Cluster) -> None:
    (pod,) = c.pods_like("chat-", "serving")
    c.image(pod, "vllm", 'Back-off pulling image "registry.example.com/vllm:1"')
    c.unavailable("chat", "serving")
    c.offer("h100-0", allocatable="7")


@gives("V52 Deployment/serving/chat", "GPU058 Node/h100-0")
def a_server_out_of_memory_beside_a_failing_gpu(c: Cluster) -> None:
    (pod,) = c.pods_like("chat-", "serving")
    c.crash(pod, "vllm", "torch.OutOfMemoryError: CUDA out of memory")
    c.unavailable("chat", "serving")
    c.offer("h100-0", allocatable="7")


@gives("GPU058 Node/h100-0")
def a_server_that_finds_no_device(c: Cluster) -> None:
    (pod,) = c.pods_like("chat-", "serving")
    c.crash(pod, "vllm", "RuntimeError: No CUDA GPUs are available")
    c.unavailable("chat", "serving")
    c.offer("h100-0", allocatable="7")


@gives("Q40 Workload/team-a/job-train-1-4f8a5", "GPU058 Node/h100-1")
def a_job_that_crashes_beside_a_failing_gpu(c: Cluster) -> None:
    (pod,) = c.pods_like("train-1", "team-a")
    pod["metadata"]["creationTimestamp"] = AGO
    c.crash(pod, pod["spec"]["containers"][0]["name"], "ModuleNotFoundError: No module named 'flash_attn'")
    workload = c.find("Workload", "job-train-1-4f8a5", "team-a")
    c.conditions(workload, PodsReady=("False", "WaitForStart", ""), Admitted=("True", "Admitted", ""))
    c.offer("h100-1", allocatable="7")


# further faults stand above this line


@pytest.mark.parametrize(("fault", "roots"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_the_fault_is_the_root_cause_and_nothing_else_is_new(fault: Fault, roots: Roots) -> None:
    cluster = healthy()
    fault(cluster)
    answer = review(whole(cluster.items), all_checks())
    assert not answer.broken
    new = {key: each for key, each in _failed(answer).items() if key not in _before()}
    found = {key for key, each in new.items() if each.root_cause}
    assert found == roots, {key: each.finding.title for key, each in new.items() if each.root_cause}
