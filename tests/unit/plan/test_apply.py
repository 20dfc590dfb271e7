"""Carrying a plan out against a server with faults: what is done, what stops it, and that the next run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import ClusterError, PlimsollError
from plimsoll.kube import helm
from plimsoll.kube.client import Client
from plimsoll.kube.objects import MANAGER, Obj, Ref
from plimsoll.plan import lease, record
from plimsoll.plan.apply import Event, Options, Stopped, apply, refusal
from plimsoll.plan.charts import Charts
from plimsoll.plan.live import Cluster
from plimsoll.plan.make import plan
from plimsoll.plan.model import HOME, Chart, NodeRule, Part, Wanted, marked, thing
from plimsoll.plan.order import RESOURCES
from plimsoll.plan.result import EVICTED, Action, Impact, Item, Owner, Plan, Struck
from plimsoll.spec.load import from_mapping
from plimsoll.spec.model import Platform
from tests.unit.kube.writable import Fault
from tests.unit.kube.writable import refusal as refused
from tests.unit.plan import standing
from tests.unit.plan.standing import KUEUE, Clock

MIG = "nvidia.com/mig.config"


@pytest.fixture
def declared() -> Platform:
    pool = {"name": "h100", "gpu": "H100-SXM5-80GB", "gpusPerNode": 8, "nodes": {"min": 1, "max": 1}}
    return from_mapping({"metadata": {"name": "acme"}, "pools": [pool], "teams": [{"name": "a"}]})


def flavor(**labels: str) -> Obj:
    return thing(KUEUE, "ResourceFlavor", "h100", spec={"nodeLabels": labels or {"pool": "h100"}})


def part(*extra: Obj) -> Part:
    return Part(
        objects=(
            thing("v1", "Namespace", "team-a"),
            thing("v1", "ServiceAccount", "runner", "team-a"),
            thing("v1", "ConfigMap", "settings", "team-a", data={"k": "v"}),
            flavor(),
            thing(KUEUE, "ClusterQueue", "team-a", spec={"cohort": "all"}),
            *extra,
        ),
    )


def wanted(given: Part, pillar: str = "queueing") -> Wanted:
    objects = tuple(marked(each, "acme", pillar) for each in given.objects)
    kept = Part(objects=objects, charts=given.charts, nodes=given.nodes)
    return Wanted(platform="acme", parts={pillar: kept})


class Site:
    """A client, a declaration and what was said while applying."""

    def __init__(self, api: standing.Cluster, client: Client, declared: Platform, folder: Path) -> None:
        self.api, self.client, self.declared = api, client, declared
        self.kubeconfig = folder / "config"
        self.told: list[Event] = []

    def plan(self, given: Part, **more: Any) -> Plan:
        with Charts() as charts:
            return plan(self.declared, wanted(given), Cluster(self.client), charts, **more)

    def apply(self, given: Part, **options: Any) -> tuple[Item, ...]:
        return self.carry(self.plan(given, creations=False), **options)

    def carry(self, given: Plan, **options: Any) -> tuple[Item, ...]:
        chosen = Options(**{"wait": False, **options})
        with Charts() as charts:
            return apply(self.client, self.declared, given, charts, self.kubeconfig, chosen, self.told.append)

    def stopped(self, given: Part, **options: Any) -> Stopped:
        with pytest.raises(Stopped) as error:
            self.apply(given, **options)
        assert not [key for key in self.api.objects if key[0] == "leases"], "the lease is given back"
        return error.value


@pytest.fixture
def site(api: standing.Cluster, client: Client, declared: Platform, tmp_path: Path) -> Site:
    return Site(api, client, declared, tmp_path)


FLAVOR = "/apis/kueue.x-k8s.io/v1beta2/resourceflavors/h100"
MAP = "/api/v1/namespaces/team-a/configmaps/settings"


def names(items: tuple[Item, ...]) -> list[str]:
    return [str(each.ref) for each in items]


def test_everything_in_its_order_and_then_nothing(site: Site) -> None:
    done = site.apply(part())
    assert names(done)[0] == "Namespace/team-a"
    assert names(done)[-2:] == ["ResourceFlavor/h100", "ClusterQueue/team-a"]
    assert [(each.done, each.total) for each in site.told if each.item] == [(n, 5) for n in range(1, 6)]
    kept = site.api.stands("configmaps", record.name("acme"), HOME)
    assert kept is not None
    assert "name: acme" in record.read(kept).declaration
    before = dict(site.api.objects)
    assert site.apply(part()) == ()
    assert site.api.objects == before, "a second run writes nothing, not even a resourceVersion"
    assert site.plan(part()).changes == ()


def test_a_change_is_one_request_that_asks_for_strictness(site: Site) -> None:
    site.apply(part())
    site.api.seen.clear()
    changed = Part(objects=(*part().objects[:3], flavor(pool="other"), part().objects[4]))
    [only] = site.plan(changed).changes
    assert [(each.path, each.before, each.after) for each in only.fields] == [("spec.nodeLabels.pool", "h100", "other")]
    assert names(site.apply(changed)) == ["ResourceFlavor/h100"]
    [request] = [each for each in site.api.asked("PATCH", FLAVOR) if not each.query.get("dryRun")]
    assert request.query == {"fieldManager": MANAGER, "force": "false", "fieldValidation": "Strict"}


# What passes, and what stops it


@pytest.mark.parametrize(
    "fault",
    [
        Fault(-1),
        refused(429, "TooManyRequests", "busy"),
        refused(410, "Expired", "too old"),
        refused(503, "ServiceUnavailable", "starting"),
        refused(500, "InternalError", 'failed calling webhook "vresourceflavor.kb.io": no endpoints available'),
        refused(409, "Conflict", "the object has been modified"),
    ],
    ids=["connection", "429", "410", "503", "webhook", "conflict"],
)
def test_what_passes_is_waited_for(site: Site, clock: Clock, fault: Fault) -> None:
    site.api.faults[f"PATCH {FLAVOR}"] = [fault] * 9
    assert len(site.apply(part())) == 5
    assert clock.slept


LASTING = {
    "policy": (
        refused(422, "Invalid", "it is forbidden: ValidatingAdmissionPolicy 'no' with binding 'no' denied request"),
        "ValidatingAdmissionPolicy 'no'", "change the object",
    ),
    "webhook": (
        refused(403, "Forbidden", 'admission webhook "vresourceflavor.kb.io" denied the request: spec.x: wrong'),
        'admission webhook "vresourceflavor.kb.io" denied the request: spec.x: wrong', "change the object",
    ),
    "rights": (refused(403, "Forbidden", 'User "x" cannot patch'), 'User "x" cannot patch', "kubectl auth can-i"),
    "field": (
        refused(400, "BadRequest", 'strict decoding error: unknown field "spec.x"'), "spec.x", "correct the field",
    ),
    "type": (
        refused(500, "InternalError", "failed to create typed patch object (h100): .spec.x: expected numeric"),
        ".spec.x: expected numeric", "correct the field",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "rule", "step"), LASTING.values(), ids=LASTING.keys())
def test_a_refusal_stops_it_with_object_rule_count_and_next_step(
    site: Site, clock: Clock, fault: Fault, rule: str, step: str
) -> None:
    site.api.faults[f"PATCH {FLAVOR}"] = [fault]
    error = site.stopped(part())
    assert (error.where, rule in error.what) == ("ResourceFlavor/h100", True)
    assert error.what.endswith("3 of 5 changes are carried out and stay")
    assert step in error.hint
    assert error.hint.endswith("then run apply again: it goes on")
    assert set(names(error.done)) == {"Namespace/team-a", "ServiceAccount/team-a/runner", "ConfigMap/team-a/settings"}
    assert names(error.left) == ["ResourceFlavor/h100", "ClusterQueue/team-a"]
    assert site.api.stands("clusterqueues", "team-a") is None
    assert site.api.stands("configmaps", record.name("acme"), HOME) is None, "what was not reached is not recorded"
    assert clock.slept == []
    assert names(site.apply(part())) == names(error.left)


def test_a_server_that_stays_away_stops_it(site: Site, clock: Clock) -> None:
    site.api.faults[f"PATCH {FLAVOR}"] = [Fault(-1)] * 1000
    error = site.stopped(part())
    assert "cannot reach the cluster" in error.what
    assert 60 < clock.now - 1000 <= 120
    site.api.faults.clear()
    assert names(site.apply(part())) == ["ResourceFlavor/h100", "ClusterQueue/team-a"]


def test_a_bug_of_ours_is_no_refusal(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class MistakeError(Exception):
        pass

    def wrong(*_: object, **__: object) -> None:
        raise MistakeError

    given = site.plan(part(), creations=False)
    monkeypatch.setattr(Client, "apply", wrong)
    site.api.put("namespaces", HOME)
    with pytest.raises(MistakeError):
        site.carry(given)
    assert not [key for key in site.api.objects if key[0] == "leases"]


def test_a_run_that_lost_its_lease_stops(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.api.put("namespaces", HOME)
    held = lease.held

    def taken(client: Client, platform: str) -> Any:
        inner = held(client, platform)

        class Lost:
            def __enter__(self) -> Any:
                lost = inner.__enter__()
                lost.set()
                return lost

            def __exit__(self, *error: Any) -> Any:
                return inner.__exit__(*error)

        return Lost()

    monkeypatch.setattr(lease, "held", taken)
    with pytest.raises(Stopped, match="another apply has taken over") as error:
        site.apply(part())
    assert error.value.done == ()
    assert site.api.stands("resourceflavors", "h100") is None


# What is asked before anything moves


def planned(*items: Item, struck: tuple[Struck, ...] = ()) -> Plan:
    return Plan(platform="acme", against="test", items=items, impact=Impact(struck=struck))


def item(action: Action, kind: str = "RoleBinding", name: str = "x", **more: Any) -> Item:
    return Item(ref=Ref("v1", kind, "", name), action=action, **more)


STRUCK = Struck(
    pod=Ref("v1", "Pod", "a", "train"),
    team="a",
    node="n0",
    how=EVICTED,
    why="",
    devices={},
    running=None,
    gpu_hours=None,
)
CUT = item(Action.CHANGE, "Node", "n0", disruptive=True)
BEFORE = {
    "blocked": (planned(item(Action.BLOCKED, why="it is wrong", hint="mend it")), {}, "it is wrong", "mend it"),
    "unknown": (planned(item(Action.UNKNOWN, why="may not get it")), {}, "cannot be read: may not get it", ""),
    "conflict": (
        planned(item(Action.CHANGE, owners=(Owner("argocd", "spec.a"),))), {"force_conflicts": True},
        "spec.a of RoleBinding/x is argocd's", "--force-conflicts",
    ),
    "replace": (planned(item(Action.REPLACE, why="it is fixed")), {"replace": True}, "it is fixed", "--replace"),
    "drain": (planned(CUT, struck=(STRUCK,)), {"drain": True}, "Pod/a/train hold them", "--drain"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "allowed", "what", "hint"), BEFORE.values(), ids=BEFORE.keys())
def test_what_forbids_it_is_said_before_anything_moves(
    site: Site, given: Plan, allowed: dict[str, bool], what: str, hint: str
) -> None:
    with pytest.raises(ClusterError) as error:
        site.carry(given)
    assert what in error.value.what
    assert hint in error.value.hint
    assert site.api.written() == []
    if allowed:
        assert refusal(given, Options(**allowed)) is None


def test_several_blocked_are_counted() -> None:
    error = refusal(planned(*(item(Action.BLOCKED, name=f"x{n}", why="wrong") for n in range(3))), Options())
    assert error is not None
    assert error.what == "wrong (and 2 more; `plimsoll plan` lists them)"


def test_nodes_without_pods_need_no_drain() -> None:
    elsewhere = Struck(
        pod=STRUCK.pod, team="", node="n1", how=EVICTED, why="", devices={}, running=None, gpu_hours=None
    )
    assert refusal(planned(CUT, struck=(elsewhere,)), Options()) is None


def test_replacing_deletes_first_and_creates_then(site: Site) -> None:
    site.apply(part())
    before = site.api.stands("resourceflavors", "h100")
    fixed = Item(ref=Ref.of(flavor()), action=Action.REPLACE, obj=flavor(pool="x"), wave=RESOURCES)
    site.carry(planned(fixed), replace=True)
    after = site.api.stands("resourceflavors", "h100")
    assert before is not None
    assert after is not None
    assert (after["spec"], after["metadata"]["uid"] != before["metadata"]["uid"]) == (
        {"nodeLabels": {"pool": "x"}},
        True,
    )


# What is no longer declared


def test_what_is_no_longer_declared_goes_only_with_prune(site: Site) -> None:
    site.apply(part())
    site.api.put("resourceflavors", "theirs")
    less = Part(objects=(part().objects[0], *part().objects[2:4]))
    assert names(site.plan(less).changes) == ["ClusterQueue/team-a", "ServiceAccount/team-a/runner"]
    assert site.apply(less) == ()
    assert site.api.stands("clusterqueues", "team-a") is not None
    assert names(site.apply(less, prune=True)) == ["ClusterQueue/team-a", "ServiceAccount/team-a/runner"]
    assert site.api.stands("clusterqueues", "team-a") is None
    assert site.api.stands("resourceflavors", "theirs") is not None
    assert site.apply(less, prune=True) == ()


def test_what_others_made_is_never_pruned(site: Site) -> None:
    """Labels may be copied: by a controller to what it makes, by people, by another platform's declaration."""
    ours = marked(thing("v1", "ConfigMap", "x", "team-a"), "acme", "queueing")["metadata"]["labels"]
    wrote = [{"manager": MANAGER, "operation": "Apply"}]
    controlled = [{"kind": "ReplicaSet", "name": "x", "controller": True}]
    for name, meta in {
        "of-kubectl": {"labels": ours, "managedFields": [{"manager": "kubectl"}]},
        "of-nobody": {"labels": ours},
        "of-a-controller": {"labels": ours, "managedFields": wrote, "ownerReferences": controlled},
        "of-another-platform": {"labels": ours | {"plimsoll.dev/platform": "other"}, "managedFields": wrote},
        "of-another-pillar": {"labels": ours | {"plimsoll.dev/pillar": "serving"}, "managedFields": wrote},
        "the-record": {"labels": ours | {"plimsoll.dev/pillar": "record"}, "managedFields": wrote},
        "going": {"labels": ours, "managedFields": wrote, "deletionTimestamp": "2026-11-24T11:00:00Z"},
        "ours": {"labels": ours, "managedFields": wrote},
    }.items():
        site.api.keep("configmaps", {"metadata": {"name": name, "namespace": "team-a", **meta}})
    found = site.plan(Part())
    assert [(each.action, str(each.ref)) for each in found.changes] == [(Action.PRUNE, "ConfigMap/team-a/ours")]


