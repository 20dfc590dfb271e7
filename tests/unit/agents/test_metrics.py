"""The meter's page of metrics says what bills say, bounded, and in the form that Prometheus reads."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.agents.meter import exposition, metrics
from plimsoll.agents.meter.exposition import OTHER, Family, Sample
from plimsoll.agents.meter.metrics import LIMIT, costs, health, page
from plimsoll.cost import bill as bills
from plimsoll.cost import month
from plimsoll.cost.bill import NotConservedError, Query
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Tariff
from plimsoll.cost.sample import HOUR, Ended, Gpu, Hold, Node, Pod, Quote, Record, Tokens, Watch, measured
from plimsoll.cost.served import inference
from plimsoll.cost.store import open_store
from plimsoll.cost.window import DAY
from plimsoll.spec.load import from_mapping
from plimsoll.spec.model import Platform
from tests.unit.cost.test_shares import END, TARIFF, node, pod
from tests.unit.cost.truth import SKU, START, generate
from tests.unit.cost.truth import TARIFF as TRUE_TARIFF
from tests.unit.pillars.test_observability_rules import promtool

__all__ = ["promtool"]  # a fixture

_SERIES = re.compile(r'(plimsoll_\w+)(?:\{((?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? (-?[0-9]+(?:\.[0-9]+)?)')
_PAIR = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
Read = dict[str, dict[tuple[tuple[str, str], ...], float]]


def read(text: str) -> Read:
    """A page by name and labels; anything that is no line of the format, or is there twice, fails."""
    found: Read = defaultdict(dict)
    typed = ""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            typed = line.split()[2]
        elif not line.startswith("# HELP "):
            match = _SERIES.fullmatch(line)
            assert match, line
            assert match[1] == typed
            labels = tuple(
                (name, value.replace(r"\n", "\n").replace(r"\"", '"').replace(r"\\", "\\"))
                for name, value in _PAIR.findall(match[2] or "")
            )
            assert labels not in found[match[1]], line
            found[match[1]][labels] = float(match[3])
    return found


def summed(series: dict[tuple[tuple[str, str], ...], float], by: str) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for labels, value in series.items():
        found[dict(labels).get(by, "")] += value
    return dict(found)


def declared(**more: Any) -> Platform:
    return from_mapping(
        {
            "pools": [{"name": "gold", "gpu": SKU, "gpusPerNode": 8, "nodes": {"max": 9}}],
            "teams": [{"name": "a", "quota": {"gold": 8}, "budget": {"monthly": 1000}}, {"name": "b"}],
            **more,
        }
    )


def test_teams_classes_and_prices(ledger: Ledger) -> None:
    """One GPU at ten dollars an hour for ten hours: a holds it for three, one of them idle; then b for one."""
    ledger.write([*node(), *pod("a", 1, 4), *pod("b", 5, 6)])
    ledger.write([measured("g0", "", "a", START + HOUR, START + 3 * HOUR, 0.9, 0.5),
                  measured("g0", "", "a", START + 3 * HOUR, START + 4 * HOUR, 0.0)])  # fmt: skip
    found = read(costs(ledger, TARIFF, declared(), END))
    day = found["plimsoll_cost_last_day"]
    assert day == {
        (("team", "a"), ("class", "productive")): 20,
        (("team", "a"), ("class", "idle")): 10,
        (("team", "b"), ("class", "unmeasured")): 10,
        (("class", "unallocated"),): 60,
    }
    assert found["plimsoll_cost_month_to_date"] == day
    assert found["plimsoll_cost_last_hour"] == {(("class", "unallocated"),): 10}
    assert found["plimsoll_budget_month"] == {(("team", "a"),): 1000}
    assert found["plimsoll_node_price_per_hour"] == {(("node", "n"), ("pool", "single"), ("source", "test")): 10}
    assert found["plimsoll_cost_workload_last_day"] == {(("workload", "ns/worker-0"),): 30}  # both pods have its name
    assert found["plimsoll_cost_conserved"] == {(): 1}
    assert found["plimsoll_cost_info"] == {(("currency", "USD"),): 1}
    assert found["plimsoll_ledger_behind_seconds"] == {(): 0}
    assert "plimsoll_node_unpriced" not in found
    assert "plimsoll_price_age_days" not in found  # a price without a day


def test_the_month_is_forecast_from_the_hours_there_were(ledger: Ledger) -> None:
    """Ten hours of December lived, all of it a's: the other hours cost as much."""
    ledger.write([*node(), *pod("a", 0, None)])
    found = read(costs(ledger, TARIFF, declared(), END))["plimsoll_cost_forecast_month"]
    assert found[("team", "a"),] == pytest.approx(31 * 24 * 10)


