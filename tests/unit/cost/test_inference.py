"""Engines divided among tenants and requests, hour by hour, against a truth worked out the slow way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from random import Random
from typing import Any

import msgspec
import pytest

from plimsoll.cost.bill import Bill, Query, bill
from plimsoll.cost.cuts import By
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.request import Weights
from plimsoll.cost.sample import HOUR, Pod, Record, Request, Tokens, measured
from plimsoll.cost.split import Split
from plimsoll.cost.store import open_store
from plimsoll.cost.weigh import Weighed
from tests.unit.cost.test_shares import END, GPU, TARIFF, lines, node, pod
from tests.unit.cost.truth import START, Truth, generate
from tests.unit.cost.truth import TARIFF as TRUE_TARIFF

MODELS, TENANTS = ("org/llama", "qwen", "idle-model"), ("x", "y", "z", "")
COUNTS = ("requests", "prompt", "cached", "output")
WEIGHTS = Weights(1, 4)
Counts = dict[str, int]


def none() -> Counts:
    return dict.fromkeys(COUNTS, 0)


def work(of: Counts) -> int:
    return max(of["prompt"] - of["cached"], 0) + 4 * of["output"]


class Served:
    """A cluster of truth.py whose pods serve models; what their counters say; what a gateway says of requests."""

    def __init__(self, random: Random, truth: Truth) -> None:
        self.truth = truth
        self.model = {each.uid: random.choice(MODELS) for each in truth.pods if random.random() < 0.6}
        self.tenant = {uid: random.choice("xy") for uid in self.model if random.random() < 0.15}
        self.counted: list[Tokens] = []
        for each in truth.pods:
            if each.uid in self.model and self.model[each.uid] != "idle-model" and random.random() < 0.8:
                self.counted += self._counters(random, each.uid, each.began, each.ended)
        self.requests = [self._request(random, place) for place in range(random.randrange(200))]

    def _counters(self, random: Random, uid: str, began: int, ended: int) -> list[Tokens]:
        found = []
        for hour in range(began // HOUR, -(-ended // HOUR)):
            since, upto = max(began, hour * HOUR), min(ended, (hour + 1) * HOUR)
            prompt = random.randrange(20_000)
            if since < upto and random.random() < 0.8:
                found.append(Tokens(
                    model=self.model[uid], pod=uid, began=since, ended=upto, requests=random.randrange(50),
                    prompt=prompt, cached=random.randrange(prompt + 1), output=random.randrange(9_000),
                ))  # fmt: skip
        return found

    def _request(self, random: Random, place: int) -> Request:
        began = START + random.randrange(0, self.truth.horizon - START)
        prompt = random.randrange(4_000)
        return Request(id=f"r{place}", model=random.choice(MODELS[:2]), tenant=random.choice(TENANTS), began=began,
                       ended=began + random.choice([0, 1, 900, 30_000, 2 * HOUR]), prompt=prompt,
                       cached=random.choice([0, prompt // 2]), output=random.randrange(2_000))  # fmt: skip

    def records(self) -> list[Record]:
        found = [
            msgspec.structs.replace(each, model=self.model.get(each.uid, ""), tenant=self.tenant.get(each.uid, ""))
            if isinstance(each, Pod) else each
            for each in self.truth.records()
        ]  # fmt: skip
        return [*found, *self.counted, *self.requests]

    def exact(self, began: int, ended: int, weighted: bool) -> dict[str, Fraction]:
        """What each pod cost, without what nobody held."""
        found = self.truth.exact(began, ended, weighted=weighted)
        return {name: cost for name, cost in found.items() if name not in ("unallocated", "stranded", "absent")}

    def pieces(self, began: int, ended: int) -> dict[tuple[str, int], list[tuple[Request, Counts]]]:
        """Of each model and hour, the requests of that hour, and what of them lies in it."""
        found = defaultdict(list)
        for each in self.requests:
            last = max(each.ended, each.began + 1)
            span = last - each.began
            for hour in range(each.began // HOUR, last // HOUR + 1):
                since, upto = max(each.began, hour * HOUR, began), min(last, (hour + 1) * HOUR, ended)
                if since < upto:
                    whole = {"requests": 1, **{name: getattr(each, name) for name in COUNTS[1:]}}
                    found[each.model, hour].append((each, {
                        name: value * (upto - each.began) // span - value * (since - each.began) // span
                        for name, value in whole.items()
                    }))  # fmt: skip
        return found

    def own(self, began: int, ended: int, *, of: set[str]) -> dict[tuple[str, int], Counts]:
        """What the counters of some pods say, by model and hour."""
        found: dict[tuple[str, int], Counts] = defaultdict(none)
        for each in self.counted:
            if each.pod in of and began <= each.began and each.ended <= ended:
                for name in COUNTS:
                    found[each.model, each.began // HOUR][name] += getattr(each, name)
        return found

    def by_tenant(self, began: int, ended: int, *, weighted: bool) -> dict[str, Fraction]:
        money: dict[str, Fraction] = defaultdict(Fraction)
        shared = {uid for uid in self.model if uid not in self.tenant}
        counted = self.own(began, ended, of=shared)
        dedicated = {name: self.own(began, ended, of={uid for uid, of in self.tenant.items() if of == name})
                     for name in "xy"}  # fmt: skip
        asked = self.pieces(began, ended)
        known = {model for model, _ in [*counted, *asked, *(key for of in dedicated.values() for key in of)]}
        for hour in range(began // HOUR, -(-ended // HOUR)):
            exact = self.exact(max(began, hour * HOUR), min(ended, (hour + 1) * HOUR), weighted)
            for uid, cost in exact.items():
                money[self.tenant.get(uid, "")] += 0 if uid in shared and self.model[uid] in known else cost
            for model in known:
                pot = sum(
                    (cost for uid, cost in exact.items() if uid in shared and self.model[uid] == model), Fraction()
                )
                told: dict[str, Counts] = defaultdict(none)
                for request, counts in asked.get((model, hour), ()):
                    for name in COUNTS:
                        told[request.tenant][name] += counts[name]
                self._cached(told.values(), [counted[model, hour], *(of[model, hour] for of in dedicated.values())])
                for name, of in dedicated.items():
                    told[name] = {each: max(told[name][each] - of[model, hour][each], 0) for each in COUNTS}
                rest = {each: max(counted[model, hour][each] - sum(told[name][each] for name in "xyz"), told[""][each])
                        for each in COUNTS}  # fmt: skip
                told[""] = rest
                self._give(money, pot, told)
        return money

    def by_request(self, began: int, ended: int, *, weighted: bool) -> dict[str, Fraction]:
        money: dict[str, Fraction] = defaultdict(Fraction)
        counted, asked = self.own(began, ended, of=set(self.model)), self.pieces(began, ended)
        known = {model for model, _ in [*counted, *asked]}
        for hour in range(began // HOUR, -(-ended // HOUR)):
            exact = self.exact(max(began, hour * HOUR), min(ended, (hour + 1) * HOUR), weighted)
            money[""] += sum((cost for uid, cost in exact.items() if self.model.get(uid) not in known), Fraction())
            for model in known:
                pot = sum((cost for uid, cost in exact.items() if self.model.get(uid) == model), Fraction())
                told = {request.id: counts for request, counts in asked.get((model, hour), ())}
                self._cached(told.values(), [counted[model, hour]])
                told[""] = {name: max(counted[model, hour][name] - sum(of[name] for of in told.values()), 0)
                            for name in COUNTS}  # fmt: skip
                self._give(money, pot, told)
        return money

    @staticmethod
    def _cached(told: Iterable[Counts], counted: list[Counts]) -> None:
        """Where the gateway did not say what was cached, it was as much as of all that was counted."""
        told, cached = list(told), sum(of["cached"] for of in counted)
        if cached and not any(of["cached"] for of in told):
            for of in told:
                share = of["prompt"] * cached // sum(each["prompt"] for each in counted)
                of["cached"] = min(of["prompt"], share)

    @staticmethod
    def _give(money: dict[str, Fraction], pot: Fraction, told: dict[str, Counts]) -> None:
        told = {name: of for name, of in told.items() if of["requests"] + of["prompt"] + of["output"]}
        if not told:
            money[""] += pot
            return
        works = {name: work(of) for name, of in told.items()}
        if not any(works.values()):
            works = dict.fromkeys(works, 1)
        for name, each in works.items():
            money[name] += pot * each / sum(works.values())


def ask(ledger: Ledger, by: By, began: int, ended: int, split: Split = "even") -> Bill:
    return bill(ledger, TRUE_TARIFF, Query(by=by, began=began, ended=ended, split=split, weights=WEIGHTS))


def agrees(ledger: Ledger, seed: int, split: Split) -> None:
    random = Random(seed)
    truth = generate(random, nodes=random.randrange(1, 4), pods=random.randrange(1, 25))
    truth.usage.clear()
    served = Served(random, truth)
    ledger.write(served.records())
    windows = [(START, truth.horizon), (START + 3 * HOUR, START + 20 * HOUR)]
    for began, ended in windows:
        cuts: tuple[tuple[By, Any], ...] = (("tenant", served.by_tenant), ("request", served.by_request))
        for by, exact in cuts:
            expected = exact(began, ended, weighted=split == "requested")
            answer = ask(ledger, by, began, ended, split)
            found = {line.key: line.cost for line in answer.lines}
            found[""] -= sum(line.unallocated + line.stranded + line.absent for line in answer.lines if not line.key)
            for name in {*expected, *found}:
                assert abs(found.get(name, 0) - expected.get(name, 0)) <= 2, (by, name)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("split", ["even", "requested"])
def test_tenants_and_requests_pay_exactly_their_part_of_each_hour(seed: int, split: Split) -> None:
    ledger = Ledger(open_store(":memory:"))
    agrees(ledger, seed, split)
    ledger.store.close()


@pytest.mark.parametrize("seed", range(100, 102))
def test_both_stores_agree_with_the_truth(ledger: Ledger, seed: int) -> None:
    agrees(ledger, seed, "even")


def engine(name: str = "e", hours: int = 4, gpu: str = "g0", busy: tuple[float, ...] = (), **more: Any) -> list[Record]:
    """An engine of a model on one GPU, from START on, and how busy it was in each hour."""
    return [
        *pod(name, 0, hours, gpu, **{"model": "m", **more}),
        *(measured(gpu, "", name, START + hour * HOUR, START + (hour + 1) * HOUR, of) for hour, of in enumerate(busy)),
    ]


def tokens(hour: int, hours: int = 1, pod: str = "e", model: str = "m", **counts: Any) -> Tokens:
    return Tokens(model=model, pod=pod, began=START + hour * HOUR, ended=START + (hour + hours) * HOUR, **counts)


def asked(name: str, hour: float, tenant: str = "", model: str = "m", output: int = 100) -> Request:
    at = round(START + hour * HOUR)
    return Request(id=name, model=model, tenant=tenant, began=at, ended=at + 1000, output=output)


def test_an_hour_is_paid_by_those_whom_it_served(ledger: Ledger) -> None:
    ledger.write([*node(), *engine(hours=3), asked("a", 0.5, "x"), asked("b", 1.5, "y", output=1)])
    found = lines(ledger, "tenant")
    assert (found["x"].cost, found["y"].cost) == (GPU, GPU)
    assert found[""].cost == 8 * GPU  # an hour in which nobody asked, and the GPU after the engine


def test_time_in_which_an_engine_did_nothing_is_nobodys(ledger: Ledger) -> None:
    half = measured("g0", "", "e", START + HOUR, START + HOUR + HOUR // 2, 0.0)
    rest = measured("g0", "", "e", START + HOUR + HOUR // 2, START + 2 * HOUR, 0.8)
    ledger.write([*node(), *engine(hours=2, busy=(0.9,)), half, rest, asked("a", 0.5, "x"), asked("b", 1.5, "y")])
    found = lines(ledger, "tenant")
    assert (found["x"].cost, found["y"].cost) == (GPU, GPU // 2)
    assert (found[""].idle, found[""].productive) == (GPU // 2, 0)
    assert (found["x"].gpu_ms, found["y"].gpu_ms, found["x"].used_ms) == (HOUR, HOUR // 2, round(0.9 * HOUR))


def test_counters_and_a_gateway_are_one_traffic(ledger: Ledger) -> None:
    ledger.write([*node(), *engine(hours=1), tokens(0, requests=10, prompt=500, output=400)])
    ledger.write([asked("a", 0.1, "x", output=100), asked("b", 0.2, "y", output=100), asked("c", 0.3, output=50)])
    found = lines(ledger, "tenant", weights=Weights(0, 1))
    assert (found["x"].cost, found["y"].cost) == (GPU // 4, GPU // 4)
    assert (found["x"].requests, found[""].requests, found[""].prompt, found[""].output) == (1, 8, 500, 200)
    assert lines(ledger, "model")["m"].output == 400
    single = lines(ledger, "request", weights=Weights(0, 1))
    assert (single["a"].cost, single["c"].cost, single["c"].id) == (GPU // 4, GPU // 8, "m ")
    assert (single["a"].id, single[""].requests, single[""].output) == ("m x", 7, 150)


def test_a_gateway_that_does_not_tell_what_was_cached(ledger: Ledger) -> None:
    """Its requests were as often cached as all of them: else they would pay for the luck of the others."""
    ledger.write([*node(), *engine(hours=1), tokens(0, requests=4, prompt=1000, cached=500, output=400)])
    half = [msgspec.structs.replace(asked(f"r{place}", 0.1 + place / 10, "x"), prompt=250) for place in range(2)]
    ledger.write(half)
    found = lines(ledger, "tenant")
    assert (found["x"].cost, found["x"].prompt) == (GPU // 2, 500)
    assert lines(ledger, "request")["r0"].cost == GPU // 4


def test_a_gateway_may_see_more_than_the_counters(ledger: Ledger) -> None:
    ledger.write([*node(), *engine(hours=1), tokens(0, requests=1, output=10)])
    ledger.write([asked("a", 0.1, "x"), asked("b", 0.2, "x")])
    found = lines(ledger, "tenant")
    assert (found["x"].cost, found["x"].output, lines(ledger, "model")["m"].output) == (GPU, 200, 200)


def test_an_engine_is_of_the_model_that_its_counters_name(ledger: Ledger) -> None:
    ledger.write([*node(), *engine(hours=1, model="a service's name"), tokens(0, model="org/m", output=9)])
    ledger.write([asked("a", 0.1, "x", model="org/m", output=9)])
    assert lines(ledger, "model")["org/m"].cost == lines(ledger, "tenant")["x"].cost == GPU


def test_an_engine_of_one_tenant_is_that_tenants(ledger: Ledger) -> None:
    ledger.write([*node("gold", 8), *engine("e", 1), *engine("own", 1, "g1", tenant="x")])
    ledger.write([tokens(0, requests=3, output=30), tokens(0, pod="own", requests=7, output=70)])
    found = lines(ledger, "tenant")
    assert (found["x"].cost, found["x"].output, found[""].output) == (GPU, 70, 30)
    served = bill(ledger, TARIFF, Query(by="served", began=START, ended=END))
    pairs = {(line.key, line.id): line for line in served.lines}
    assert (pairs["m", "x"].cost, pairs["m", ""].cost, pairs["m", ""].output) == (GPU, GPU, 30)
    assert pairs["", ""].cost == 78 * GPU


def test_a_request_over_a_full_hour_pays_in_both(ledger: Ledger) -> None:
    long = Request(id="long", model="m", tenant="x", began=START + HOUR // 2, ended=START + 3 * HOUR // 2, output=100)
    ledger.write([*node(), *engine(hours=2), long, asked("a", 0.2, "y", output=50)])
    found = lines(ledger, "request", weights=Weights(0, 1))
    assert (found["long"].cost, found["long"].requests, found["long"].output) == (GPU // 2 + GPU, 1, 100)
    assert found["a"].cost == GPU // 2


def test_many_tiny_requests_lose_nothing(ledger: Ledger) -> None:
    ledger.write([*node(), *engine(hours=1), *(asked(f"r{place}", place / 4000, output=1) for place in range(3000))])
    answer = bill(ledger, TARIFF, Query(by="request", began=START, ended=START + HOUR, top=5))
    assert (answer.rest, answer.lines[0].requests, answer.total) == (2996, 1, GPU)  # and the line of nobody
    assert answer.others is not None
    assert sum(line.cost for line in answer.lines) + answer.others.cost == GPU
    assert answer.others.requests == 2995


@pytest.mark.parametrize("split", ["measured", "requested", "even"])
@pytest.mark.parametrize("by", ["tenant", "request", "served", "model"])
def test_engines_that_share_a_device(ledger: Ledger, by: By, split: Split) -> None:
    """Conserved by the check of every bill; and each model's engines cost what they cost as pods."""
    ledger.write([*node(), *engine("e", 3, busy=(0.6, 0.0, 0.9))])
    ledger.write(engine("f", 2, model="n", weight=3, busy=(0.2, 0.5)))
    ledger.write([asked("a", 0.5, "x"), asked("b", 1.5, "y")])
    ledger.write([asked("c", 0.5, "z", model="n"), asked("d", 1.5, "z", model="n")])
    query = Query(by=by, began=START, ended=END, split=split)
    answer = bill(ledger, TARIFF, query)
    teams = {line.key: line for line in bill(ledger, TARIFF, msgspec.structs.replace(query, by="team")).lines}
    found = {(line.key, line.id) if by == "served" else line.key: line for line in answer.lines}
    assert answer.total == 10 * GPU
    if by == "tenant":
        assert abs(found["z"].cost - teams["f"].cost) <= 1
        assert found["x"].cost > 0
    if by == "served":
        assert abs(found["n", "z"].cost - teams["f"].cost) <= 1
    if by == "model":
        assert abs(found["m"].cost - teams["e"].cost) <= 1


