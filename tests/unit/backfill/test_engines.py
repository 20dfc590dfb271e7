"""Tokens out of counters that a real Prometheus kept: restarts, new servers, times without a scrape."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.unit.backfill.past import HOUR, MINUTE, SECOND, START
from tests.unit.backfill.test_backfill import empty, fill, pod, small
from tests.unit.kube.promserver import Exposed, serving

PROMPT, OUTPUT, CACHED, REQUESTS = 40, 10, 4, 2  # a second
EVERY = 15 * SECOND
LAST = START + 5 * HOUR + 30 * MINUTE  # until when `old` runs
MODEL = "acme/chat"


def server(name: str, began: int, ended: int, *, restarts: tuple[int, ...] = (), engines: int = 1,
           silent: tuple[int, int] = (0, 0)) -> Iterator[Exposed]:  # fmt: skip
    """What a server that began to answer at a moment counts. Times in milliseconds."""
    for at in range(began, ended, EVERY):
        since = (at - max([began, *(each for each in restarts if each <= at)])) // SECOND
        if silent[0] <= at < silent[1]:
            continue
        for engine in range(engines):
            own = {"namespace": "blue", "pod": name, "model_name": MODEL, "engine": str(engine)}
            yield "vllm:prompt_tokens_total", own, at / 1000, PROMPT * since
            yield "vllm:prefix_cache_hits_total", own, at / 1000, CACHED * since
            yield "vllm:generation_tokens_total", own, at / 1000, OUTPUT * since
            yield "vllm:request_success_total", own | {"finished_reason": "stop"}, at / 1000, REQUESTS * since
            yield "vllm:request_success_total", own | {"finished_reason": "abort"}, at / 1000, since


def told(tmp_path: Path, *servers: Iterator[Exposed]) -> dict[str, tuple[int, ...]]:
    """Prompt, cached, output tokens and requests by pod, of six hours."""
    past = small(pod("old", 0, 5.5, "GPU-0"), pod("new", 2, 5, "GPU-1"), hours=6)
    past.truth.pods[0].began -= 10 * HOUR
    samples = [*past.samples(START, START + 6 * HOUR), *(each for every in servers for each in every)]
    ledger = empty()
    with serving(tmp_path, samples) as url:
        fill(ledger, url, 6)
    assert {model for (model,) in ledger.store.rows("SELECT DISTINCT model FROM tokens_inbox")} <= {MODEL}
    assert set(ledger.store.rows("SELECT name, model FROM pods")) == {("old", MODEL), ("new", MODEL)}
    sql = """SELECT p.name, SUM(prompt), SUM(cached), SUM(output), SUM(requests)
             FROM tokens_inbox t JOIN (SELECT DISTINCT id, name FROM pods) p ON p.id = t.pod GROUP BY p.name"""
    return {name: tuple(sums) for name, *sums in ledger.store.rows(sql)}


def near(sums: tuple[int, ...], seconds: float, *, within: float) -> bool:
    """Whether these are of so many seconds of work, but for `within` seconds."""
    return all(
        abs(found / rate - seconds) <= within
        for found, rate in zip(sums, (PROMPT, CACHED, OUTPUT, REQUESTS), strict=True)
    )


def test_a_server_that_was_there_and_one_that_came(tmp_path: Path) -> None:
    came = START + 2 * HOUR + 5 * MINUTE  # it loaded its model for five minutes
    found = told(tmp_path, server("old", START - 3 * HOUR, LAST), server("new", came, START + 5 * HOUR, engines=2))
    assert near(found["old"], 5.5 * 3600, within=150)  # its past is not counted
    assert near(found["new"], 2 * (5 * 3600 - 2 * 3600 - 300), within=240)


def test_counters_that_begin_anew(tmp_path: Path) -> None:
    restarts = (START + HOUR + 7 * SECOND, START + 3 * HOUR)
    found = told(
        tmp_path, server("old", START - HOUR, LAST, restarts=restarts),
        server("new", START + 2 * HOUR + 5 * MINUTE, START + 5 * HOUR, silent=(START + 3 * HOUR, START + 4 * HOUR)),
    )  # fmt: skip
    assert near(found["old"], 5.5 * 3600, within=150 + 2 * 60)
    assert near(found["new"], 5 * 3600 - 2 * 3600 - 300, within=120)  # what was done in the gap counts
