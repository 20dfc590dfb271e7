"""Every alert fires when it should and only then, and every recording rule says what it should: in Prometheus' own
words, by promtool."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.errors import LabError
from plimsoll.lab.build import found
from plimsoll.pillars.observability.pack.model import Alert, Group, Record
from plimsoll.pillars.observability.pack.pack import rules
from plimsoll.pillars.observability.render_rules import rule_file
from plimsoll.spec.load import from_mapping, load
from tests.unit.pillars.observability_cases import CASES, Series
from tests.unit.pillars.observability_values import VALUES

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/platform.yaml"))
PLATFORM = from_mapping(
    {
        "pools": [{"name": "h100", "gpu": "H100-SXM5-80GB", "gpusPerNode": 8, "nodes": {"max": 2}}],
        "teams": [{"name": "research", "quota": {"h100": 8}}, {"name": "serving", "quota": {"h100": 4}}],
        "services": [
            {
                "name": "chat",
                "team": "serving",
                "model": "acme/chat",
                "pool": "h100",
                "replicas": {"min": 2, "max": 3},
                "slo": {"ttft": {"p90": "2s"}, "itl": {"p90": "100ms"}, "e2e": {"p99": "3s"}},
            }
        ],
        "observability": {"meter": {"image": "registry.example.com/plimsoll:1"}},
    }
)
RULES = [rule for groups in rules(PLATFORM).values() for group in groups for rule in group.rules]
ALERTS = {rule.name: rule for rule in RULES if isinstance(rule, Alert)}
RECORDS = [rule for rule in RULES if isinstance(rule, Record)]
OURS = re.compile(r"\bplimsoll:\w+(?::\w+)?")


def needed(rule: Record | Alert) -> Group:
    """A rule and all it asks for, in the order of the pack, as a group of its own: promtool takes a second for all."""
    asked, grown = set(OURS.findall(rule.expr)), 0
    while len(asked) > grown:
        grown = len(asked)
        asked |= {name for each in RECORDS if each.record in asked for name in OURS.findall(each.expr)}
    asked |= {rule.record} if isinstance(rule, Record) else set()
    rest = (rule,) if isinstance(rule, Alert) else ()
    return Group(name="needed", rules=(*(each for each in RECORDS if each.record in asked), *rest))


@pytest.fixture(scope="session")
def promtool() -> Path:
    """It comes with the lab's programs."""
    try:
        return found.look(()).path("promtool")
    except LabError as error:
        if os.environ.get("CI"):
            raise  # there nothing may be skipped unseen
        pytest.skip(f"{error}; {error.hint}")


def run(promtool: Path, folder: Path, rule: Record | Alert, tests: list[dict[str, Any]]) -> None:
    (folder / "rules.yml").write_text(rule_file((needed(rule),)))
    path = folder / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": tests}))
    done = subprocess.run([promtool, "test", "rules", path], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_a_case_for_every_alert() -> None:
    assert set(CASES) == set(ALERTS)
    assert len(ALERTS) >= 65


@pytest.mark.parametrize("name", CASES)
def test_alert(name: str, promtool: Path, tmp_path: Path) -> None:
    """It fires once in each scenario where it should, names what its texts speak of, and is silent in the others."""
    case, alert = CASES[name], ALERTS[name]
    spoken = set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.means + "".join(alert.runbook)))
    named = "".join(f',{label}!=""' for label in sorted(spoken))
    firing = f'ALERTS{{alertname="{name}",alertstate="firing"'
    tests = [
        _test(f"{name} fires {number}", series, case.at, f"count({firing}{named}}})", 1)
        for number, series in enumerate(case.fires, 1)
    ] + [
        _test(f"{name} stays quiet {number}", series, case.at, f"count({firing}}})", None)
        for number, series in enumerate(case.quiet, 1)
    ]
    run(promtool, tmp_path, alert, tests)


def _test(name: str, series: list[Series], at: str, query: str, value: float | None) -> dict[str, Any]:
    samples = [] if value is None else [{"labels": "{}", "value": value}]
    return {
        "name": name,
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [{"expr": query, "eval_time": at, "exp_samples": samples}],
    }


def test_there_is_a_value_for_every_recording_rule() -> None:
    assert set(VALUES) == {rule.record for rule in RECORDS}


@pytest.mark.parametrize("name", VALUES)
def test_recording_rule(name: str, promtool: Path, tmp_path: Path) -> None:
    tests = []
    for number, value in enumerate(VALUES[name], 1):
        by = ", ".join(sorted({label for labels, _ in value.samples for label in labels}))
        test = _test(f"{name} {number}", value.series, "60m", f"sum by ({by}) ({name})", None)
        test["promql_expr_test"][0]["exp_samples"] = [
            {"labels": "{" + ", ".join(f'{key}="{each}"' for key, each in labels.items()) + "}", "value": number}
            for labels, number in value.samples
        ]
        tests.append(test)
    run(promtool, tmp_path, next(rule for rule in RECORDS if rule.record == name), tests)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_prometheus_takes_the_rules_of_every_example(path: Path, promtool: Path, tmp_path: Path) -> None:
    for name, groups in rules(load(path.read_text(), str(path))).items():
        written = tmp_path / f"{name}.yml"
        written.write_text(rule_file(groups))
        done = subprocess.run([promtool, "check", "rules", written], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
