"""The HTTP side: one page for each path."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from plimsoll.lab.telemetry.exposition import CONTENT_TYPE
from plimsoll.lab.telemetry.world import AbsentError, DownError, World

_log = logging.getLogger(__name__)
_PATHS = "/dcgm/NODE, /vllm/NAMESPACE/POD, /ksm, /sd, /healthz"
_IDLE = 60.0  # seconds that a connection may wait for its next request
Trouble = Callable[[], str]


class TelemetryServer(ThreadingHTTPServer):
    """listen: host and port. trouble: why what is served may be stale, "" if it is not."""

    daemon_threads = True
    request_queue_size = 1024  # Prometheus opens a connection to each of hundreds of targets at once

    def __init__(self, listen: tuple[str, int], world: World, trouble: Trouble) -> None:
        super().__init__(listen, _Handler)
        self.world = world
        self.trouble = trouble
        self.at = f"{self.server_address[0]!s}:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: TelemetryServer
    protocol_version = "HTTP/1.1"
    server_version = "plimsoll-lab"
    disable_nagle_algorithm = True  # head and body are two writes
    timeout = _IDLE

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        parts = [unquote(part) for part in where.path.split("/")[1:]]
        try:
            status, kind, body = self._page(parts, parse_qs(where.query))
        except AbsentError as absent:
            status, kind, body = HTTPStatus.NOT_FOUND, "text/plain", f"{absent}\n"
        except DownError as down:
            status, kind, body = HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{down}\n"
        self._answer(status, kind, body.encode())

    def _page(self, parts: list[str], query: dict[str, list[str]]) -> tuple[HTTPStatus, str, str]:
        world = self.server.world
        match parts:
            case ["dcgm", node]:
                return HTTPStatus.OK, CONTENT_TYPE, world.dcgm(node, time.time())
            case ["vllm", namespace, pod]:
                return HTTPStatus.OK, CONTENT_TYPE, world.vllm((namespace, pod), time.time())
            case ["ksm"]:
                return HTTPStatus.OK, CONTENT_TYPE, world.ksm()
            case ["sd"]:
                return HTTPStatus.OK, "application/json", self._targets(query.get("honoured", [""])[0])
            case ["healthz"]:
                trouble = self.server.trouble()
                return (HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK), "text/plain", trouble or "ok\n"
        raise AbsentError(f"nothing is here; there are {_PATHS}")

    def _targets(self, honoured: str) -> str:
        """honoured: `true` or `false` for those of one kind, else all."""
        groups = [
            {"targets": group["targets"], "labels": group["labels"]}
            for group in self.server.world.groups(self.server.at)
            if honoured not in ("true", "false") or group["honoured"] == (honoured == "true")
        ]
        return msgspec.json.encode(groups).decode()

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # the base class's name
        """Not a line for each of hundreds of requests a second."""
        _log.debug(format, *args)
