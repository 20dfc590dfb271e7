"""The engine: unknown is not pass, waivers end, a broken check does not end a review."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

from plimsoll.check.model import Case, Check, Evidence, Finding, Layer, Severity, Verdict, check, plain, read
from plimsoll.check.run import review
from plimsoll.check.score import summarise
from plimsoll.check.waive import Waiver
from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, name
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread

NODE: Obj = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "a"},
    "status": {"allocatable": {"nvidia.com/gpu": "0"}},
}
TAKEN = datetime(2026, 11, 24, 11, tzinfo=UTC)


def snap(objects: list[Obj], coverage: dict[Kind, Coverage], unread: tuple[Unread, ...] = ()) -> Snapshot:
    return Snapshot(objects, source=Source("manifest", "test"), taken_at=TAKEN, coverage=coverage, unread=unread)


def stamped(made: Check, pillar: str = "operator") -> Check:
    return Check(**{**vars(made), "pillar": pillar})


@check("T01", Severity.ERROR, Layer.CAPACITY, reads=(kinds.NODE,), whole=(kinds.POD,), remedy="look", source="test")
def every_node(case: Case) -> Iterator[Finding]:
    """Nodes are fine.

    They must be."""
    for node in case.snapshot.list(kinds.NODE):
        yield case.finding(node, f"{name(node)} is bad", "status.allocatable[nvidia.com/gpu]")


@check("T02", Severity.WARNING, Layer.RISK, reads=(kinds.NODE,), remedy="look", source="test")
def raises(case: Case) -> Iterator[Finding]:
    """It works.

    It does not."""
    raise KeyError("boom")
    yield


@check("T03", Severity.WARNING, Layer.RISK, reads=(kinds.NODE,), remedy="look", source="test")
def finds_nothing(case: Case) -> Iterator[Finding]:
    """Nothing.

    Nothing."""
    yield from ()


WHOLE = {kinds.NODE: Coverage.WHOLE, kinds.POD: Coverage.WHOLE}


def test_a_fault_carries_what_was_seen() -> None:
    answer = review(snap([NODE], WHOLE), [stamped(every_node)])
    (judged,) = answer.judgements
    assert judged.verdict is Verdict.FAIL
    assert judged.root_cause
    assert judged.finding.evidence == (Evidence("status.allocatable[nvidia.com/gpu]", "0"),)
    assert answer.worst is Severity.ERROR


def test_a_kind_that_must_be_whole_and_is_not_gives_unknown_with_the_reason() -> None:
    for coverage in (Coverage.PARTIAL, Coverage.UNREAD):
        unread = (Unread(kinds.POD, "forbidden"),)
        answer = review(snap([NODE], {**WHOLE, kinds.POD: coverage}, unread), [stamped(every_node)])
        assert answer.verdicts == {"T01": Verdict.UNKNOWN}
        assert "forbidden" in answer.judgements[0].finding.unknown
        assert not answer.judgements[0].root_cause


def test_finding_nothing_in_a_part_is_not_pass() -> None:
    answer = review(snap([NODE], {kinds.NODE: Coverage.PARTIAL}), [stamped(finds_nothing)])
    assert answer.verdicts == {"T03": Verdict.UNKNOWN}
    assert review(snap([NODE], WHOLE), [stamped(finds_nothing)]).verdicts == {"T03": Verdict.PASS}


def test_a_broken_check_is_named_and_the_others_are_asked() -> None:
    answer = review(snap([NODE], WHOLE), [stamped(raises), stamped(every_node)])
    assert answer.broken == ("T02",)
    assert answer.verdicts["T02"] is Verdict.UNKNOWN
    assert answer.verdicts["T01"] is Verdict.FAIL


def test_a_waiver_holds_until_its_last_day() -> None:
    waiver = Waiver(check="T01", target="Node/a", owner="dana", reason="known", until=date(2026, 11, 24))
    nodes = snap([NODE], WHOLE)
    held = review(nodes, [stamped(every_node)], waivers=[waiver], today=date(2026, 11, 24))
    assert held.verdicts == {"T01": Verdict.WAIVED}
    assert held.worst is None
    ended = review(nodes, [stamped(every_node)], waivers=[waiver], today=date(2026, 11, 25))
    assert ended.verdicts == {"T01": Verdict.FAIL}


def test_the_score_leaves_unknown_out() -> None:
    checks = [stamped(every_node), stamped(finds_nothing)]
    (whole,) = summarise(review(snap([NODE], WHOLE), checks), ("operator",))
    assert (whole.score, whole.passed, whole.failed) == (33, 1, 1)
    (part,) = summarise(review(snap([NODE], {kinds.NODE: Coverage.WHOLE}), checks), ("operator",))
    assert (part.score, part.passed, part.unknown) == (100, 1, 1)


def test_a_kind_the_cluster_does_not_serve_has_no_objects() -> None:
    served = snap([], {kinds.CRD: Coverage.WHOLE})
    assert served.coverage(kinds.SCALED_OBJECT) is Coverage.WHOLE
    assert served.coverage(kinds.EVENT) is Coverage.UNREAD
    assert snap([], {}).coverage(kinds.SCALED_OBJECT) is Coverage.UNREAD


def test_paths_reach_dotted_keys_indices_and_named_entries() -> None:
    obj = {"a": {"x.y/z": 1}, "list": [{"type": "Ready", "status": "False"}, {"name": "n", "v": 2}]}
    assert read(obj, "a[x.y/z]") == 1
    assert read(obj, "list[0].status") == "False"
    assert read(obj, "list[Ready].status") == "False"
    assert read(obj, "list[n].v") == 2
    assert read(obj, "list[9].v") is None
    assert read(obj, "nothing.at.all") is None


def test_evidence_is_bounded() -> None:
    assert len(str(plain("x" * 10_000))) <= 300
    assert plain({"a": [1]}) == '{"a":[1]}'
