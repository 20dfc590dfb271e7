"""Nodes that are given another partition: emptied, changed and opened again, whenever it is interrupted."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.errors import ClusterError
from plimsoll.kube.answers import NotYet
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, Ref
from plimsoll.plan import drain
from plimsoll.plan.drain import CORDONED
from plimsoll.plan.result import Action, Item
from tests.unit.kube.writable import Fault, refusal
from tests.unit.plan.standing import Clock, Cluster

MIG, STATE = "nvidia.com/mig.config", "nvidia.com/mig.config.state"
NODE = "/api/v1/nodes/h100-0"


def node(api: Cluster, labels: Obj | None = None, **spec: Any) -> None:
    api.keep("nodes", {"metadata": {"name": "h100-0", "labels": labels or {}}, "spec": spec})


def pod(api: Cluster, name: str, gpus: str = "1", space: str = "team", kind: str = "", phase: str = "Running") -> None:
    owners = [{"kind": kind, "name": "x", "controller": True}] if kind else []
    container = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": gpus}}}
    body = {
        "metadata": {"name": name, "namespace": space, "ownerReferences": owners},
        "spec": {"nodeName": "h100-0", "containers": [container]},
        "status": {"phase": phase},
    }
    api.keep("pods", body)


def item(disruptive: bool = True, **labels: str | None) -> Item:
    wanted = {key.replace("__", "/").replace("_", "."): value for key, value in labels.items()} or {MIG: "all-1g.10gb"}
    return Item(
        ref=Ref("v1", "Node", "", "h100-0"),
        action=Action.CHANGE,
        obj={"metadata": {"labels": wanted}},
        disruptive=disruptive,
    )


def done(api: Cluster) -> None:
    """The MIG manager has done as asked."""
    api.keep("nodes", _with(api, {STATE: "success"}))


def _with(api: Cluster, labels: Obj) -> Obj:
    there = api.objects["nodes", "", "h100-0"]
    meta = there["metadata"]
    return there | {"metadata": meta | {"labels": meta.get("labels", {}) | labels}}


def state(api: Cluster) -> tuple[Any, bool, bool]:
    """The layout asked for; whether it is closed; whether by us."""
    there = api.objects["nodes", "", "h100-0"]
    meta, spec = there["metadata"], there.get("spec", {})
    return meta.get("labels", {}).get(MIG), bool(spec.get("unschedulable")), CORDONED in meta.get("annotations", {})


def relabel(client: Client, wanted: Item, *, drained: bool = True, timeout: float = 60) -> list[str]:
    said: list[str] = []
    drain.relabel(client, wanted, drain=drained, timeout=timeout, tell=said.append)
    return said


def test_pods_with_gpus_forbid_it_without_drain(api: Cluster, client: Client) -> None:
    node(api)
    for n in range(5):
        pod(api, f"train-{n}")
    with pytest.raises(ClusterError) as error:
        relabel(client, item(), drained=False)
    assert error.value.what == (
        "its GPUs are to be cut anew, and Pod/team/train-0, Pod/team/train-1, Pod/team/train-2 and 2 more hold them"
    )
    assert (error.value.where, "--drain" in error.value.hint) == ("Node/h100-0", True)
    assert api.written() == []


@pytest.mark.parametrize("held", ["nothing", "no gpus", "ended", "a daemon"])
def test_other_pods_do_not(api: Cluster, client: Client, held: str) -> None:
    node(api)
    if held != "nothing":
        gpus, phase = ("0" if held == "no gpus" else "1"), ("Succeeded" if held == "ended" else "Running")
        pod(api, "p", gpus, kind="DaemonSet" if held == "a daemon" else "", phase=phase)
    relabel(client, item(), drained=False)
    assert api.written() == [f"PATCH {NODE}"]
    assert state(api) == ("all-1g.10gb", False, False)


def test_a_change_that_disturbs_nobody_needs_no_drain(api: Cluster, client: Client) -> None:
    node(api)
    pod(api, "train")
    relabel(client, item(disruptive=False, a="b"), drained=False)
    assert api.objects["nodes", "", "h100-0"]["metadata"]["labels"] == {"a": "b"}
    assert "pods" in {key[0] for key in api.objects}


def test_it_is_closed_emptied_changed_and_opened(api: Cluster, client: Client, clock: Clock) -> None:
    node(api, {MIG: "all-disabled", STATE: "success"})
    pod(api, "train")
    clock.then = [lambda: None, lambda: done(api)]
    said = relabel(client, item())
    assert api.written() == [
        f"PATCH {NODE}",
        "POST /api/v1/namespaces/team/pods/train/eviction",
        f"PATCH {NODE}",
        f"PATCH {NODE}",
    ]
    assert said == [
        "node h100-0: waiting for Pod/team/train",
        "node h100-0: MIG layout all-1g.10gb is not looked at yet",
    ], "the state of the layout before was success, and is not taken for that of the new one"
    assert state(api) == ("all-1g.10gb", False, False)


def test_a_node_that_somebody_else_closed_stays_closed(api: Cluster, client: Client, clock: Clock) -> None:
    node(api, unschedulable=True)
    pod(api, "train")
    clock.then = [lambda: None, lambda: done(api)]
    relabel(client, item())
    assert drain.left_closed(client) == []
    assert state(api)[2] is False


def test_a_budget_is_kept_until_it_allows(api: Cluster, client: Client, clock: Clock) -> None:
    node(api)
    pod(api, "train")
    api.evictions = [429, 429, 500, 429]
    clock.then = [*([lambda: None] * 5), lambda: done(api)]
    relabel(client, item())
    assert len(api.asked("POST", "eviction")) == 5
    assert state(api) == ("all-1g.10gb", False, False)


def test_a_budget_that_never_allows_ends_it_with_the_node_closed(api: Cluster, client: Client) -> None:
    node(api)
    pod(api, "train")
    api.evictions = [429] * 500
    with pytest.raises(NotYet) as error:
        relabel(client, item(), timeout=30)
    assert "Pod/team/train did not leave within 30 s; the node stays closed" in error.value.what
    assert state(api) == (None, True, True)
    assert drain.left_closed(client) == ["h100-0"]


@pytest.mark.parametrize(
    ("toleration", "comes"),
    [({"operator": "Exists"}, True), ({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}, True),
     ({"key": "nvidia.com/gpu", "operator": "Exists"}, False), ({"operator": "Exists", "effect": "NoExecute"}, False)],
)  # fmt: skip
def test_a_pod_that_ignores_that_a_node_is_closed_is_not_evicted_forever(
    api: Cluster, client: Client, clock: Clock, toleration: Obj, comes: bool
) -> None:
    node(api)
    pod(api, "train-1")
    api.evictions = [429]

    def anew() -> None:
        api.remove("pods", "train-1", "team")
        pod(api, "train-2")
        api.objects["pods", "team", "train-2"]["spec"]["tolerations"] = [toleration]

    clock.then = [anew, *([lambda: None] * 2), lambda: done(api)]
    if comes:
        with pytest.raises(ClusterError, match="train-2 came to the closed node; the node stays closed"):
            relabel(client, item())
        assert state(api) == (None, True, True)
        assert len(api.asked("POST", "eviction")) == 1
    else:
        relabel(client, item())
        assert state(api) == ("all-1g.10gb", False, False)


def test_a_connection_that_breaks_evicts_again(api: Cluster, client: Client, clock: Clock) -> None:
    node(api)
    pod(api, "train")
    api.faults["POST /api/v1/namespaces/team/pods/train/eviction"] = [Fault(-1), Fault(-1)]
    clock.then = [*([lambda: None] * 3), lambda: done(api)]
    relabel(client, item())
    assert state(api) == ("all-1g.10gb", False, False)


def test_an_account_that_may_not_evict_is_an_error(api: Cluster, client: Client) -> None:
    node(api)
    pod(api, "train")
    path = "/api/v1/namespaces/team/pods/train/eviction"
    api.faults[f"POST {path}"] = [refusal(403, "Forbidden", 'User "x" cannot create pods/eviction')]
    with pytest.raises(ClusterError, match="cannot create pods/eviction"):
        relabel(client, item())
    assert drain.left_closed(client) == ["h100-0"]


def test_a_pod_that_came_anew_elsewhere_is_not_evicted(api: Cluster, client: Client, clock: Clock) -> None:
    """A StatefulSet gives the next pod the same name; it may stand on another node by then."""
    node(api)
    pod(api, "train")
    path = "/api/v1/namespaces/team/pods/train/eviction"

    def moved(request: Any) -> Any:
        if request.path == path and ("pods", "team", "train") in api.objects:
            api.remove("pods", "train", "team")
            api.keep("pods", {"metadata": {"name": "train", "namespace": "team"}, "spec": {"nodeName": "h100-1"}})
        return answer(request)

    answer, api.answer = api.answer, moved  # type: ignore[method-assign]
    clock.then = [lambda: None, lambda: done(api)]
    relabel(client, item())
    assert api.stands("pods", "train", "team") is not None


@pytest.mark.parametrize("moment", ["closed", "emptied", "labelled", "done"])
def test_what_was_interrupted_is_found_and_opened(api: Cluster, client: Client, clock: Clock, moment: str) -> None:
    """Whatever an earlier run had done when it was killed: this one ends with the node cut and open."""
    api.keep("nodes", {
        "metadata": {"name": "h100-0", "annotations": {CORDONED: "true"},
                     "labels": {MIG: "all-1g.10gb"} if moment in ("labelled", "done") else {}},
        "spec": {"unschedulable": True},
    })  # fmt: skip
    if moment == "closed":
        pod(api, "train")
    if moment == "done":
        done(api)
    clock.then = [lambda: None, lambda: done(api)]
    if moment in ("closed", "emptied"):
        relabel(client, item())
    for each in drain.left_closed(client):
        done(api)
        drain.reopen(client, each, timeout=60, tell=lambda _said: None)
    assert state(api) == ("all-1g.10gb", False, False)
    assert drain.left_closed(client) == []


@pytest.mark.parametrize(("label", "said"), [("failed", "failed"), ("pending", "pending"), (None, "not looked at")])
def test_a_layout_that_does_not_come_leaves_it_closed(
    api: Cluster, client: Client, label: str | None, said: str
) -> None:
    node(api, {MIG: "all-1g.10gb", **({STATE: label} if label else {})}, unschedulable=True)
    with pytest.raises(NotYet) as error:
        drain.reopen(client, "h100-0", timeout=5, tell=lambda _said: None)
    assert error.value.what == f"MIG layout all-1g.10gb is {said}; the node stays closed"
    assert state(api)[1] is True


def test_a_node_that_has_gone_needs_nothing(client: Client) -> None:
    drain.reopen(client, "h100-0", timeout=5, tell=lambda _said: None)
