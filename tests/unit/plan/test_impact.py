"""Who feels a plan, and devices, promises and money before and after."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, Ref
from plimsoll.kube.snapshot import Coverage, Snapshot, Source
from plimsoll.plan.fields import Field
from plimsoll.plan.impact import impact
from plimsoll.plan.model import Chart
from plimsoll.plan.result import Action, Impact, Item, Row, Struck
from plimsoll.spec.load import from_mapping
from plimsoll.spec.model import Platform

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MIG = "metadata.labels[nvidia.com/mig.config]"
A100 = {"name": "a100", "gpu": "A100-SXM4-80GB", "gpusPerNode": 8, "nodes": {"min": 2, "max": 4},
        "nodeSelector": {"pool": "a100"}}  # fmt: skip


def platform(*pools: Obj, **more: Any) -> Platform:
    return from_mapping({"pools": list(pools) or [A100], "teams": [{"name": "a"}, {"name": "b"}], **more})


def node(name: str, pool: str = "a100", **more: Any) -> Obj:
    marks = {"pool": pool, "nvidia.com/gpu.present": "true", **more.pop("labels", {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": marks},
            "status": {"allocatable": more or {"nvidia.com/gpu": "8"}}}  # fmt: skip


def pod(name: str, space: str = "a", on: str = "n0", started: str = "2026-11-24T10:00:00Z", phase: str = "Running",
        labels: Any = None, **devices: Any) -> Obj:  # fmt: skip
    limits = {key.replace("__", "/").replace("_", "."): value for key, value in devices.items()} or {
        "nvidia.com/gpu": "2"
    }
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": space, "labels": labels or {}},
        "spec": {"nodeName": on, "containers": [{"name": "c", "resources": {"limits": limits}}]},
        "status": {"phase": phase, "startTime": started},
    }  # fmt: skip


def seen(*objects: Obj, unread: tuple[Kind, ...] = (), taken: datetime | None = NOW) -> Snapshot:
    coverage = dict.fromkeys(kinds.ALL, Coverage.WHOLE) | dict.fromkeys(unread, Coverage.UNREAD)
    return Snapshot(objects, source=Source("list", "test"), taken_at=taken, coverage=coverage)


def item(kind: str, name: str = "n0", *paths: str, action: Action = Action.CHANGE, **more: Any) -> Item:
    fields = tuple(Field(path, "old", "new") for path in paths)
    return Item(ref=Ref("v1", kind, more.pop("space", ""), name), action=action, fields=fields, **more)


CUT = item("Node", "n0", MIG, disruptive=True)


def found(*items: Item, of: Platform | None = None, there: Snapshot) -> Impact:
    return impact(of or platform(), items, there)


def struck(*items: Item, there: Snapshot, of: Platform | None = None) -> list[tuple[str, str, str]]:
    return [(each.pod.name, each.how, each.why) for each in found(*items, of=of, there=there).struck]


def one(*items: Item, there: Snapshot, of: Platform | None = None) -> Struck:
    [only] = found(*items, of=of, there=there).struck
    return only


def test_pods_of_a_node_that_is_cut_anew() -> None:
    there = seen(node("n0"), node("n1"), pod("train"), pod("other", on="n1"), pod("over", phase="Succeeded"),
                 pod("cpu", cpu="4"), pod("waiting", on=""))  # fmt: skip
    only = one(CUT, there=there)
    assert (only.pod.name, only.team, only.node, only.how) == ("train", "a", "n0", "evicted")
    assert only.why == "the GPUs of node n0 are cut anew"
    assert (only.devices, only.running, only.gpu_hours) == ({"nvidia.com/gpu": 2}, 7200.0, 4.0)


@pytest.mark.parametrize(
    "calm",
    [
        item("Node", "n0", "metadata.labels.x"),
        item("Node", "n0", MIG, disruptive=True, action=Action.KEEP),
        item("ConfigMap", "n0", "data.x"),
        item("NodePool", "gpu", "spec.limits"),
    ],
)
def test_what_disturbs_nobody(calm: Item) -> None:
    assert struck(calm, there=seen(node("n0", labels={"karpenter.sh/nodepool": "gpu"}), pod("train"))) == []


def release(*paths: str, action: Action = Action.CHANGE) -> Item:
    chart = Chart(name="gpu-operator", namespace="g", chart="gpu-operator", repository="", version="1", values={})
    return item("Release", "gpu-operator", *paths, action=action, chart=chart)


@pytest.mark.parametrize("path", ["values.driver.version", "values.driver", "values.driver.env[X].value"])
def test_another_driver_meets_all_gpus(path: str) -> None:
    there = seen(node("n0"), node("n1"), pod("x"), pod("y", on="n1"))
    assert struck(release(path), there=there) == [
        ("x", "evicted", "the driver of its node changes"),
        ("y", "evicted", "the driver of its node changes"),
    ]


@pytest.mark.parametrize(
    "path", ["values.driver.upgradePolicy.maxParallelUpgrades", "values.dcgm.x", "values.drivers.x"]
)
def test_other_values_of_the_operator_meet_nobody(path: str) -> None:
    assert struck(release(path), there=seen(node("n0"), pod("x"))) == []
    assert struck(release("values.driver", action=Action.CREATE), there=seen(node("n0"), pod("x"))) == []


@pytest.mark.parametrize(
    "change",
    [item("NodePool", "gpu", "spec.template.spec.taints"), item("NodePool", "gpu", action=Action.PRUNE),
     item("NodePool", "gpu", action=Action.REPLACE)],
)  # fmt: skip
def test_nodes_that_karpenter_replaces(change: Item) -> None:
    there = seen(node("n0", labels={"karpenter.sh/nodepool": "gpu"}), node("n1"), pod("x"), pod("y", on="n1"))
    assert struck(change, there=there) == [("x", "evicted", "Karpenter replaces the nodes of gpu")]


def test_pods_of_a_workload_that_is_rolled() -> None:
    marks = {"app.kubernetes.io/name": "chat"}
    there = seen(node("n0"), pod("chat-0", labels=marks), pod("other"), pod("chat-1", "b", labels=marks))
    rolled = item("Deployment", "chat", "spec.template.spec.x", space="a", obj={})
    assert struck(rolled, there=there) == [("chat-0", "restarted", "Deployment/a/chat changes")]
    assert struck(item("Deployment", "chat", "spec.replicas", space="a", obj={}), there=there) == []
    gone = item("Deployment", "chat", action=Action.PRUNE, space="a", obj={})
    assert struck(gone, there=there) == [("chat-0", "deleted", "Deployment/a/chat goes")]


def test_a_pod_is_met_once_by_what_comes_first() -> None:
    marks = {"app.kubernetes.io/name": "chat"}
    rolled = item("Deployment", "chat", "spec.template", space="a", obj={})
    assert [how for _, how, _ in struck(CUT, rolled, there=seen(node("n0"), pod("x", labels=marks)))] == ["evicted"]


def test_the_order_is_by_team_and_name() -> None:
    there = seen(node("n0"), pod("z"), pod("a", "b"), pod("b"), pod("c", "nobody"))
    assert [(each.team, each.pod.name) for each in found(CUT, there=there).struck] == [
        ("", "c"), ("a", "b"), ("a", "z"), ("b", "a"),
    ]  # fmt: skip


@pytest.mark.parametrize(("started", "running"), [("", None), ("yesterday", None), ("2026-11-24T13:00:00Z", 0.0)])
def test_a_start_that_is_unknown_or_lies_ahead(started: str, running: float | None) -> None:
    only = one(CUT, there=seen(node("n0"), pod("x", started=started)))
    assert (only.running, only.gpu_hours) == (running, running)


def test_without_the_moment_of_the_snapshot_nothing_is_said_of_hours() -> None:
    only = one(CUT, there=seen(node("n0"), pod("x"), taken=None))
    assert (only.running, only.gpu_hours) == (None, None)


def test_parts_of_gpus_count_as_parts() -> None:
    cut = A100 | {"partition": {"mig": {"layout": {"3g.40gb": 2}}}}
    mig = pod("x")
    mig["spec"]["containers"][0]["resources"]["limits"] = {"nvidia.com/mig-3g.40gb": "2"}
    assert one(CUT, of=platform(cut), there=seen(node("n0"), mig)).gpu_hours == pytest.approx(2 * 3 / 7 * 2, abs=1e-3)
    slices = {"timeSlicing": {"replicas": 4, "renameByDefault": True}}
    shared = {"name": "l4", "gpu": "L4", "gpusPerNode": 1, "nodes": {"min": 1, "max": 1},
              "nodeSelector": {"pool": "l4"}, "partition": slices}  # fmt: skip
    share = pod("x")
    share["spec"]["containers"][0]["resources"]["limits"] = {"nvidia.com/gpu.shared": "1"}
    there = seen(node("n0", "l4", **{"nvidia.com/gpu.shared": "4"}), share)
    assert one(CUT, of=platform(shared), there=there).gpu_hours == pytest.approx(0.5)


@pytest.mark.parametrize("unread", [(kinds.POD,), (kinds.NODE,), (kinds.NODE, kinds.POD)])
def test_what_was_not_read_is_not_nobody(unread: tuple[Kind, ...]) -> None:
    said = found(CUT, there=seen(unread=unread)).unseen
    assert said == f"{' and '.join(kind.plural for kind in unread)} could not all be read: who is met is not known"
    assert found(item("ConfigMap"), there=seen(unread=unread)).unseen == ""
    assert found(CUT, there=seen()).unseen == ""


# Capacity, promises, money


def test_devices_before_and_after_a_cut() -> None:
    cut = A100 | {"partition": {"mig": {"layout": {"1g.10gb": 7}}}}
    there = seen(node("n0"), node("n1"), node("other", "elsewhere"))
    assert found(of=platform(cut), there=there).capacity == (
        Row(of="a100", what="nvidia.com/gpu", before=16, after=0),
        Row(of="a100", what="nvidia.com/mig-1g.10gb", before=0, after=112),
    )


def test_devices_of_nodes_that_nobody_read_are_unknown() -> None:
    [row] = found(there=seen(node("n0"), unread=(kinds.NODE,))).capacity
    assert (row.before, row.after) == (None, 8)


def queue(name: str, flavor: str, quota: Any) -> Obj:
    resources = [{"name": "nvidia.com/gpu", "nominalQuota": quota}]
    group = {"coveredResources": ["nvidia.com/gpu"], "flavors": [{"name": flavor, "resources": resources}]}
    return {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ClusterQueue", "metadata": {"name": name},
            "spec": {"resourceGroups": [group]}}  # fmt: skip


def promised(of: Platform, there: Snapshot) -> dict[tuple[str, str], tuple[Any, Any]]:
    return {(each.of, each.what): (each.before, each.after) for each in found(of=of, there=there).quota}


def test_promises_before_and_after() -> None:
    of = platform(teams=[{"name": "a", "quota": {"a100": 8}}, {"name": "b"}])
    there = seen(queue("a", "a100", "4"), queue("gone", "a100", 2))
    assert promised(of, there) == {("a", "a100 nvidia.com/gpu"): (4, 8), ("gone", "a100 nvidia.com/gpu"): (2, 0)}
    assert promised(of, seen(unread=(kinds.CLUSTER_QUEUE,))) == {("a", "a100 nvidia.com/gpu"): (None, 8)}


PRICED = {"instanceType": "p4de.24xlarge"}
AWS = {"provider": "eks", "region": "us-east-1"}


def cost(of: Platform, there: Snapshot) -> list[tuple[str, Any, Any]]:
    return [(each.what, each.before, each.after) for each in found(of=of, there=there).cost]


def test_money_of_declared_prices() -> None:
    price = {"perNodeHour": 12.5, "source": "contract", "asOf": "2026-11-01"}
    of = platform(A100 | {"price": price})
    assert cost(of, seen(node("n0"), node("n1"), node("n2"))) == [
        ("fewest nodes", 37.5, 25.0),
        ("most nodes", 37.5, 50.0),
    ]
    assert [before for _, before, _ in cost(of, seen(unread=(kinds.NODE,)))] == [None, None]


def test_money_of_nodes_that_are_owned() -> None:
    """A year of 8766 hours: 10 of purchase, 2 of 5 kW × 2 × 0.2 and 1 of upkeep an hour."""
    own = {"capex": 438_300, "years": 5, "watts": 5000, "pue": 2, "perKwh": 0.2, "upkeep": 8766}
    of = platform(A100 | {"price": {"owned": own, "source": "order 4711", "asOf": "2026-11-01"}})
    assert cost(of, seen(node("n0"), node("n1"), node("n2"))) == [
        ("fewest nodes", 39.0, 26.0),
        ("most nodes", 39.0, 52.0),
    ]


def test_money_in_another_currency_is_not_taken_from_the_book() -> None:
    price = {"perNodeHour": 12.5, "currency": "EUR", "source": "contract", "asOf": "2026-11-01"}
    of = platform(A100 | {"price": price}, observability={"costs": {"currency": "EUR"}})
    assert cost(of, seen(node("n0"))) == [("fewest nodes", 12.5, 25.0), ("most nodes", 12.5, 50.0)]
    booked = platform(A100 | PRICED, cluster=AWS, observability={"costs": {"currency": "EUR"}})
    assert cost(booked, seen()) == [("fewest nodes", None, None), ("most nodes", None, None)], "the book is in USD"


def test_money_of_a_pool_that_nobody_priced_is_unknown() -> None:
    assert {after for _, _, after in cost(platform(), seen(node("n0")))} == {None}


def test_money_of_the_price_book() -> None:
    rows = cost(platform(A100 | PRICED, cluster=AWS), seen(node("n0")))
    assert all(before and after and after > before > 1 for _, before, after in rows)
