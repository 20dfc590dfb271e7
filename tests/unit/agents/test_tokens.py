"""Counters of servers that start, stop and stay away, against what they really did."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.agents.meter.tokens import Counting
from plimsoll.agents.meter.vllm import Engine, Page
from plimsoll.cost.ledger import Ledger
from plimsoll.cost.sample import HOUR, Tokens
from plimsoll.cost.store import open_store
from plimsoll.errors import InputError

T = 1_764_547_200_000
ROUND = 15_000


def page(prompt: int, output: int = 0, *, started: int | None = T, stop: int = 0, cached: int | None = None,
         hits: int | None = None, **more: int) -> Page:  # fmt: skip
    return Page(started, (Engine(model="m", engine="0", finished={"stop": stop, **more}, prompt=prompt, output=output,
                                 cached=cached, hits=hits),))  # fmt: skip


def watched(at: int = T) -> Counting:
    """A meter that has watched until a moment."""
    counting = Counting()
    counting.done(at, [])
    return counting


def test_growth_is_counted_and_the_past_is_not() -> None:
    counting = Counting()
    assert counting.page("a", page(100, 50, stop=3), T + 100_000) == []
    counting.done(T + 100_001, ["a"])
    (found,) = counting.page("a", page(130, 60, stop=4, abort=2, error=1), T + 115_000)
    assert found == Tokens(model="m", pod="a", began=T + 100_000, ended=T + 115_000, requests=1, prompt=30, output=10)
    assert counting.page("a", page(130, 60, stop=4, abort=3, error=1), T + 130_000) == []


def test_a_server_that_began_while_we_watched_is_counted_whole() -> None:
    counting = watched()
    for place in range(1, 20):  # it loads its weights for minutes, and does not answer
        counting.done(T + place * ROUND, ["a"])
    began = T + 3_000
    (found,) = counting.page("a", page(10, 5, started=began, stop=1), T + 20 * ROUND)
    assert (found.began, found.ended, found.prompt, found.output, found.requests) == (began, T + 20 * ROUND, 10, 5, 1)


def test_a_server_older_than_our_watch_is_not() -> None:
    counting = watched(T + 1)
    assert counting.page("a", page(10, 5, started=T), T + ROUND) == []
    assert watched().page("a", page(10, 5, started=None), T + ROUND) == []  # it does not say when it began


def test_a_restart_counts_from_nothing() -> None:
    counting = watched()
    counting.page("a", page(100, 50), T + ROUND)
    (found,) = counting.page("a", page(500, 80, started=T + ROUND + 5), T + 2 * ROUND)  # more than before, and yet anew
    assert (found.began, found.prompt, found.output) == (T + ROUND + 5, 500, 80)


def test_a_counter_that_fell_is_a_restart_too() -> None:
    counting = watched()
    counting.page("a", page(100, 50, started=None), T + ROUND)
    counting.page("a", page(110, 50, started=None), T + 2 * ROUND)
    (found,) = counting.page("a", page(40, 70, started=None), T + 3 * ROUND)
    assert (found.began, found.prompt, found.output) == (T + 2 * ROUND, 40, 70)


def test_late_and_repeated_pages_change_nothing() -> None:
    counting = watched()
    counting.page("a", page(100), T + ROUND)
    assert counting.page("a", page(100), T + ROUND) == []
    assert counting.page("a", page(90), T) == []
    assert counting.page("a", page(101), T + 2 * ROUND)[0].prompt == 1


def test_a_page_without_some_of_its_series_holds_them() -> None:
    counting = watched()
    counting.page("a", page(100, 50, cached=20, hits=30, stop=1, length=4), T + ROUND)
    lost = Page(T, (Engine(model="m", engine="0", finished={}, prompt=110, output=None),))
    assert counting.page("a", lost, T + 2 * ROUND) == []
    assert counting.page("a", page(120, 55, hits=45, stop=2), T + 3 * ROUND) == [
        Tokens(model="m", pod="a", began=T + ROUND, ended=T + 3 * ROUND, requests=1, prompt=20, output=5)]  # fmt: skip
    (found,) = counting.page("a", page(120, 55, cached=31, hits=60, stop=2, length=5), T + 4 * ROUND)
    assert (found.cached, found.requests) == (11, 1)


def test_cached_tokens_by_either_name() -> None:
    for names in ({"cached": 30}, {"hits": 30}, {"cached": 30, "hits": 99}):
        (found,) = watched().page("a", page(100, **names), T + ROUND)
        assert found.cached == 30


def test_engines_of_a_server_are_one_sum() -> None:
    both = Page(
        T, tuple(Engine(model="m", engine=str(n), finished={"stop": n}, prompt=n, output=2 * n) for n in (1, 2))
    )
    assert watched().page("a", both, T + 9) == [
        Tokens(model="m", pod="a", began=T, ended=T + 9, requests=3, prompt=3, output=6)]  # fmt: skip


def test_servers_that_are_gone_are_forgotten() -> None:
    counting = watched()
    counting.page("a", page(10), T + 1)
    counting.done(T + ROUND, ["b"])
    assert set(counting.state()["servers"]) == set()
    assert set(counting.state()["waiting"]) == {"b"}


@pytest.mark.parametrize("state", [{"servers": []}, {"round": "x"}, {"servers": {"a": {"at": 1}}}])
def test_a_state_that_is_none_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(InputError, match="state"):
        Counting(state)


class Server:
    """A server that answers requests, and what it has done in all that a meter could know of."""

    def __init__(self, random: Random, at: int) -> None:
        self.random, self.started, self.counts = random, at, Counter[str]()

    def work(self) -> Counter[str]:
        more = Counter(
            prompt=self.random.randrange(50), output=self.random.randrange(50), stop=self.random.randrange(3)
        )
        self.counts += more
        return more

    def page(self) -> Page:
        return page(self.counts["prompt"], self.counts["output"], started=self.started, stop=self.counts["stop"])


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32))
def test_killed_anywhere_all_is_counted_once(seed: int) -> None:
    """Servers begin while they are watched, restart right after a page, and do not always answer. Tokens and state are
    written together; the meter is killed before that or after it, or does not know whether it happened."""
    random = Random(seed)
    ledger = Ledger(open_store(":memory:"))
    counting, truth = watched(), Counter[str]()
    kept = msgspec.json.encode(counting.state())
    servers: dict[str, Server] = {}
    for place in range(1, 40):
        at = T + place * 600_000
        if len(servers) < 3 and random.random() < 0.3:
            servers[f"pod-{len(servers)}"] = Server(random, at - 5_000)
        records: list[Tokens] = []
        for name, server in servers.items():
            truth += server.work()
            if random.random() < 0.8 or place == 39:
                records += counting.page(name, server.page(), at)
        counting.done(at + 2, list(servers))
        if random.random() < 0.3 and place < 39:
            counting = Counting(json.loads(kept))
            continue
        kept = msgspec.json.encode(counting.state())
        for _ in range(random.choice([1, 1, 2])):
            ledger.write(records)
        if random.random() < 0.3:
            counting = Counting(json.loads(kept))
        for name, server in servers.items():
            if counting.state()["servers"].get(name, {}).get("at") == at and random.random() < 0.2:
                server.started, server.counts = at + 1, Counter()
    ledger.seal(T + 100 * HOUR)
    sums = ledger.store.rows("SELECT COALESCE(SUM(prompt), 0), SUM(output), SUM(requests) FROM tokens")
    assert sums == [(truth["prompt"], truth["output"], truth["stop"])] or not truth
    ledger.store.close()
