"""The meter's own HTTP page: /metrics, /healthz, /readyz."""

from __future__ import annotations

import logging
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Protocol

_log = logging.getLogger(__name__)
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_PATIENCE = 10.0  # seconds a connection may take


class Page(Protocol):
    """What is served of a meter."""

    ready: bool

    @property
    def trouble(self) -> str: ...

    def health(self) -> str: ...


class Waiting:
    """What is served before there is a meter."""

    ready = False
    trouble = "another meter keeps this ledger"

    def health(self) -> str:
        return ""


class Server(ThreadingHTTPServer):
    """Serves in a thread of its own until closed."""

    daemon_threads = True

    def __init__(self, host: str, port: int, meter: Page) -> None:
        super().__init__((host, port), _Handler)
        self.meter = meter

    def start(self) -> None:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = _PATIENCE
    server_version = "plimsoll-meter"
    sys_version = ""

    def do_GET(self) -> None:
        meter = self.server.meter
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(HTTPStatus.OK, meter.health())
            case "/healthz":  # a meter whose cluster or ledger is away is not helped by a restart
                self._answer(HTTPStatus.OK, "ok\n")
            case "/readyz":
                well = meter.ready and not meter.trouble
                said = meter.trouble or ("" if meter.ready else "the first list of pods has not come yet")
                self._answer(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, (said or "ok") + "\n")
            case _:
                self._answer(HTTPStatus.NOT_FOUND, "there are /metrics, /healthz and /readyz\n")

    def _answer(self, status: HTTPStatus, said: str) -> None:
        body = said.encode()
        self.send_response(status)
        self.send_header("Content-Type", _TEXT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        _log.debug(format, *args)
