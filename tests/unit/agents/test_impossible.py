"""Exporters that tell what cannot be, and pods that ask for it: the meter goes on."""

from __future__ import annotations

import pytest

from plimsoll.agents.meter import pods
from plimsoll.agents.meter.cluster import Cluster
from plimsoll.agents.meter.dcgm import Pages
from plimsoll.agents.meter.fold import Fold
from plimsoll.agents.meter.seats import Seats
from plimsoll.cost.sample import Hold, Usage
from plimsoll.kube import kinds

ROUND = 15_000
T = 1_790_000_000_000
_BUSY = '# HELP DCGM_FI_PROF_GR_ENGINE_ACTIVE x\nDCGM_FI_PROF_GR_ENGINE_ACTIVE{UUID="GPU-1"} 0.5\n'


def _used(name: str, values: list[str]) -> Usage:
    """The usage of a GPU that is busy half the time and tells these values of a metric, a round each."""
    fold, seats, pages, at = Fold(ROUND), Seats("n", 8, lambda _: 8), Pages(), T
    for value in values:
        readings = pages.read("n", f'{_BUSY}# HELP {name} x\n{name}{{UUID="GPU-1"}} {value}\n'.encode())
        seats.read(readings, at, lambda _: "")
        fold.take(seats, readings, at, lambda _: "")
        at += ROUND
    fold.settle(at)
    [found] = fold.usage()
    return found


@pytest.mark.parametrize("value", ["1e308", "1e300", "1e16", "-1e300", "-5", "NaN", "+Inf"])
@pytest.mark.parametrize("name", ["DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_BOARD_POWER_WATTS"])
def test_a_gauge_that_cannot_be_counts_as_not_read(name: str, value: str) -> None:
    found = _used(name, [value] * 3)
    assert (found.energy, found.memory) == (0, 0)
    assert (found.seen, found.busy) == (4 * ROUND, 2 * ROUND)


@pytest.mark.parametrize("values", [["0", "1e300", "1e305"], ["-1e300", "1e300", "1e300"], ["0", "1e18", "0"]])
def test_a_counter_of_energy_that_jumps_tells_nothing(values: list[str]) -> None:
    found = _used("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", values)
    assert found.energy == 0
    assert found.busy == found.seen // 2 > 0


@pytest.mark.parametrize("amount", ["1000000000", "1e9", "9E"])
@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb"])
def test_a_pod_that_asks_for_more_than_there_can_be_does_not_keep_the_meter_busy(resource: str, amount: str) -> None:
    """Who names a node himself is asked by no scheduler; the kubelet refuses him, and he has ended."""
    cluster = Cluster(None, lambda *_: "", Fold(ROUND), started=T, patience_ms=90_000)
    began = "2026-09-21T14:00:00Z"
    cluster.take(kinds.NODE, "ADDED", {
        "metadata": {"name": "n", "uid": "n", "resourceVersion": "1", "creationTimestamp": began,
                     "labels": {"node.kubernetes.io/instance-type": "p5.48xlarge"}},
    }, T)  # fmt: skip
    cluster.take(kinds.POD, "ADDED", {
        "metadata": {"name": "p", "namespace": "s", "uid": "p", "resourceVersion": "2", "creationTimestamp": began},
        "spec": {"nodeName": "n", "containers": [{"name": "main", "resources": {"limits": {resource: amount}}}]},
        "status": {"startTime": began, "phase": "Failed", "reason": "UnexpectedAdmissionError"},
    }, T)  # fmt: skip
    held = [each for each in cluster.drain() if isinstance(each, Hold)]
    assert 8 <= len(held) <= 8 * 7
    assert sum(each.weight for each in held) <= 4096


_NASTY = "\x00\x1b]0;a\x07\x9b31m" + "x" * 100_000


def test_names_that_nobody_checks_go_into_a_ledger_printable_and_short() -> None:
    """PostgreSQL takes no NUL: one pod would keep the meter from writing anything."""
    owner = {"kind": "Job", "name": _NASTY, "uid": _NASTY, "controller": True}
    image, args = "vllm/vllm-openai:v0.11.0", ["--served-model-name", _NASTY]
    pod = {"metadata": {"name": "p", "namespace": "s", "uid": "p", "ownerReferences": [owner]},
           "spec": {"nodeName": "n", "containers": [{"name": "main", "image": image, "args": args}]}}  # fmt: skip
    found = pods.record(pod, "n", None, lambda *_: "")
    for each in (found.job, found.job_uid, found.workload, found.model):
        assert each.isprintable()
        assert "31mxxx" in each
        assert len(each) < 400
    labels = 'UUID="GPU-\x001",GPU_I_ID="\x00",GPU_I_PROFILE="\x1b"'
    page = f"# HELP DCGM_FI_DEV_FB_USED x\nDCGM_FI_DEV_FB_USED{{{labels}}} 1\n"
    [reading] = Pages().read("n", page.encode())
    assert (reading.gpu, reading.instance, reading.profile) == ("GPU- 1", " ", " ")
