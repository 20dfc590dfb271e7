"""Pages of vLLM servers: real ones of several versions, and what else may come instead."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.agents.meter import vllm
from plimsoll.agents.meter.vllm import Engine, read
from plimsoll.errors import InputError
from plimsoll.lab.telemetry import queue
from plimsoll.lab.telemetry.vllm import page as vllm_page
from tests.recorded import shared

T = 1_764_547_200_000
PAGE = b"""# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="0",model_name="m"} 1.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:prompt_tokens_total{engine="0",model_name="m"} 1.25e+03
vllm:generation_tokens_total{engine="0",model_name="m"} 340.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="m"} 7.0
vllm:request_success_total{engine="0",finished_reason="abort",model_name="m"} 2.0
process_start_time_seconds 1.7740113846e+09
"""


def real(name: str) -> bytes:
    return shared(name).read_bytes()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vllm_metrics.txt", (121, 9956, 0, 5867)),
        ("vllm_metrics_idle.txt", (0, 0, 0, 0)),
        ("vllm_metrics_saturated.txt", (9, 2832, 1664, 3502)),
        ("vllm_metrics_lora_spec.txt", (30, 2480, 0, 1473)),
        ("real/metrics/cncf_kops_vllm_l4_metrics.prom", (0, 0, 0, 0)),
    ],
)
def test_real_pages(name: str, expected: tuple[int, ...]) -> None:
    page = read(real(name))
    (engine,) = page.engines
    assert (sum(engine.finished.values()), engine.prompt, engine.cached, engine.output) == expected
    assert set(engine.finished) == {"stop", "length", "abort", "error", "repetition"}
    assert page.started is not None
    assert page.started > 1_700_000_000_000
    assert None not in (engine.running, engine.waiting, engine.kv)


def test_every_version_has_the_series_that_are_read() -> None:
    known = json.loads(real("vllm_metric_names_by_version.json"))
    needed = {"vllm:request_success", "vllm:prompt_tokens", "vllm:generation_tokens"}
    for version in known["versions_checked"]:
        there = {name.removesuffix("_total") for name, of in known["metrics"].items() if version in of["present_in"]}
        assert needed <= there, version
        if version != "0.8.5":  # it counted blocks: nothing is taken for cached
            assert there & {"vllm:prefix_cache_hits", "vllm:prompt_tokens_cached"}, version
        assert there & {"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"}, version


def test_a_page() -> None:
    page = read(PAGE)
    assert page.started == 1_774_011_384_600
    assert page.engines == (
        Engine(model="m", engine="0", finished={"stop": 7, "abort": 2}, prompt=1250, output=340, running=3, waiting=1,
               kv=0.25),
    )  # fmt: skip


def test_labels_in_any_order_escaped_and_with_a_timestamp() -> None:
    line = rb'vllm:prompt_tokens_total{model_name="org/a \"b\" {c}\\d",engine="11", } 5 1774011384600'
    (engine,) = read(line + b"\n").engines
    assert (engine.model, engine.engine, engine.prompt) == ('org/a "b" {c}\\d', "11", 5)


def test_engines_of_one_server_and_a_server_without_the_label() -> None:
    text = b"".join(b'vllm:generation_tokens_total{engine="%d",model_name="m"} %d\n' % (n, n) for n in range(3))
    assert [(each.engine, each.output) for each in read(text).engines] == [("0", 0), ("1", 1), ("2", 2)]
    assert read(b'vllm:generation_tokens_total{model_name="m"} 4\n').engines[0].engine == ""


def test_what_is_not_there_is_not_nothing() -> None:
    (engine,) = read(b'vllm:num_requests_waiting{model_name="m"} NaN\n').engines
    assert (engine.waiting, engine.prompt, engine.finished) == (None, None, {})
    assert read(b"python_info 1\n").engines == read(b"").engines == ()


def test_names_of_others_are_bounded_and_printable() -> None:
    name = b"x" * 1000 + b"\x1b[31m"
    (engine,) = read(b'vllm:prompt_tokens_total{model_name="\x1b[31m' + name + b'"} 5\n').engines
    assert len(engine.model) == vllm.NAME_MAX
    assert "\x1b" not in engine.model


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (PAGE.rstrip(b"\n")[:-3], "cut off"),
        (b'vllm:prompt_tokens_total{model_name="m"} NaN\n', "no number"),
        (b'vllm:prompt_tokens_total{model_name="m"} -4\n', "no number"),
        (b'vllm:prompt_tokens_total{model_name="m"} ten\n', "no number"),
        (b'vllm:prompt_tokens_total{model_name="m 7\n', "no line of metrics"),
        (b"x" * (vllm.PAGE_MAX + 1), "bytes"),
        (b"".join(b'vllm:prompt_tokens_total{engine="%d"} 1\n' % n for n in range(vllm.SERIES_MAX + 1)), "series"),
    ],
    ids=lambda value: value if isinstance(value, str) else "page",
)
def test_what_is_no_page_is_refused(page: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(page)


@given(st.binary(max_size=400), st.integers(0, len(PAGE)))
def test_garbage_is_read_or_refused(garbage: bytes, at: int) -> None:
    with contextlib.suppress(InputError):
        read(PAGE[:at] + garbage + PAGE[at:])


def test_counters_tell_when_they_began_where_the_process_does_not() -> None:
    created = b'vllm:generation_tokens_created{engine="1",model_name="m"} 1.7740114e+09\n'
    assert read(created + PAGE).started == 1_774_011_384_600
    assert read(created).started == 1_774_011_400_000
    assert read(created.replace(b"1.7740114e+09", b"NaN")).started is None


@pytest.mark.parametrize("version", [(0, 8, 5), (0, 9, 2), (0, 11, 2), (0, 16, 0), (0, 32, 0)])
def test_a_server_of_the_lab_is_read_as_it_answered(version: tuple[int, ...]) -> None:
    """Written without a thought of us, from vLLM's sources by version."""
    server = queue.Server(since=T / 1000, served=137.0, waiting=4.0, arriving=1.0, capacity=2.0)
    page = read(vllm_page(server, "org/model", version, T / 1000).encode())
    (engine,) = page.engines
    assert (page.started, engine.model) == (T, "org/model")
    assert (sum(engine.finished.values()), engine.output) == (137, 137 * queue.OUTPUT)
    assert engine.prompt is not None
    assert 0 <= 137 * queue.PROMPT - engine.prompt <= 1  # what is cached and what is not are whole, each by itself
    cached = engine.hits if engine.cached is None else engine.cached
    assert cached == (None if version == (0, 8, 5) else int(137 * queue.PROMPT * queue.CACHED + 1e-6))
    assert engine.waiting == 4
