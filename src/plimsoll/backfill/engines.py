"""What vLLM servers answered in a stretch of time, from their counters; and which pod serves which model.

Counters count since their process began. Their growth is worked out by what the meter uses, `agents/meter/tokens.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import Any

from plimsoll.agents.meter.tokens import Counting
from plimsoll.agents.meter.vllm import Engine, Page
from plimsoll.backfill.ask import Source, Stretch, resolved
from plimsoll.backfill.devices import Name
from plimsoll.backfill.ksm import ms
from plimsoll.backfill.state import Life
from plimsoll.cost.sample import Tokens

_MODEL = ("namespace", "pod", "model_name")
COUNTERS = {
    "vllm:prompt_tokens_total": "prompt",
    "vllm:prompt_tokens_cached_total": "cached",
    "vllm:prefix_cache_hits_total": "hits",
    "vllm:generation_tokens_total": "output",
    "vllm:request_success_total": "finished",
}
_ENGINE = ("namespace", "pod", "model_name", "engine", "finished_reason")
STEP = 60.0  # seconds between looks at the counters; what a server did after the last one before its end is lost


def models(source: Source, at: Stretch, there: Set[str]) -> dict[Name, str]:
    """The model each pod serves."""
    metric = next((name for name in COUNTERS if name in there), None)
    if metric is None:
        return {}
    found = source.highest(source.select(metric), _MODEL, at)
    return {(space, pod): model for space, pod, model in sorted(found) if pod and model}


def tokens(source: Source, at: Stretch, there: Set[str], counting: Counting, lives: Iterable[Life]) -> list[Tokens]:
    """What servers did, minute by minute. lives: pods of this time, which servers are told by."""
    rounds: dict[int, dict[tuple[Name, str, str], dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for metric in COUNTERS.keys() & there:
        span = max(round(source.interval(metric, at) * 2000), round(STEP * 1000))
        query = f"last_over_time({source.select(metric)}[{span}ms])"
        for labels, points in source.server.ranged(query, at.began + STEP, at.ended, STEP):
            space, pod, model, engine, reason = resolved(labels, _ENGINE)
            for moment, value in points if pod and model else ():
                if 0 <= value < 2**63:
                    told = rounds[ms(moment)][(space, pod), model, engine]
                    if COUNTERS[metric] == "finished":
                        told.setdefault("finished", {})[reason] = round(value)
                    else:
                        told[COUNTERS[metric]] = round(value)
    names = {name for told in rounds.values() for name, _, _ in told}
    servers: dict[Name, list[Life]] = defaultdict(list)
    for life in lives:
        if life.name in names:
            servers[life.name].append(life)
    found: list[Tokens] = []
    for place in range(1, int(at.span / STEP) + 1 if rounds else 0):
        moment = ms(at.began + place * STEP)
        pages = _pages(rounds.get(moment, {}), servers, moment)
        for pod, page in pages.items():
            found += counting.page(pod, page, moment)
        # Those that do not answer (yet) are there, too: what they do meanwhile counts.
        alive = {life.uid for every in servers.values() for life in every if life.began <= moment < life.until}
        counting.done(moment, alive | pages.keys())
    return found


def _pages(told: Mapping[tuple[Name, str, str], Mapping[str, Any]], servers: Mapping[Name, list[Life]],
           moment: int) -> dict[str, Page]:  # fmt: skip
    """The page of each server, by the uid of its pod. Its process is as old as its pod, until a counter falls."""
    engines: dict[str, list[Engine]] = defaultdict(list)
    started: dict[str, int | None] = {}
    for (name, model, engine), values in sorted(told.items()):
        life = next((each for each in servers.get(name, ()) if each.began <= moment < each.until), None)
        pod = life.uid if life else "/".join(name)
        started[pod] = life.began if life else None
        engines[pod].append(Engine(model=model, engine=engine, **values))
    return {pod: Page(started[pod], tuple(each)) for pod, each in engines.items()}
