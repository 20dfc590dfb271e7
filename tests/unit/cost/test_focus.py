"""The bill as FOCUS data: it adds up to the bill, and its columns are as the specification asks."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plimsoll.cost.bill import Query, bill
from plimsoll.cost.focus import DAY, Export, Exported, export
from plimsoll.cost.focus_columns import Version
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.lines import COST
from plimsoll.cost.price import Carve, Tariff
from plimsoll.cost.sample import HOUR, Ended, Gpu, Hold, Instance, Node, Pod, Record, Tokens, Watch, measured
from plimsoll.cost.split import Split
from plimsoll.cost.store import open_store
from plimsoll.errors import IncompleteError, InputError
from tests.unit.cost.truth import SKU, START, TARIFF, generate, part

MONTH = (START, START + 31 * DAY)
SEVERAL = settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
Row = dict[str, Any]


def opened(records: list[Record]) -> Ledger:
    ledger = Ledger(open_store(":memory:"))
    ledger.write(records)
    return ledger


def asked(version: Version = "1.2", **more: Any) -> Export:
    return Export(version=version, began=MONTH[0], ended=MONTH[1], platform="prod", **more)


def rows(ledger: Ledger, folder: Path, wanted: Export, tariff: Tariff = TARIFF) -> tuple[Exported, list[Row]]:
    """What was written as Parquet, read back."""
    path = folder / "focus.parquet"
    done = export(ledger, tariff, wanted, path)
    with duckdb.connect() as db:
        db.execute("SET timezone = 'UTC'")
        found = db.execute("SELECT * FROM read_parquet(?)", [str(path)])
        names = [each[0] for each in found.description or ()]
        return done, [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def micro(row: Row) -> int:
    return int(row["EffectiveCost"] * 1_000_000)


@SEVERAL
@given(
    seed=st.integers(0, 10_000), version=st.sampled_from(["1.2", "1.3"]), step=st.sampled_from([DAY, HOUR]),
    split=st.sampled_from(["measured", "requested", "even"]), carved=st.booleans(),
)  # fmt: skip
def test_all_rows_together_are_the_bill(
    tmp_path_factory: pytest.TempPathFactory, seed: int, version: Version, step: int, split: Split, carved: bool
) -> None:
    truth = generate(Random(seed), nodes=3, pods=20, hours=30 if step == DAY else 8)
    ledger = opened(truth.records())
    carve = Carve(per_core=1000, per_gib=100) if carved else Carve()
    wanted = asked(version, step=step, split=split, carve=carve)
    done, found = rows(ledger, tmp_path_factory.mktemp("focus"), wanted)
    query = Query(by="job", began=MONTH[0], ended=MONTH[1], split=split, carve=carve)
    whole = bill(ledger, TARIFF, query)
    assert sum(map(micro, found)) == whole.total == done.total
    assert done.rows == len(found)
    assert all(row["BilledCost"] == row["ListCost"] == row["ContractedCost"] == row["EffectiveCost"] for row in found)
    assert abs(sum(row["x_GpuSeconds"] for row in found) * 1000 - sum(line.gpu_ms for line in whole.lines)) < len(found)
    # Of a device that was lost something may have been measured later: in a period in which nobody pays for it.
    assert sum(row["x_BusySeconds"] for row in found) * 1000 <= sum(line.busy_ms for line in whole.lines)
    periods: dict[int, int] = defaultdict(int)
    for row in found:
        periods[round(row["ChargePeriodStart"].timestamp() * 1000)] += micro(row)
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"] <= row["BillingPeriodEnd"]
    for began, cost in list(periods.items())[:5]:
        part = msgspec.structs.replace(query, began=began, ended=began + step)
        assert abs(bill(ledger, TARIFF, part).total - cost) <= 1


@SEVERAL
@given(seed=st.integers(0, 10_000), weighted=st.booleans())
def test_each_job_pays_what_it_truly_cost(tmp_path_factory: pytest.TempPathFactory, seed: int, weighted: bool) -> None:
    truth = generate(Random(seed), nodes=3, pods=20)
    wanted = asked(split="requested" if weighted else "even")
    _, found = rows(opened(truth.records()), tmp_path_factory.mktemp("focus"), wanted)
    exact = truth.exact(*MONTH, weighted=weighted)
    jobs: dict[str, Fraction] = defaultdict(Fraction)
    for pod in truth.pods:
        jobs[f"{pod.job}-uid" if pod.job else pod.uid] += exact[pod.uid]
    for kind in ("unallocated", "stranded", "absent"):
        jobs[kind] = exact[kind]
    billed: dict[str, list[int]] = defaultdict(list)
    for row in found:
        unused = row["x_IdleClass"] in ("unallocated", "stranded", "absent")
        billed[row["x_IdleClass"] if unused else row["ResourceId"]].append(micro(row))
    for name, cost in jobs.items():
        assert abs(sum(billed[name]) - cost) < max(len(billed[name]), 1), name


@SEVERAL
@given(seed=st.integers(0, 10_000))
def test_classes_are_those_of_the_bill(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    truth = generate(Random(seed), nodes=3, pods=20)
    ledger = opened(truth.records())
    _, found = rows(ledger, tmp_path_factory.mktemp("focus"), asked())
    for day in (START, START + DAY):
        answer = bill(ledger, TARIFF, Query(by="pool", began=day, ended=day + DAY))
        today = [row for row in found if row["ChargePeriodStart"].timestamp() * 1000 == day]
        for kind in COST:
            own = [micro(row) for row in today if row["x_IdleClass"] == kind]
            billed = sum(getattr(line, kind) for line in answer.lines)
            assert abs(sum(own) - billed) <= len(own) + 2 * len(answer.lines), kind


NASTY = "o'b\"rien,\n\\ü}"


def small(pool: str = "gold") -> list[Record]:
    """One node of two GPUs for three hours: one is held by a hostile pod, one is cut by MIG, and a model answers."""
    return [
        Node(uid="n", name="n", pool=pool, sku=SKU, capacity="spot", provider="aws", region="eu-west-1",
             instance_type="p5.48xlarge", gpus=2, began=START),
        Gpu(node="n", gpu="g0", began=START), Gpu(node="n", gpu="g1", began=START),
        Instance(node="n", gpu="g1", instance="1", profile="1g.10gb", parts=part("1g.10gb"), began=START),
        Pod(uid="u1", namespace=NASTY, name="w", node="n", team=NASTY, job=f"{NASTY}/j", job_uid="ju",
            labels={"app": NASTY, "plimsoll/team": "mine"}, began=START),
        Hold(pod="u1", node="n", gpu="g0", began=START),
        Pod(uid="u2", namespace="ns", name="chat-0", node="n", team="blue", workload="ns/chat", model="llama",
            began=START + HOUR),
        Hold(pod="u2", node="n", gpu="g1", instance="1", parts=part("1g.10gb"), began=START + HOUR),
        measured("g0", "", "u1", START, START + HOUR, 0.5, watts=700),
        measured("g0", "", "u1", START + HOUR, START + 2 * HOUR, 0.0, watts=70),
        Tokens(model="llama", tenant="x", began=START, ended=START + HOUR, requests=3, prompt=10**10, output=7),
        Tokens(model="llama", pod="u2", began=START, ended=START + HOUR, requests=4, prompt=10**10 + 5, output=9),
        Watch(meter="m", began=START, ended=START + 3 * HOUR),
    ]  # fmt: skip


GOLD = Tariff({"gold": (4_000_000, "test")})


def test_a_row_says_whose_it_is_and_what_it_did(tmp_path: Path) -> None:
    done, found = rows(opened(small()), tmp_path, asked(), GOLD)
    assert (done.total, done.horizon, done.unpriced) == (12_000_000, START + 3 * HOUR, ())
    busy, idle, unmeasured = (
        next(row for row in found if row["ResourceId"] == "ju" and row["x_IdleClass"] == kind)
        for kind in ("productive", "idle", "unmeasured")
    )
    assert [row["EffectiveCost"] for row in (busy, idle, unmeasured)] == [2, 2, 2]
    assert (busy["x_GpuSeconds"], busy["x_BusySeconds"], idle["x_BusySeconds"]) == (3600, 1800, 0)
    assert busy["x_Joules"] + idle["x_Joules"] == 770 * 3600
    assert (busy["ConsumedQuantity"], busy["ConsumedUnit"], busy["SubAccountName"]) == (1, "GPU-Hours", NASTY)
    assert (busy["ResourceName"], busy["ResourceType"], busy["x_Team"]) == (f"{NASTY}/j", "Job", NASTY)
    tags = {"app": NASTY, "plimsoll/team": NASTY, "plimsoll/namespace": NASTY, "plimsoll/pool": "gold"}
    assert msgspec.json.decode(busy["Tags"]) == tags
    assert (busy["PricingCategory"], busy["RegionId"], busy["SkuId"]) == ("Dynamic", "eu-west-1", SKU)
    engine = next(row for row in found if row["ResourceId"] == "ns/chat")
    assert (engine["x_GpuProfile"], engine["ResourceType"], engine["x_Model"]) == ("1g.10gb", "Workload", "llama")
    assert abs(engine["x_GpuSeconds"] - Decimal(7200) / 7) < Decimal("0.00001")
    free = {row["x_IdleClass"]: row for row in found if row["ResourceType"] == "Pool" and row["x_IdleClass"]}
    assert set(free) == {"unallocated", "stranded"}
    assert free["stranded"]["ResourceId"] == "prod/gold"
    answered = {row["x_Tenant"]: row for row in found if row["x_Requests"]}
    counts = {of: (row["x_Requests"], row["x_PromptTokens"], row["x_OutputTokens"]) for of, row in answered.items()}
    assert counts == {"x": (3, 10**10, 7), None: (1, 5, 2)}  # the engine counted those of x, too
    assert (answered["x"]["EffectiveCost"], answered["x"]["x_IdleClass"]) == (0, None)


def test_text_and_parquet_say_the_same(tmp_path: Path) -> None:
    ledger = opened(small())
    _, found = rows(ledger, tmp_path, asked("1.3"), GOLD)
    export(ledger, GOLD, asked("1.3"), tmp_path / "focus.csv")
    with (tmp_path / "focus.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == len(found)
    for text, row in zip(listed, found, strict=True):
        assert list(text) == list(row)
        for name, value in row.items():
            if name.endswith(("PeriodStart", "PeriodEnd")):
                assert text[name] == value.strftime("%Y-%m-%dT%H:%M:%SZ")
            elif isinstance(value, Decimal):
                assert "." in text[name]  # readers take a column of whole numbers for integers
                assert Decimal(text[name]) == value
            else:
                assert text[name] == ("" if value is None else str(value))


def test_equal_ledgers_give_equal_bytes(tmp_path: Path) -> None:
    records = generate(Random(5), nodes=3, pods=25).records()
    shuffled = Random(1).sample(records, len(records))
    for name, each in (("one", records), ("two", shuffled)):
        export(opened(each), TARIFF, asked("1.3"), tmp_path / f"{name}.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_any_store_gives_the_same_rows(ledger: Ledger, tmp_path: Path) -> None:
    records = generate(Random(11), nodes=3, pods=25).records()
    ledger.write(records)
    _, found = rows(ledger, tmp_path, asked("1.3"))
    _, same = rows(opened(records), tmp_path, asked("1.3"))
    assert found == same


def test_tables_of_others_stay(ledger: Ledger, tmp_path: Path) -> None:
    ledger.store.run("CREATE TABLE b_mine (x INTEGER)")
    ledger.store.run("CREATE VIEW b_seen AS SELECT * FROM b_mine")
    ledger.write(small())
    export(ledger, GOLD, asked(step=HOUR), tmp_path / "f.csv")
    assert ledger.store.rows("SELECT * FROM b_seen") == []


def test_an_instance_whose_number_comes_back_has_its_own_profile(tmp_path: Path) -> None:
    def life(name: str, profile: str, began: int, ended: int) -> list[Record]:
        share = part(profile)
        return [
            Instance(node="n", gpu="g1", instance="1", profile=profile, parts=share, began=began + 1),
            Pod(uid=name, namespace="ns", name=name, node="n", began=began),
            Hold(pod=name, node="n", gpu="g1", instance="1", parts=share, began=began),
            Ended(kind="pod", subject=(name,), moment=ended),
            Ended(kind="instance", subject=("n", "g1", "1"), moment=ended),
        ]

    cuts = [*life("a", "1g.10gb", START, START + HOUR), *life("b", "3g.40gb", START + 2 * HOUR, START + 3 * HOUR)]
    node = [each for each in small() if isinstance(each, Node | Gpu | Watch)]
    _, found = rows(opened([*node, *cuts]), tmp_path, asked(), GOLD)
    assert {row["ResourceId"]: row["x_GpuProfile"] for row in found if row["ResourceType"] == "Pod"} == {
        "a": "1g.10gb", "b": "3g.40gb",
    }  # fmt: skip


# FOCUS 1.3, "Cost and Usage": columns that must be there, and of these the ones that may not be null for usage.
MANDATORY = """
    BilledCost BillingAccountId BillingAccountName BillingCurrency BillingPeriodEnd BillingPeriodStart ChargeCategory
    ChargeClass ChargeDescription ChargePeriodEnd ChargePeriodStart ContractedCost EffectiveCost InvoiceIssuerName
    ListCost PricingQuantity PricingUnit ProviderName PublisherName ServiceCategory ServiceName