HELD = {
    "pods": {"spec": {}, "status": {"phase": "Running"}},
    "persistentvolumeclaims": {},
    "jobs": {"spec": {"suspend": True}},
    "deployments": {"spec": {"replicas": 0}},
    "secrets": {"type": "Opaque"},
    "services": {},
}


@pytest.mark.parametrize(("kind", "held"), HELD.items(), ids=HELD.keys())
def test_a_namespace_with_anything_in_it_is_not_pruned(site: Site, kind: str, held: Obj) -> None:
    site.apply(Part(objects=(thing("v1", "Namespace", "team-a"), thing("v1", "Namespace", "team-b"))))
    site.api.keep(kind, {"metadata": {"name": "x", "namespace": "team-a"}, **held})
    error = site.stopped(Part(), prune=True)
    assert error.where == "Namespace/team-a"
    assert f"it still holds 1 {kind}" in error.what
    assert site.api.stands("namespaces", "team-a") is not None


def test_what_is_in_use_keeps_its_guards(site: Site) -> None:
    """A team with something of its own loses neither its rights nor its quota, nor what runs beside it."""
    objects = part(thing("v1", "Service", "ours", "team-a", spec={})).objects
    site.apply(Part(objects=objects))
    site.api.keep("jobs", {"metadata": {"name": "x", "namespace": "team-a"}, "spec": {}})
    error = site.stopped(Part(), prune=True)
    assert "it still holds 1 jobs\n0 of 6" in error.what
    assert len(site.plan(Part()).changes) == 6
    site.api.remove("jobs", "x", "team-a")
    assert len(site.apply(Part(), prune=True)) == 6


