"""The page of a vLLM server for one pod: what its queue says, in the metrics that its version has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from plimsoll.lab.telemetry import exposition, queue
from plimsoll.lab.telemetry.queue import Histogram, Server

Value = Callable[[Server], float]
Several = tuple[str, tuple[tuple[str, Value], ...]]  # a label and its values, each with what it counts
_NEWEST = (0, 32)


class _Family(msgspec.Struct, frozen=True):
    """One metric. since, until: first version that has it, first that has not, () for no such.

    name: without prefix. value: of the one series, or a label with the values it takes. engine: it has that label.
    """

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    value: Value | Several
    since: tuple[int, ...] = ()
    until: tuple[int, ...] = ()
    engine: bool = True


def _whole(count: float) -> float:
    """Things that are counted, of a fluid. The little more keeps rounding from taking one away that was shown."""
    return float(int(count + 1e-6))


def _cached(server: Server) -> float:
    return _whole(server.served * queue.PROMPT * queue.CACHED)


def _computed(server: Server) -> float:
    return _whole(server.served * queue.PROMPT * (1 - queue.CACHED))


def _prompt(server: Server) -> float:
    """Both together: the parts add up to it, and no part falls while another is rounded up."""
    return _cached(server) + _computed(server)


def _nothing(_: Server) -> float:
    return 0.0


def _one(_: Server) -> float:
    return 1.0


def _kv(server: Server) -> float:
    most = server.capacity * queue.full_service()
    return queue.FULL * server.running / most if most else 0.0


def _waiting(server: Server) -> float:
    return _whole(server.waiting)


_FAMILIES = (
    _Family("num_requests_running", "gauge", "Number of requests in model execution batches.",
            lambda server: float(round(server.running))),
    _Family("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", _waiting),
    _Family("num_requests_waiting_by_reason", "gauge", "Number of waiting requests by reason.",
            ("reason", (("capacity", _waiting), ("deferred", _nothing))), since=(0, 20)),
    _Family("engine_sleep_state", "gauge", "Engine sleep state; awake = 1 means engine is awake.",
            ("sleep_state", (("awake", _one), ("weights_offloaded", _nothing), ("discard_all", _nothing))),
            since=(0, 11, 2)),
    _Family("kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", _kv, since=(0, 9)),
    _Family("gpu_cache_usage_perc", "gauge", "GPU KV-cache usage. 1 means 100 percent usage.", _kv, until=(0, 11)),
    _Family("prefix_cache_queries_total", "counter",
            "Prefix cache queries, in terms of number of queried tokens.", _prompt, since=(0, 9)),
    _Family("prefix_cache_hits_total", "counter", "Prefix cache hits, in terms of number of cached tokens.",
            _cached, since=(0, 9)),
    _Family("num_preemptions_total", "counter", "Cumulative number of preemption from the engine.",
            lambda server: _whole(server.preempted)),
    _Family("prompt_tokens_total", "counter", "Number of prefill tokens processed.", _prompt),
    _Family("prompt_tokens_by_source_total", "counter", "Number of prompt tokens by source.",
            ("source", (("local_compute", _computed),
                        ("local_cache_hit", _cached), ("external_kv_transfer", _nothing))), since=(0, 16)),
    _Family("prompt_tokens_cached_total", "counter", "Number of cached prompt tokens (local + external).", _cached,
            since=(0, 16)),
    _Family("generation_tokens_total", "counter", "Number of generation tokens processed.",
            lambda server: _whole(server.served * queue.OUTPUT)),
    _Family("request_success_total", "counter", "Count of successfully processed requests.",
            ("finished_reason", (("stop", lambda server: _whole(server.served)), ("length", _nothing),
                                 ("abort", lambda server: _whole(server.dropped)), ("error", _nothing),
                                 ("repetition", _nothing)))),
    _Family("admission_rejections_total", "counter",
            "Number of admission attempts rejected by a queue limit, by reason.",
            ("reason", (("max_num_queued_reqs", _nothing), ("max_num_queued_tokens", _nothing))), since=(0, 32),
            engine=False),
)  # fmt: skip


class _Latency(msgspec.Struct, frozen=True):
    """One histogram of seconds: which of the queue's latencies it shows."""

    name: str
    help: str
    of: int
    since: tuple[int, ...] = ()
    until: tuple[int, ...] = ()


