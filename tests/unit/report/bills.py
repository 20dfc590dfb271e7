"""What the forms of a bill make of two months of a small platform: tests/golden/cost keeps it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from plimsoll.cost import job as jobs
from plimsoll.cost.bill import Query
from plimsoll.cost.cuts import By
from plimsoll.cost.job import Job
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.month import Budgets, budgets, limits
from plimsoll.cost.monthly import Monthly, monthly
from plimsoll.cost.price import Tariff
from plimsoll.cost.served import Inference, inference
from plimsoll.cost.statement import Statement, statement
from plimsoll.cost.store import open_store
from plimsoll.cost.window import DAY, Window
from plimsoll.report.cost import (
    budget_csv,
    budget_json,
    budget_markdown,
    budget_table,
    csv,
    inference_csv,
    inference_json,
    inference_markdown,
    inference_table,
    job_json,
    job_markdown,
    job_table,
    json,
    markdown,
    monthly_csv,
    monthly_html,
    monthly_json,
    monthly_markdown,
    monthly_table,
    spenders_markdown,
    spenders_table,
    table,
)
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


@lru_cache(maxsize=2)
def month(of: Window = months.NOVEMBER) -> Budgets:
    platform = months.platform()
    query = Query(by="team", began=of.began, ended=of.ended)
    return budgets(ledger(), Tariff.of(platform), query, limits(platform))


@lru_cache(maxsize=1)
def served() -> Inference:
    query = Query(by="served", began=WEEK.began, ended=WEEK.ended)
    return inference(ledger(), Tariff.of(months.platform()), query)


@lru_cache(maxsize=1)
def job() -> Job:
    """Of the last Monday: pushed out of spot after five hours, and done elsewhere."""
    platform = months.platform()
    checkpoint = int(platform.spot.checkpoint.interval)
    return jobs.job(ledger(), Tariff.of(platform), jobs.find(ledger(), "train-20780"), checkpoint=checkpoint)


@lru_cache(maxsize=2)
def page(of: Window = months.NOVEMBER) -> Monthly:
    platform = months.platform()
    query = Query(by="team", began=of.began, ended=of.ended)
    return monthly(ledger(), Tariff.of(platform), query, platform)


def files() -> dict[str, str]:
    """By the name of the file."""
    return {
        "table.txt": table.render(week()),
        "wide.txt": table.render(week("workload", top=3), wide=True),
        "cost.md": markdown.render(week("pool")),
        "cost.json": json.render(week("namespace", top=2)),
        "cost.csv": csv.render(week("job", top=2)),
        "spenders.txt": spenders_table.render(week("workload", top=3)),
        "spenders.md": spenders_markdown.render(week()),
        "inference.txt": inference_table.render(served()),
        "inference.md": inference_markdown.render(served()),
        "inference.json": inference_json.render(served()),
        "inference.csv": inference_csv.render(served()),
        "job.txt": job_table.render(job()),
        "job.md": job_markdown.render(job()),
        "job.json": job_json.render(job()),
        "month.txt": monthly_table.render(page()),
        "month.md": monthly_markdown.render(page(months.OCTOBER)),
        "month.json": monthly_json.render(page()),
        "month.csv": monthly_csv.render(page()),
        "month.html": monthly_html.render(page()),
        "budget.txt": budget_table.render(month()),
        "budget.md": budget_markdown.render(month()),
        "budget.json": budget_json.render(month()),
        "budget.csv": budget_csv.render(month(months.OCTOBER)),
    }
