"""Whatever an object needs is there before it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import pytest

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, Ref, get, items, namespace, text
from plimsoll.pillars.render import render
from plimsoll.plan.make import order
from plimsoll.plan.model import thing
from plimsoll.plan.order import DEFINITIONS, OPERATORS, RESOURCES, WORKLOADS, rank, wave
from plimsoll.plan.result import Action, Item
from plimsoll.spec.load import load
from tests import goldens

BUILT_IN = {(kind.group, kind.kind) for kind in kinds.ALL if kind.builtin}


def placed(obj: Obj) -> tuple[int, tuple[int, int]]:
    return wave(obj), rank(Ref.of(obj))


def needs(obj: Obj) -> Iterator[tuple[str, str, str]]:
    """Kind, namespace and name of what an object names."""
    kind, space = obj["kind"], namespace(obj)
    if space:
        yield "Namespace", "", space
    for path in (("spec", "template", "spec"), ("spec", "leaderWorkerTemplate", "workerTemplate", "spec")):
        pod = get(obj, *path)
        if account := text(pod, "serviceAccountName"):
            yield "ServiceAccount", space, account
        for volume in items(pod, "volumes"):
            if config := text(volume, "configMap", "name"):
                yield "ConfigMap", space, config
    for place, other in {
        "RoleBinding": (("roleRef", "name"), text(obj, "roleRef", "kind")),
        "ClusterRoleBinding": (("roleRef", "name"), "ClusterRole"),
        "ValidatingAdmissionPolicyBinding": (("spec", "policyName"), "ValidatingAdmissionPolicy"),
        "LocalQueue": (("spec", "clusterQueue"), "ClusterQueue"),
        "ResourceFlavor": (("spec", "topologyName"), "Topology"),
        "NodePool": (("spec", "template", "spec", "nodeClassRef", "name"), "EC2NodeClass"),
        "ScaledObject": (
            ("spec", "scaleTargetRef", "name"),
            text(obj, "spec", "scaleTargetRef", "kind") or "Deployment",
        ),
    }.items():
        if kind == place and (name := text(obj, *other[0])):
            yield other[1], "" if other[1] not in ("Role", "Deployment", "LeaderWorkerSet") else space, name
    if kind == "ClusterQueue":
        yield "Cohort", "", text(obj, "spec", "cohortName") or text(obj, "spec", "cohort")
        for group in items(obj, "spec", "resourceGroups"):
            for flavor in items(group, "flavors"):
                yield "ResourceFlavor", "", text(flavor, "name")


@pytest.mark.parametrize("name", goldens.NAMES)
def test_every_object_comes_after_what_it_names(name: str) -> None:
    file = goldens.ROOT / "examples" / name / "platform.yaml"
    objects = render(load(file.read_bytes(), str(file))).objects
    there = {(each["kind"], namespace(each), text(each, "metadata", "name")): each for each in objects}
    pairs = [(each, there[need]) for each in objects for need in needs(each) if need in there]
    assert len(pairs) > 10
    for each, needed in pairs:
        assert placed(needed) < placed(each), f"{Ref.of(needed)} before {Ref.of(each)}"
    for each in objects:
        group = each["apiVersion"].rpartition("/")[0]
        if (group, each["kind"]) not in BUILT_IN:
            assert wave(each) > OPERATORS, f"{Ref.of(each)}: a chart brings its kind"


def test_definitions_come_first_and_what_serves_last() -> None:
    assert wave(thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", "x")) == DEFINITIONS
    assert wave(thing("kueue.x-k8s.io/v1beta2", "ClusterQueue", "x")) == RESOURCES
    assert wave(thing("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "x")) == WORKLOADS


def item(kind: str, action: Action, api: str = "v1", name: str = "x") -> Item:
    obj = thing(api, kind, name)
    return Item(ref=Ref.of(obj), action=action, wave=wave(obj))


def test_what_goes_goes_last_and_the_other_way_round() -> None:
    kueue, policy = "kueue.x-k8s.io/v1beta2", "admissionregistration.k8s.io/v1"
    found = [
        item("Namespace", Action.PRUNE),
        item("ValidatingAdmissionPolicy", Action.PRUNE, policy),
        item("ValidatingAdmissionPolicyBinding", Action.PRUNE, policy),
        item("ClusterQueue", Action.PRUNE, kueue),
        item("ResourceFlavor", Action.PRUNE, kueue),
        item("Deployment", Action.PRUNE, "apps/v1"),
        item("Deployment", Action.CREATE, "apps/v1"),
        item("Namespace", Action.CREATE),
    ]
    kinds_ = [(each.action, each.ref.kind) for each in sorted(found, key=order)]
    assert kinds_[:2] == [(Action.CREATE, "Namespace"), (Action.CREATE, "Deployment")]
    assert [kind for _, kind in kinds_[2:]] == [
        "Deployment", "ClusterQueue", "ResourceFlavor", "ValidatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicy", "Namespace",
    ]  # fmt: skip
    assert [action for action, _ in groupby(kinds_, key=lambda each: each[0])] == [Action.CREATE, Action.PRUNE]
