"""One answer for all pods of a template: the same as asking every pod."""

from __future__ import annotations

from typing import Any

import msgspec

from plimsoll.kube import kinds
from plimsoll.kube.objects import labels, name
from plimsoll.kube.pods import by_template, ended_pods, gpu_pods, gpu_pods_by_node, labelled_pods, troubled_pods
from plimsoll.kube.snapshot import Coverage, Snapshot, Source

GPU = [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "2"}}}]
PLAIN = [{"name": "c"}]
READY = [{"type": "Ready", "status": "True"}]


def pod(title: str, containers: Any, tags: Any, phase: str = "Running", ready: bool = True) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": title, "namespace": "a", "labels": tags},
        "spec": {"containers": containers, "nodeName": "n1"},
        "status": {"phase": phase, "conditions": READY if ready else []},
    }


def snapshot(pods: list[dict[str, Any]]) -> Snapshot:
    source = Source("snapshot", "here")
    return Snapshot(pods, source=source, taken_at=None, coverage={kinds.POD: Coverage.WHOLE})


ONE, OTHER = {"app": "one"}, {"app": "other"}
SHARED = [
    pod("p1", GPU, ONE),
    pod("p2", PLAIN, OTHER),
    pod("p3", GPU, ONE, ready=False),
    pod("p4", GPU, ONE, phase="Failed"),
    pod("p5", GPU, OTHER),
]


def test_it_is_asked_once_a_template_and_answers_in_reading_order() -> None:
    asked = []

    def judge(each: dict[str, Any]) -> str:
        asked.append(name(each))
        return str(labels(each)["app"])

    found = by_template(snapshot(SHARED), judge)
    assert [(name(each), said) for each, said in found] == [
        ("p1", "one"),
        ("p2", "other"),
        ("p3", "one"),
        ("p5", "other"),
    ]
    assert asked == ["p1", "p2", "p5"]


def test_pods_that_have_ended_only_on_request() -> None:
    found = by_template(snapshot(SHARED), lambda each: labels(each)["app"] == "one", ended=True)
    assert [name(each) for each, _ in found] == ["p1", "p3", "p4"]


def test_parts_that_are_one_object_and_parts_that_are_equal_give_the_same() -> None:
    apart = [msgspec.json.decode(msgspec.json.encode(each)) for each in SHARED]
    for snap in (snapshot(SHARED), snapshot(apart)):
        assert [(name(each), wants) for each, wants in gpu_pods(snap)] == [
            (title, {"nvidia.com/gpu": 2}) for title in ("p1", "p3", "p5")
        ]
        assert [name(each) for each in gpu_pods_by_node(snap)["n1"]] == ["p1", "p3", "p5"]
        assert [name(each) for each in labelled_pods(snap, "app", "one")] == ["p1", "p3", "p4"]
        assert [name(each) for each in ended_pods(snap)] == ["p4"]
        assert [(name(each), why.state) for each, why in troubled_pods(snap)] == [("p3", "unready")]


def test_pods_of_odd_shape_do_no_harm() -> None:
    odd: Any = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "labels": ["app"]},
        "spec": [],
        "status": 3,
    }
    snap = snapshot([odd, *SHARED])
    assert len(gpu_pods(snap)) == 3
    assert [name(each) for each, _ in troubled_pods(snap)] == ["x", "p3"]
