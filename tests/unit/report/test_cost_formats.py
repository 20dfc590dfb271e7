"""Every form of a bill: what it adds up to, and that names somebody else chose do no harm."""

from __future__ import annotations

import csv as reader
import json as plain
from decimal import Decimal
from fractions import Fraction
from io import StringIO
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.cost.bill import Line
from plimsoll.cost.statement import Statement
from plimsoll.cost.window import DAY, Window
from plimsoll.errors import IncompleteError
from plimsoll.report.cost import (
    budget,
    budget_csv,
    budget_json,
    columns,
    csv,
    inference,
    inference_csv,
    inference_json,
    inference_markdown,
    inference_table,
    job_json,
    job_markdown,
    job_table,
    json,
    markdown,
    monthly,
    monthly_csv,
    monthly_html,
    monthly_json,
    monthly_markdown,
    monthly_table,
    spenders,
    spenders_markdown,
    spenders_table,
    table,
    words,
)
from tests.unit.cost import months
from tests.unit.report import bills

HOSTILE = "<script>x</script> [l](javascript:x) |c| `t` **b** \x1b[31m\x00 \u202e \n# head [red]rich[/] ![i](http://x)"


def test_each_form_says_what_was_reviewed() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in bills.GOLDEN.iterdir()}
    assert bills.files() == kept, "look at the difference; if it is meant, run `make golden` and commit it"


def test_the_figures_of_a_week_by_hand() -> None:
    """Two nodes, 40 and 16 an hour; the service holds two GPUs and is busy half of the day at 60 %."""
    found = bills.week()
    lines = {line.key: line for line in found.bill.lines}
    assert found.bill.total == 7 * 24 * 56_000_000
    assert lines["search"].cost == 7 * 24 * 10_000_000
    assert words.efficiency(lines["search"]) == pytest.approx(0.3, abs=1e-6)
    assert lines["idlers"].idle == lines["idlers"].cost == 7 * 24 * 5_000_000
    assert found.earlier == found.bill.total
    assert found.before(lines["search"]) == lines["search"].cost
    # Trained from Thursday noon to Wednesday, on Monday five hours on spot and three, less ten minutes, on the other.
    on_one = 4 * 5_000_000 * (5 + 8 + 3 + 8 + 8) - 4 * 5_000_000 // 6
    assert abs(lines["research"].cost - (on_one + 4 * 2_000_000 * 5)) <= 1


@pytest.mark.parametrize("by", ["team", "job", "node", "sku"])
@pytest.mark.parametrize("top", [0, 2])
def test_programs_read_lines_that_add_up_exactly(by: str, top: int) -> None:
    found = bills.week(by, top=top)  # type: ignore[arg-type]
    document = plain.loads(json.render(found), parse_float=Decimal)
    jsonschema_rs.validate(json.schema(), plain.loads(json.render(found)))
    rows = [*document["lines"], *([document["others"]] if document["others"] else [])]
    assert sum(row["cost"] for row in rows) == document["total"] == Decimal(found.bill.total) / 10**6
    assert all(sum(row["classes"].values()) == row["cost"] for row in rows)
    sheet = list(reader.DictReader(StringIO(csv.render(found))))
    assert sum(Decimal(row["cost"]) for row in sheet) == document["total"]
    shown = columns.rows(found, columns.NARROW)
    assert shown[-1][4] == f"{found.bill.total / 10**6:,.2f}"


@pytest.mark.parametrize("by", ["team", "model", "tenant", "served", "request"])
def test_who_tells_names_is_said_where_nobody_told_any(by: Any) -> None:
    found = bills.week(by)
    nameless = [
        msgspec.structs.replace(line, id="", key=line.key if by == "served" else "") for line in found.bill.lines
    ]
    bill = msgspec.structs.replace(found.bill, lines=tuple(nameless))
    said = words.notes(msgspec.structs.replace(found, bill=bill))
    assert any("is known:" in each for each in said) == (by != "team")
    assert any("is known:" in each for each in words.notes(found)) == (by == "request")  # the week has tenants


