"""The whole meter against an API server over HTTP and a ledger's file: written, stopped, and gone on from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec
import pytest

from plimsoll.agents.meter.book import Book
from plimsoll.agents.meter.gateway import Gateway
from plimsoll.agents.meter.run import Meter, Settings
from plimsoll.cost.store import open_store
from plimsoll.errors import ClusterError, InputError, PlimsollError
from plimsoll.kube.client import Client
from tests.unit.agents.world import PRODUCT, iso
from tests.unit.kube.test_client import kubeconfig
from tests.unit.kube.writable import Api, refusal, serving

DAY = 24 * 3_600_000


@pytest.fixture(autouse=True)
def writing_often(hurried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plimsoll.agents.meter.run._WRITE", 0.1)


def put_node(api: Api, name: str = "n") -> None:
    labels = {"nvidia.com/gpu.count": "2", "nvidia.com/gpu.product": PRODUCT}
    meta = {"name": name, "creationTimestamp": iso(now()), "labels": labels}
    with api.changed:
        api._store("nodes", name, "", {"metadata": meta, "spec": {}, "status": {}})


def put_pod(api: Api, name: str, *, done: bool = False) -> None:
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(now())}
    state = {"terminated": {"startedAt": iso(now()), "finishedAt": iso(now() + 1000)}} if done else {
        "running": {"startedAt": iso(now())}}  # fmt: skip
    with api.changed:
        api._store("pods", name, "team", {
            "metadata": {"name": name, "namespace": "team", "creationTimestamp": iso(now())},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
            "status": {"phase": "Succeeded" if done else "Running", "conditions": [placed],
                       "containerStatuses": [{"name": "c", "state": state}]},
        })  # fmt: skip


def now() -> int:
    return int(time.time()) * 1000


class Exporter:
    """dcgm-exporter's page of the node, and its pod. holder: of the first GPU."""

    def __init__(self, api: Api) -> None:
        self.holder = ""
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = exporter.page().encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: stderr belongs to the test."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        with api.changed:
            api._store("pods", "exporter", "gpu-operator", {
                "metadata": {"name": "exporter", "namespace": "gpu-operator", "labels": {"app": "dcgm-exporter"}},
                "spec": {"nodeName": "n", "containers": [
                    {"name": "c", "ports": [{"containerPort": self.server.server_address[1]}]}]},
                "status": {"phase": "Running", "podIP": "127.0.0.1",
                           "conditions": [{"type": "Ready", "status": "True"}]},
            })  # fmt: skip

    def page(self) -> str:
        name = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
        whose = f',namespace="team",pod="{self.holder}"' if self.holder else ""
        return f'# HELP {name} x\n{name}{{UUID="GPU-0"{whose}}} 0.5\n{name}{{UUID="GPU-1"}} 0\n'

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def exporter(api: Api) -> Iterator[Exporter]:
    found = Exporter(api)
    yield found
    found.close()


@contextmanager
def running(api: Api, folder: Path, *, gateway: Gateway | None = None,
            error: list[PlimsollError] | None = None, **more: Any) -> Iterator[Meter]:  # fmt: skip
    settings = Settings(round=0.2, costs=0, **more)
    stop = Event()
    with Client(kubeconfig(folder, api.url)) as client:
        meter = Meter(client, None, settings, Book(str(folder / "ledger"), settings.name, DAY), None, gateway)

        def run() -> None:
            try:
                meter.run(stop)
            except PlimsollError as failure:
                assert error is not None, failure
                error.append(failure)

        thread = Thread(target=run)
        thread.start()
        try:
            yield meter
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    deadline = time.monotonic() + 10
    while True:
        try:
            store = open_store(folder / "ledger", read_only=True)
        except (InputError, ClusterError):  # the meter writes
            assert time.monotonic() < deadline
            time.sleep(0.02)
            continue
        try:
            return store.rows(sql)
        finally:
            store.close()


