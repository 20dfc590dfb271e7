"""Known cases by hand: MIG, sharers, prices, tenants, what nobody holds."""

from __future__ import annotations

from typing import Any

import pytest

from plimsoll.cost.bill import Bill, Line, Query, bill
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.price import Carve, Tariff
from plimsoll.cost.request import Weights
from plimsoll.cost.sample import (
    HOUR,
    Ended,
    Gpu,
    Hold,
    Instance,
    Node,
    Pod,
    Quote,
    Record,
    Running,
    Tokens,
    Usage,
    Watch,
    measured,
)
from tests.unit.cost.truth import SKU, START, part

END = START + 10 * HOUR
GPU = 10_000_000  # one GPU for an hour: ten dollars
TARIFF = Tariff({"gold": (8 * GPU, "test"), "single": (GPU, "test")})


def node(pool: str = "single", gpus: int = 1, **more: Any) -> list[Record]:
    return [
        Node(uid="n", name="n", pool=pool, sku=SKU, gpus=gpus, began=START, **more),
        *(Gpu(node="n", gpu=f"g{place}", began=START) for place in range(gpus)),
        Watch(meter="m", began=START, ended=END),
    ]


def pod(name: str, began: int, ended: int | None, gpu: str = "g0", instance: str = "", profile: str = "",
        weight: int = 1, **more: Any) -> list[Record]:  # fmt: skip
    """A pod on one device, from and until hours after START; its name is its uid and its team."""
    share = {"parts": part(profile)} if profile else {}
    found: list[Record] = [
        Pod(uid=name, namespace="ns", name="worker-0", node="n", began=START + began * HOUR, **{"team": name, **more}),
        Hold(pod=name, node="n", gpu=gpu, instance=instance, weight=weight, began=START + began * HOUR, **share),
    ]
    return found if ended is None else [*found, Ended(kind="pod", subject=(name,), moment=START + ended * HOUR)]


def ask(ledger: Ledger, by: Any = "team", tariff: Tariff = TARIFF, **more: Any) -> Bill:
    return bill(ledger, tariff, Query(by=by, began=START, ended=END, **more))


def lines(ledger: Ledger, by: Any = "team", **more: Any) -> dict[str, Line]:
    return {line.key: line for line in ask(ledger, by, **more).lines}


def test_a_pod_pays_from_its_schedule_until_it_ends(ledger: Ledger) -> None:
    ledger.write([*node(), *pod("a", 1, 4), Running(pod="a", moment=START + 2 * HOUR)])
    found = lines(ledger)
    assert (found["a"].cost, found["a"].starting, found["a"].gpu_ms) == (3 * GPU, GPU, 3 * HOUR)
    assert found["a"].unmeasured == 3 * GPU  # nobody looked: no verdict
    assert (found[""].unallocated, found[""].gpu_ms) == (7 * GPU, 7 * HOUR)


def test_seven_instances_are_a_gpu_and_one_alone_leaves_the_rest_stranded(ledger: Ledger) -> None:
    def cut(gpu: str, count: int) -> list[Record]:
        return [Instance(node="n", gpu=gpu, instance=f"{gpu}-{place}", profile="1g.10gb", parts=8, began=START)
                for place in range(count)]  # fmt: skip

    ledger.write([*node("gold", 8), *cut("g0", 7), *cut("g1", 1), *pod("a", 0, 10, "g0", "g0-0", "1g.10gb")])
    found = lines(ledger)
    assert abs(found["a"].cost - 10 * GPU / 7) < 1
    assert abs(found[""].stranded - 10 * GPU * 6 / 7) < 1
    assert found["a"].gpu_ms == round(10 * HOUR / 7)


def test_instances_that_claim_more_than_a_gpu_share_one(ledger: Ledger) -> None:
    cuts: list[Record] = [
        Instance(node="n", gpu="g0", instance=profile, profile=profile, parts=part(profile), began=START)
        for profile in ("4g.40gb", "3g.40gb")
    ]
    pods = [
        *pod("a", 0, 10, instance="4g.40gb", profile="4g.40gb"),
        *pod("b", 0, 10, instance="3g.40gb", profile="3g.40gb"),
    ]
    ledger.write([*node(), *cuts, *pods])
    found = lines(ledger)
    assert abs(found["a"].cost - 10 * GPU * 32 / 60) < 1
    assert abs(found["b"].cost - 10 * GPU * 28 / 60) < 1


