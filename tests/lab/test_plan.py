"""Plans against the real API server: what is worked out without one is what one says."""

from __future__ import annotations

import copy
import random
import re
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from plimsoll.errors import ClusterError
from plimsoll.kube.answers import NotFound
from plimsoll.kube.objects import MANAGER, Obj, Ref, get
from plimsoll.pillars.render import render
from plimsoll.plan import local
from plimsoll.plan.fields import Field
from plimsoll.plan.live import Cluster
from plimsoll.plan.order import rank, wave
from plimsoll.plan.result import Action, Item
from plimsoll.spec.load import load
from tests import goldens
from tests.lab.conftest import Lab
from tests.lab.differing import edited

EDITS = 400
# What comes back with the value it had when it is named no more: only a server knows its defaults.
DEFAULTED = {
    "spec.policyTypes",
    "spec.failurePolicy",
    "spec.sessionAffinity",
    "spec.type",
    "spec.internalTrafficPolicy",
}


@pytest.fixture(scope="module")
def rendered(lab: Lab) -> Iterator[list[Obj]]:
    """What the richest example asks for, applied as far as the lab serves its kinds. No pods come of it."""
    lab.reset()
    file = goldens.ROOT / "examples" / "05-everything" / "platform.yaml"
    applied = []
    for obj in sorted(render(load(file.read_bytes(), str(file))).objects, key=lambda it: (wave(it), rank(Ref.of(it)))):
        try:
            lab.client.apply(obj, manager=MANAGER, strict=True)
        except NotFound as missing:
            assert not missing.name, missing  # a kind that this lab does not serve
            continue
        applied.append(obj)
    assert len({each["kind"] for each in applied}) > 15
    yield applied
    lab.reset()


def live(lab: Lab, obj: Obj) -> Obj:
    found = Cluster(lab.client).find(Ref.of(obj))
    assert found is not None
    return found


def item(lab: Lab, obj: Obj) -> Item:
    return Cluster(lab.client).item(obj, "queueing", creations=False)


def steps(fields: tuple[Field, ...]) -> set[tuple[str, ...]]:
    """The first three steps of each path, without the names of entries."""
    return {tuple(re.sub(r"\[[^]]*\]", "", each.path).split(".")[:3]) for each in fields}


def compared(fields: tuple[Field, ...], wanted: Obj) -> tuple[Field, ...]:
    """Without what is named no more and has a default."""
    return tuple(
        each for each in fields if each.path not in DEFAULTED or get(wanted, *each.path.split(".")) is not None
    )


def agree(one: tuple[Field, ...], other: tuple[Field, ...]) -> bool:
    """Whether each path of either is one of the other, or a part or the whole of one."""
    left, right = steps(one), steps(other)
    return all(
        any(a[: len(b)] == b or b[: len(a)] == a for b in there)
        for here, there in ((left, right), (right, left))
        for a in here
    )


def test_what_was_applied_changes_nothing_by_either(lab: Lab, rendered: list[Obj]) -> None:
    for obj in rendered:
        assert (local.changes(obj, live(lab, obj)), Ref.of(obj)) == ((), Ref.of(obj))
        assert (item(lab, obj).action, Ref.of(obj)) == (Action.KEEP, Ref.of(obj))


def test_edits_are_seen_alike_by_the_rules_and_by_the_server(lab: Lab, rendered: list[Obj]) -> None:
    seen: Counter[str] = Counter()
    for seed in range(EDITS):
        chance = random.Random(seed)
        obj = chance.choice(rendered)
        wanted, said = edited(obj, chance)
        judged = item(lab, wanted)
        seen[judged.action] += 1
        if judged.action in (Action.BLOCKED, Action.REPLACE):
            continue
        found = compared(local.changes(wanted, live(lab, obj)), wanted)
        known = compared(judged.fields, wanted)
        assert agree(known, found), (seed, Ref.of(obj), said, judged.fields, found)
    assert seen[Action.CHANGE] > EDITS / 3, seen
    assert seen[Action.KEEP] > EDITS / 50, seen


def test_what_others_own_stays_and_what_we_owned_goes(lab: Lab, rendered: list[Obj]) -> None:
    role = next(each for each in rendered if each["kind"] == "ConfigMap" and each["metadata"].get("annotations"))
    ref = Ref.of(role)
    mine, both = "mine.example.com/a", "both.example.com/b"
    first = copy.deepcopy(role)
    first["metadata"]["annotations"] |= {mine: "1", both: "2"}
    lab.client.apply(first, manager=MANAGER)
    other = {key: role[key] for key in ("apiVersion", "kind")}
    meta = {"name": ref.name, "namespace": ref.namespace}
    lab.client.apply(
        {**other, "metadata": {**meta, "annotations": {both: "2", "other.example.com/c": "3"}}}, manager="another"
    )
    judged = item(lab, role)
    assert [(each.path, each.before, each.after) for each in judged.fields] == [
        (f"metadata.annotations[{mine}]", "1", None)
    ]
    assert local.changes(role, live(lab, role)) == judged.fields
    lab.client.apply(role, manager=MANAGER)
    assert live(lab, role)["metadata"]["annotations"].keys() >= {both, "other.example.com/c"}
    assert item(lab, role).action is Action.KEEP