def test_a_wide_table_has_the_classes_that_somebody_has() -> None:
    found = bills.week()
    heads = [each.head for each in columns.shown(found, columns.WIDE)]
    assert {"PRODUCTIVE", "IDLE", "UNALLOCATED", "UNMEASURED", "STARTING"} <= set(heads)
    assert not {"LOW", "STRANDED", "ABSENT", "HOST", "SPREAD"} & set(heads)


def renamed(found: Statement, name: str) -> Statement:
    first, *others = found.bill.lines
    line = msgspec.structs.replace(first, key=name, id=name)
    bill = msgspec.structs.replace(found.bill, lines=(line, *others), unpriced=(name,), sources=(name,))
    return msgspec.structs.replace(found, bill=bill)


def test_hostile_names_are_only_text() -> None:
    found = renamed(bills.week(), HOSTILE)
    for text in (table.render(found), table.render(found, wide=True), markdown.render(found)):
        assert "\x1b" not in text
        assert "\x00" not in text
        assert "\u202e" not in text
    said = markdown.render(found)
    assert "<script" not in said.replace("\\<script", "")
    assert "\n# head" not in said
    assert "](javascript" not in said.replace("\\](", "")
    assert "[red]rich[/]" in " ".join(table.render(found, wide=True, width=400).split())
    assert plain.loads(json.render(found))["lines"][0]["key"] == HOSTILE
    assert next(reader.DictReader(StringIO(csv.render(found))))["key"] == HOSTILE


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_a_spreadsheet_computes_nothing_from_a_name(name: str) -> None:
    row = next(reader.DictReader(StringIO(csv.render(renamed(bills.week(), name)))))
    assert row["key"] == f"'{name}"


def test_a_window_beyond_what_meters_watched_is_no_bill() -> None:
    end = months.NOW
    with pytest.raises(IncompleteError, match="no meter watched"):
        bills.week(window=Window(end + DAY, end + 2 * DAY))
    found = bills.week(window=Window(months.OCTOBER.began - DAY, end + DAY))
    assert found.window == Window(months.OCTOBER.began, end)
    said = " ".join(words.notes(found))
    assert "the ledger begins at 2026-10-01T00:00:00Z" in said
    assert "until 2026-11-26T12:00:00Z" in said
    assert "no comparison" in said
    assert found.earlier is None
    assert {row[-1] for row in columns.rows(found, columns.NARROW)} == {""}


@given(st.integers(0, 2**60))
def test_money_is_never_shown_as_nothing(micro: int) -> None:
    shown = words.money(micro)
    assert (shown == "0.00") == (micro == 0)
    assert words.exact(micro) * 10**6 == micro


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [(5, None, ""), (0, 0, ""), (5, 0, "new"), (110, 100, "+10%"), (0, 100, "-100%"), (5000, 100, "×50")],
)
def test_changes(now: int, before: int | None, said: str) -> None:
    assert words.change(now, before) == said


@pytest.mark.parametrize(
    ("millis", "said"),
    [(0, "0s"), (12, "12ms"), (45_000, "45s"), (12_000_000, "3h 20m"), (7 * DAY, "7d"), (7 * DAY + 1, "7d")],
)
def test_spans(millis: int, said: str) -> None:
    assert words.span(millis) == said


def test_the_cause_is_the_largest_class_of_unused_money() -> None:
    assert words.said(Line(key="a", cost=10, idle=3, low=2, productive=5)) == "held and idle (30%)"
    assert words.said(Line(key="a", cost=10, productive=10, held_ms=5, known_ms=5)) == ""
    assert words.said(Line(key="a", cost=10, unmeasured=10, held_ms=5)) == "not measured"


