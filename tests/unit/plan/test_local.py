"""What applying would change by the rules of field ownership; tests/lab/test_plan.py holds them against a server."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.kube.objects import MANAGER, Obj
from plimsoll.plan import local
from plimsoll.plan.fields import Field


def managed(fields: Obj, manager: str = MANAGER, operation: str = "Apply", **more: Any) -> Obj:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def obj(labels: Any = None, owners: list[Obj] | None = None, **more: Any) -> Obj:
    meta: Obj = {"name": "x"}
    if labels is not None:
        meta["labels"] = labels
    if owners is not None:
        meta["managedFields"] = owners
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **more}


def labels(*keys: str) -> Obj:
    return {"f:metadata": {"f:labels": {".": {}, **{f"f:{key}": {} for key in keys}}}}


def changes(wanted: Obj, live: Obj) -> list[Field]:
    return list(local.changes(wanted, live))


def test_defaults_and_fields_of_others_do_not_show() -> None:
    live = obj({"a": "1", "theirs": "2"}, [managed(labels("a"))], spec={"type": "ClusterIP"}, status={"x": 1})
    live["metadata"] |= {"uid": "u", "resourceVersion": "5", "creationTimestamp": "2026-01-01T00:00:00Z"}
    assert changes(obj({"a": "1"}), live) == []


def test_a_field_that_we_owned_goes_and_its_neighbour_stays() -> None:
    live = obj({"a": "1", "b": "2", "theirs": "3"}, [managed(labels("a", "b")), managed(labels("theirs"), "kubectl")])
    assert changes(obj({"a": "1"}), live) == [Field("metadata.labels.b", "2", None)]
    assert changes(obj(), live) == [Field("metadata.labels.a", "1", None), Field("metadata.labels.b", "2", None)]


def test_a_map_of_which_all_is_ours_goes_as_one() -> None:
    live = obj({"a": "1", "b": "2"}, [managed(labels("a", "b"))])
    assert changes(obj(), live) == [Field("metadata.labels", {"a": "1", "b": "2"}, None)]


def test_what_another_manager_owns_too_stays() -> None:
    live = obj({"a": "1"}, [managed(labels("a")), managed(labels("a"), "argocd")])
    assert changes(obj(), live) == []


UPDATED, STATUS = managed(labels("a"), operation="Update"), managed(labels("a"), subresource="status")


@pytest.mark.parametrize("owners", [None, [], [UPDATED], [STATUS]])
def test_nothing_goes_where_nobody_kept_what_was_ours(owners: list[Obj] | None) -> None:
    assert changes(obj(), obj({"a": "1"}, owners)) == []


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"requests": {"cpu": 1}}, {"requests": {"cpu": "1000m"}}),
        ({"hard": {"requests.nvidia.com/gpu": 8}}, {"hard": {"requests.nvidia.com/gpu": "8"}}),
        ({"nominalQuota": 8}, {"nominalQuota": "8"}),
        ({"sizeLimit": "1Gi"}, {"sizeLimit": "1024Mi"}),
        ({"from": []}, {}),
        ({"x": ""}, {}),
        ({"x": {}}, {}),
        ({"x": 1}, {"x": 1.0}),
    ],
)
def test_what_means_the_same_is_the_same(wanted: Obj, live: Obj) -> None:
    assert changes(obj(spec=wanted), obj(spec=live)) == []


@pytest.mark.parametrize(
    ("wanted", "live", "path"),
    [
        ({"requests": {"cpu": 1}}, {"requests": {"cpu": "1001m"}}, "spec.requests.cpu"),
        ({"weight": "1"}, {"weight": 1}, "spec.weight"),
        ({"on": True}, {"on": 1}, "spec.on"),
        ({"nominalQuota": "many"}, {"nominalQuota": "8"}, "spec.nominalQuota"),
        ({"x": {"y": 1}}, {}, "spec.x"),
        ({"x": [1, 2]}, {"x": [2, 1]}, "spec.x"),
        ({"x": {"a": 1}}, {"x": "a"}, "spec.x"),
        ({"x": ["a"]}, {"x": {"a": 1}}, "spec.x"),
    ],
)
def test_what_differs_is_a_field(wanted: Obj, live: Obj, path: str) -> None:
    assert [each.path for each in changes(obj(spec=wanted), obj(spec=live))] == [path]


def test_an_empty_label_is_a_value() -> None:
    assert changes(obj({"a": ""}), obj({"b": "1"})) == [Field("metadata.labels.a", None, "")]


def pod(*containers: Obj, owned: tuple[str, ...] = ()) -> Obj:
    marks: Obj = {f'k:{{"name":"{name}"}}': {".": {}, "f:name": {}, "f:image": {}} for name in owned}
    return obj(None, [managed({"f:spec": {"f:containers": marks}})], spec={"containers": list(containers)})


def test_entries_of_others_stay_and_ours_go() -> None:
    mine, old, injected = (
        {"name": "vllm", "image": "a"},
        {"name": "old", "image": "b", "stdin": False},
        {"name": "envoy"},
    )
    live = pod(injected, mine | {"imagePullPolicy": "Always"}, old, owned=("vllm", "old"))
    assert changes(obj(spec={"containers": [mine]}), live) == [Field("spec.containers[old]", old, None)]
    assert changes(obj(spec={"containers": [mine, old]}), live) == []
    assert changes(obj(spec={"containers": [old, mine]}), live)[0].path == "spec.containers"


def test_an_entry_that_somebody_else_has_a_part_of_loses_only_ours() -> None:
    mark = 'k:{"name":"a"}'
    owners = [
        managed({"f:spec": {"f:containers": {mark: {".": {}, "f:name": {}, "f:image": {}}}}}),
        managed({"f:spec": {"f:containers": {mark: {".": {}, "f:name": {}, "f:stdin": {}}}}}, "another"),
    ]
    live = obj(None, owners, spec={"containers": [{"name": "a", "image": "i", "stdin": True}]})
    assert changes(obj(spec={"containers": []}), live) == [Field("spec.containers[a].image", "i", None)]


def test_ports_are_merged_by_number_and_protocol() -> None:
    wanted = obj(spec={"ports": [{"name": "http", "port": 80}]})
    assert changes(wanted, obj(spec={"ports": [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 3}]})) == []
    [only] = changes(wanted, obj(spec={"ports": [{"name": "web", "port": 80, "protocol": "TCP"}]}))
    assert (only.before, only.after) == ("web", "http")


def test_two_mounts_of_one_volume_are_told_apart() -> None:
    mounts = [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/b"}]
    live = obj(spec={"volumeMounts": [mounts[0], mounts[1] | {"readOnly": True}]})
    assert changes(obj(spec={"volumeMounts": mounts}), live) == []
    changed = [mounts[0], mounts[1] | {"subPath": "x"}]
    assert [each.path for each in changes(obj(spec={"volumeMounts": changed}), live)] == [
        "spec.volumeMounts[/b].subPath"
    ]


def test_a_list_that_is_one_value_is_all_ours_but_for_defaults() -> None:
    rules = [{"to": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}], "ports": [{"port": 80}]}]
    live = [{"to": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}], "ports": [{"port": 80, "protocol": "TCP"}]}]
    assert changes(obj(spec={"egress": rules}), obj(spec={"egress": live})) == []
    narrower = [{"ports": [{"port": 80}]}]
    assert [
        (each.path, each.after) for each in changes(obj(spec={"egress": narrower}), obj(spec={"egress": live}))
    ] == [("spec.egress[0].to", None)]
    any_pod = [{"to": [{"namespaceSelector": {"matchLabels": {"a": "b"}}, "podSelector": {}}], "ports": [{"port": 80}]}]
    assert changes(obj(spec={"egress": any_pod}), obj(spec={"egress": live})) == [
        Field("spec.egress[0].to[0].podSelector", None, {})
    ]


def test_a_selector_is_one_value() -> None:
    live = obj(spec={"podSelector": {"matchLabels": {"a": "b"}}})
    assert changes(obj(spec={"podSelector": {}}), live) == [Field("spec.podSelector.matchLabels", {"a": "b"}, None)]


def test_the_selectors_that_policies_are_given_do_not_show() -> None:
    owners = [managed({"f:spec": {"f:matchResources": {}}})]
    live = {"namespaceSelector": {"matchLabels": {"a": "b"}}, "objectSelector": {}, "matchPolicy": "Equivalent"}
    wanted = {"namespaceSelector": {"matchLabels": {"a": "b"}}}
    assert changes(obj(spec={"matchResources": wanted}), obj(None, owners, spec={"matchResources": live})) == []


@pytest.mark.parametrize(
    "live",
    [
        {"metadata": {"managedFields": "x"}},
        {"metadata": {"managedFields": [{"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": []}}]}},
        {"metadata": {"managedFields": [managed({"f:spec": {"f:containers": {"k:{": {}, "k:[]": {}, "k:{}": {}}}})]}},
        {"spec": {"containers": [{"name": {}}, 5, None]}},
        {"spec": {"containers": [{"name": 7}]}},
        {"spec": []},
        {"metadata": []},
        {},
    ],
)
def test_odd_objects_end_no_plan(live: Obj) -> None:
    wanted = obj({"a": "b"}, spec={"containers": [{"name": "a", "image": "i"}]})
    assert changes(wanted, {"apiVersion": "v1", "kind": "Pod", **live})


def test_what_a_relabeling_does_where_it_says_nothing_is_a_default() -> None:
    rules = [{"sourceLabels": ["a"], "targetLabel": "b"}]
    live = obj(spec={"endpoints": [{"port": "m", "relabelings": [{**rules[0], "action": "replace"}]}]})
    assert changes(obj(spec={"endpoints": [{"port": "m", "relabelings": rules}]}), live) == []
    live["spec"]["endpoints"][0]["relabelings"][0]["action"] = "drop"
    assert changes(obj(spec={"endpoints": [{"port": "m", "relabelings": rules}]}), live) != []