def test_a_field_of_another_manager_is_a_conflict_that_names_both(lab: Lab, rendered: list[Obj]) -> None:
    queue = next(each for each in rendered if each["kind"] == "WorkloadPriorityClass")
    taken = {key: queue[key] for key in ("apiVersion", "kind", "value")} | {
        "metadata": {"name": queue["metadata"]["name"]}
    }
    lab.client.apply(taken | {"value": queue["value"] + 5}, manager="another")
    judged = item(lab, queue)
    assert judged.action is Action.CHANGE
    assert [(each.manager, each.path) for each in judged.owners] == [("another", "value")]
    lab.client.apply(queue, manager=MANAGER)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("RoleBinding", {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}}),
        ("LocalQueue", {"spec": {"clusterQueue": "another"}}),
        ("Deployment", {"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
    ],
)
def test_what_cannot_change_is_replaced(lab: Lab, rendered: list[Obj], kind: str, change: Obj) -> None:
    obj = copy.deepcopy(next(each for each in rendered if each["kind"] == kind))
    for key, value in change.items():
        obj[key] = {**obj[key], **value}
    if kind == "Deployment":
        obj["spec"]["template"]["metadata"]["labels"]["a"] = "b"
    judged = item(lab, obj)
    assert judged.action is Action.REPLACE, judged
    assert judged.fields


def test_a_change_that_is_also_wrong_replaces_nothing(lab: Lab, rendered: list[Obj]) -> None:
    obj = copy.deepcopy(next(each for each in rendered if each["kind"] == "Deployment"))
    obj["spec"]["selector"] = {"matchLabels": {"a": "b"}}
    obj["spec"]["template"]["metadata"]["labels"]["a"] = "b"
    obj["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    assert item(lab, obj).action is Action.BLOCKED


def test_a_field_that_no_kind_has_blocks_and_is_named(lab: Lab, rendered: list[Obj]) -> None:
    obj = copy.deepcopy(next(each for each in rendered if each["kind"] == "ResourceFlavor"))
    obj["spec"]["nodeLables"] = {"a": "b"}
    judged = item(lab, obj)
    assert judged.action is Action.BLOCKED
    assert "nodeLables" in judged.why


def test_what_is_being_deleted_blocks(lab: Lab, space: str) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "namespace": space}}
    lab.client.apply(obj | {"metadata": {**obj["metadata"], "finalizers": ["example.com/hold"]}})  # type: ignore[dict-item]
    try:
        lab.client.delete("v1/ConfigMap", "held", space)
        judged = item(lab, obj)
        assert (judged.action, judged.hint) == (Action.BLOCKED, "it waits for example.com/hold")
    finally:
        lab.client.patch("v1/ConfigMap", "held", {"metadata": {"finalizers": None}}, space)


def test_a_dead_webhook_blocks_no_plan_of_what_is_there(lab: Lab, rendered: list[Obj]) -> None:
    """An apply that was killed while Kueue came up must be able to go on."""
    queue = next(each for each in rendered if each["kind"] == "ResourceFlavor")
    rule = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "dead.example.com"},
        "webhooks": [
            {
                "name": "dead.example.com",
                "clientConfig": {"url": "https://127.0.0.1:9/x"},
                "rules": [
                    {"apiGroups": ["kueue.x-k8s.io"], "apiVersions": ["*"], "operations": ["*"],
                     "resources": ["resourceflavors"]}
                ],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 1,
            }
        ],
    }  # fmt: skip
    changed = copy.deepcopy(queue)
    changed["metadata"].setdefault("labels", {})["a"] = "b"
    lab.client.apply(rule)
    try:
        _until_refused(lab, changed)
        judged = item(lab, changed)
        assert (judged.action, judged.judged) == (Action.CHANGE, False)
        assert [each.path for each in judged.fields] == ["metadata.labels.a"]
        assert "dead.example.com" in judged.why
        assert item(lab, queue).action is Action.KEEP
    finally:
        lab.client.delete("admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration", "dead.example.com")


def _until_refused(lab: Lab, obj: Obj) -> None:
    """The API server hears of a webhook a moment after it is there."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            lab.client.apply(obj, manager=MANAGER, dry_run=True)
        except ClusterError:
            return
        time.sleep(0.2)
    raise AssertionError("the webhook was never called")
