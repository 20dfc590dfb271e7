"""The meter's own page, asked well and badly."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from plimsoll.agents.meter.serve import Server


class Meter:
    ready, trouble, page = False, "", "plimsoll_x 1\n"

    def health(self) -> str:
        return self.page


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
def port(meter: Meter) -> Iterator[int]:
    server = Server("127.0.0.1", 0, meter)
    server.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def raw(port: int, said: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_the_page_of_metrics(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?x=1", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.read() == b"plimsoll_x 1\n"


def test_it_is_ready_once_the_first_list_has_come_and_nothing_is_wrong(port: int, meter: Meter) -> None:
    assert get(port, "/readyz") == (503, "the first list of pods has not come yet\n")
    meter.ready = True
    assert get(port, "/readyz") == (200, "ok\n")
    meter.trouble = "pods: not you"
    assert get(port, "/readyz") == (503, "pods: not you\n")
    assert get(port, "/healthz") == (200, "ok\n")  # a restart would not help


@pytest.mark.parametrize("path", ["/", "/metricsx", "/../etc/passwd", "/%2e%2e/metrics", "/x?/metrics"])
def test_there_is_nothing_else(port: int, path: str) -> None:
    assert get(port, path)[0] == 404


@pytest.mark.parametrize(
    ("said", "answer"),
    [(b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b" 501 "), (b"DELETE / HTTP/1.1\r\n\r\n", b" 501 "),
     (b"\x16\x03\x01\x02\x00\r\n\r\n", b" 400 "), (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b" 414 "),
     (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", b" 431 "),
     (b"GET /metrics HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", b" 431 "),
     (b"GET /metrics HTTP/9.9\r\n\r\n", b" 505 "),
     (b"", b"")],
)  # fmt: skip
def test_hostile_requests_are_refused_and_the_page_is_there_still(port: int, said: bytes, answer: bytes) -> None:
    found = raw(port, said)
    assert answer in found.partition(b"\r\n")[0] or answer in found[:400]
    assert b"Traceback" not in found
    assert get(port, "/metrics")[0] == 200


def test_who_says_nothing_keeps_nobody_waiting(port: int) -> None:
    quiet = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(20)]
    try:
        for each in quiet:
            each.sendall(b"GET /met")
        assert get(port, "/metrics")[0] == 200
    finally:
        for each in quiet:
            each.close()