def test_sharers_pay_by_their_number_at_each_moment(ledger: Ledger) -> None:
    ledger.write([*node(), *pod("a", 0, 6), *pod("b", 2, 4), *pod("c", 3, 10)])
    found = lines(ledger, split="even")
    a = 2 + 1 / 2 + 1 / 3 + 2 / 2
    assert abs(found["a"].cost - a * GPU) < 1
    assert abs(found["b"].cost - (1 / 2 + 1 / 3) * GPU) < 1
    assert abs(found["a"].gpu_ms - a * HOUR) <= 1


def test_sharers_pay_by_what_they_asked_for(ledger: Ledger) -> None:
    ledger.write([*node(), *pod("a", 0, 10, weight=3), *pod("b", 0, 10)])
    found = lines(ledger, split="requested")
    assert (found["a"].cost, found["b"].cost) == (7.5 * GPU, 2.5 * GPU)


def test_sharers_pay_by_what_was_measured_and_evenly_where_it_was_not(ledger: Ledger) -> None:
    used: list[Record] = []
    for name, busy in (("a", 0.6), ("b", 0.2)):
        used += [measured("g0", "", name, START + hour * HOUR, START + (hour + 1) * HOUR, busy) for hour in range(5)]
    used.append(measured("g0", "", "a", START + 5 * HOUR, START + 6 * HOUR, 0.9))  # nobody looked at b then
    ledger.write([*node(), *pod("a", 0, 6), *pod("b", 0, 6), *used])
    found = lines(ledger)
    assert (found["a"].cost, found["b"].cost) == (round(4.25 * GPU), round(1.75 * GPU))