def test_the_forecast_is_that_of_the_budgets_and_days_are_billed_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing on weekends, all the time on the other days of two weeks."""
    end = START + 14 * DAY + HOUR
    worked = [pod(f"a{day}", 24 * day, 24 * day + 24, team="a") for day in range(14) if day % 7 < 5]
    ledger.write([*node(), *(record for each in worked for record in each),
                  Watch(meter="m", began=START, ended=end)])  # fmt: skip
    past: metrics.Past = {}
    found = read(costs(ledger, TARIFF, None, end, past=past))["plimsoll_cost_forecast_month"]
    same = month.budgets(ledger, TARIFF, Query(by="team", began=START, ended=START + 31 * DAY), {})
    assert found == {(("team", each.team),): each.forecast / 1e6 for each in same.teams if each.team}
    assert found[("team", "a"),] == pytest.approx((10 + 11 + 2) * 240 + 10, abs=240)
    assert len(past) == 14
    asked: list[Query] = []

    def counted(ledger: Ledger, tariff: Tariff, query: Query) -> bills.Bill:
        asked.append(query)
        return bills.bill(ledger, tariff, query)

    monkeypatch.setattr(metrics, "bill", counted)
    again = read(costs(ledger, TARIFF, None, end + HOUR, past=past))["plimsoll_cost_forecast_month"]
    assert again[("team", "a"),] == pytest.approx(found[("team", "a"),], rel=0.1)
    assert len(asked) < 10


def test_the_first_moment_of_a_month_has_a_page(ledger: Ledger) -> None:
    ledger.write([*node(), *pod("a", 0, None)])
    assert read(costs(ledger, TARIFF, declared(), START))["plimsoll_cost_conserved"] == {(): 1}
    assert read(costs(ledger, TARIFF, declared(), START + 1))["plimsoll_cost_conserved"] == {(): 1}


def test_an_empty_ledger_says_nothing_of_money(ledger: Ledger) -> None:
    found = read(page(ledger, Tariff(), None, START, {"watching_seconds": 0}))
    assert set(found) == {"plimsoll_cost_info", "plimsoll_cost_conserved", "plimsoll_meter_watching_seconds"}


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32), back=st.integers(0, 20 * HOUR))
def test_every_window_adds_up_to_its_bill(seed: int, back: int) -> None:
    truth = generate(Random(seed), nodes=3, pods=20)
    store = open_store(":memory:")
    ledger = Ledger(store)
    ledger.write(truth.records())
    now = truth.horizon - back
    found = read(costs(ledger, TRUE_TARIFF, None, now))
    for name, began in (("last_hour", now - HOUR), ("last_day", now - DAY), ("month_to_date", START)):
        made = bills.bill(ledger, TRUE_TARIFF, Query(by="team", began=began, ended=now))
        shown = summed(found[f"plimsoll_cost_{name}"], "team")
        assert sum(shown.values()) == pytest.approx(made.total / 1e6, abs=1e-5)
        for line in made.lines:
            assert shown.get(line.key, 0) == pytest.approx(line.cost / 1e6, abs=1e-6)
    store.close()


# --- prices of nodes


def test_nodes_without_a_price_and_old_prices_are_named(ledger: Ledger) -> None:
    ledger.write([
        Node(uid="u1", name="n1", pool="gold", sku=SKU, gpus=8, began=START),
        Node(uid="u2", name="n2", pool="none", sku="H900", gpus=8, began=START),
        Node(uid="u3", name="n3", pool="none", sku="H900", gpus=8, began=START),
        Node(uid="u4", name="gone", pool="none", sku="H900", gpus=8, began=START),
        Ended(kind="node", subject=("u4",), moment=START + HOUR),
        Quote(scope="u3", moment=START - 100 * DAY, per_hour=1_500_000, source="invoice"),
        Watch(meter="m", began=START, ended=END),
    ])  # fmt: skip
    platform = declared(pools=[{"name": "gold", "gpu": SKU, "gpusPerNode": 8, "nodes": {"max": 9},
                                "price": {"perNodeHour": 55.04, "source": "list", "asOf": "2025-11-01"}}])  # fmt: skip
    found = read(costs(ledger, Tariff.of(platform), platform, END))
    source = "platform.yaml, 2025-11-01: list"
    assert found["plimsoll_node_price_per_hour"] == {
        (("node", "n1"), ("pool", "gold"), ("source", source)): 55.04,
        (("node", "n3"), ("pool", "none"), ("source", "invoice")): 1.5,
    }
    assert found["plimsoll_node_unpriced"] == {(("node", "n2"), ("pool", "none")): 1}
    assert found["plimsoll_price_age_days"] == {(("source", source),): 30, (("source", "invoice"),): 100}


# --- what was lost, what tokens cost


@pytest.mark.parametrize(("interval", "hours"), [("auto", 3), ("30m", 0.5)])
def test_lost_work_is_what_was_done_since_the_checkpoint(ledger: Ledger, interval: str, hours: float) -> None:
    ledger.write([*node(), *pod("a", 1, None)])
    ledger.write([Ended(kind="pod", subject=("a",), moment=START + 4 * HOUR, why="PreemptionByScheduler")])
    platform = declared(spot={"checkpoint": {"interval": interval}})
    found = read(costs(ledger, TARIFF, platform, END))["plimsoll_lost_work_last_day"]
    assert found == {(("team", "a"),): hours * 10}


def test_tokens_and_requests_cost_what_engines_cost(ledger: Ledger) -> None:
    """Ten hours of an engine are a hundred dollars, of which it did nothing for half."""
    ledger.write([*node(), *pod("a", 0, 10, model="m")])
    ledger.write([measured("g0", "", "a", START, START + 5 * HOUR, 0.5, 0.5),
                  measured("g0", "", "a", START + 5 * HOUR, END, 0.0)])  # fmt: skip
    ledger.write([
        Tokens(model="m", tenant="x", pod="a", began=START, ended=START + HOUR, requests=10, prompt=3_000_000,
               cached=1_000_000, output=0),
        Tokens(model="m", tenant="y", pod="a", began=START, ended=START + HOUR, requests=30, prompt=0,
               output=2_000_000),
    ])  # fmt: skip
    found = read(costs(ledger, TARIFF, None, END))
    rows = inference(ledger, TARIFF, Query(by="served", began=END - DAY, ended=END)).rows
    million, asked = found["plimsoll_inference_cost_per_million_tokens"], found["plimsoll_inference_cost_per_request"]
    assert {each.tenant for each in rows} == {"", "x", "y"}
    for each in rows:
        if each.requests:
            of_tenant = dict(asked)[next(key for key in asked if dict(key).get("tenant", "") == each.tenant)]
            assert of_tenant == pytest.approx(each.cost / each.requests / 1e6, abs=1e-9)
    assert len(asked) == 2
    prompt, output = million[("model", "m"), ("kind", "prompt")], million[("model", "m"), ("kind", "output")]
    assert prompt * 3 == pytest.approx(sum(each.prompt_cost for each in rows) / 1e6)
    assert output * 2 == pytest.approx(sum(each.output_cost for each in rows) / 1e6)
    assert million[("model", "m"), ("kind", "all")] == pytest.approx(100 / 5)  # idle time, too, by all tokens


# --- bounds


def many(count: int) -> list[Record]:
    found: list[Record] = [Watch(meter="m", began=START, ended=END)]
    for at in range(count):
        uid, team = f"n{at}", f"team-{at}"
        found += [
            Node(uid=uid, name=uid, pool="single" if at % 3 else "none", sku="H900", gpus=1, began=START),
            Gpu(node=uid, gpu=f"g{at}", began=START),
            Pod(uid=f"p{at}", namespace=team, name="w", node=uid, team=team, model=team, began=START),
            Hold(pod=f"p{at}", node=uid, gpu=f"g{at}", began=START),
            Ended(kind="pod", subject=(f"p{at}",), moment=END - at, why="Evicted"),
            Tokens(model=team, tenant="t", pod=f"p{at}", began=START, ended=START + HOUR, requests=1, output=5),
        ]
    return found


def test_a_page_of_many_teams_and_nodes_is_bounded_and_adds_up(ledger: Ledger) -> None:
    count = 3 * LIMIT
    ledger.write(many(count))
    teams = [{"name": f"team-{at}", "budget": {"monthly": 1}} for at in range(count)]
    teams[0]["quota"] = {"gold": 1}
    platform = declared(teams=teams)
    found = read(costs(ledger, TARIFF, platform, END))
    assert all(len(series) <= 4 * LIMIT for series in found.values())
    for name in ("cost_last_day", "cost_month_to_date", "lost_work_last_day"):
        by_team = summed(found[f"plimsoll_{name}"], "team")
        assert len(by_team) <= LIMIT + 2
        assert by_team[OTHER] > 0
        assert sum(by_team.values()) == pytest.approx(
            2 * count / 3 * 100, abs=1
        )  # but for the milliseconds in which nobody held one
    prices = summed(found["plimsoll_node_price_per_hour"], "node")
    assert sum(prices.values()) == pytest.approx(2 * count / 3 * 10)
    assert summed(found["plimsoll_node_unpriced"], "node")
    assert len(found["plimsoll_budget_month"]) <= LIMIT
    assert len(found["plimsoll_inference_cost_per_request"]) <= LIMIT + 1


def test_bills_that_do_not_add_up_are_not_shown(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise NotConservedError("the lines of this bill are +1.000 micro-units off")

    ledger.write([*node(), *pod("a", 0, None)])
    monkeypatch.setattr(metrics, "bill", wrong)
    found = read(costs(ledger, TARIFF, declared(), END))
    assert found["plimsoll_cost_conserved"] == {(): 0}
    assert not [name for name in found if name.startswith("plimsoll_cost_") and name.rpartition("_")[2] == "day"]
    assert found["plimsoll_node_price_per_hour"]


# --- the format


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), st.text(max_size=400), max_size=4), st.text())
def test_any_text_may_be_a_label(labels: dict[str, str], about: str) -> None:
    text = exposition.text([Family("plimsoll_x", about.replace("\r", " "), (Sample("1", labels),))])
    lines = text.split("\n")
    assert len(lines) == 4
    assert lines[2].endswith(" 1")
    kept = {name: value[: exposition._LONGEST] for name, value in labels.items() if value}
    unescaped = {
        name: re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), value)
        for name, value in _PAIR.findall(lines[2])
    }
    assert unescaped == kept


def test_a_series_is_there_once() -> None:
    twice = Family("plimsoll_x", "About.", (Sample("1", {"a": "x" * 400}), Sample("2", {"a": "x" * 401}), Sample("3")))
    assert read(exposition.text([twice])) == {"plimsoll_x": {(("a", "x" * 300),): 1, (): 3}}
    assert exposition.text([Family("plimsoll_x", "About.", ())]) == ""


@given(st.integers(-(10**18), 10**18))
def test_money_is_exact(micro: int) -> None:
    whole, _, rest = exposition.money(micro).lstrip("-").partition(".")
    assert int(whole) * 10**6 + int(rest.ljust(6, "0") or 0) == abs(micro)
    assert exposition.money(micro).startswith("-") == (micro < 0)


def test_health_is_by_name() -> None:
    text = health({"watching_seconds": 12.5, "readings": 8, "late": 3})
    assert read(text) == {
        "plimsoll_meter_watching_seconds": {(): 12.5},
        "plimsoll_meter_readings": {(): 8},
        "plimsoll_meter_late": {(): 3},
    }
    assert "# HELP plimsoll_meter_readings Devices that were read in the last round.\n" in text


def test_prometheus_takes_the_page(ledger: Ledger, promtool: Path) -> None:
    ledger.write([*node(), *pod("a", 1, None, model='m"\\\n'), *many(3)])
    text = page(ledger, TARIFF, declared(), END, dict.fromkeys(metrics.HEALTH, 1.5))
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr  # 3: it would name metrics otherwise
    assert "error while linting" not in done.stderr
    wrong = subprocess.run(
        [promtool, "check", "metrics"], input=f"{text}x y z\n".encode(), capture_output=True, check=False
    )
    assert wrong.returncode == 1