def test_what_every_namespace_has_does_not_hold_it(site: Site, clock: Clock) -> None:
    site.apply(Part(objects=(thing("v1", "Namespace", "team-a"),)))
    made = [{"kind": "Deployment", "name": "x", "controller": True}]
    there: tuple[tuple[str, Obj], ...] = (
        ("secrets", {"metadata": {"name": "token"}, "type": "kubernetes.io/service-account-token"}),
        ("configmaps", {"metadata": {"name": "kube-root-ca.crt"}}),
        ("serviceaccounts", {"metadata": {"name": "default"}}),
        ("pods", {"metadata": {"name": "over"}, "status": {"phase": "Succeeded"}}),
        ("pods", {"metadata": {"name": "going", "deletionTimestamp": "2026-11-24T11:00:00Z"}}),
        ("replicasets", {"metadata": {"name": "x-1", "ownerReferences": made}}),
    )
    for kind, obj in there:
        site.api.keep(kind, obj | {"metadata": {**obj["metadata"], "namespace": "team-a"}})
    assert names(site.apply(Part(), prune=True)) == ["Namespace/team-a"]
    assert clock.slept == []


def test_pods_of_what_was_deleted_just_now_have_a_moment(site: Site, clock: Clock) -> None:
    site.apply(Part(objects=(thing("v1", "Namespace", "team-a"),)))
    meta: Obj = {
        "name": "x",
        "namespace": "team-a",
        "ownerReferences": [{"kind": "Job", "name": "j", "controller": True}],
    }
    site.api.keep("pods", {"metadata": meta, "spec": {}, "status": {"phase": "Running"}})
    clock.then = [lambda: None, lambda: site.api.remove("pods", "x", "team-a")]
    assert names(site.apply(Part(), prune=True)) == ["Namespace/team-a"]