def test_a_price_that_changes_within_an_hour_changes_no_share(ledger: Ledger) -> None:
    """b was not measured, and ended before the price changed: the hour is shared evenly all the same."""
    used = [measured("g0", "", name, START, START + HOUR, busy) for name, busy in (("a", 0.6), ("c", 0.2))]
    late = Quote(scope="n", moment=START + HOUR // 2, per_hour=3 * GPU, source="invoice")
    b = [*pod("b", 0, None), Ended(kind="pod", subject=("b",), moment=START + HOUR // 4)]
    ledger.write([*node(), *pod("a", 0, 1), *b, *pod("c", 0, 1), *used, late])
    found = lines(ledger)
    assert found["b"].cost == round(GPU / 4 / 3)
    assert abs(found["a"].cost - found["c"].cost) <= 1
    assert abs(found["a"].cost - (GPU / 4 / 3 + GPU / 4 / 2 + 3 * GPU / 2 / 2)) <= 1


def test_sharers_that_did_nothing_pay_evenly(ledger: Ledger) -> None:
    used = [measured("g0", "", name, START, START + HOUR, 0.0) for name in ("a", "b")]
    ledger.write([*node(), *pod("a", 0, 1), *pod("b", 0, 1), *used])
    found = lines(ledger)
    assert (found["a"].cost, found["b"].cost, found["a"].idle) == (GPU // 2, GPU // 2, GPU // 2)


def test_held_time_is_productive_low_idle_or_unmeasured(ledger: Ledger) -> None:
    used = [measured("g0", "", "a", START + hour * HOUR, START + (hour + 1) * HOUR, busy, sm)
            for hour, busy, sm in ((0, 0.9, 0.8), (1, 0.9, 0.1), (2, 0.0, 0.0))]  # fmt: skip
    ledger.write([*node(), *pod("a", 0, 4), *used])
    found = lines(ledger)["a"]
    assert (found.productive, found.low, found.idle, found.unmeasured) == (GPU, GPU, GPU, GPU)
    assert (found.seen_ms, found.busy_ms) == (3 * HOUR, round(1.8 * HOUR))


def test_a_node_without_some_of_its_gpus_still_costs_all_of_itself(ledger: Ledger) -> None:
    records = [each for each in node("gold", 8) if not (isinstance(each, Gpu) and each.gpu in ("g6", "g7"))]
    fell_off = Ended(kind="gpu", subject=("n", "g5"), moment=START + 5 * HOUR)
    ledger.write([*records, *pod("a", 0, 10, "g5"), fell_off])
    found = lines(ledger)
    assert found["a"].cost == 5 * GPU  # what it held is gone; others do not pay more for it
    assert found[""].absent == (20 + 5) * GPU
    assert found[""].unallocated == 50 * GPU


@pytest.mark.parametrize("instance", ["", "7"])
def test_a_device_that_comes_back_is_held_by_the_pods_that_still_run(ledger: Ledger, instance: str) -> None:
    profile = "1g.10gb" if instance else ""
    share = part(profile) if instance else 56
    names = ("n", "g5", instance) if instance else ("n", "g5")

    def there(began: int) -> list[Record]:
        cut = [
            Instance(node="n", gpu="g5", instance=instance, profile=profile, parts=share, began=START + began * HOUR)
        ]
        return [Gpu(node="n", gpu="g5", began=START + began * HOUR), *(cut if instance else ())]

    def gone(ended: int) -> list[Record]:
        mark = Ended(kind="instance" if instance else "gpu", subject=names, moment=START + ended * HOUR, exact=False)
        return [mark, Ended(kind="gpu", subject=names[:2], moment=START + ended * HOUR, exact=False)]

    held = [*pod("a", 0, None, "g5", instance, profile), *pod("b", 9, 10, "g5", instance, profile),
            *pod("c", 1, 4, "g6"), *([] if instance else pod("d", 0, 5, "g5"))]  # fmt: skip
    used = [measured("g5", instance, "a", START + hour * HOUR, START + (hour + 1) * HOUR, 1.0) for hour in (5, 8)]
    ledger.write([*node("gold", 8), *there(0), *held, *gone(3), *there(5), *gone(7), *there(8), *used])
    found = lines(ledger, split="even")
    whole = GPU * share / 56
    with_d = 0 if instance else 1.5  # d held it too, and ended before it was back
    assert abs(found["a"].cost - (7 - with_d - 0.5) * whole) <= 1
    assert abs(found["b"].cost - 0.5 * whole) <= 1
    assert instance or found["d"].cost == with_d * GPU
    assert found["c"].cost == 3 * GPU
    assert found["a"].seen_ms == 2 * HOUR
    assert found[""].absent == 3 * GPU


def test_an_evicted_pod_pays_until_its_node_is_gone(ledger: Ledger) -> None:
    ledger.write([*node(), *pod("a", 1, 8), Ended(kind="node", subject=("n",), moment=START + 3 * HOUR, why="spot")])
    assert (ask(ledger).total, lines(ledger)["a"].cost) == (3 * GPU, 2 * GPU)


def test_names_that_come_back_are_other_jobs(ledger: Ledger) -> None:
    twice = [*pod("u1", 0, 2, job="ns/train", job_uid="1"), *pod("u2", 3, 4, job="ns/train", job_uid="2")]
    ledger.write([*node(), *twice])
    found = {line.id: line for line in ask(ledger, "job").lines}
    assert [(found[uid].key, found[uid].cost) for uid in ("1", "2")] == [("ns/train", 2 * GPU), ("ns/train", GPU)]


def test_what_has_not_ended_is_billed_while_a_meter_watches(ledger: Ledger) -> None:
    ledger.write([*node()[:-1], *pod("a", 0, None), Watch(meter="m", began=START, ended=START + 4 * HOUR)])
    answer = ask(ledger)
    assert (answer.total, answer.horizon) == (4 * GPU, START + 4 * HOUR)
    ledger.write([Watch(meter="other", began=START, ended=START + 6 * HOUR)])
    assert lines(ledger)["a"].cost == 6 * GPU


def test_an_end_that_the_cluster_told_goes_before_one_that_was_noticed(ledger: Ledger) -> None:
    noticed = Ended(kind="pod", subject=("a",), moment=START + 3 * HOUR, exact=False)
    ledger.write([*node(), *pod("a", 0, None), noticed])
    assert lines(ledger)["a"].cost == 3 * GPU
    ledger.write([Ended(kind="pod", subject=("a",), moment=START + 2 * HOUR)])
    assert lines(ledger)["a"].cost == 2 * GPU


def test_a_device_whose_record_is_late_exists_while_it_is_held(ledger: Ledger) -> None:
    late = [each for each in node() if not isinstance(each, Gpu)]
    ledger.write([*late, *pod("a", 1, 3), Gpu(node="n", gpu="g0", began=START + 2 * HOUR)])
    found = lines(ledger)
    assert (found["a"].cost, found[""].absent, found[""].unallocated) == (2 * GPU, GPU, 7 * GPU)


def test_prices_change_and_a_node_goes_before_its_pool(ledger: Ledger) -> None:
    quotes = [
        Quote(scope="single", moment=START + 2 * HOUR, per_hour=2 * GPU, source="pool"),
        Quote(scope="single", moment=START + 9 * HOUR, per_hour=99 * GPU, source="pool"),
        Quote(scope="n", moment=START + 5 * HOUR, per_hour=3 * GPU, source="invoice"),
    ]
    ledger.write([*node(), *pod("a", 4, 6), *quotes])
    answer = ask(ledger)
    assert (answer.total, lines(ledger)["a"].cost) == ((2 + 3 * 2 + 5 * 3) * GPU, 5 * GPU)
    assert answer.sources == ("invoice", "pool", "test")


def test_the_host_may_be_carved_out(ledger: Ledger) -> None:
    ledger.write([*node(cpu_milli=4000, memory_mib=10 * 1024), *pod("a", 0, 10)])
    found = lines(ledger, carve=Carve(per_core=500_000, per_gib=100_000))
    assert (found["a"].cost, found[""].host) == (70_000_000, 30_000_000)


def test_a_node_without_a_price_is_named(ledger: Ledger) -> None:
    ledger.write([*node("unknown"), *pod("a", 0, 10)])
    answer = ask(ledger)
    assert (answer.unpriced, answer.total, lines(ledger)["a"].gpu_ms) == (("n",), 0, 10 * HOUR)


def test_unused_time_is_spread_over_those_who_held_the_pool(ledger: Ledger) -> None:
    ledger.write([*node("gold", 8), *pod("a", 0, 3, "g0"), *pod("b", 0, 1, "g1")])
    found = lines(ledger, idle="spread")
    assert abs(found["a"].cost - 60 * GPU) <= 1
    assert abs(found["b"].cost - 20 * GPU) <= 1
    assert (found["a"].productive + found["a"].unmeasured, found[""].cost) == (3 * GPU, 0)
    assert lines(ledger, "node", idle="spread")["n"].cost == 80 * GPU


def test_tenants_pay_by_the_work_of_their_tokens_and_nobody_for_idle(ledger: Ledger) -> None:
    used = [measured("g0", "", "e", START + hour * HOUR, START + (hour + 1) * HOUR, 0.9 if hour else 0.0)
            for hour in range(5)]  # fmt: skip
    at: dict[str, Any] = {"began": START + HOUR, "ended": START + 5 * HOUR}
    tokens = [
        Tokens(model="llama", tenant="x", **at, requests=8, prompt=2000, cached=400, output=600),
        Tokens(model="llama", tenant="y", **at, requests=4, prompt=0, output=3000),
    ]
    ledger.write([*node(), *pod("e", 0, 5, model="llama"), *used, *tokens])
    found = lines(ledger, "tenant", weights=Weights(1, 4))
    assert (found["x"].cost, found["y"].cost, found[""].idle) == (GPU, 3 * GPU, GPU)
    assert (found["x"].requests, found["x"].prompt, found["y"].output) == (8, 2000, 3000)
    assert found["x"].gpu_ms + found["y"].gpu_ms + found[""].gpu_ms == 10 * HOUR
    model = lines(ledger, "model")["llama"]
    assert (model.cost, model.requests, model.output) == (5 * GPU, 12, 3600)


@pytest.mark.parametrize("by", ["workload", "namespace", "sku", "pool", "node"])
def test_every_cut_has_its_name(ledger: Ledger, by: str) -> None:
    ledger.write([*node(), *pod("a", 0, 10, workload="ns/engine")])
    name = {"workload": "ns/engine", "namespace": "ns", "sku": SKU, "pool": "single", "node": "n"}[by]
    assert lines(ledger, by)[name].cost == 10 * GPU


def test_a_device_that_only_could_be_read_is_nobodys_use(ledger: Ledger) -> None:
    ledger.write([*node(), *pod("a", 0, 2), Usage(gpu="g0", began=START, ended=START + HOUR, seen=HOUR, busy=HOUR)])
    assert lines(ledger)["a"].seen_ms == 0
