"""Readings over time: every moment counts once, for who held the device then, and energy is neither made nor lost."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.agents.meter.fold import REACH, Fold
from plimsoll.agents.meter.reading import Reading, Share
from plimsoll.agents.meter.seats import Held, Seats
from plimsoll.cost.sample import Usage

ROUND = 1000
A = ("GPU-a", "")


def seats(*held: tuple[str, tuple[str, str], int, int], replicas: int = 1) -> Seats:
    """held: uid, device, from when to when (0: still)."""
    found = Seats("node", 8, {"1g.10gb": 8, "3g.40gb": 28}.__getitem__)
    found.replicas = lambda _: replicas
    found.held = [Held(uid, device, 1, began, ended, sure=True) for uid, device, began, ended in held]
    return found


def on(gpu: str = "GPU-a", busy: float | None = 0.5, *, instance: str = "", profile: str = "", sm: float | None = None,
       joules: float | None = None, watts: float | None = None, memory: float | None = None,
       shares: dict[str, float | None] | None = None) -> Reading:  # fmt: skip
    parts = tuple(Share(("team", uid), use, 10) for uid, use in (shares or {}).items())
    return Reading(node="n", gpu=gpu, instance=instance, profile=profile, busy=busy, sm=sm, joules=joules, watts=watts,
                   memory_mib=memory, shares=parts)  # fmt: skip


class Folded:
    def __init__(self, where: Seats) -> None:
        self.fold, self.seats = Fold(ROUND), where

    def take(self, moment: int, *readings: Reading) -> None:
        self.seats.read(readings, moment, lambda name: name[1])
        self.fold.take(self.seats, readings, moment, lambda name: name[1])

    def usage(self, until: int = 1 << 60) -> list[Usage]:
        self.fold.settle(until)
        return self.fold.usage()


def spans(found: list[Usage]) -> list[tuple[str, int, int, int]]:
    return [(each.pod, each.began, each.ended, each.seen) for each in found]


# ---- time


def test_a_reading_speaks_for_the_time_since_the_one_before() -> None:
    folded = Folded(seats(("p", A, 0, 0)))
    folded.fold.resume(A, 5000)
    folded.take(5800, on(busy=0.25))
    folded.take(6800, on(busy=0.75))
    (found,) = folded.usage()
    assert (found.pod, found.began, found.ended, found.seen) == ("p", 5000, 6800, 1800)
    assert found.busy == 0.25 * 800 + 0.75 * 1000


def test_what_nobody_looked_at_is_not_seen() -> None:
    folded = Folded(seats(("p", A, 0, 0)))
    folded.take(10_000, on())
    folded.take(20_000, on())
    reach = REACH * ROUND
    assert sorted(spans(folded.usage())) == [
        ("p", 10_000 - reach, 10_000, reach), ("p", 20_000 - reach, 20_000, reach),
    ]  # fmt: skip


@pytest.mark.parametrize("late", [5800, 5000, 100])
def test_a_page_told_twice_or_late_says_nothing_new(late: int) -> None:
    folded = Folded(seats(("p", A, 0, 0)))
    folded.take(4800, on(joules=100))
    folded.take(5800, on(joules=200))
    folded.take(late, on(busy=1.0, joules=150))
    folded.take(6800, on(joules=300))
    (found,) = folded.usage()
    assert (found.began, found.ended, found.busy) == (2800, 6800, 2000)
    assert found.energy == 200_000  # from the counter, of the two rounds it tells


def test_what_was_written_is_not_written_again() -> None:
    folded = Folded(seats(("p", A, 0, 0)))
    folded.take(1000, on())
    assert folded.usage()
    assert not folded.usage()


def test_only_what_is_settled_is_attributed() -> None:
    where = seats()
    folded = Folded(where)
    folded.take(5000, on())
    folded.take(6000, on())
    assert spans(folded.usage(5500)) == [("", 3000, 5000, 2000)]
    where.held.append(Held("p", A, 1, 5200, sure=True))  # told late
    assert sorted(spans(folded.usage())) == [("", 5000, 5200, 200), ("p", 5200, 6000, 800)]


def test_a_holder_who_comes_or_goes_in_between_cuts_the_time() -> None:
    folded = Folded(seats(("p", A, 0, 4300), ("q", A, 4300, 4700)))
    folded.take(4000, on())
    folded.take(5000, on(busy=1.0))
    found = {each.pod: each for each in folded.usage() if each.began >= 4000 or each.pod == "p"}
    assert (found["p"].ended, found["p"].busy) == (4300, 0.5 * 2000 + 300)
    assert (found["q"].began, found["q"].ended, found["q"].busy) == (4300, 4700, 400)
    assert (found[""].began, found[""].ended) == (4700, 5000)


# ---- idle, low, unmeasured


@pytest.mark.parametrize(
    ("busy", "sm", "seen", "idle", "low"),
    [(0.0, None, 2000, 2000, 0), (0.5, 0.1, 2000, 0, 2000), (0.5, None, 2000, 0, 0), (0.1, None, 2000, 0, 2000),
     (0.05, 0.5, 2000, 0, 0), (None, 0.5, 0, 0, 0)],
)  # fmt: skip
def test_what_is_seen_idle_and_low(busy: float | None, sm: float | None, seen: int, idle: int, low: int) -> None:
    folded = Folded(seats(("p", A, 0, 0)))
    folded.take(5000, on(busy=busy, sm=sm))
    (found,) = folded.usage()
    assert (found.seen, found.idle, found.low) == (seen, idle, low)


# ---- energy


def test_a_counter_goes_before_a_gauge_and_a_gauge_stands_in_for_it() -> None:
    folded = Folded(seats(("p", A, 0, 0)))
    folded.take(2000, on(joules=1000, watts=100))  # no counter before
    folded.take(3000, on(joules=1300, watts=100))
    folded.take(4000, on(joules=5, watts=100))  # it began anew
    folded.take(5000, on(joules=255, watts=100))
    assert sum(each.energy for each in folded.usage()) == 200_000 + 300_000 + 100_000 + 250_000


def test_instances_share_their_gpus_energy_by_size_and_work() -> None:
    big, small = ("GPU-a", "1"), ("GPU-a", "9")
    folded = Folded(seats(("p", big, 0, 0), ("q", small, 0, 0)))
    for turn in range(3):
        folded.take(1000 * (turn + 1), on(instance="1", profile="3g.40gb", busy=0.5, joules=300 * turn, watts=0),
                    on(instance="9", profile="1g.10gb", busy=1.0, joules=300 * turn, watts=0))  # fmt: skip
    energy = {each.pod: each.energy for each in folded.usage()}
    assert energy == {"p": round(600_000 * 14 / 22), "q": round(600_000 * 8 / 22)}


# ---- sharers


def test_sharers_have_their_own_and_the_energy_of_their_work() -> None:
    folded = Folded(seats(("p", A, 0, 0), ("q", A, 0, 0), replicas=2))
    folded.take(2000, on(busy=0.9, watts=100, shares={"p": 0.6, "q": 0.2}))
    found = {each.pod: each for each in folded.usage()}
    assert {uid: (each.busy, each.energy, each.memory) for uid, each in found.items()} == {
        "p": (1200, 150_000, 20_000), "q": (400, 50_000, 20_000),
    }  # fmt: skip


def test_sharers_nobody_tells_apart_leave_the_reading_to_the_device() -> None:
    folded = Folded(seats(("p", A, 0, 0), ("q", A, 0, 0), replicas=2))
    folded.take(2000, on(busy=0.9, watts=100))
    (found,) = folded.usage()
    assert (found.pod, found.busy, found.energy) == ("", 1800, 200_000)


def test_the_last_sharer_alone_has_the_device_to_itself() -> None:
    folded = Folded(seats(("p", A, 0, 0), ("q", A, 0, 1000), replicas=2))
    folded.take(2000, on(busy=0.9, shares={"p": 0.6, "q": 0.3}))
    found = sorted(folded.usage(), key=lambda each: (each.pod, each.began))
    assert [(each.pod, each.began, each.ended, each.busy) for each in found] == [
        ("p", 0, 2000, 600 + 900), ("q", 0, 1000, 300),
    ]  # fmt: skip


# ---- any readings at all


@settings(max_examples=200)
@given(st.integers(0, 1 << 32), st.booleans())
def test_every_moment_counts_once_and_energy_is_kept(seed: int, cut: bool) -> None:
    random = Random(seed)
    devices = [("GPU-a", "1"), ("GPU-a", "9"), ("GPU-b", "1")] if cut else [A, ("GPU-b", "")]
    profiles = {("GPU-a", "1"): "3g.40gb", ("GPU-a", "9"): "1g.10gb", ("GPU-b", "1"): "1g.10gb"} if cut else {}
    held = []
    for device in devices:
        for place in range(3):
            began = random.randrange(0, 40_000)
            held.append((f"{device}-{place}", device, began, random.choice([0, began + random.randrange(1, 20_000)])))
    folded = Folded(seats(*held, replicas=3))
    fold, found, moment, watts = folded.fold, [], 5000, {"GPU-a": 300.0, "GPU-b": 200.0}
    read: dict[tuple[str, str], set[int]] = defaultdict(set)
    last: dict[tuple[str, str], int] = {}
    for _ in range(random.randrange(1, 30)):
        moment += random.choice([0, 0, 300, 1000, 1000, 5000, -800])
        here = [device for device in devices if random.random() < 0.9]
        if cut and len([device for device in here if device[0] == "GPU-a"]) == 1:
            here = [device for device in here if device[0] != "GPU-a"]  # a page has all of a GPU or nothing
        shares = {uid: random.choice([None, 0.0, 0.2]) for uid, *_ in held if random.random() < 0.5}
        folded.take(moment, *(
            on(gpu, random.choice([None, 0.0, 0.4, 1.0]), instance=instance, profile=profiles.get((gpu, instance), ""),
               watts=watts[gpu], shares=shares) for gpu, instance in here))  # fmt: skip
        for device in here:
            began = max(last.get(device, 0), moment - REACH * ROUND)
            if began < moment:
                read[device] |= set(range(began, moment, 100))
                last[device] = moment
        if random.random() < 0.3:
            fold.settle(moment - 1500)
            found += fold.usage()
    found += folded.usage()
    taken: set[tuple[str, str, str, int]] = set()
    for each in found:
        assert 0 <= each.seen <= each.ended - each.began
        assert each.idle + each.low <= each.seen
        assert each.busy <= each.seen + 1
        for at in range(each.began, each.ended):
            if at % 100 == 0:
                key = each.gpu, each.instance, each.pod, at
                assert key not in taken
                taken.add(key)
    for uid, device, begins, ends in held:
        mine = {at for gpu, instance, pod, at in taken if pod == uid}
        assert all(begins <= at and (not ends or at < ends) for at in mine), (uid, device)
    assert {(*device, at) for device in devices for at in read[device]} == {(g, i, at) for g, i, _, at in taken}
    spent = sum(each.energy for each in found)
    if not cut:
        exact = sum(watts[gpu] * len(read[gpu, instance]) * 100 for gpu, instance in devices)
        assert spent == pytest.approx(exact, abs=len(found))
