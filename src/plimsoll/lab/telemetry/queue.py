"""A model server as a queue: requests flow in at one rate, are served at most at another, and wait meanwhile.

Requests are a fluid, so every count is a closed formula of time and no history of single requests is kept. Who has
waited for PATIENCE seconds gives up, as clients do; so a queue is never longer than that many seconds of work.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

PATIENCE = 30.0  # seconds
PROMPT, OUTPUT = 512, 128  # tokens of a request
CACHED = 0.3  # share of prompt tokens found in the prefix cache
FULL = 0.96  # use of the KV cache at full load
_PREFILL, _TOKEN = 0.08, 0.016  # seconds of an unloaded server: before the first token, between two tokens
_SLOWER = 1.0  # how much longer either takes at full load, as a share
_PREEMPTED = 0.05  # of the requests of an overloaded server
SPREAD = ((0.5, 0.8), (0.3, 1.0), (0.15, 1.4), (0.05, 1.8))
"""How unlike requests are: the share of them, and how long they take beside the usual. It means 1.0 in all."""

QUEUE, FIRST, BETWEEN, PER_REQUEST, TOTAL, PREFILL, DECODE, INFERENCE = range(8)
"""The latencies that are kept: waiting, to the first token, between two tokens, the same as a mean of each request,
in all, prefill, decode, both of these."""

_QUICK = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
          160.0, 640.0, 2560.0)  # fmt: skip
_STEP = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_LONG = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
         1920.0, 7680.0)  # fmt: skip
BOUNDS = (_LONG, _QUICK, _STEP, _STEP, _LONG, _LONG, _LONG, _LONG)
"""Upper bounds of the buckets of each latency, without the infinite one, as vLLM has them."""


class Histogram(msgspec.Struct, frozen=True):
    """Cumulative counts at each bound, then of all; and the sum of what was observed."""

    counts: tuple[float, ...]
    sum: float = 0.0


class Server(msgspec.Struct, frozen=True):
    """One replica at a moment.

    since: seconds of the epoch. arriving, capacity: requests a second from then on. waiting: requests in the queue.
    served, dropped, preempted: requests since it started. latencies: by QUEUE … INFERENCE, of the served ones.
    """

    since: float
    arriving: float = 0.0
    capacity: float = 0.0
    waiting: float = 0.0
    served: float = 0.0
    dropped: float = 0.0
    preempted: float = 0.0
    latencies: tuple[Histogram, ...] = tuple(Histogram((0.0,) * (len(bounds) + 1)) for bounds in BOUNDS)

    @property
    def load(self) -> float:
        """Share of its capacity in use, 0..1; 1 while anybody waits."""
        if self.capacity <= 0:
            return 0.0
        return 1.0 if self.waiting > 0 else min(self.arriving / self.capacity, 1.0)

    @property
    def running(self) -> float:
        """Requests in work: how many come in the time that one takes."""
        return self.load * self.capacity * sum(_service(self.load))


def _service(load: float) -> tuple[float, float]:
    """Seconds of prefill and of decode."""
    slower = 1.0 + _SLOWER * load
    return _PREFILL * slower, _TOKEN * (OUTPUT - 1) * slower


def full_service() -> float:
    """Seconds that a request takes at full load, its wait apart."""
    return sum(_service(1.0))


def demand(server: Server, at: float, arriving: float, capacity: float) -> Server:
    """The server once more or fewer requests come, or it can take more or fewer, from a time on."""
    moved = advance(server, at)
    longest = capacity * PATIENCE
    gone = max(moved.waiting - longest, 0.0)
    return msgspec.structs.replace(
        moved, arriving=arriving, capacity=capacity, waiting=moved.waiting - gone, dropped=moved.dropped + gone
    )


def advance(server: Server, now: float) -> Server:
    """The server at a later time, its rates unchanged; as it is where the clock went back."""
    while server.since < now:
        server = _stretch(server, now)
    return server


def _stretch(server: Server, now: float) -> Server:
    """To a time, or to the moment before it at which the queue is empty or full."""
    arriving, capacity, waiting = server.arriving, server.capacity, server.waiting
    longest, growth = capacity * PATIENCE, arriving - capacity
    if waiting <= 0 and growth <= 0:  # keeps up
        return _passed(server, now, arriving, 0.0, 0.0)
    if growth > 0 and waiting >= longest:  # as many give up as come too many
        passed = _passed(server, now, capacity, longest, longest)
        return msgspec.structs.replace(passed, dropped=server.dropped + growth * (now - server.since))
    if growth == 0:
        return _passed(server, now, capacity, waiting, waiting)
    goal = longest if growth > 0 else 0.0
    turn = server.since + (goal - waiting) / growth
    if turn > now:
        return _passed(server, now, capacity, waiting, waiting + growth * (now - server.since))
    return _passed(server, turn, capacity, waiting, goal)


def _passed(server: Server, to: float, rate: float, queued: float, left: float) -> Server:
    """The server after serving at a rate, its queue going evenly from one length to another."""
    number = rate * (to - server.since)
    waits = (queued / server.capacity, left / server.capacity) if server.capacity > 0 else (0.0, 0.0)
    overloaded = queued > 0 or left > 0
    load = 1.0 if overloaded else server.load
    return msgspec.structs.replace(
        server,
        since=to,
        waiting=left,
        served=server.served + number,
        preempted=server.preempted + (number * _PREEMPTED if overloaded else 0.0),
        latencies=_observed(server.latencies, number, waits, load),
    )


def _observed(
    before: tuple[Histogram, ...], number: float, waits: tuple[float, float], load: float
) -> tuple[Histogram, ...]:
    """The latencies with some more requests, whose waits are spread evenly between two."""
    if number <= 0:
        return before
    prefill, decode = _service(load)
    step = decode / (OUTPUT - 1)
    parts = (  # what each latency has of the wait, then of a usual request; and how often it is observed in one
        (1.0, 0.0, 1.0),
        (1.0, prefill, 1.0),
        (0.0, step, OUTPUT - 1.0),
        (0.0, step, 1.0),
        (1.0, prefill + decode, 1.0),
        (0.0, prefill, 1.0),
        (0.0, decode, 1.0),
        (0.0, prefill + decode, 1.0),
    )
    return tuple(
        _added(histogram, bounds, number * times, tuple(wait * each for each in waits), usual)
        for histogram, bounds, (wait, usual, times) in zip(before, BOUNDS, parts, strict=True)
    )


def _added(
    histogram: Histogram, bounds: tuple[float, ...], number: float, waits: tuple[float, ...], usual: float
) -> Histogram:
    counts, total = list(histogram.counts), histogram.sum
    for share, slower in SPREAD:
        low, high = sorted(wait + usual * slower for wait in waits)
        total += number * share * (low + high) / 2
        for index in range(bisect_left(bounds, low), len(bounds)):
            bound = bounds[index]
            within = 1.0 if bound >= high else (bound - low) / (high - low)
            counts[index] += number * share * within
    counts[-1] += number
    return Histogram(tuple(counts), total)