def test_budgets_add_up_in_every_form() -> None:
    found = bills.month()
    document = plain.loads(budget_json.render(found), parse_float=Decimal)
    jsonschema_rs.validate(budget_json.schema(), plain.loads(budget_json.render(found)))
    for field in ("spent", "forecast"):
        assert sum(team[field] for team in document["teams"]) == document[field]
    sheet = list(reader.DictReader(StringIO(budget_csv.render(found))))
    assert sum(Decimal(row["spent"]) for row in sheet) == document["spent"]


def test_shares_of_spenders_are_of_the_whole_bill() -> None:
    found = bills.week(top=2)
    ranks = spenders.ranked(found)
    assert [each.rank for each in ranks] == [1, 2]
    rest = found.bill.others.cost / found.bill.total if found.bill.others else 0
    assert sum(each.share for each in ranks) + rest == pytest.approx(1)
    hostile = renamed(bills.week(), HOSTILE)
    assert "\x1b" not in spenders_table.render(hostile) + spenders_markdown.render(hostile)


def test_a_job_is_the_sum_of_its_pods_in_every_form() -> None:
    found = bills.job()
    document = plain.loads(job_json.render(found), parse_float=Decimal)
    jsonschema_rs.validate(job_json.schema(), plain.loads(job_json.render(found)))
    assert sum(pod["cost"] for pod in document["pods"]) == document["cost"] == Decimal("96.666667")
    assert document["lost"] == 4  # half an hour of four GPUs at two an hour
    assert [each["phase"] for each in document["phases"]] == ["queued", "starting", "running"]
    pods = tuple(msgspec.structs.replace(pod, name=HOSTILE, why=HOSTILE) for pod in found.pods)
    hostile = msgspec.structs.replace(
        found, pods=pods, team=HOSTILE, workload=HOSTILE, found=msgspec.structs.replace(found.found, name=HOSTILE)
    )
    for text in (job_table.render(hostile), job_markdown.render(hostile)):
        assert "\x1b" not in text
        assert "\n# head" not in text
    assert "<script" not in job_markdown.render(hostile).replace("\\<script", "")


def test_inference_adds_up_in_every_form() -> None:
    found = bills.served()
    document = plain.loads(inference_json.render(found), parse_float=Decimal)
    jsonschema_rs.validate(inference_json.schema(), plain.loads(inference_json.render(found)))
    assert sum(row["cost"] for row in document["rows"]) == document["cost"] == 840
    assert all(row["promptCost"] + row["outputCost"] == row["cost"] for row in document["rows"])
    sheet = list(reader.DictReader(StringIO(inference_csv.render(found))))
    assert sum(Decimal(row["idle"]) for row in sheet) == document["idle"]
    rows = tuple(msgspec.structs.replace(row, model=HOSTILE, tenant=HOSTILE) for row in found.rows)
    hostile = msgspec.structs.replace(found, rows=rows)
    for text in (inference_table.render(hostile), inference_markdown.render(hostile)):
        assert "\x1b" not in text
        assert "\n# head" not in text
    assert "<script" not in inference_markdown.render(hostile).replace("\\<script", "")


@pytest.mark.parametrize(
    ("micro", "said"),
    [(Fraction(25_641_025), "25.64"), (Fraction(1_234_567_890), "1,234.57"), (Fraction(1, 3), "3.33e-07"),
     (Fraction(33_333), "0.03333"), (Fraction(0), "0.00"), (None, "")],
)  # fmt: skip
def test_prices_far_below_a_cent(micro: Fraction | None, said: str) -> None:
    assert inference.price(micro) == said


@pytest.mark.parametrize("month", [months.OCTOBER, months.NOVEMBER])
def test_every_part_of_a_month_adds_up_to_the_bill(month: Window) -> None:
    found = bills.page(month)
    total = Decimal(found.total) / 10**6
    document = plain.loads(monthly_json.render(found), parse_float=Decimal)
    jsonschema_rs.validate(monthly_json.schema(), plain.loads(monthly_json.render(found)))
    assert document["total"] == total
    assert sum(team["line"]["cost"] for team in document["teams"]) == total
    assert sum(document["classes"].values()) == total
    assert sum(pool["cost"] for pool in document["pools"]) == total
    sheet = list(reader.DictReader(StringIO(monthly_csv.render(found))))
    assert sum(Decimal(row["spent"]) for row in sheet) == total
    shown = f"{total:,.2f}"
    for each in monthly.sections(found):
        if each.title in ("Teams", "Where the money went", "Pools", "Biggest spenders"):
            assert shown in each.rows[-1], each.title
    assert document["spot"]["saved"] == document["spot"]["onDemand"] - document["spot"]["compared"]


