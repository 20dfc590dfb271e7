"""Pages over HTTP, of servers that do not behave."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import msgspec
import pytest

from plimsoll.agents.meter import scrape
from plimsoll.agents.meter.scrape import Page, Scraper, Target, discovered
from plimsoll.errors import ClusterError

_OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def _server(answer: Callable[[socket.socket], None]) -> Iterator[Target]:
    """One that answers a request with whatever."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                found, _ = listening.accept()
            except OSError:
                return
            Thread(target=_one, args=(found, answer), daemon=True).start()

    Thread(target=serve, daemon=True).start()
    try:
        yield Target("127.0.0.1", listening.getsockname()[1], "/metrics", "node", "space/pod")
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def _one(found: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    with found:
        try:
            found.recv(65_536)
            answer(found)
        except OSError:
            pass  # the scraper had enough of it


def _read(answer: Callable[[socket.socket], None]) -> Page:
    scraper = Scraper()
    try:
        with _server(answer) as target:
            return scraper.page(target)
    finally:
        scraper.close()


@pytest.mark.parametrize("beginning", [_OK + b"\r\n# HELP", _OK + b"X-Slow: "])
def test_a_page_that_drips_is_ended(beginning: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "_LONGEST", 0.3)
    over = Event()

    def drip(found: socket.socket) -> None:
        found.sendall(beginning)
        try:
            while True:
                found.sendall(b"#")
                time.sleep(0.05)
        finally:
            over.set()

    page = _read(drip)
    assert page.body == b""
    assert page.trouble
    assert over.wait(30)


def test_a_page_that_broke_off_is_no_page() -> None:
    half = _OK + b"Content-Length: 600\r\n\r\n# HELP DCGM_FI_DEV_FB_USED x\n"
    page = _read(lambda found: found.sendall(half))
    assert (page.body, page.trouble) == (b"", "its page broke off")


def test_what_is_said_beside_an_error_is_not_read() -> None:
    sent = 0

    def endless(found: socket.socket) -> None:
        nonlocal sent
        found.sendall(b"HTTP/1.1 500 No\r\n\r\n")
        for _ in range(256):
            found.sendall(bytes(1 << 20))
            sent += 1

    assert _read(endless).trouble == "it answers 500"
    assert sent < 256


@pytest.mark.parametrize("answer", [b"\x00\x01\r\n\r\n", _OK + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nx",
                                    b"HTTP/1.1 302 F\r\nLocation: file:///etc/passwd\r\n\r\n"])  # fmt: skip
def test_what_is_no_page_is_trouble(answer: bytes) -> None:
    page = _read(lambda found: found.sendall(answer))
    assert page.body == b""
    assert page.trouble


@pytest.mark.parametrize("target", ["a:" + "9" * 5000, "a:65536", "a:\u00b2", "a", ":80", ""])
def test_a_target_that_is_none_is_passed_over(target: str) -> None:
    said = msgspec.json.encode([{"targets": [target, "b:9400"]}])
    assert [each.host for each in discovered(said)] == ["b"]


@pytest.mark.parametrize("said", [b"", b"{}", b"<html>", b"[1]", b"[" * 100_000, b'[{"targets":["\xff:1"]}]'])
def test_what_is_no_list_of_targets_is_refused(said: bytes) -> None:
    with pytest.raises(ClusterError, match="no list of targets"):
        discovered(said)