def until(folder: Path, sql: str, wanted: list[tuple[Any, ...]]) -> None:
    deadline = time.monotonic() + 20
    while (found := rows(folder, sql)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def ready(meter: Meter) -> None:
    deadline = time.monotonic() + 20
    while not meter.ready:
        assert time.monotonic() < deadline, meter.trouble
        time.sleep(0.02)


HELD = "SELECT p.name, g.uuid FROM holds h JOIN pods p ON p.id = h.pod JOIN gpus g ON g.gpu = h.gpu ORDER BY p.name"
ENDED = "SELECT p.name FROM pods p JOIN marks m ON m.id = p.id AND m.mark = 'ended' ORDER BY p.name"
CURSORS = "SELECT value FROM cursors WHERE name = 'pods'"


def test_pods_are_written_with_what_they_hold_and_their_ends(api: Api, exporter: Exporter, tmp_path: Path) -> None:
    put_node(api)
    with running(api, tmp_path) as meter:
        ready(meter)
        put_pod(api, "a")
        exporter.holder = "a"
        until(tmp_path, HELD, [("a", "GPU-0")])
        until(tmp_path, "SELECT COUNT(DISTINCT pod) > 0 FROM usage_inbox WHERE pod <> 0", [(True,)])
        put_pod(api, "a", done=True)
        until(tmp_path, ENDED, [("a",)])
        assert meter.trouble == ""
        assert "plimsoll_meter" in meter.health()


def test_what_happened_while_no_meter_ran_is_told_to_the_next(api: Api, tmp_path: Path) -> None:
    put_node(api)
    put_pod(api, "stays")
    put_pod(api, "goes")
    with running(api, tmp_path) as meter:
        ready(meter)
        until(tmp_path, "SELECT name FROM pods ORDER BY name", [("goes",), ("stays",)])
    stood = rows(tmp_path, CURSORS)
    put_pod(api, "short")
    put_pod(api, "short", done=True)
    api.remove("pods", "short", "team")
    put_pod(api, "goes", done=True)
    api.remove("pods", "goes", "team")
    with running(api, tmp_path) as meter:
        ready(meter)
        until(tmp_path, ENDED, [("goes",), ("short",)])
        until(tmp_path, "SELECT p.name FROM holds h JOIN pods p ON p.id = h.pod WHERE p.name = 'short'", [("short",)])
    assert int(rows(tmp_path, CURSORS)[0][0]) > int(stood[0][0])


def test_the_first_list_is_where_to_go_on_from(api: Api, tmp_path: Path) -> None:
    for name in ("z", "a"):
        put_pod(api, name)
    put_node(api)
    with running(api, tmp_path) as meter:
        ready(meter)
        until(tmp_path, CURSORS, [(str(api.version),)])


def test_who_may_not_list_pods_says_so_and_writes_no_time_watched(api: Api, tmp_path: Path) -> None:
    put_node(api)
    api.faults["GET /api/v1/pods"] = [refusal(403, "Forbidden", "not you") for _ in range(2000)]
    with running(api, tmp_path) as meter:
        deadline = time.monotonic() + 20
        while "not you" not in meter.trouble:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not meter.ready
        until(tmp_path, "SELECT name FROM nodes", [("n",)])
        assert rows(tmp_path, "SELECT COUNT(*) FROM watches") == [(0,)]
        api.faults.clear()
        ready(meter)
        until(tmp_path, "SELECT COUNT(*) > 0 FROM watches", [(True,)])
        assert meter.trouble == ""


def test_who_is_told_to_stop_while_the_ledger_is_away_stops(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_node(api)
    put_pod(api, "over", done=True)
    asked = Event()

    def away(*_: object) -> set[str]:
        asked.set()
        raise ClusterError("the ledger's database went away")

    with monkeypatch.context() as patched:
        patched.setattr("plimsoll.agents.meter.run.billed", away)
        with running(api, tmp_path):
            assert asked.wait(20)
    assert rows(tmp_path, "SELECT COUNT(*) FROM pods") == [(0,)]
    with running(api, tmp_path):  # it is told again
        until(tmp_path, "SELECT name FROM pods", [("over",)])


def test_a_ledger_of_another_cluster_is_refused(api: Api, tmp_path: Path) -> None:
    put_node(api)
    with running(api, tmp_path) as meter:
        ready(meter)
        until(tmp_path, "SELECT name FROM nodes", [("n",)])
    errors: list[PlimsollError] = []
    with serving() as other:
        for name in ("other", "third"):
            put_node(other, name)
        other.objects["nodes", "", "other"]["metadata"]["uid"] = "uid-of-another"
        other.objects["nodes", "", "third"]["metadata"]["uid"] = "uid-of-a-third"
        with running(other, tmp_path, error=errors):
            deadline = time.monotonic() + 20
            while not errors and time.monotonic() < deadline:
                time.sleep(0.02)
    assert "another cluster's ledger" in str(errors[0])
    assert rows(tmp_path, "SELECT name FROM nodes") == [("n",)]
    assert rows(tmp_path, "SELECT COUNT(*) FROM marks") == [(0,)]


def test_requests_of_a_gateway_are_written_once_over_restarts(api: Api, tmp_path: Path) -> None:
    put_node(api)
    log = tmp_path / "access.log"

    def line(number: int) -> bytes:
        return msgspec.json.encode({
            "request_id": f"r{number}", "model": "chat", "tenant": "red", "start_time": iso(now()), "duration_ms": 5,
            "prompt_tokens": 10, "completion_tokens": number,
        })  # fmt: skip

    log.write_bytes(b"".join(line(number) + b"\n" for number in range(3)))
    with running(api, tmp_path, gateway=Gateway(log)) as meter:
        ready(meter)
        until(tmp_path, "SELECT COUNT(*) FROM requests", [(3,)])
    with log.open("ab") as more:
        more.write(line(3) + b"\n" + line(4)[:20])  # the last is not whole yet
    with running(api, tmp_path, gateway=Gateway(log)):
        until(tmp_path, "SELECT COUNT(*), SUM(output) FROM requests", [(4, 6)])
