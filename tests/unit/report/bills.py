"""What the forms of a bill make of two months of a small platform: tests/golden/cost keeps it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from plimsoll.cost.bill import Query
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lines import By
from plimsoll.cost.price import Tariff
from plimsoll.cost.statement import Statement, statement
from plimsoll.cost.store import open_store
from plimsoll.cost.window import DAY, Window
from plimsoll.report.cost import csv, json, markdown, table
from tests.unit.cost import months

GOLDEN = Path(__file__).parents[2] / "golden" / "cost"
WEEK = Window(months.NOW - 7 * DAY, months.NOW)


@lru_cache(maxsize=1)
def ledger() -> Ledger:
    """Two months, to be read only."""
    found = Ledger(open_store(":memory:"))
    found.write(months.records())
    return found


def week(by: By = "team", window: Window = WEEK, **more: Any) -> Statement:
    query = Query(by=by, began=window.began, ended=window.ended, **more)
    return statement(ledger(), Tariff.of(months.platform()), query)


def files() -> dict[str, str]:
    """By the name of the file."""
    return {
        "table.txt": table.render(week()),
        "wide.txt": table.render(week("workload", top=3), wide=True),
        "cost.md": markdown.render(week("pool")),
        "cost.json": json.render(week("tenant", top=2)),
        "cost.csv": csv.render(week("job", top=2)),
    }