def test_a_window_is_the_sum_of_its_parts(ledger: Ledger) -> None:
    random = Random(3)
    truth = generate(random, nodes=2, pods=12)
    ledger.write(Served(random, truth).records())
    whole = {line.key: line.cost for line in ask(ledger, "tenant", START, START + 20 * HOUR).lines}
    parts: dict[str, int] = defaultdict(int)
    for hour in range(0, 20, 5):
        for line in ask(ledger, "tenant", START + hour * HOUR, START + (hour + 5) * HOUR).lines:
            parts[line.key] += line.cost
    assert all(abs(whole.get(name, 0) - parts[name]) <= 8 for name in {*whole, *parts})


def test_unused_time_is_spread_over_tenants_too(ledger: Ledger) -> None:
    ledger.write([*node("gold", 8), *engine(hours=10), *(asked(f"r{hour}", hour + 0.5, "x") for hour in range(10))])
    found = lines(ledger, "tenant", idle="spread")
    assert abs(found["x"].cost - 80 * GPU) <= 1


def weighed(ledger: Ledger, given: Weights | None = None) -> Weighed:
    """What tokens weigh in the last hours of what was measured."""
    query = Query(by="tenant", began=START + 8 * HOUR, ended=END, weights=given)
    (found,) = bill(ledger, TARIFF, query).weighed
    return found


