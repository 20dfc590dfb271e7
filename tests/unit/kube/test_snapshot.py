"""What a snapshot answers, and what it admits not to know."""

from __future__ import annotations

from typing import Any

from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread, fact


def thing(version: str, kind: str, name: str, namespace: str = "", **rest: object) -> Obj:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, **rest}


def of(*objects: Obj, unread: tuple[Unread, ...] = (), **coverage: Coverage) -> Snapshot:
    known = {kinds.BY_NAME[name]: value for name, value in coverage.items()}
    return Snapshot(objects, source=Source("list", "test"), taken_at=None, coverage=known, unread=unread)


def definition(kind: Kind) -> Obj:
    return thing("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{kind.plural}.{kind.group}",
                 spec={"group": kind.group, "names": {"kind": kind.kind}})  # fmt: skip


def test_a_kind_is_its_group_and_name_whatever_the_version() -> None:
    versions = {"a": "kueue.x-k8s.io/v1beta1", "b": "kueue.x-k8s.io/v1beta2", "c": "other.io/v1"}
    snapshot = of(*(thing(version, "Workload", name, "x") for name, version in versions.items()))
    assert [obj["metadata"]["name"] for obj in snapshot.list(kinds.WORKLOAD)] == ["a", "b"]
    assert snapshot.get(kinds.WORKLOAD, "b", "x") is not None
    assert snapshot.get(kinds.WORKLOAD, "c", "x") is None
    assert snapshot.get(kinds.WORKLOAD, "b") is None
    assert snapshot.counts() == {"Workload.kueue.x-k8s.io": 2, "Workload.other.io": 1}


def test_an_object_read_twice_is_one_and_the_last_one_counts() -> None:
    snapshot = of(
        thing("v1", "Pod", "a", "x", spec={"nodeName": "old"}), thing("v1", "Pod", "a", "x", spec={"nodeName": "new"})
    )
    assert len(snapshot) == 1
    assert [obj["spec"]["nodeName"] for obj in snapshot] == ["new"]


def test_what_the_reader_did_not_vouch_for_is_partial_or_unread() -> None:
    snapshot = of(thing("v1", "Pod", "a", "x"), Node=Coverage.WHOLE)
    assert snapshot.coverage(kinds.NODE) is Coverage.WHOLE
    assert snapshot.coverage(kinds.POD) is Coverage.PARTIAL
    assert snapshot.coverage(kinds.EVENT) is Coverage.UNREAD
    assert snapshot.whole(kinds.NODE)
    assert not snapshot.whole(kinds.NODE, kinds.POD)
    assert snapshot.why_unread(kinds.POD) == "only part of it was read"
    assert snapshot.why_unread(kinds.EVENT) == "not in the snapshot"


def test_a_custom_kind_that_nobody_defines_has_no_objects() -> None:
    served = of(definition(kinds.WORKLOAD), CustomResourceDefinition=Coverage.WHOLE)
    assert served.coverage(kinds.SCALED_OBJECT) is Coverage.WHOLE
    assert served.coverage(kinds.WORKLOAD) is Coverage.UNREAD  # it is served: nobody read it
    assert served.coverage(kinds.RESOURCE_SLICE) is Coverage.UNREAD  # built in: no definition announces it
    some = of(definition(kinds.WORKLOAD), CustomResourceDefinition=Coverage.PARTIAL)
    assert some.coverage(kinds.SCALED_OBJECT) is Coverage.UNREAD


def test_the_reason_of_a_refusal_is_kept() -> None:
    refused = Unread(kinds.SECRET, "forbidden: secrets is forbidden")
    snapshot = of(unread=(refused, refused), Secret=Coverage.UNREAD)
    assert snapshot.unread == (refused,)
    assert snapshot.why_unread(kinds.SECRET) == "forbidden: secrets is forbidden"


def test_a_fact_is_computed_once_for_a_snapshot() -> None:
    asked: list[Snapshot] = []

    @fact
    def size(snapshot: Snapshot) -> int:
        asked.append(snapshot)
        return len(snapshot)

    first, second = of(thing("v1", "Node", "a")), of()
    assert [size(first), size(first), size(second)] == [1, 1, 0]
    assert asked == [first, second]


def test_hostile_definitions_define_nothing() -> None:
    specs: list[Any] = [None, [], "x", {"group": 1, "names": []}, {"names": {"kind": {}}}]
    odd = [{**definition(kinds.WORKLOAD), "spec": spec} for spec in specs]
    snapshot = of(*odd, CustomResourceDefinition=Coverage.WHOLE)
    assert snapshot.coverage(kinds.WORKLOAD) is Coverage.WHOLE
