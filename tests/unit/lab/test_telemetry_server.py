"""The whole process but for the cluster: what comes in by events goes out by HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from threading import Thread
from typing import Any

import pytest
import yaml

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj
from plimsoll.lab.telemetry import prometheus
from plimsoll.lab.telemetry.server import TelemetryServer
from plimsoll.lab.telemetry.world import AbsentError, DownError, World
from tests.unit.lab.promtext import Family, parse
from tests.unit.lab.telemetry_objects import T0, deployment, node, pod, replica

CHAT = {("team", f"chat-5d9-{number}") for number in (0, 1)}
USE = "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO"


def served(*objs: tuple[kinds.Kind, Obj], at: float = T0) -> World:
    world = World()
    for kind, obj in objs:
        world.take(kind, "ADDED", obj, at)
    return world


def busy_world() -> World:
    return served(
        (kinds.NODE, node()),
        (kinds.POD, pod("t", amount=2)),
        (kinds.DEPLOYMENT, deployment(requests_per_second="4")),
        (kinds.POD, replica(0)),
        (kinds.POD, replica(1)),
        (kinds.SERVICE, {"metadata": {"name": "chat-svc", "namespace": "team"}, "spec": {"selector": {"app": "chat"}}}),
    )


def value(text: str, name: str, **labels: str) -> float:
    (found,) = (each for each in parse(text)[name].samples if labels.items() <= each.labels.items())
    return found.value


def exporter_pod(*, ready: bool = True) -> Obj:
    made = pod("exporter-x", amount=0, image="dcgm-exporter:4.2.3-4.1.3-u", labels={"app": "nvidia-dcgm-exporter"})
    made["metadata"]["namespace"] = "gpu-operator"
    made["status"]["conditions"][0]["status"] = str(ready)
    return made


# ---- the world


def test_demand_that_changes_at_run_time_moves_queues_and_gpus() -> None:
    world = busy_world()
    waiting = "vllm:num_requests_waiting"
    assert value(world.vllm(("team", "chat-5d9-0"), T0 + 10), waiting) == 0
    calm = value(world.dcgm("n", T0 + 10), USE, pod="chat-5d9-0")
    world.take(kinds.DEPLOYMENT, "MODIFIED", deployment(requests_per_second="14"), T0 + 20)
    assert value(world.vllm(("team", "chat-5d9-0"), T0 + 30), waiting) == 20
    assert value(world.dcgm("n", T0 + 30), USE, pod="chat-5d9-0") > calm
    world.take(kinds.DEPLOYMENT, "MODIFIED", deployment(requests_per_second="4"), T0 + 30)
    assert value(world.vllm(("team", "chat-5d9-0"), T0 + 40), waiting) == 0


def test_an_annotation_makes_a_workload_serve_whose_pods_were_there_before() -> None:
    plain = replica(0, image="web:1")
    world = served((kinds.NODE, node()), (kinds.POD, plain), (kinds.DEPLOYMENT, deployment()))
    with pytest.raises(AbsentError):
        world.vllm(("team", "chat-5d9-0"), T0)
    world.take(kinds.DEPLOYMENT, "MODIFIED", deployment(requests_per_second="1"), T0)
    assert "vllm:num_requests_running" in world.vllm(("team", "chat-5d9-0"), T0)
    world.take(kinds.DEPLOYMENT, "MODIFIED", deployment(), T0)
    with pytest.raises(AbsentError):
        world.vllm(("team", "chat-5d9-0"), T0)


def test_a_pod_that_goes_frees_its_gpus_and_its_share_of_the_demand() -> None:
    world = busy_world()
    held = [each for each in parse(world.dcgm("n", T0))[USE].samples if "pod" in each.labels]
    assert len(held) == 4
    world.take(kinds.POD, "DELETED", replica(0), T0 + 5)
    world.take(kinds.POD, "MODIFIED", pod("t", amount=2, phase="Succeeded"), T0 + 5)
    (left,) = (each for each in parse(world.dcgm("n", T0 + 5))[USE].samples if "pod" in each.labels)
    assert left.labels["pod"] == "chat-5d9-1"
    assert value(world.vllm(("team", "chat-5d9-1"), T0 + 6), "vllm:request_success_total", finished_reason="stop") == 14
    with pytest.raises(AbsentError):
        world.vllm(("team", "chat-5d9-0"), T0 + 5)
    world.take(kinds.NODE, "DELETED", node(), T0 + 6)
    with pytest.raises(AbsentError):
        world.dcgm("n", T0 + 6)


def test_it_makes_no_difference_when_pages_were_read() -> None:
    def told(*reads: float) -> str:
        world = busy_world()
        for moment in (T0 + 10, T0 + 40):
            for each in reads:
                world.dcgm("n", moment + each)
            world.take(kinds.POD, "DELETED" if moment > T0 + 10 else "ADDED", pod("late"), moment + 5)
        return world.dcgm("n", T0 + 100)

    assert told() == told(0, 1, 2)


def test_what_is_not_ready_is_down_and_an_exporter_that_is_missing_is_absent() -> None:
    world = busy_world()
    world.take(kinds.POD, "MODIFIED", replica(0, ready=False), T0)
    with pytest.raises(DownError):
        world.vllm(("team", "chat-5d9-0"), T0)
    world.take(kinds.DAEMON_SET, "ADDED", {"metadata": {"name": "nvidia-dcgm-exporter", "namespace": "g"}}, T0)
    with pytest.raises(AbsentError):
        world.dcgm("n", T0)
    world.take(kinds.POD, "ADDED", exporter_pod(ready=False), T0)
    with pytest.raises(DownError):
        world.dcgm("n", T0)
    world.take(kinds.POD, "MODIFIED", exporter_pod(), T0)
    assert "DCGM_FI_DEV_GPU_UTIL{" in world.dcgm("n", T0)  # the names of its version
    lost = node()
    lost["status"]["conditions"][0]["status"] = "Unknown"
    world.take(kinds.NODE, "MODIFIED", lost, T0)
    with pytest.raises(DownError):
        world.dcgm("n", T0)


# ---- HTTP


@pytest.fixture
def server() -> Iterator[TelemetryServer]:
    with TelemetryServer(("127.0.0.1", 0), busy_world(), lambda: "") as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def get(server: TelemetryServer, *paths: str) -> list[tuple[int, str]]:
    """All over one connection, as Prometheus asks."""
    link = HTTPConnection(*server.server_address[:2], timeout=5)  # type: ignore[arg-type]
    found = []
    for path in paths:
        link.request("GET", path)
        answer = link.getresponse()
        found.append((answer.status, answer.read().decode()))
    link.close()
    return found


def test_every_target_that_is_named_can_be_scraped(server: TelemetryServer) -> None:
    ((status, body),) = get(server, "/sd")
    groups = json.loads(body)
    assert status == 200
    paths = [group["labels"]["__metrics_path__"] for group in groups]
    assert paths == ["/ksm", "/dcgm/n", "/vllm/team/chat-5d9-0", "/vllm/team/chat-5d9-1"]
    families: list[dict[str, Family]] = []
    for status, page in get(server, *paths):
        assert status == 200
        families.append(parse(page))
    assert [next(iter(each)).split("_")[0] for each in families] == ["kube", "DCGM", "vllm:num", "vllm:num"]


def test_targets_have_the_labels_of_real_scraping(server: TelemetryServer) -> None:
    groups: list[dict[str, Any]] = json.loads(get(server, "/sd?honoured=false")[0][1])
    assert groups[0]["labels"] == {
        "__metrics_path__": "/dcgm/n", "job": "dcgm-exporter", "namespace": "gpu-operator", "pod": "dcgm-exporter-n",
        "container": "exporter", "endpoint": "gpu-metrics", "service": "dcgm-exporter", "instance": "10.0.0.7:9400",
        "node": "n",
    }  # fmt: skip
    chat = groups[1]["labels"]
    assert (chat["job"], chat["service"], chat["instance"]) == ("chat-svc", "chat-svc", "10.1.0.9:8000")
    assert [each["labels"]["job"] for each in json.loads(get(server, "/sd?honoured=true")[0][1])] == [
        "kube-state-metrics"
    ]
    monitor = {"metadata": {"name": "nvidia-dcgm-exporter"}, "spec": {"endpoints": [{"honorLabels": True}]}}
    server.world.take(kinds.SERVICE_MONITOR, "ADDED", monitor, T0)
    honoured = json.loads(get(server, "/sd?honoured=true")[0][1])
    assert [each["labels"]["job"] for each in honoured] == ["kube-state-metrics", "dcgm-exporter"]


def test_a_large_lab_is_asked_less_often(server: TelemetryServer) -> None:
    for number in range(70):
        server.world.take(kinds.NODE, "ADDED", node(f"n{number}", gpus=1), T0)
    intervals = {
        each["labels"].get("__scrape_interval__") for each in json.loads(get(server, "/sd?honoured=false")[0][1])
    }
    assert intervals == {"15s", None}


def test_wrong_paths_get_one_line_and_health_says_what_is_wrong(server: TelemetryServer) -> None:
    wrong = get(
        server, "/dcgm/elsewhere", "/vllm/team/t", "/", "/metrics", "/dcgm/a/b", "/dcgm/..%2Fetc%0A", "/healthz"
    )
    assert [status for status, _ in wrong] == [404] * 6 + [200]
    assert all(body.count("\n") == 1 for _, body in wrong)
    server.trouble = lambda: "Pod: the API server is away\n"
    assert get(server, "/healthz") == [(503, "Pod: the API server is away\n")]


# ---- prometheus.yml


def test_prometheus_asks_the_telemetry_for_its_targets() -> None:
    read = yaml.safe_load(prometheus.config("127.0.0.1:9", alertmanager="127.0.0.1:8"))
    assert read["rule_files"] == ["rules/*.yml"]
    *asked, more = read["scrape_configs"]
    assert more["file_sd_configs"][0]["files"] == ["targets/*.json"]
    assert {each["honor_labels"]: each["http_sd_configs"][0]["url"] for each in asked} == {
        False: "http://127.0.0.1:9/sd?honoured=false",
        True: "http://127.0.0.1:9/sd?honoured=true",
    }
    assert read["alerting"]["alertmanagers"][0]["static_configs"] == [{"targets": ["127.0.0.1:8"]}]
    assert "alerting" not in yaml.safe_load(prometheus.config("127.0.0.1:9"))
