"""What a vLLM server tells of its work: its `/metrics` page, read for the few series that are needed of it.

A page has some 600 lines and hundreds of servers are read every 30 seconds, so nothing is parsed but those series.
What vLLM renamed over its versions (0.8 to 0.33) is known here and nowhere else:

- Prompt tokens found in a cache: `prompt_tokens_cached_total` since 0.16; before, `prefix_cache_hits_total`, which
  counts tokens in spite of its name. `gpu_prefix_cache_hits_total` of 0.8 counted blocks and is not used.
- `kv_cache_usage_perc` (0 to 1, in spite of its name) was `gpu_cache_usage_perc` until 0.8.
- The label `engine` came with the second engine; where it is missing there is one.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from plimsoll.errors import InputError

PAGE_MAX = 16 << 20  # bytes; a page of a server with 64 engines has some 3 MB
SERIES_MAX = 10_000  # of those that are read: engines × finished reasons
NAME_MAX = 253  # characters of a model's or a tenant's name; Kubernetes' own bound for names

# Our name, and the text each of its series begins with.
_COUNTERS = {
    "requests": b"vllm:request_success_total{",
    "prompt": b"vllm:prompt_tokens_total{",
    "cached": b"vllm:prompt_tokens_cached_total{",
    "hits": b"vllm:prefix_cache_hits_total{",
    "output": b"vllm:generation_tokens_total{",
    "preempted": b"vllm:num_preemptions_total{",
}
_GAUGES = {
    "running": b"vllm:num_requests_running{",
    "waiting": b"vllm:num_requests_waiting{",
    "kv": b"vllm:kv_cache_usage_perc{",
    "kv_old": b"vllm:gpu_cache_usage_perc{",
}
_LABEL = re.compile(rb'\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*,?')
_VALUE = re.compile(rb"\s*\}\s*(\S+)(?:\s+-?\d+)?\s*$")  # a timestamp may follow
_STARTED, _CREATED = b"process_start_time_seconds ", b"vllm:generation_tokens_created{"
_ESCAPED = re.compile(r"\\(.)")
_UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """One engine of a server. A series that is not on the page is None, or not in `finished`: it is not 0.

    finished: requests by reason (`stop`, `length`, `abort`, `error`, …). prompt: prompt tokens, cached ones too.
    cached, hits: of them found in a cache, as newer and as older versions count. output: generated tokens.
    running, waiting: requests now. kv: 0 to 1 of the cache in use now. preempted: requests pushed out of it.
    """

    model: str
    engine: str = ""
    finished: dict[str, int] = {}
    prompt: int | None = None
    cached: int | None = None
    hits: int | None = None
    output: int | None = None
    preempted: int | None = None
    running: float | None = None
    waiting: float | None = None
    kv: float | None = None


class Page(msgspec.Struct, frozen=True):
    """A server at one moment. started: when its counters began, milliseconds since 1970, where the page tells."""

    started: int | None
    engines: tuple[Engine, ...]


def short(name: str, most: int = NAME_MAX) -> str:
    """A name that somebody else chose, as it goes into the ledger: printable and of bounded length."""
    return _UNPRINTED.sub(" ", name[:most])


def read(page: bytes, *, where: str = "") -> Page:
    """Read a page. A server without any of the series (an embedding server, say) has no engines.

    Raises InputError where it is too large, cut off, or a counter is no whole number.
    """
    if len(page) > PAGE_MAX:
        raise InputError(f"a metrics page of {len(page):,} bytes is no vLLM server's", where=where)
    if page and not page.endswith(b"\n"):
        # Half a number is a number: 12 of 1234 would look like a server that began anew.
        raise InputError("this metrics page is cut off in its last line", where=where, hint="It is read again.")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    count = 0
    for name, begins in (*_COUNTERS.items(), *_GAUGES.items()):
        for line in _lines(page, begins):
            count += 1
            if count > SERIES_MAX:
                raise InputError(f"a metrics page with more than {SERIES_MAX:,} series to read", where=where)
            _take(name, line, len(begins), found, where)
    engines = (_engine(model, engine, values) for (model, engine), values in sorted(found.items()))
    return Page(_started(page), tuple(engines))


def _started(page: bytes) -> int | None:
    """When the process began; where it does not say, when its counters did: it had answered nothing before."""
    for line in _lines(page, _STARTED):
        return _moment(line[len(_STARTED) :])
    created = (_moment(line.rpartition(b"}")[2]) for line in _lines(page, _CREATED))
    return min((moment for moment in created if moment is not None), default=None)


def _lines(page: bytes, begins: bytes) -> list[bytes]:
    """The lines that begin so: they follow one another, as the format asks, so that one search finds them."""
    found = []
    at = 0 if page.startswith(begins) else page.find(b"\n" + begins) + 1
    while page.startswith(begins, at):
        end = page.find(b"\n", at)
        found.append(page[at:end])
        at = end + 1
    return found


def _take(name: str, line: bytes, after: int, found: dict[tuple[str, str], dict[str, Any]], where: str) -> None:
    """Put one line's value into its engine."""
    labels, at = {}, after
    while match := _LABEL.match(line, at):
        labels[match[1]] = match[2]
        at = match.end()
    value = _VALUE.match(line, at)
    if value is None:
        raise InputError(f"this is no line of metrics: {line[:120].decode(errors='replace')}", where=where)
    who = _text(labels.get(b"model_name", b"")), _text(labels.get(b"engine", b""))
    values = found.setdefault(who, {})
    if name in _GAUGES:
        gauge = _number(value[1])
        values[name] = gauge if gauge is not None and math.isfinite(gauge) else None
        return
    number = _number(value[1])
    if number is None or not 0 <= number < 2**63:
        raise InputError(f"this counter is no number: {line[:120].decode(errors='replace')}", where=where)
    if name == "requests":
        values.setdefault("finished", {})[_text(labels.get(b"finished_reason", b""))] = round(number)
    else:
        values[name] = round(number)


def _engine(model: str, engine: str, values: dict[str, Any]) -> Engine:
    old = values.pop("kv_old", None)
    values.setdefault("kv", old)
    return Engine(model=model, engine=engine, **values)


def _text(label: bytes) -> str:
    text = label.decode("utf-8", "replace")
    if "\\" in text:
        text = _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], text)
    return short(text)


def _number(text: bytes) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _moment(text: bytes) -> int | None:
    seconds = _number(text.split()[0]) if text.split() else None
    return round(seconds * 1000) if seconds is not None and 0 < seconds < 2**40 else None
