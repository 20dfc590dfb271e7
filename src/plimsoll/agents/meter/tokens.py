"""From the counters of inference servers to the tokens of intervals.

A counter says how much since its process began. What is written is how much it grew between two pages; a server that
began anew counts from 0, and what it did between the last page and its end nobody knows. At first sight a server's
past is not ours to count, unless it began while we watched: then all of it is.

The state belongs into one transaction with the tokens that were counted up to it: then nothing is lost and nothing
counted twice wherever the meter is killed. With an older state the next interval begins where one began that is written
already; of the two the ledger takes the longer, which is the truth but for tokens about a full hour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from plimsoll.agents.meter.vllm import Engine, Page
from plimsoll.cost.sample import Tokens
from plimsoll.errors import InputError

_SAME = 1000  # milliseconds within which two pages tell of the same beginning of a process
_UNANSWERED = ("abort", "error")  # reasons of requests that were not answered; their tokens count all the same
_FINISHED = "finished:"

Counts = dict[str, int]


class _Server(msgspec.Struct):
    """The last page of a server. at: its moment. counts: by model, engine and series."""

    at: int
    started: int | None
    counts: dict[str, dict[str, Counts]]


class _State(msgspec.Struct):
    """round: when the last round ended. waiting: pods that were never read yet; the last round before each was seen."""

    round: int | None = None
    servers: dict[str, _Server] = {}
    waiting: dict[str, int | None] = {}


class Counting:
    """The state of all servers, by the uid of their pods. Moments never go back (`clock.py`); a page that is late, or
    comes twice, changes nothing."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        """state: what an earlier `state()` gave. Raises InputError where it is something else."""
        try:
            self._state = msgspec.convert(state or {}, _State)
        except msgspec.ValidationError as error:
            raise InputError(f"the meter's state of tokens cannot be read: {error}") from None

    def state(self) -> dict[str, Any]:
        """All that is known, as plain data."""
        found: dict[str, Any] = msgspec.to_builtins(self._state)
        return found

    def page(self, pod: str, page: Page, at: int) -> list[Tokens]:
        """What a server did since its last page. pod: its uid. at: when the page was asked for."""
        counts = _counts(page)
        if not counts:
            return []
        before = self._state.servers.get(pod)
        if before is not None and at <= before.at:
            return []
        since = before.at if before else self._state.waiting.pop(pod, self._state.round)
        self._state.servers[pod] = _Server(at, page.started, counts)
        if before is not None and not _anew(before, page, counts):
            _keep(before.counts, counts)
            return _tokens(pod, before.counts, counts, before.at, at)
        if since is None or (before is None and (page.started is None or page.started < since)):
            return []
        began = since if page.started is None else min(max(since, page.started), at - 1)
        return _tokens(pod, {}, counts, began, at)

    def done(self, at: int, pods: Collection[str]) -> None:
        """A round is over. pods: of all servers that are there now, whether they answered or not."""
        for pod in pods:
            if pod not in self._state.servers:
                self._state.waiting.setdefault(pod, self._state.round)
        there = set(pods)
        self._state.servers = {pod: of for pod, of in self._state.servers.items() if pod in there}
        self._state.waiting = {pod: of for pod, of in self._state.waiting.items() if pod in there}
        self._state.round = at


def _counts(page: Page) -> dict[str, dict[str, Counts]]:
    """The counters of a page by model and engine. An engine of which a counter is missing is not on it: a page that
    lost its end must not look like one that began anew."""
    found: dict[str, dict[str, Counts]] = defaultdict(dict)
    for engine in page.engines:
        if engine.prompt is not None and engine.output is not None and engine.finished:
            found[engine.model][engine.engine] = _series(engine)
    return dict(found)


def _series(engine: Engine) -> Counts:
    found = {f"{_FINISHED}{reason}": count for reason, count in engine.finished.items()}
    for name in ("prompt", "cached", "hits", "output"):
        value = getattr(engine, name)
        if value is not None:
            found[name] = value
    return found


def _anew(before: _Server, page: Page, counts: dict[str, dict[str, Counts]]) -> bool:
    """Whether the server began anew: it says so, or one of its counters fell."""
    if before.started is not None and page.started is not None and abs(page.started - before.started) > _SAME:
        return True
    return any(
        count < before.counts.get(model, {}).get(engine, {}).get(name, 0)
        for model, engines in counts.items()
        for engine, series in engines.items()
        for name, count in series.items()
    )


def _keep(before: dict[str, dict[str, Counts]], counts: dict[str, dict[str, Counts]]) -> None:
    """Series that a page does not show are as they were."""
    for model, engines in before.items():
        for engine, series in engines.items():
            counts.setdefault(model, {})[engine] = series | counts.get(model, {}).get(engine, {})


def _tokens(
    pod: str, before: dict[str, dict[str, Counts]], counts: dict[str, dict[str, Counts]], began: int, ended: int
) -> list[Tokens]:
    """How much the counters grew, by model: what several engines of a server did is one sum."""
    found = []
    for model, engines in sorted(counts.items()):
        grown: Counts = defaultdict(int)
        for engine, series in engines.items():
            old = before.get(model, {}).get(engine, {})
            cached = "cached" if "cached" in series else "hits"  # two names of one thing
            for name, count in series.items():
                if name.startswith(_FINISHED):
                    grown["requests"] += (count - old.get(name, 0)) * (name.removeprefix(_FINISHED) not in _UNANSWERED)
                elif name in ("prompt", "output", cached):
                    grown["cached" if name == cached else name] += count - old.get(name, 0)
        if any(grown.values()):
            found.append(Tokens(
                model=model, pod=pod, began=began, ended=ended, requests=grown["requests"], prompt=grown["prompt"],
                cached=grown["cached"], output=grown["output"],
            ))  # fmt: skip
    return found
