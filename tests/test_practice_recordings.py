"""The recordings of the practised platform: of each fault, the check it is named after is the one new root cause.

What `make record` saw live, judged again by the checks as they are now.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import zstandard

from plimsoll.check.model import Severity
from plimsoll.check.run import Review, review
from plimsoll.kube.snapshot import Snapshot
from plimsoll.kube.store import open_snapshot
from plimsoll.lab.faults import registry
from plimsoll.lab.faults.model import Fault
from plimsoll.pillars import all_checks
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform

PRACTICE = Path(__file__).parents[1] / "examples" / "practice"
Roots = set[tuple[str, str]]


@cache
def platform() -> Platform:
    return load((PRACTICE / "platform.yaml").read_text(), "platform.yaml")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with every recording as a file."""
    folder = tmp_path_factory.mktemp("recordings")
    with (
        (PRACTICE / "recordings.tar.zst").open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as plain,
        tarfile.open(fileobj=plain, mode="r|") as tar,
    ):
        # Debian's Python 3.11.2 has no filters yet; as the documentation of tarfile has it, for both.
        tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        tar.extractall(folder)  # noqa: S202 - our own archive
    yield folder


def judged(snapshot: Snapshot) -> Review:
    return review(snapshot, all_checks(), platform=platform(), waivers=platform().waivers)


def roots(snapshot: Snapshot) -> Roots:
    failures = judged(snapshot).failures
    serious = (each for each in failures if each.severity > Severity.INFO and each.root_cause)
    return {(each.check.id, str(each.finding.object)) for each in serious}


def test_healthy_has_no_finding_above_info_and_nothing_unknown(recordings: Path) -> None:
    answer = judged(open_snapshot(recordings / "healthy.plimsoll"))
    assert [each.check.id for each in answer.failures if each.severity > Severity.INFO] == []
    assert [each.check.id for each in answer.judgements if each.verdict.value == "unknown"] == []


def test_every_fault_is_recorded(recordings: Path) -> None:
    assert {path.stem for path in recordings.glob("*.plimsoll")} == {"healthy", *(fault.id for fault in registry.ALL)}


@pytest.mark.parametrize("fault", registry.ALL, ids=lambda fault: fault.id)
def test_the_fault_is_the_one_new_root_cause(recordings: Path, fault: Fault) -> None:
    healthy = open_snapshot(recordings / "healthy.plimsoll")
    broken = open_snapshot(recordings / f"{fault.id}.plimsoll")
    assert broken.taken_at is not None
    new = roots(broken) - roots(healthy.at(broken.taken_at))
    assert {check for check, _ in new} == {fault.check}
