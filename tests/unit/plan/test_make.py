"""A plan made of parts: what charts bring, what nodes lack, what works."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, Ref
from plimsoll.plan import nodes, ready
from plimsoll.plan.charts import Charts
from plimsoll.plan.fields import Field
from plimsoll.plan.live import Cluster
from plimsoll.plan.make import plan
from plimsoll.plan.model import Chart, NodeRule, Part, Wanted, thing
from plimsoll.plan.result import Action, Item
from plimsoll.spec.load import from_mapping
from plimsoll.spec.model import Platform
from tests.unit.kube.writable import refusal
from tests.unit.plan.standing import KUEUE, Clock
from tests.unit.plan.standing import Cluster as Api

QUEUE = thing(KUEUE, "ClusterQueue", "q", spec={"cohort": "all"})
CRD = "clusterqueues.kueue.x-k8s.io"
BRINGS = Chart(name="kueue", namespace="k", chart="kueue", repository="", version="1", values={}, crds=(CRD,))
PATH = "/apis/kueue.x-k8s.io/v1beta2/clusterqueues/q"


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLIMSOLL_CHARTS", raising=False)


def declared() -> Platform:
    pool = {"name": "h100", "gpu": "H100-SXM5-80GB", "gpusPerNode": 8, "nodes": {"min": 1, "max": 1}}
    return from_mapping({"pools": [pool], "teams": [{"name": "a"}]})


def planned(client: Client, *objects: Obj, charts: tuple[Chart, ...] = ()) -> dict[str, Item]:
    wanted = Wanted(platform="acme", parts={"queueing": Part(objects=objects, charts=charts)})
    with Charts() as found:
        return {each.ref.kind: each for each in plan(declared(), wanted, Cluster(client), found).items}


def test_a_kind_that_a_chart_brings_is_awaited(api: Api, client: Client) -> None:
    del api.discovery[KUEUE]
    found = planned(client, QUEUE, charts=(BRINGS,))
    assert (found["ClusterQueue"].action, found["ClusterQueue"].why) == (Action.CREATE, "")
    assert found["Release"].action is Action.CREATE


def test_a_kind_that_nobody_brings_blocks(api: Api, client: Client) -> None:
    del api.discovery[KUEUE]
    found = planned(client, QUEUE)["ClusterQueue"]
    assert found.action is Action.BLOCKED
    assert "does not serve" in found.why
    assert "Kueue" in found.hint


def test_what_is_being_deleted_blocks_also_where_its_chart_is_wanted(api: Api, client: Client) -> None:
    api.put("customresourcedefinitions", CRD)
    going = {"name": "q", "deletionTimestamp": "2026-11-24T11:00:00Z", "finalizers": ["kueue.x-k8s.io/resource-in-use"]}
    api.keep("clusterqueues", {"metadata": going})
    found = planned(client, QUEUE, charts=(BRINGS,))["ClusterQueue"]
    assert (found.action, found.hint) == (Action.BLOCKED, "it waits for kueue.x-k8s.io/resource-in-use")


@pytest.mark.parametrize(
    ("there", "action"),
    [
        (refusal(500, "InternalError", 'failed calling webhook "x": no endpoints'), Action.CHANGE),
        (refusal(422, "Invalid", "spec.x: Invalid value: field is immutable"), Action.REPLACE),
        (refusal(422, "Invalid", "value: Forbidden: may not be changed in an update."), Action.REPLACE),
        (refusal(422, "Invalid", "roleRef: Invalid value: cannot change roleRef"), Action.REPLACE),
        (refusal(422, "Invalid", "spec.x: Invalid value: too long"), Action.BLOCKED),
        (refusal(403, "Forbidden", 'admission webhook "x" denied the request: field is immutable'), Action.BLOCKED),
    ],
    ids=lambda each: str(each)[:40],
)
def test_what_a_dry_run_is_answered(api: Api, client: Client, there: Any, action: Action) -> None:
    api.keep("clusterqueues", {"metadata": {"name": "q"}, "spec": {"cohort": "other"}})
    api.faults[f"PATCH {PATH}"] = [there] * 8
    assert planned(client, QUEUE)["ClusterQueue"].action is action


def test_credentials_do_not_show(api: Api, client: Client) -> None:
    secret = thing("v1", "ConfigMap", "c", "n", data={"HF_TOKEN": "hf_" + "a" * 30, "plain": "x"})
    api.put("namespaces", "n")
    api.keep("configmaps", thing("v1", "ConfigMap", "c", "n", data={"HF_TOKEN": "hf_" + "b" * 30, "plain": "y"}))
    found = planned(client, secret)["ConfigMap"]
    assert found.action is Action.CHANGE
    said = {each.path: (each.before, each.after) for each in found.fields}
    assert said["data.plain"] == ("y", "x")
    assert "hf_" not in str(said)
    assert "data.HF_TOKEN" in said


# Nodes

MIG = "nvidia.com/mig.config"


def rule(pool: str = "a", **labels: str | None) -> NodeRule:
    return NodeRule(pool=pool, selector={"pool": pool}, labels=labels or {MIG: "all-1g.10gb"}, disruptive=(MIG,))


def node(name: str, **labels: str) -> Obj:
    return {"metadata": {"name": name, "labels": {key.replace("__", "/"): value for key, value in labels.items()}}}


def test_nodes_of_a_pool_by_name_and_others_not_at_all() -> None:
    there = [node("b", pool="a"), node("a", pool="a") | {}, node("c", pool="z"), node("d")]
    found = nodes.items([rule()], there)
    assert [(each.ref.name, each.action, each.disruptive) for each in found] == [
        ("a", Action.CHANGE, True), ("b", Action.CHANGE, True),
    ]  # fmt: skip
    assert found[0].fields == (Field(f"metadata.labels[{MIG}]", None, "all-1g.10gb"),)
    assert found[0].obj == {"metadata": {"labels": {MIG: "all-1g.10gb"}}}


def test_a_label_that_must_not_be_there_is_taken_away() -> None:
    [only] = nodes.items([rule(x=None, y="1")], [node("n", pool="a", x="old", y="1")])
    assert only.fields == (Field("metadata.labels[x]", "old", None),)
    assert (only.obj, only.disruptive) == ({"metadata": {"labels": {"x": None}}}, False)
    assert nodes.items([rule(x=None)], [node("n", pool="a")])[0].action is Action.KEEP


def test_a_node_of_two_pools_is_of_the_first() -> None:
    both = NodeRule(pool="b", selector={}, labels={"b": "1"})
    assert [each.fields[0].path for each in nodes.items([rule(), both], [node("n", pool="a")])] == [
        f"metadata.labels[{MIG}]"
    ]


# What works


def condition(type_: str, status: str, **more: Any) -> Obj:
    return {"status": {"conditions": [{"type": type_, "status": status, **more}]}, "metadata": {"generation": 2}}


def daemons(spared: int | str, available: int) -> Obj:
    return {
        "spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": spared}}},
        "status": {"desiredNumberScheduled": 20, "updatedNumberScheduled": 20, "numberAvailable": available},
    }


@pytest.mark.parametrize(
    ("kind", "obj", "lacks"),
    [
        ("Deployment", None, "is not there"),
        ("Deployment", {}, "has 0 of 1 pods available"),
        ("Deployment", {"metadata": {"generation": 2}, "status": {"observedGeneration": 1}}, "is not looked at yet"),
        ("Deployment", {"spec": {"replicas": 2}, "status": {"updatedReplicas": 2, "availableReplicas": 1}},
         "has 1 of 2 pods available"),
        ("Deployment", {"spec": {"replicas": 0}}, ""),
        ("Deployment", {"spec": {"replicas": 1}, "status": {"updatedReplicas": 1, "availableReplicas": 1}}, ""),
        ("StatefulSet", {"spec": {"replicas": 1}, "status": {"updatedReplicas": 1}}, "has 0 of 1 pods available"),
        ("StatefulSet", {"spec": {"replicas": 1}, "status": {"updatedReplicas": 1, "availableReplicas": 1}}, ""),
        ("DaemonSet", {"metadata": {"generation": 2}, "status": {"observedGeneration": 1}}, "is not looked at yet"),
        ("DaemonSet", {"status": {"desiredNumberScheduled": 0}}, ""),
        ("DaemonSet", {"status": {"desiredNumberScheduled": 1, "updatedNumberScheduled": 1}},
         "has 0 of 1 pods available"),
        ("DaemonSet", {"status": {"desiredNumberScheduled": 3, "updatedNumberScheduled": 2, "numberAvailable": 3}},
         "has 2 of 3 pods available"),
        ("DaemonSet", daemons("10%", 17), "has 17 of 20 pods available"),
        ("DaemonSet", daemons("10%", 18), ""),
        ("DaemonSet", daemons(3, 17), ""),
        ("ClusterPolicy", {}, "is not looked at yet"),
        ("ClusterPolicy", {"status": {"state": "notReady"}}, "is notReady"),
        ("ClusterPolicy", {"status": {"state": "ready"}}, ""),
        ("ClusterQueue", {}, "is not Active"),
        ("ClusterQueue", condition("Active", "False", message="flavor missing"), "is not Active: flavor missing"),
        ("ClusterQueue", condition("Active", "True"), ""),
        ("ClusterQueue", condition("Active", "True", observedGeneration=1), "is not looked at yet"),
        ("ScaledObject", condition("Ready", "False", reason="Bad"), "is not Ready: Bad"),
        ("CustomResourceDefinition", condition("Established", "True"), ""),
    ],
)  # fmt: skip
def test_what_an_object_lacks(kind: str, obj: Obj | None, lacks: str) -> None:
    assert ready.lacks(obj, Ref("v1", kind, "", "x")) == lacks


def test_waiting_goes_on_through_a_server_that_restarts(api: Api, client: Client, clock: Clock) -> None:
    ref = Ref(KUEUE, "ClusterQueue", "", "q")
    api.faults[f"GET {PATH}"] = [refusal(503, "ServiceUnavailable", "starting")] * 8
    clock.then = [lambda: None, lambda: None, lambda: api.keep("clusterqueues", {
        "metadata": {"name": "q"}, "status": condition("Active", "True")["status"]})]  # fmt: skip
    said: list[str] = []
    ready.wait(client, [ref, Ref("v1", "ConfigMap", "n", "c")], timeout=60, tell=said.append)
    assert said[0] == "ClusterQueue/q starting"
    assert said[-1] == "ClusterQueue/q is not there"