_LATENCIES = (
    _Latency("time_to_first_token_seconds", "Histogram of time to first token in seconds.", queue.FIRST),
    _Latency("time_per_output_token_seconds", "Histogram of time per output token in seconds.", queue.BETWEEN,
             until=(0, 12)),
    _Latency("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", queue.BETWEEN,
             since=(0, 10, 2)),
    _Latency("request_time_per_output_token_seconds", "Histogram of time_per_output_token_seconds per request.",
             queue.PER_REQUEST, since=(0, 11)),
    _Latency("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", queue.TOTAL),
    _Latency("request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", queue.QUEUE),
    _Latency("request_inference_time_seconds", "Histogram of time spent in RUNNING phase for request.",
             queue.INFERENCE),
    _Latency("request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", queue.PREFILL),
    _Latency("request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", queue.DECODE),
)  # fmt: skip
_TOKENS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)


def page(server: Server, model: str, version: tuple[int, ...], started: float) -> str:
    """The page of a server at its moment (see `queue.advance`). version: () for the newest. started: of its process."""
    version = version or _NEWEST
    lines: list[str] = []
    own = f'model_name="{exposition.escaped(model)}"'
    for family in _FAMILIES:
        if _exists(family, version):
            _counted(family, server, own, started, lines)
    for name, size in (("request_prompt_tokens", queue.PROMPT), ("request_generation_tokens", queue.OUTPUT)):
        counts = tuple(server.served if bound >= size else 0.0 for bound in _TOKENS)
        what = "prefill" if size == queue.PROMPT else "generation"
        histogram = Histogram((*counts, server.served), _whole(server.served) * size)
        _histogram(name, f"Number of {what} tokens processed.", _TOKENS, histogram, own, started, lines)
    for latency in _LATENCIES:
        if _exists(latency, version):
            bounds, histogram = queue.BOUNDS[latency.of], server.latencies[latency.of]
            _histogram(latency.name, latency.help, bounds, histogram, own, started, lines)
    return "".join(lines)


def _exists(entry: _Family | _Latency, version: tuple[int, ...]) -> bool:
    return version >= entry.since and (not entry.until or version < entry.until)


def _counted(family: _Family, server: Server, own: str, started: float, lines: list[str]) -> None:
    engine = 'engine="0",' if family.engine else ""
    if callable(family.value):
        series = [(f"{engine}{own}", family.value)]
    else:
        key, values = family.value  # labels stand in alphabetical order
        series = [
            (f'{engine}{key}="{value}",{own}' if key < "model_name" else f'{engine}{own},{key}="{value}"', count)
            for value, count in values
        ]
    lines.append(exposition.head(f"vllm:{family.name}", family.kind, family.help))
    lines += (f"vllm:{family.name}{{{labels}}} {count(server)!r}\n" for labels, count in series)
    if family.kind == "counter":
        created = f"vllm:{family.name.removesuffix('_total')}_created"
        lines.append(exposition.head(created, "gauge", family.help))
        lines += (f"{created}{{{labels}}} {started!r}\n" for labels, _ in series)


def _histogram(
    name: str,
    help_: str,
    bounds: tuple[float, ...],
    histogram: Histogram,
    own: str,
    started: float,
    lines: list[str],
) -> None:
    lines.append(exposition.head(f"vllm:{name}", "histogram", help_))
    for bound, count in zip((*map(repr, bounds), "+Inf"), histogram.counts, strict=True):
        lines.append(f'vllm:{name}_bucket{{engine="0",le="{bound}",{own}}} {_whole(count)!r}\n')
    lines.append(f'vllm:{name}_count{{engine="0",{own}}} {_whole(histogram.counts[-1])!r}\n')
    lines.append(f'vllm:{name}_sum{{engine="0",{own}}} {histogram.sum!r}\n')
    lines.append(exposition.head(f"vllm:{name}_created", "gauge", help_))
    lines.append(f'vllm:{name}_created{{engine="0",{own}}} {started!r}\n')