# Nodes and charts


def rule() -> NodeRule:
    return NodeRule(pool="h100", selector={"pool": "h100"}, labels={MIG: "all-1g.10gb"}, disruptive=(MIG,))


def stand(api: standing.Cluster, **annotations: str) -> None:
    closed = bool(annotations)
    marks = {"pool": "h100"} | ({MIG: "all-1g.10gb", f"{MIG}.state": "success"} if closed else {})
    meta = {
        "name": "n0",
        "labels": marks,
        "annotations": {k.replace("__", "/").replace("_", "."): v for k, v in annotations.items()},
    }
    api.keep("nodes", {"metadata": meta, "spec": {"unschedulable": closed}})


def test_a_node_is_labelled_and_a_second_run_changes_nothing(site: Site) -> None:
    stand(site.api)
    assert names(site.apply(Part(nodes=(rule(),)))) == ["Node/n0"]
    assert site.api.objects["nodes", "", "n0"]["metadata"]["labels"] == {"pool": "h100", MIG: "all-1g.10gb"}
    assert site.apply(Part(nodes=(rule(),))) == ()


def test_a_node_left_closed_is_opened_by_a_run_that_changes_nothing(site: Site) -> None:
    stand(site.api, plimsoll_dev__cordoned="true")
    assert site.apply(Part(nodes=(rule(),))) == ()
    node = site.api.objects["nodes", "", "n0"]
    assert "unschedulable" not in node["spec"]
    assert node["metadata"]["annotations"] == {}


