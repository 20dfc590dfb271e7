"""The FinOps Foundation's own validator on what we export, where `make focus` has installed it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from tools import focus_check

from plimsoll.cost.focus import Export, export
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.store import open_store
from tests.unit.cost import months

PROGRAMS = focus_check.FOLDER / "venv" / "bin"
pytestmark = pytest.mark.skipif(
    not (PROGRAMS / "focus-validator").exists(), reason="no focus-validator here: `make focus` installs it"
)


def made(path: Path) -> Path:
    ledger = Ledger(open_store(":memory:"))
    ledger.write(focus_check.records())
    month = months.OCTOBER
    asked = Export(version="1.2", began=month.began, ended=month.began + 2 * 86_400_000, platform="acme")
    export(ledger, Tariff.of(months.platform()), asked, path)
    return path


def test_every_rule_that_applies_passes(tmp_path: Path) -> None:
    found = focus_check.judge(PROGRAMS, made(tmp_path / "f.csv"), (*focus_check.APPLIES, *focus_check.ONLY["1.2"]))
    assert set(found.rules) == set(focus_check.EXPECTED)
    assert found.passed > 200


def test_the_validator_finds_what_is_wrong(tmp_path: Path) -> None:
    made(tmp_path / "f.parquet")
    spoilt = tmp_path / "spoilt.parquet"
    with duckdb.connect() as db:
        kept = "* EXCLUDE (BilledCost, ServiceCategory, ChargePeriodEnd)"
        wrong = (
            "CAST(NULL AS DOUBLE) AS BilledCost, 'GPUs' AS ServiceCategory, CAST(NULL AS TIMESTAMP) AS ChargePeriodEnd"
        )
        db.execute(f"COPY (SELECT {kept}, {wrong} FROM '{tmp_path}/f.parquet') TO '{spoilt}' (FORMAT parquet)")
    found = focus_check.judge(PROGRAMS, spoilt, focus_check.APPLIES)
    assert {"BilledCost-C-003-M", "ServiceCategory-C-003-M", "ChargePeriodEnd-C-003-M"} <= set(found.rules)
