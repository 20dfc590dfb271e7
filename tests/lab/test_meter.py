"""The meter on the lab: a day of jobs in a minute, billed as the lab itself knows it, and seen on the dashboards."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random

import pytest
import yaml

from plimsoll.pillars.observability.pack.boards import boards
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform
from tests.lab import metering
from tests.lab.conftest import PRACTICE, Lab
from tests.lab.test_observability import Prometheus, prometheus, work
from tests.unit.pillars.test_observability_render import asked, filled

__all__ = ["prometheus"]
DAY = 60.0  # seconds of the lab: 1,440 times as fast
JOBS = 36
PATIENCE = 120.0


def declaration(space: str, path: Path) -> Platform:
    """That of examples/practice, with a team that has a budget in the test's namespace, and a meter."""
    declared = yaml.safe_load((PRACTICE / "platform.yaml").read_text())
    declared["teams"] = [
        {"name": "research", "namespaces": [space], "quota": {"h100": 16}, "budget": {"monthly": 50_000}}
    ]
    declared["services"] = []
    declared["spot"] = {"pools": ["h100-spot"], "fallback": ["h100"], "never": []}
    declared["observability"] = {
        **declared.get("observability", {}),
        "meter": {"image": "registry.example.com/plimsoll:1"},
    }
    declared.pop("waivers", None)
    path.write_text(yaml.safe_dump(declared))
    return load(path.read_bytes(), str(path))


def test_a_day_of_jobs_costs_what_the_lab_knows_it_held(
    lab: Lab, space: str, tmp_path: Path, prometheus: Prometheus
) -> None:
    chance, ledger = Random(7), str(tmp_path / "ledger.duckdb")
    declared = declaration(space, tmp_path / "platform.yaml")
    seen = metering.Seen(lab.client, {space})
    meter = metering.Process(lab.folder, tmp_path / "platform.yaml", ledger, tmp_path / "meter.log", costs=5.0)
    targets = lab.folder.root / "prometheus" / "targets"
    try:
        targets.mkdir(exist_ok=True)
        found = [{"targets": [meter.address()], "labels": {"job": "plimsoll-meter"}}]
        (targets / "meter.json").write_text(json.dumps(found))
        began = metering.first(ledger)
        for obj in work(space)[2:]:  # the server of a model, with some load, and its Service
            lab.client.apply(obj)
        for number in range(JOBS):
            lab.client.create(metering.random_job(chance, space, number))
            time.sleep(DAY / JOBS)
        prometheus.load(declared)
        assert silent(prometheus, declared) == []
        deadline = time.monotonic() + PATIENCE
        while seen.running and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(15)  # what ended last is written
    finally:
        (targets / "meter.json").unlink(missing_ok=True)
        code = meter.end()
        seen.stop()
    assert code == 0, (tmp_path / "meter.log").read_text()
    until = metering.costs(ledger, declared, began, round(time.time() * 1000)).horizon
    bill = metering.costs(ledger, declared, began, until)
    jobs, off = metering.compare(bill, metering.truth(seen, declared, until), began, until)
    assert off == {}
    assert jobs == JOBS
    assert sum(line.cost for line in bill.lines) == bill.total


def silent(prometheus: Prometheus, declared: Platform) -> list[str]:
    """Panels about money that stay empty."""

    def empty() -> list[str]:
        return [
            f"{board.title}: {panel.title}: {query.expr}"
            for board in boards(declared)
            for panel in board.panels
            for query in panel.queries
            if any(name.startswith(("plimsoll_", "plimsoll:cost")) for name in asked(filled(query.expr)))
            and panel.title not in QUIET
            and not prometheus.ask(filled(query.expr))
        ]

    until = time.monotonic() + PATIENCE
    while (found := empty()) and time.monotonic() < until:
        time.sleep(1.0)
    return found


QUIET = {"Nodes without a price": "every node of the declaration has its price"}
"""Panels that are rightly empty here, each with the reason."""


@pytest.mark.parametrize("name", ["ledger.duckdb"])
def test_a_meter_that_cannot_write_says_so_and_ends_well(lab: Lab, tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.write_text("this is no ledger")
    meter = metering.Process(lab.folder, PRACTICE / "platform.yaml", str(place), tmp_path / "meter.log")
    assert meter.process.wait(60) == 2
    assert "cannot be opened" in (tmp_path / "meter.log").read_text()
