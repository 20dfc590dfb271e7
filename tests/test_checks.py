"""Every check against its own fixtures: tests/checks/<ID>/{pass,fail,unknown}*.yaml.

PLIMSOLL_CHECK=GPU075 runs one check.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plimsoll.check.model import Check
from plimsoll.check.run import Judgement, review
from plimsoll.pillars import all_checks
from tests import world

FIXTURES = Path(__file__).parent / "checks"
CHECKS = {each.id: each for each in all_checks()}
ONLY = os.environ.get("PLIMSOLL_CHECK", "*")
CASES = sorted(FIXTURES.glob(f"{ONLY}/*.yaml"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_fixture(path: Path) -> None:
    check, fixture = CHECKS[path.parent.name], world.load(path)
    wanted = path.stem.partition("-")[0]
    assert wanted in ("pass", "fail", "unknown"), f"{path}: name it pass, fail or unknown"
    judgements = _judge(check, fixture)
    failed = [each for each in judgements if each.verdict.value == "fail"]
    if wanted == "fail":
        _compare(failed, fixture["expect"])
    else:
        assert not failed, [each.finding.title for each in failed]
        assert bool(judgements) == (wanted == "unknown"), [each.finding.title for each in judgements]


def _judge(check: Check, fixture: dict) -> tuple[Judgement, ...]:  # type: ignore[type-arg]
    platform = None
    if "platform" in fixture:
        from plimsoll.spec.load import from_mapping

        platform = from_mapping(fixture["platform"])
    answer = review(world.snapshot(fixture), [check], platform=platform)
    assert not answer.broken, [each.finding.evidence for each in answer.judgements]
    return answer.judgements


def _compare(failed: list[Judgement], expected: list[dict]) -> None:  # type: ignore[type-arg]
    assert sorted(str(each.finding.object) for each in failed) == sorted(each["object"] for each in expected)
    for want in expected:
        found = [each for each in failed if str(each.finding.object) == want["object"]]
        assert any(_meets(each, want) for each in found), (want, [each.finding for each in found])
    for each in failed:
        assert each.finding.evidence, f"{each.check.id}: a finding needs evidence"
        assert each.finding.remedy or each.check.remedy, f"{each.check.id}: a finding needs a remedy"


def _meets(each: Judgement, want: dict) -> bool:  # type: ignore[type-arg]
    return (
        want.get("severity", str(each.severity)) == str(each.severity)
        and want.get("says", "") in each.finding.title
        and want.get("do", "") in (each.finding.remedy or each.check.remedy)
        and want.get("seen", {}).items() <= {found.path: found.value for found in each.finding.evidence}.items()
        and set(want.get("affects", [])) <= each.finding.affects
    )


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: check.id)
def test_every_check_has_fixtures_and_a_page(check: Check) -> None:
    cases = {path.stem.partition("-")[0] for path in (FIXTURES / check.id).glob("*.yaml")}
    assert cases >= {"pass", "fail", "unknown"}, f"add tests/checks/{check.id}/{{pass,fail,unknown}}.yaml"
    assert check.title, f"{check.id}: the first docstring line is its title"
    assert len(check.why) > 40, f"{check.id}: the docstring says why it matters"
    assert check.remedy
    assert check.source
    assert check.reads or check.whole, f"{check.id}: name what it reads"


def test_ids_are_unique() -> None:
    assert len({each.id for each in all_checks()}) == len(all_checks())


def test_fixture_folders_belong_to_a_check() -> None:
    stray = {path.name for path in FIXTURES.iterdir() if path.is_dir()} - set(CHECKS)
    assert not stray, f"no check has these ids: {stray}"
