"""A server on the loopback that answers a Prometheus' questions as a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Reply = tuple[int, bytes]


@contextmanager
def answering(reply: Callable[[str, dict[str, str]], Reply]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a server that answers with `reply(verb, values)`, and what it was asked."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, text: str) -> None:
            values = {name: each[0] for name, each in parse_qs(text).items()}
            asked.append(values | {"method": self.command, "authorization": self.headers.get("Authorization", "")})
            status, body = reply(urlsplit(self.path).path.partition("/api/v1/")[2], values)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError):  # who asked may have heard enough
                self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def log_message(self, *_: Any) -> None:
            """Nothing: a test's output is its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
