"""Who sits where on one node: named, by elimination, exchanged; devices that come, go and are cut anew."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.agents.meter.claims import GPU, Allocated
from plimsoll.agents.meter.places import MISSING, Device
from plimsoll.agents.meter.reading import Reading
from plimsoll.agents.meter.seats import Held, Seats, Want
from plimsoll.cost.sample import WHOLE, Ended, Gpu, Hold, Instance

PARTS = {"1g.10gb": 8, "2g.20gb": 16, "3g.40gb": 28}
ROUND = 15_000


def seats(gpus: int = 4, replicas: int = 1) -> Seats:
    found = Seats("node", gpus, lambda profile: PARTS[profile])
    found.replicas = lambda _: replicas
    return found


def want(uid: str, began: int = 0, *, amount: int = 1, unit: str = GPU) -> Want:
    return Want(uid, ("team", uid), began, {unit: amount})


def gpu(name: str, *holders: str, instance: str = "", profile: str = "") -> Reading:
    return Reading(node="n", gpu=name, instance=instance, profile=profile, holders=tuple(("team", x) for x in holders))


def read(on: Seats, moment: int, *readings: Reading) -> None:
    on.read(readings, moment, lambda name: name[1])


def held(on: Seats, uid: str) -> list[Device]:
    return [each.device for each in on.held if each.uid == uid]


def holds(on: Seats) -> list[tuple[str, str, str, int, int]]:
    return [(x.pod, x.gpu, x.instance, x.parts, x.weight) for x in on.records if isinstance(x, Hold)]


def ends(on: Seats) -> list[tuple[tuple[str, ...], int]]:
    return [(x.subject, x.moment) for x in on.records if isinstance(x, Ended)]


def two(on: Seats, moment: int, a: str = "", b: str = "") -> None:
    read(on, moment, gpu("GPU-a", *filter(None, [a])), gpu("GPU-b", *filter(None, [b])))


# ---- named, or by elimination


def test_a_named_pod_sits_where_it_is_named_from_its_beginning() -> None:
    on = seats()
    two(on, 0)
    on.want(want("p", 1000))
    assert not holds(on)
    two(on, ROUND, b="p")
    assert holds(on) == [("p", "GPU-b", "", WHOLE, 1)]
    assert [each.began for each in on.records if isinstance(each, Hold)] == [1000]
    two(on, 2 * ROUND, b="p")
    assert len(holds(on)) == 1
    assert on.guessed == 0


def test_a_pod_of_two_waits_until_both_are_named() -> None:
    on = seats()
    on.want(want("p", amount=2))
    two(on, ROUND, a="p")
    assert on.wanting
    two(on, 2 * ROUND, a="p", b="p")
    assert sorted(held(on, "p")) == [("GPU-a", ""), ("GPU-b", "")]


def test_a_job_too_short_to_be_named_gets_what_is_free() -> None:
    on = seats(2)
    two(on, 0)
    on.want(want("long"))
    two(on, ROUND, a="long")
    on.want(want("short", 20_000))
    on.leave("short", 21_000)
    assert held(on, "short") == [("GPU-b", "")]
    assert [(each.began, each.ended) for each in on.held if each.uid == "short"] == [(20_000, 21_000)]
    assert on.guessed == 1


def test_patience_ends() -> None:
    on = seats(2)
    two(on, 0)
    on.want(want("p", 1000))
    on.tick(1000)
    assert on.wanting
    on.tick(1001)
    assert held(on, "p") == [("GPU-a", "")]


def test_what_was_named_of_a_pod_counts_when_patience_ends() -> None:
    on = seats(2)
    on.want(want("p", amount=2))
    two(on, ROUND, b="p")
    on.tick(1)
    assert sorted(held(on, "p")) == [("GPU-a", ""), ("GPU-b", "")]
    assert [each.sure for each in on.held] == [True, False]


# ---- swapped


def test_one_seated_wrongly_exchanges_its_device_for_the_named_one() -> None:
    on = seats(2)
    two(on, 0)
    on.want(want("p"))
    on.tick(1)
    assert held(on, "p") == [("GPU-a", "")]
    two(on, ROUND, b="p")
    assert len(holds(on)) == 1  # the seat stays; from now on the source's GPU-b is it
    assert on.ours(("GPU-b", "")) == ("GPU-a", "")
    assert on.ours(("GPU-a", "")) == ("GPU-b", "")
    on.want(want("q", 16_000))
    two(on, 2 * ROUND, a="q", b="p")
    assert held(on, "q") == [("GPU-b", "")]
    assert not ends(on)


def test_one_named_where_a_guessed_one_sits_moves_that_one() -> None:
    on = seats(2)
    two(on, 0)
    on.want(want("p"))
    on.tick(1)
    on.want(want("q", 5))
    two(on, ROUND, a="q")
    assert held(on, "p") != held(on, "q")
    two(on, 2 * ROUND, a="q", b="p")
    assert len(holds(on)) == 2
    assert not ends(on)


def test_a_sure_seat_is_not_exchanged() -> None:
    on = seats(2)
    on.want(want("p"))
    two(on, ROUND, a="p")
    two(on, 2 * ROUND, b="p")
    assert held(on, "p") == [("GPU-a", "")]
    assert on.ours(("GPU-b", "")) == ("GPU-b", "")


# ---- devices


def test_devices_are_noted_once_with_when_they_were_first_read() -> None:
    on = seats()
    two(on, 7)
    two(on, 7 + ROUND)
    assert on.records == [Gpu(node="node", gpu="GPU-a", began=7), Gpu(node="node", gpu="GPU-b", began=7)]


def test_a_gpu_is_lost_after_some_rounds_and_may_return() -> None:
    on = seats(2)
    two(on, 0)
    for turn in range(1, MISSING):
        read(on, turn * ROUND, gpu("GPU-a"))
        assert not ends(on)
    two(on, MISSING * ROUND)
    for turn in range(1, MISSING + 1):
        read(on, (turn + MISSING) * ROUND, gpu("GPU-a"))
    assert ends(on) == [(("node", "GPU-b"), 2 * MISSING * ROUND)]
    two(on, 99 * ROUND)
    assert on.records[-1] == Gpu(node="node", gpu="GPU-b", began=99 * ROUND)


def test_a_gpu_is_cut_and_made_whole_again() -> None:
    on = seats(1)
    read(on, 0, gpu("GPU-a"))
    read(on, 1, gpu("GPU-a", instance="3", profile="3g.40gb"), gpu("GPU-a", instance="7", profile="1g.10gb"))
    assert [x for x in on.records if isinstance(x, Instance)] == [
        Instance(node="node", gpu="GPU-a", instance="3", profile="3g.40gb", parts=28, began=1),
        Instance(node="node", gpu="GPU-a", instance="7", profile="1g.10gb", parts=8, began=1),
    ]
    assert not ends(on)  # the GPU is there still
    read(on, 2, gpu("GPU-a"))
    assert ends(on) == [(("node", "GPU-a", "3"), 2), (("node", "GPU-a", "7"), 2)]


def test_a_number_may_come_back_as_another_profile() -> None:
    on = seats(1)
    read(on, 0, gpu("GPU-a", instance="3", profile="3g.40gb"))
    read(on, 1, gpu("GPU-a", instance="3", profile="2g.20gb"))
    assert ends(on) == [(("node", "GPU-a", "3"), 1)]
    last = on.records[-1]
    assert isinstance(last, Instance)
    assert (last.profile, last.parts, last.began) == ("2g.20gb", 16, 1)
    assert on.places["GPU-a", "3"].unit == "2g.20gb"


def test_a_gpu_in_mig_mode_is_held_by_its_instances_alone() -> None:
    on = seats(1)
    whole = Reading(node="n", gpu="GPU-a", cut=True)
    read(on, 0, whole, gpu("GPU-a", instance="3", profile="1g.10gb"))
    assert set(on.places) == {("GPU-a", "3")}


def test_instances_given_out_as_gpus() -> None:
    on = seats(1)
    on.single = True
    read(on, 0, *(gpu("GPU-a", instance=str(n), profile="1g.10gb") for n in range(7)))
    on.want(want("p", amount=2))
    on.tick(1)
    assert holds(on) == [("p", "GPU-a", "0", 8, 1), ("p", "GPU-a", "1", 8, 1)]
    on.single = False
    assert {each.unit for each in on.places.values()} == {"1g.10gb"}


# ---- devices that no source told of


def test_without_sources_devices_are_numbered_up_to_what_the_node_is_bought_with() -> None:
    on = seats(2)
    for place, uid in enumerate("abc"):
        on.want(want(uid, place))
    on.tick(99)
    assert [device for uid in "abc" for device in held(on, uid)][:2] == [("0", ""), ("1", "")]
    assert len([x for x in on.records if isinstance(x, Gpu)]) == 2


def test_numbered_devices_are_matched_with_a_sources_later() -> None:
    on = seats(2)
    on.want(want("p"))
    on.tick(1)
    two(on, ROUND)
    assert on.ours(("GPU-a", "")) == ("0", "")
    assert [x.gpu for x in on.records if isinstance(x, Gpu)] == ["0", "GPU-b"]
    two(on, 2 * ROUND, b="p")
    assert held(on, "p") == [on.ours(("GPU-b", ""))] == [("0", "")]
    assert not ends(on)


def test_numbered_instances_fill_gpus_and_are_matched_by_profile() -> None:
    on = seats(2)
    for place in range(8):
        on.want(want(f"p{place}", unit="1g.10gb"))
    on.tick(1)
    assert Counter(device[0] for each in on.held for device in [each.device]) == {"0": 7, "1": 1}
    read(on, ROUND, *(gpu("GPU-a", instance=str(n), profile="1g.10gb") for n in range(7)),
         gpu("GPU-b", instance="1", profile="1g.10gb"))  # fmt: skip
    assert len(on.places) == 8
    assert not ends(on)


def test_what_was_made_up_and_no_source_knows_stays() -> None:
    on = seats(4)
    for uid in "abc":
        on.want(want(uid))
    on.tick(1)
    for turn in range(9):
        two(on, turn * ROUND)
    assert not ends(on)


# ---- shares


def test_shares_are_spread_over_devices() -> None:
    on = seats(2, replicas=4)
    two(on, 0)
    for place in range(6):
        on.want(want(f"p{place}"))
    on.tick(1)
    assert Counter(each.device for each in on.held) == {("GPU-a", ""): 3, ("GPU-b", ""): 3}


def test_several_shares_of_one_device_are_one_hold_of_their_weight() -> None:
    on = seats(1, replicas=4)
    on.want(want("p", amount=3))
    read(on, ROUND, gpu("GPU-a", "p"))
    on.want(want("q", amount=1))
    read(on, 2 * ROUND, gpu("GPU-a", "p", "q"))
    assert holds(on) == [("p", "GPU-a", "", WHOLE, 3), ("q", "GPU-a", "", WHOLE, 1)]


# ---- claims


def test_the_cluster_says_what_a_claim_was_given() -> None:
    on = seats(2)
    two(on, 0)
    on.want(want("p", 5))
    on.told("p", [Allocated("GPU-b")])
    on.want(want("q", 6))
    on.told("q", [Allocated("GPU-c", "MIG-1", "1g.10gb")])
    assert holds(on) == [("p", "GPU-b", "", WHOLE, 1), ("q", "GPU-c", "MIG-1", 8, 1)]
    assert not on.wanting


# ---- any life at all


class Life:
    """A node whose truth is known: a plugin that gives each pod free devices. Sources tell it late, or never."""

    def __init__(self, random: Random, gpus: int, sources: float) -> None:
        self.random, self.gpus, self.sources = random, [f"GPU-{n}" for n in range(gpus)], sources
        self.on = seats(gpus)
        self.now = 0
        self.truth: dict[str, tuple[int, list[str]]] = {}
        self.asked: dict[str, int] = {}
        self.left: set[str] = set()

    def step(self) -> None:
        self.now += self.random.choice([1, 1000, 7000])
        {0: self.come, 1: self.come, 2: self.go, 3: self.look, 4: self.look, 5: self.wait}[self.random.randrange(6)]()

    def come(self) -> None:
        taken = {device for _, devices in self.truth.values() for device in devices}
        free = [device for device in self.gpus if device not in taken]
        if free:
            uid = f"p{len(self.asked)}"
            self.asked[uid] = amount = self.random.randint(1, min(2, len(free)))
            self.truth[uid] = self.now, self.random.sample(free, amount)
            self.on.want(want(uid, self.now, amount=amount))

    def go(self) -> None:
        if self.truth:
            uid = self.random.choice(sorted(self.truth))
            del self.truth[uid]
            self.left.add(uid)
            self.on.leave(uid, self.now)

    def look(self) -> None:
        if self.random.random() < self.sources:
            who = {device: uid for uid, (began, devices) in self.truth.items() if began < self.now - 2000
                   for device in devices}  # fmt: skip
            read(self.on, self.now, *(gpu(each, *filter(None, [who.get(each, "")])) for each in self.gpus))

    def wait(self) -> None:
        self.on.tick(self.now - 9000)
        self.on.forget(0)


def overlapping(found: Iterable[Held]) -> list[tuple[Held, Held]]:
    by: dict[Device, list[Held]] = defaultdict(list)
    for each in found:
        if each.ended != each.began:
            by[each.device].append(each)
    return [(a, b) for all_ in by.values() for place, a in enumerate(all_) for b in all_[place + 1 :]
            if a.meets(b.began, b.ended)]  # fmt: skip


def lived(seed: int, gpus: int, sources: float) -> Life:
    life = Life(Random(seed), gpus, sources)
    for _ in range(60):
        life.step()
    life.on.tick(life.now + 1)
    return life


@settings(max_examples=300)
@given(st.integers(0, 1 << 32), st.integers(1, 8), st.sampled_from([0.0, 0.3, 1.0]))
def test_everyone_has_what_it_asked_for_as_long_as_it_was_there(seed: int, gpus: int, sources: float) -> None:
    life = lived(seed, gpus, sources)
    assert not life.on.wanting
    weight: Counter[str] = Counter()
    for each in life.on.held:
        weight[each.uid] += each.weight
        assert bool(each.ended) == (each.uid in life.left)
    assert weight == life.asked
    assert len({each[:3] for each in holds(life.on)}) == len(holds(life.on))  # each is its own
    assert len([x for x in life.on.records if isinstance(x, Gpu)]) <= gpus
    assert not ends(life.on)


@settings(max_examples=200)
@given(st.integers(0, 1 << 32), st.integers(1, 8))
def test_without_sources_no_device_is_held_twice(seed: int, gpus: int) -> None:
    assert not overlapping(lived(seed, gpus, 0.0).on.held)


@pytest.mark.parametrize("gpus", [2, 4, 8])
@pytest.mark.parametrize("sources", [0.3, 1.0])
def test_with_late_sources_hardly_any_device_is_held_twice(gpus: int, sources: float) -> None:
    """What was guessed before a source spoke may leave no room for what it then says: seats are not given back."""
    lives = [lived(seed, gpus, sources) for seed in range(60)]
    twice = sum(len(overlapping(life.on.held)) for life in lives)
    assert twice * 1000 <= sum(len(life.on.held) for life in lives)
