"""What a pod asks for, how it is doing, and whose it is."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.kube import kinds, pods
from plimsoll.kube.objects import Obj
from plimsoll.kube.snapshot import Coverage, Snapshot, Source


def pod(name: str = "p", **parts: Any) -> Obj:
    meta = {"name": name, "namespace": "a", **parts.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, **parts}


def of(*objects: Obj) -> Snapshot:
    return Snapshot(
        objects, source=Source("list", "test"), taken_at=None, coverage=dict.fromkeys(kinds.ALL, Coverage.WHOLE)
    )


def asks(**limits: Any) -> Obj:
    return {"resources": {"limits": {f"nvidia.com/{key}": value for key, value in limits.items()}}}


SIDECAR = {**asks(gpu="1"), "restartPolicy": "Always"}
SLICE = {"resources": {"limits": {"cpu": "4", "nvidia.com/mig-1g.10gb": "1"}}}


@pytest.mark.parametrize(("spec", "wanted"), [
    ({"containers": [asks(gpu="1"), asks(gpu="1")]}, {"nvidia.com/gpu": 2}),  # containers share no GPU
    ({"containers": [asks(gpu="1")], "initContainers": [asks(gpu="4"), asks(gpu="2")]}, {"nvidia.com/gpu": 4}),
    ({"containers": [asks(gpu="3")], "initContainers": [asks(gpu="2")]}, {"nvidia.com/gpu": 3}),
    ({"containers": [asks(gpu="1")], "initContainers": [SIDECAR]}, {"nvidia.com/gpu": 2}),
    ({"containers": [asks(gpu=2)]}, {"nvidia.com/gpu": 2}),
    ({"containers": [asks(gpu="0")]}, {}),
    ({"containers": [asks(gpu="many"), asks(gpu=None), asks(gpu=True), None, 5]}, {}),
    ({"containers": [asks(gpumem="4000", gpucores="30", gpu="1")]}, {"nvidia.com/gpu": 1}),  # amounts, not devices
    ({"containers": [SLICE]}, {"nvidia.com/mig-1g.10gb": 1}),
    ({"containers": "x"}, {}), (None, {}), ([], {}),
])  # fmt: skip
def test_the_gpus_a_pod_holds(spec: Any, wanted: dict[str, int]) -> None:
    assert pods.gpu_requests(pod(spec=spec)) == wanted


def status(name: str = "c", **parts: Any) -> Obj:
    return {"name": name, "ready": False, "restartCount": 0, **parts}


CRASHED = {"terminated": {"reason": "Error", "exitCode": 1, "message": "no such device"}}
STATES: dict[str, tuple[Obj, tuple[str, str, str, str] | None]] = {
    "ready": ({"conditions": [{"type": "Ready", "status": "True"}]}, None),
    "ended": ({"phase": "Succeeded"}, None),
    "unschedulable": ({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                                       "message": "0/9 nodes"}]}, ("unschedulable", "", "Unschedulable", "0/9 nodes")),
    "crash loop": ({"containerStatuses": [status(
        state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=CRASHED, restartCount=3)]},
        ("crash", "c", "CrashLoopBackOff", "no such device")),
    "out of memory": ({"containerStatuses": [status(
        state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"reason": "OOMKilled"}})]},
        ("crash", "c", "OOMKilled", "")),
    "no image": ({"containerStatuses": [status(state={"waiting": {"reason": "ErrImagePull", "message": "not found"}})]},
                 ("image", "c", "ErrImagePull", "not found")),
    "ended badly": ({"containerStatuses": [status(state=CRASHED)]}, ("crash", "c", "Error", "no such device")),
    "first init container crashes": ({
        "initContainerStatuses": [status("i", state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=CRASHED)],
        "containerStatuses": [status(state={"waiting": {"reason": "PodInitializing"}})]},
        ("crash", "i", "CrashLoopBackOff", "no such device")),
    "an init container waits for another pod": ({
        "initContainerStatuses": [status("i", state={"running": {}})],
        "containerStatuses": [status(state={"waiting": {"reason": "PodInitializing"}})]},
        ("init", "i", "ContainersNotInitialized", "")),
    "init done, container runs unready": ({
        "initContainerStatuses": [status("i", state={"terminated": {"exitCode": 0}})],
        "containerStatuses": [status(state={"running": {}})]}, ("unready", "c", "ContainersNotReady", "")),
    "a sidecar is up": ({
        "initContainerStatuses": [status("s", ready=True, state={"running": {}})],
        "containerStatuses": [status(state={"running": {}})]}, ("unready", "c", "ContainersNotReady", "")),
    "it failed and tries again": ({"containerStatuses": [status(
        state={"running": {}}, lastState=CRASHED, restartCount=1)]}, ("crash", "c", "Error", "no such device")),
    "being created": ({"containerStatuses": [status(state={"waiting": {"reason": "ContainerCreating"}})]},
                      ("waiting", "c", "ContainerCreating", "")),
    "nothing is known": ({}, ("unready", "", "", "")),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_what_keeps_a_pod_from_being_ready(name: str) -> None:
    state, wanted = STATES[name]
    found = pods.trouble(pod(status=state))
    assert (found and (found.state, found.container, found.reason, found.message)) == wanted
    assert found is None or found.path.startswith("status.")


@pytest.mark.parametrize(
    "part", [None, [], {}, "x", 1, True, [None], [1], [[]], [{"state": 1}], [{"state": {"waiting": []}}]]
)
def test_odd_shapes_raise_nothing(part: Any) -> None:
    statuses = dict.fromkeys(("conditions", "containerStatuses", "initContainerStatuses", "phase"), part)
    for odd in (pod(status=part), pod(status=statuses), {"kind": "Pod", "metadata": part, "spec": part}):
        assert pods.trouble(odd) is None or pods.trouble(odd)
        assert pods.gpu_requests(odd) == {}
        snapshot = of(odd)
        assert pods.controller(snapshot, odd)
        assert pods.gpu_pods(snapshot) == ()
        assert pods.pods_by_node(snapshot) == {}
        assert pods.events_of(snapshot, odd) == []


def test_pods_that_have_ended_hold_nothing() -> None:
    spec = {"nodeName": "n", "containers": [asks(gpu="2")]}
    snapshot = of(pod("runs", spec=spec), pod("ended", spec=spec, status={"phase": "Failed"}),
                  pod("waits", spec={"containers": [asks(gpu="4")]}))  # fmt: skip
    assert [each["metadata"]["name"] for each, _ in pods.gpu_pods(snapshot)] == ["runs", "waits"]
    assert pods.gpus_held(snapshot) == {"n": {"nvidia.com/gpu": 2}}
    assert [each["metadata"]["name"] for each in pods.pods_by_node(snapshot)["n"]] == ["runs"]


def owned(version: str, kind: str, name: str, *owners: tuple[str, str], labels: dict[str, str] | None = None) -> Obj:
    refs = [{"kind": kind, "name": name, "controller": True} for kind, name in owners]
    return {"apiVersion": version, "kind": kind,
            "metadata": {"name": name, "namespace": "a", "ownerReferences": refs, "labels": labels or {}}}  # fmt: skip


def test_the_topmost_controller() -> None:
    bare = owned("v1", "Pod", "p")
    of_set = owned("v1", "Pod", "p", ("DaemonSet", "ds"))
    of_deployment = owned("v1", "Pod", "p", ("ReplicaSet", "web-abc12"), labels={"pod-template-hash": "abc12"})
    of_cron = owned("v1", "Pod", "p", ("Job", "nightly-1"))
    replicas = owned("apps/v1", "ReplicaSet", "web-abc12", ("Deployment", "web"))
    job = owned("batch/v1", "Job", "nightly-1", ("CronJob", "nightly"))
    whole = of(replicas, job)
    assert pods.controller(whole, bare) == ("Pod", "a", "p")
    assert pods.controller(whole, of_set) == ("DaemonSet", "a", "ds")
    assert pods.controller(whole, of_deployment) == ("Deployment", "a", "web")
    assert pods.controller(whole, of_cron) == ("CronJob", "a", "nightly")
    assert pods.controller(of(), of_deployment) == ("Deployment", "a", "web")  # its name says it
    assert pods.controller(of(), of_cron) == ("Job", "a", "nightly-1")


def test_events_by_the_object_they_are_about() -> None:
    old = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "1", "namespace": "a"},
           "involvedObject": {"kind": "Pod", "namespace": "a", "name": "p"}}  # fmt: skip
    new = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "2", "namespace": "a"},
           "regarding": {"kind": "Pod", "namespace": "a", "name": "p"}}  # fmt: skip
    assert pods.events_of(of(old), pod()) == [old]
    assert pods.events_of(of({**new, "apiVersion": "v1"}), pod()) == [{**new, "apiVersion": "v1"}]
    assert pods.events_of(of(old), pod("other")) == []
