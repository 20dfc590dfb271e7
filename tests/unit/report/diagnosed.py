"""What the forms of a diagnosis make of the day in tests/unit/diagnose/scene.py: tests/golden/diagnose keeps it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.store import open_store
from plimsoll.cost.window import Window
from plimsoll.diagnose.answer import Diagnosis
from plimsoll.diagnose.gather import Sources, gather
from plimsoll.diagnose.rules import RULES
from plimsoll.diagnose.run import COVERAGE_MIN, diagnose
from plimsoll.kube import kinds
from plimsoll.kube.prometheus import Prometheus
from plimsoll.kube.snapshot import Coverage, Snapshot, Source
from plimsoll.report.diagnose import explain, json, markdown, table
from plimsoll.spec.load import load
from tests.unit.diagnose import answers, scene

GOLDEN = Path(__file__).parents[2] / "golden" / "diagnose"


def snapshot() -> Snapshot:
    return Snapshot(
        scene.objects(),
        source=Source("manifest", "scene"),
        taken_at=datetime(2025, 12, 2, tzinfo=UTC),
        coverage=dict.fromkeys(kinds.ALL, Coverage.WHOLE),
    )


def day(*, ledger: bool = True, prometheus: str = "", objects: bool = True, least: float = COVERAGE_MIN) -> Diagnosis:
    """The diagnosis of the day from some of its sources. prometheus: its address."""
    platform = load(scene.PLATFORM.encode(), "platform.yaml")
    store = open_store(":memory:")
    own = Ledger(store)
    if ledger:
        scene.fill(own)
    asked = Prometheus(prometheus) if prometheus else None
    sources = Sources(
        ledger=own if ledger else None, prometheus=asked, snapshot=snapshot() if objects else None, platform=platform,
        tariff=Tariff.of(platform),
    )  # fmt: skip
    try:
        found = gather(sources, Window(scene.START, scene.END), coverage_min=least)
    finally:
        store.close()
        if asked:
            asked.close()
    return diagnose(found.subjects, RULES, found.answer, coverage_min=least)


@lru_cache(maxsize=1)
def full() -> Diagnosis:
    """From all of its sources."""
    with answers.serving() as (url, _):
        return day(prometheus=url)


def files() -> dict[str, str]:
    """By the name of the golden file."""
    never_used = next(rule for rule in RULES if rule.id == "D01")
    return {
        "table.txt": table.render(full()),
        "diagnosis.md": markdown.render(full()),
        "diagnosis.json": json.render(full()),
        "explain.txt": explain.render(full(), never_used),
        "ledger.txt": table.render(day(objects=False)),
    }