def test_pods_on_a_node_to_cut_stop_everything_beforehand(site: Site) -> None:
    stand(site.api)
    container = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    site.api.keep("pods", {"metadata": {"name": "train", "namespace": "a"}, "status": {"phase": "Running"},
                           "spec": {"nodeName": "n0", "containers": [container]}})  # fmt: skip
    given = part()
    with pytest.raises(ClusterError, match="Pod/a/train hold them"):
        site.apply(Part(objects=given.objects, nodes=(rule(),)))
    assert site.api.written() == []


def chart(version: str = "0.18.4", **values: Any) -> Chart:
    return Chart(name="kueue", namespace="kueue-system", chart="kueue", repository="https://x.example.com",
                 version=version, values=values)  # fmt: skip


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Obj]:
    """What Helm was asked for."""
    asked: list[Obj] = []
    folder = tmp_path / "charts" / "kueue-0.18.4"
    folder.mkdir(parents=True)
    (folder / "Chart.yaml").write_text("name: kueue\nversion: 0.18.4\n")
    (folder / "values.yaml").write_text("a: 1\n")
    monkeypatch.setenv("PLIMSOLL_CHARTS", str(folder.parent))
    monkeypatch.setattr(helm, "upgrade", lambda place, **more: asked.append({"place": place, **more}))
    return asked


