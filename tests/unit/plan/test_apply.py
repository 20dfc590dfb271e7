"""Carrying a plan out against a server with faults: what is done, what stops it, and that the next run goes on."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.errors import ClusterError
from plimsoll.kube.client import Client
from plimsoll.kube.objects import MANAGER, Ref
from plimsoll.plan import lease, record
from plimsoll.plan.apply import Options, Stopped, refusal
from plimsoll.plan.model import HOME, Part, thing
from plimsoll.plan.order import RESOURCES
from plimsoll.plan.result import EVICTED, Action, Impact, Item, Owner, Plan, Struck
from tests.unit.kube.writable import Fault
from tests.unit.kube.writable import refusal as refused
from tests.unit.plan.site import Site, flavor, names, part
from tests.unit.plan.standing import Clock

FLAVOR = "/apis/kueue.x-k8s.io/v1beta2/resourceflavors/h100"
MAP = "/api/v1/namespaces/team-a/configmaps/settings"


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


def test_nothing_waits_for_what_says_nothing_of_itself(site: Site, clock: Clock) -> None:
    given = Part(objects=(thing("v1", "Namespace", "team-a"), flavor()))
    assert len(site.apply(given, wait=True)) == 2
    assert clock.slept == []


def test_what_does_not_come_up_is_named_with_what_it_lacks(site: Site) -> None:
    with pytest.raises(Stopped) as error:
        site.apply(part(), wait=True, timeout=5)
    assert "waited 5 s in vain: ClusterQueue/team-a is not Active" in error.value.what
    assert error.value.left == ()
