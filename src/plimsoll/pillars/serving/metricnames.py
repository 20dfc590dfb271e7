"""Names of vLLM's metrics through its versions, as a query meets them.

From a scan of the release packages 0.8.5 to 0.33.0 for Prometheus constructors; a version here is
the first one scanned that lacks (GONE) or has (SINCE) the metric. vLLM's own rule: a minor release
deprecates, the next hides, the one after removes.
"""

from __future__ import annotations

import re
from typing import NamedTuple

Version = tuple[int, ...]


class Gone(NamedTuple):
    """A metric that newer versions do not have, and what took its place ("" if nothing)."""

    since: Version
    instead: str


GONE: dict[str, Gone] = {
    "gpu_cache_usage_perc": Gone((0, 12), "kv_cache_usage_perc"),
    "gpu_prefix_cache_queries": Gone((0, 12), "prefix_cache_queries"),
    "gpu_prefix_cache_hits": Gone((0, 12), "prefix_cache_hits"),
    "time_per_output_token_seconds": Gone((0, 15), "inter_token_latency_seconds"),
    "cpu_cache_usage_perc": Gone((0, 9, 2), ""),
    "gpu_prefix_cache_hit_rate": Gone((0, 9, 2), "prefix_cache_hits"),
    "cpu_prefix_cache_hit_rate": Gone((0, 9, 2), ""),
    "num_requests_swapped": Gone((0, 9, 2), "num_preemptions"),
    "time_in_queue_requests": Gone((0, 9, 2), "request_queue_time_seconds"),
    "model_forward_time_milliseconds": Gone((0, 9, 2), ""),
    "model_execute_time_milliseconds": Gone((0, 9, 2), ""),
    "spec_decode_draft_acceptance_rate": Gone((0, 10, 2), "spec_decode_num_accepted_tokens"),
    "spec_decode_efficiency": Gone((0, 10, 2), "spec_decode_num_accepted_tokens"),
    "spec_decode_num_emitted_tokens": Gone((0, 10, 2), "spec_decode_num_accepted_tokens"),
    "prompt_tokens_recomputed": Gone((0, 20), "num_preemptions"),
}
SINCE: dict[str, Version] = {
    "kv_cache_usage_perc": (0, 9),
    "prefix_cache_queries": (0, 9),
    "prefix_cache_hits": (0, 9),
    "inter_token_latency_seconds": (0, 10, 2),
    "request_time_per_output_token_seconds": (0, 11),
    "engine_sleep_state": (0, 11, 2),
    "num_requests_waiting_by_reason": (0, 20),
    "request_num_preemptions": (0, 30),
    "admission_rejections": (0, 32),
}
_NAME = re.compile(r"\bvllm([:_])([a-z][a-z0-9_]*)")
_SUFFIX = re.compile(r"_(bucket|sum|count|total|created)$")


def used(query: str) -> list[tuple[str, str]]:
    """The vLLM metrics a query names: separator (`:` or `_`) and name without its suffix, in order."""
    return [(separator, _SUFFIX.sub("", title)) for separator, title in _NAME.findall(query)]


def say(numbers: Version) -> str:
    return ".".join(map(str, numbers))