def test_a_month_by_hand() -> None:
    """October has four Mondays: five hours on spot, pushed out with half an hour of four GPUs unsaved."""
    found = bills.page(months.OCTOBER)
    assert found.lost == {"research": 4 * 4_000_000}
    assert found.spot.paid == 31 * 24 * 16_000_000
    assert found.spot.on_demand == 31 * 24 * 55_040_000
    assert found.before is None  # the ledger begins in October
    assert bills.page().earlier("search") == 31 * 24 * 10_000_000
    assert bills.page().fleet_median == pytest.approx(0.298, abs=0.001)
    (research,) = [each for each in found.waits if each.team == "research"]
    assert (research.queued, research.starting) == ((120_000, 120_000), (360_000, 360_000))
    assert [each[:2] for each in monthly.wastes(found)] == [
        ("(unused)", "unallocated"), ("idlers/notebook", "idle"), ("search/chat", "idle")]  # fmt: skip


def test_a_page_holds_nothing_that_a_name_brought() -> None:
    found = bills.page()
    teams = tuple(msgspec.structs.replace(team, team=HOSTILE, budget=1) for team in found.budgets.teams)
    workloads = renamed(found.workloads, HOSTILE)
    hostile = msgspec.structs.replace(
        found,
        platform=HOSTILE,
        budgets=msgspec.structs.replace(found.budgets, teams=teams, found=renamed(found.found, HOSTILE)),
        workloads=workloads,
        waits=tuple(msgspec.structs.replace(each, team=HOSTILE) for each in found.waits),
        lost={HOSTILE: 5},
    )
    html = monthly_html.render(hostile)
    assert "<script" not in html
    assert "javascript:x" in html  # as text
    assert 'href="' not in html
    assert "src=" not in html
    for text in (monthly_table.render(hostile), monthly_markdown.render(hostile), html):
        assert "\x1b" not in text
        assert "\n# head" not in text
    assert "<script" not in monthly_markdown.render(hostile).replace("\\<script", "")


def test_a_page_needs_nothing_from_anywhere() -> None:
    html = monthly_html.render(bills.page())
    assert "http" not in html.replace("https://", "http")
    assert "<link" not in html
    assert "@media print" in html
    assert html.count("<section>") == html.count("</section>") == len(monthly.sections(bills.page())) + 2


def test_a_column_that_nothing_fills_is_not_shown() -> None:
    found = bills.week()
    alone = msgspec.structs.replace(found, previous=None, earlier=None)
    for form in (table.render, markdown.render):
        assert "CHANGE" in form(found)
        assert "CHANGE" not in form(alone)
    assert "CHANGE" not in table.render(alone, wide=True)


def test_little_is_not_nothing() -> None:
    assert [words.hours(each) for each in (0, 1, 179_999, 180_000, 3_600_000)] == ["0.0", "<0.1", "<0.1", "0.1", "1.0"]


def test_where_nobody_has_a_budget_it_is_said() -> None:
    found = bills.month()
    poor = [msgspec.structs.replace(each, budget=None) for each in found.teams]
    said = "no team has a budget: teams[].budget.monthly declares one"
    assert said not in budget.notes(found)
    assert said in budget.notes(msgspec.structs.replace(found, teams=tuple(poor)))


def test_each_tenant_of_a_model_is_compared_with_itself() -> None:
    found = bills.week("served")
    lines = {line.id: line for line in found.bill.lines if line.key}
    assert found.before(lines["web"]) == 2 * (found.before(lines["mobile"]) or 0)