""".split()  # noqa: SIM905
ADDED = {
    "1.2": ["SubAccountId", "SubAccountName", "SubAccountType"],
    "1.3": [f"Allocated{each}" for each in ("MethodDetails", "MethodId", "ResourceId", "ResourceName", "Tags")]
    + ["HostProviderName", "ServiceProviderName"],
}
FILLED = {
    *MANDATORY, "ConsumedQuantity", "ConsumedUnit", "ChargeFrequency", "HostProviderName", "PricingCategory",
    "ResourceId", "ResourceType", "ServiceProviderName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId",
} - {"ChargeClass"}  # fmt: skip
JSON = ("Tags", "AllocatedTags", "SkuPriceDetails", "AllocatedMethodDetails")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_columns_are_as_the_specification_asks(tmp_path: Path, version: Version) -> None:
    truth = generate(Random(8), nodes=4, pods=40)
    _, found = rows(opened([*truth.records(), *small()]), tmp_path, asked(version))
    names = list(found[0])
    focus = [name for name in names if not name.startswith("x_")]
    assert names == [*sorted(focus), *(name for name in names if name.startswith("x_"))]
    assert set(MANDATORY) | set(ADDED[version]) <= set(names)
    assert not set(ADDED["1.2" if version == "1.3" else "1.3"]) & set(names)
    assert all(re.fullmatch(r"(x_)?[A-Z][A-Za-z0-9]*", name) for name in names)
    for row in found:
        assert not [name for name in names if name in FILLED and row[name] is None]
        assert not [name for name, value in row.items() if isinstance(value, str) and not value.strip()]
        assert (row["ChargeCategory"], row["ChargeFrequency"]) == ("Usage", "Usage-Based")
        assert all(isinstance(row[name], Decimal) for name in names if name.endswith(("Cost", "Quantity")))
        assert (row["RegionId"] is None) == (row["RegionName"] is None)
        for name in JSON:
            if row.get(name) is not None:
                assert isinstance(msgspec.json.decode(row[name]), dict)
    prices = {(row["SkuPriceId"], row["SkuId"], row["SkuPriceDetails"]) for row in found}
    assert len({price for price, _, _ in prices}) == len(prices)  # one SKU and one description each


def test_what_was_allocated_makes_the_price_of_its_pool(tmp_path: Path) -> None:
    truth = generate(Random(8), nodes=4, pods=40)
    done, found = rows(opened([*truth.records(), *small("gift")]), tmp_path, asked("1.3", split="requested"))
    assert done.unpriced == ("n",)
    ratios: dict[tuple[object, ...], Decimal] = defaultdict(Decimal)
    costs: dict[tuple[object, ...], Decimal] = defaultdict(Decimal)
    for row in found:
        if row["x_IdleClass"] is None:  # tokens: no part of a pool's price
            assert row["AllocatedMethodId"] is row["AllocatedMethodDetails"] is row["AllocatedTags"] is None
            continue
        assert row["AllocatedMethodId"] == "requested"
        held = row["x_IdleClass"] in ("productive", "low", "idle", "unmeasured")
        assert (row["AllocatedResourceId"] is not None) == (row["AllocatedResourceName"] is not None) == held
        element = msgspec.json.decode(row["AllocatedMethodDetails"], type=dict[str, list[dict[str, Any]]])["Elements"][
            0
        ]
        text = re.search(r'"AllocatedRatio":([0-9.]+)', row["AllocatedMethodDetails"])
        assert text is not None
        origin = (row["ResourceId"], row["SkuPriceId"], row["ChargePeriodStart"])
        ratios[origin] += Decimal(text[1])
        costs[origin] += row["EffectiveCost"]
        assert element["UsageUnit"] == "GPU-Hours"
    assert set(ratios.values()) == {Decimal(1)}
    for row in found:
        origin = (row["ResourceId"], row["SkuPriceId"], row["ChargePeriodStart"])
        if row["x_IdleClass"] and costs[origin]:
            ratio = Decimal(str(msgspec.json.decode(row["AllocatedMethodDetails"])["Elements"][0]["AllocatedRatio"]))
            assert abs(ratio * costs[origin] - row["EffectiveCost"]) < Decimal("0.000001")


def test_the_currency_account_and_invoice_are_as_given(tmp_path: Path) -> None:
    tariff = Tariff({"gold": (4_000_000, "test")}, "EUR")
    _, found = rows(opened(small()), tmp_path, asked(account="cc-17", invoice="2025/12'7"), tariff)
    assert {(row["BillingCurrency"], row["BillingAccountId"], row["InvoiceId"]) for row in found} == {
        ("EUR", "cc-17", "2025/12'7")
    }


def test_a_month_without_a_meter_and_a_file_that_cannot_be(tmp_path: Path) -> None:
    ledger = opened(small())
    later = msgspec.structs.replace(asked(), began=MONTH[1], ended=MONTH[1] + 28 * DAY)
    with pytest.raises(IncompleteError, match="no meter watched any of January 2026"):
        export(ledger, GOLD, later, tmp_path / "f.csv")
    with pytest.raises(InputError, match=r"End it in \.csv or \.parquet|not told by f\.xls"):
        export(ledger, GOLD, asked(), tmp_path / "f.xls")
    with pytest.raises(InputError, match="No such file"):
        export(ledger, GOLD, asked(), tmp_path / "nowhere" / "f.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_stays_when_an_export_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.csv"
    path.write_text("before")

    def full(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("plimsoll.cost.focus._join", full)
    with pytest.raises(InputError, match="No space left"):
        export(opened(small()), GOLD, asked(), path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", [DAY, HOUR])
def test_nothing_is_charged_of_the_time_before_the_first_meter(tmp_path: Path, step: int) -> None:
    first, ended = START + 3 * DAY + 5 * HOUR // 2, START + 4 * DAY
    ledger = opened([
        Node(uid="n", name="n", pool="gold", sku=SKU, capacity="spot", provider="aws", region="eu-west-1",
             instance_type="p5.48xlarge", gpus=2, began=START - DAY),
        Watch(meter="m", began=first, ended=ended),
    ])  # fmt: skip
    done, found = rows(ledger, tmp_path, asked(step=step), GOLD)
    whole = bill(ledger, GOLD, Query(by="job", began=MONTH[0], ended=MONTH[1]))
    assert done.first == first
    assert sum(map(micro, found)) == whole.total == 4_000_000 * (ended - first) // HOUR
    assert min(row["ChargePeriodEnd"] for row in found).timestamp() * 1000 > first


def test_progress_is_told_once_per_period(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    export(opened(small()), GOLD, asked(step=HOUR), tmp_path / "f.csv", lambda *each: told.append(each))
    assert told == [("2025-12-01", done, 3) for done in range(3)]