def test_a_release_that_a_killed_helm_left_is_taken_up(site: Site, installed: list[Obj]) -> None:
    for revision, status in ((1, "deployed"), (2, "pending-upgrade")):
        marks = {"owner": "helm", "name": "kueue", "status": status, "version": str(revision)}
        site.api.keep("secrets", {"metadata": {"name": f"v{revision}", "namespace": "kueue-system", "labels": marks}})
    site.apply(Part(charts=(chart(a=2),)))
    assert [each["values"] for each in installed] == [{"a": 2}]
    assert site.api.stands("secrets", "v1", "kueue-system") is not None
    assert site.api.stands("secrets", "v2", "kueue-system") is None


def test_what_helm_says_stops_it(site: Site, installed: list[Obj], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise PlimsollError("execution error at (kueue/templates/x.yaml)", where="kueue")

    monkeypatch.setattr(helm, "upgrade", fails)
    error = site.stopped(Part(objects=part().objects, charts=(chart(a=2),)))
    assert "execution error" in error.what
    assert names(error.left) == ["Release/kueue-system/kueue", "ResourceFlavor/h100", "ClusterQueue/team-a"]
    assert installed == []


def test_values_that_do_not_arrive_stop_it_beforehand(site: Site, installed: list[Obj]) -> None:
    with pytest.raises(ClusterError, match=r"values\.b: the chart has no such value"):
        site.apply(Part(charts=(chart(b=2),)))
    assert (installed, site.api.written()) == ([], [])


def test_charts_of_other_pillars_stay_on_record(site: Site, installed: list[Obj]) -> None:
    site.apply(Part(charts=(chart(a=2),)))
    site.apply(Part(objects=(flavor(),)))
    kept = site.api.stands("configmaps", record.name("acme"), HOME)
    assert kept is not None
    assert record.read(kept).charts == {"kueue": record.summary(chart(a=2))}
    assert len(installed) == 1


def test_nothing_waits_for_what_says_nothing_of_itself(site: Site, clock: Clock) -> None:
    given = Part(objects=(thing("v1", "Namespace", "team-a"), flavor()))
    assert len(site.apply(given, wait=True)) == 2
    assert clock.slept == []


def test_what_does_not_come_up_is_named_with_what_it_lacks(site: Site) -> None:
    with pytest.raises(Stopped) as error:
        site.apply(part(), wait=True, timeout=5)
    assert "waited 5 s in vain: ClusterQueue/team-a is not Active" in error.value.what
    assert error.value.left == ()
