"""The page of a vLLM server: shaped as recorded, and a queue that grows, gives up and drains as arithmetic says."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from plimsoll.lab.telemetry import queue, serving, vllm
from plimsoll.lab.telemetry.queue import Server
from tests.recorded import shared
from tests.unit.lab.promtext import Family, parse, recorded, shapes
from tests.unit.lab.telemetry_objects import T0, deployment, pod, replica

_FIRST = "vllm:time_to_first_token_seconds"


def page(server: Server, version: tuple[int, ...] = ()) -> dict[str, Family]:
    return parse(vllm.page(server, "llama", version, T0))


def value(families: dict[str, Family], name: str, **labels: str) -> float:
    found = [each.value for family in families.values() for each in family.samples
             if each.name == name and labels.items() <= each.labels.items()]  # fmt: skip
    assert len(found) == 1, name
    return found[0]


@pytest.mark.parametrize("name", ["vllm_metrics.txt", "vllm_metrics_saturated.txt"])
def test_every_metric_is_one_of_a_real_server_with_the_same_labels_and_buckets(name: str) -> None:
    theirs, text = shared(name).read_text(), vllm.page(Server(T0), "llama", (), T0)
    shape = recorded(theirs)
    assert {metric: labels for metric, labels in shapes(text).items() if shape.get(metric) != labels} == {}
    kinds = dict(line.split(" ")[2:4] for line in theirs.splitlines() if line.startswith("# TYPE "))
    for family in parse(text).values():
        assert kinds[family.name] == family.kind
        if "_tokens" not in family.name:  # whose bounds go as far as the model's context
            bounds = {each.labels["le"] for each in family.samples if "le" in each.labels}
            assert bounds == set(re.findall(rf'^{family.name}_bucket{{[^}}]*le="([^"]+)"', theirs, re.MULTILINE))


def test_each_version_has_the_names_it_had() -> None:
    old, new = page(Server(T0), (0, 10, 1)), page(Server(T0), (0, 32))
    assert {"vllm:gpu_cache_usage_perc", "vllm:time_per_output_token_seconds"} <= old.keys() - new.keys()
    assert {"vllm:inter_token_latency_seconds", "vllm:num_requests_waiting_by_reason"} <= new.keys() - old.keys()
    assert new.keys() == page(Server(T0)).keys()


def test_a_server_that_keeps_up_has_no_queue_and_serves_all_that_come() -> None:
    server = queue.advance(queue.demand(Server(T0), T0, 2.0, 5.0), T0 + 100)
    families = page(server)
    assert value(families, "vllm:num_requests_waiting") == 0
    assert value(families, "vllm:request_success_total", finished_reason="stop") == 200
    assert value(families, "vllm:prompt_tokens_total") == 200 * queue.PROMPT
    assert value(families, "vllm:generation_tokens_total") == 200 * queue.OUTPUT
    assert 0 < value(families, "vllm:num_requests_running") < 20
    assert 0 < value(families, "vllm:kv_cache_usage_perc") < 0.5


def test_the_queue_grows_by_what_is_too_much_until_clients_give_up_then_drains() -> None:
    over = queue.demand(Server(T0), T0, 8.0, 5.0)
    assert queue.advance(over, T0 + 10).waiting == pytest.approx(30)
    full = queue.advance(over, T0 + 1000)
    assert full.waiting == 5 * queue.PATIENCE
    assert full.served == pytest.approx(5000)
    assert full.dropped == pytest.approx(8000 - 5000 - full.waiting)
    families = page(full)
    assert value(families, "vllm:num_requests_waiting_by_reason", reason="capacity") == 150
    assert value(families, "vllm:kv_cache_usage_perc") == pytest.approx(queue.FULL)
    assert value(families, "vllm:num_preemptions_total") > 0
    easier = queue.demand(full, T0 + 1000, 1.0, 5.0)
    assert queue.advance(easier, T0 + 1010).waiting == pytest.approx(150 - 40)
    assert queue.advance(easier, T0 + 1040).waiting == 0
    assert queue.advance(easier, T0 + 1040).load == pytest.approx(0.2)


def test_latencies_tell_of_the_wait() -> None:
    calm = queue.advance(queue.demand(Server(T0), T0, 1.0, 5.0), T0 + 100)
    busy = queue.advance(queue.demand(Server(T0), T0, 10.0, 5.0), T0 + 100)
    mean = [value(page(each), f"{_FIRST}_sum") / value(page(each), f"{_FIRST}_count") for each in (calm, busy)]
    assert mean[0] == pytest.approx(0.08 * 1.2, rel=0.01) and mean[1] > 10
    quick = [value(page(each), f"{_FIRST}_bucket", le="1.0") / each.served for each in (calm, busy)]
    assert quick[0] == pytest.approx(1) and quick[1] < 0.1


def test_how_unlike_requests_are_leaves_the_mean_alone() -> None:
    assert math.isclose(sum(share for share, _ in queue.SPREAD), 1)
    assert math.isclose(sum(share * slower for share, slower in queue.SPREAD), 1)


steps = st.lists(st.tuples(st.floats(0, 60), st.floats(0, 40), st.sampled_from([0.0, 0.5, 5.0])), max_size=8)


@settings(deadline=None)
@given(steps)
@example([(47.525390625, 1.0, 0.5), (0.0, 0.0, 0.0), (6.0, 6.103515625e-05, 0.5)])  # a cached token, and none in all
def test_nothing_is_lost_and_counters_never_fall(said: list[tuple[float, float, float]]) -> None:
    server, now, came, last = Server(T0), T0, 0.0, None
    for pause, arriving, capacity in said:
        server = queue.demand(server, now, arriving, capacity)
        for moment in (now + pause / 3, now + pause):
            families = page(queue.advance(server, moment))
            shown = [each.value for family in families.values() if family.kind != "gauge" for each in family.samples]
            assert last is None or all(new >= old for new, old in zip(shown, last, strict=True))
            last = shown
        came, now = came + arriving * pause, now + pause
        ended = queue.advance(server, now)
        assert ended.served + ended.dropped + ended.waiting == pytest.approx(came, abs=1e-4)
        assert 0 <= ended.waiting <= capacity * queue.PATIENCE + 1e-6


@settings(deadline=None)
@given(st.floats(0, 40), st.floats(0.1, 10), st.lists(st.floats(0, 100), max_size=5))
def test_it_makes_no_difference_how_often_it_is_looked_at(arriving: float, capacity: float, looks: list[float]) -> None:
    server = queue.demand(Server(T0), T0, arriving, capacity)
    once, often = queue.advance(server, T0 + 100), server
    for each in sorted(looks):
        often = queue.advance(often, T0 + each)
    often = queue.advance(often, T0 + 100)
    assert often.waiting == pytest.approx(once.waiting, abs=1e-4)
    assert often.served == pytest.approx(once.served, abs=1e-4)
    for a, b in zip(once.latencies, often.latencies, strict=True):
        assert b.counts == pytest.approx(a.counts, abs=1e-2) and b.sum == pytest.approx(a.sum, abs=1e-1)


def test_a_clock_that_goes_back_changes_nothing() -> None:
    server = queue.demand(Server(T0), T0, 3.0, 5.0)
    assert queue.advance(server, T0 - 50) == server


# ---- who serves


def test_what_serves_is_seen_by_its_engine_or_by_what_is_said_of_its_workload() -> None:
    assert serving.serves(replica(0), None)
    plain = pod(owner=("ReplicaSet", "x-1"))
    assert not serving.serves(plain, deployment())
    assert serving.serves(plain, deployment(requests_per_second="3"))


def test_a_pod_names_its_model_as_its_command_line_does() -> None:
    assert serving.model_of(replica(0)) == "llama"
    by_path = replica(0)
    by_path["spec"]["containers"][0]["args"] = ["serve", "meta/llama"]
    assert serving.model_of(by_path) == "meta/llama"
    by_path["spec"]["containers"][0]["args"] = []
    assert serving.model_of(by_path) == "chat"
    assert serving.workload_of(by_path) == ("Deployment", "team", "chat")


def test_ready_replicas_share_the_demand_evenly() -> None:
    pods = {("team", str(number)): replica(number, ready=number < 2) for number in range(3)}
    workload = deployment(requests_per_second="9", capacity_per_replica="4")
    first = serving.shared(pods, workload, {}, T0)
    assert [(each.arriving, each.capacity) for each in first.values()] == [(4.5, 4.0), (4.5, 4.0), (0.0, 0.0)]
    pods["team", "2"] = replica(2)
    later = serving.shared(pods, workload, first, T0 + 10)
    assert {each.arriving for each in later.values()} == {3.0}
    assert later["team", "0"].waiting == pytest.approx(5)
    assert serving.gpu_use(later["team", "0"]) > serving.gpu_use(Server(T0)) == 0
