"""What is no longer declared: what of it goes, and what keeps it."""

from __future__ import annotations

import pytest

from plimsoll.kube.objects import MANAGER, Obj
from plimsoll.plan.model import Part, marked, thing
from plimsoll.plan.result import Action
from tests.unit.plan.site import Site, names, part
from tests.unit.plan.standing import Clock


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
