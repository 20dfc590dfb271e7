"""Every fault, live: given to the practised platform, judged, healed. The check it is named after must be the cause."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.check.model import Severity
from plimsoll.check.run import review
from plimsoll.cli.lab_life import manifests_in
from plimsoll.lab.faults import registry
from plimsoll.lab.faults.judge import Judge
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.run import control, launch
from plimsoll.lab.run.settings import ADDONS, Settings
from plimsoll.pillars import all_checks
from plimsoll.spec.load import load
from tests.lab.conftest import PRACTICE

NAME = "faults"
SOME = 7  # every seventh fault is given here; `make soak` gives all, and tests/test_practice_recordings.py judges all
CHOSEN = registry.ALL if os.environ.get("PLIMSOLL_FAULTS") == "all" else registry.ALL[::SOME]


@pytest.fixture(scope="module")
def judge(labs: Path) -> Iterator[Judge]:
    """A lab with the practised platform at work, and its judge."""
    platform = (PRACTICE / "platform.yaml").read_text()
    settings = Settings(name=NAME, addons=ADDONS, platform=platform, manifests=manifests_in(PRACTICE / "manifests"))
    launch.up(settings)
    folder = launch.folder_of(NAME)
    judge = Judge(folder, load(platform, "platform.yaml"))
    yield judge
    judge.close()
    launch.down(folder)


def test_the_healthy_platform_has_no_finding_above_info(judge: Judge) -> None:
    platform = load((PRACTICE / "platform.yaml").read_text(), "platform.yaml")
    answer = review(judge.snapshot(), all_checks(), platform=platform, waivers=platform.waivers)
    assert [str(each.finding.object) for each in answer.failures if each.severity > Severity.INFO] == []
    assert [each.check.id for each in answer.judgements if each.verdict.value == "unknown"] == []
    assert not answer.broken


@pytest.mark.parametrize("fault", CHOSEN, ids=lambda fault: fault.id)
def test_a_fault_is_the_one_root_cause_and_heals(judge: Judge, fault: Fault) -> None:
    said, _snapshot = judge.one(fault)
    if not said.healed:
        control.ask(launch.folder_of(NAME), "reset")
    assert said.hit, said.found
    assert not said.extra
    assert said.healed