def test_weights_of_a_model_are_fitted_to_what_its_engines_did(ledger: Ledger) -> None:
    random = Random(1)
    records: list[Record] = [*node(), *engine(hours=10), *engine("f", 10, "g1")]
    for name, gpu in (("e", "g0"), ("f", "g1")):
        for hour in range(10):
            prompt, cached, output = random.randrange(9_000, 20_000), random.randrange(9_000), random.randrange(2_000)
            busy = (5 * (prompt - cached) + 60 * output) / HOUR
            records.append(measured(gpu, "", name, START + hour * HOUR, START + (hour + 1) * HOUR, busy))
            records.append(tokens(hour, pod=name, prompt=prompt, cached=cached, output=output))
    ledger.write([*records, asked("a", 0.5, "x")])
    found = weighed(ledger)
    assert (found.model, found.source, found.intervals) == ("m", "fitted", 20)
    assert found.weights == pytest.approx((5, 60), rel=1e-3)
    assert found.residual == pytest.approx(0, abs=1e-3)
    assert (weighed(ledger, Weights(1, 1)).source, weighed(ledger, Weights(1, 1)).weights) == ("given", Weights(1, 1))
    ledger.seal(END)
    assert weighed(ledger) == found


@pytest.mark.parametrize("what", ["few", "proportional", "noise", "unmeasured"])
def test_what_tells_nothing_leaves_the_default(ledger: Ledger, what: str) -> None:
    random = Random(2)
    records: list[Record] = [*node(), *engine(hours=10), *engine("f", 10, "g1"), tokens(9, output=1, pod="e")]
    for name, gpu in (("e", "g0"), ("f", "g1")):
        for hour in range(3 if what == "few" else 9):
            prompt = random.randrange(1_000, 20_000)
            output = 2 * prompt if what == "proportional" else random.randrange(2_000)
            busy = random.random() if what == "noise" else (5 * prompt + 30 * output) / HOUR
            records.append(tokens(hour, pod=name, prompt=prompt, output=output))
            if what != "unmeasured":
                records.append(measured(gpu, "", name, START + hour * HOUR, START + (hour + 1) * HOUR, busy))
    ledger.write(records)
    found = weighed(ledger)
    assert (found.source, found.weights) == ("default", Weights())
    assert found.intervals == {"few": 6, "unmeasured": 0}.get(what, 18)
