"""An HTTP server on loopback that answers as an API server would: discovery, paged lists, refusals."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj

TOKEN = "account-token-of-the-test"
_PLURALS = {(kind.group, kind.kind): kind.plural for kind in kinds.ALL}


class Server:
    """Objects by list path, faults by path, and every request that came."""

    def __init__(self, objects: list[Obj]) -> None:
        self.lists: dict[str, list[Obj]] = defaultdict(list)
        self.faults: dict[str, list[int]] = {}  # path to the statuses of its next answers; -1 drops the connection
        self.always: dict[str, int] = {}  # path to the status of every answer
        self.seen: list[tuple[str, str]] = []  # (method, path with query)
        self.page = 7  # objects, whatever limit asks for, so that small lists have pages
        self.bodies: dict[str, bytes] = {}  # path to a body sent in place of the right one
        self.url = ""
        for kind in kinds.ALL:
            if kind.builtin:
                self.lists[self.path(kind.group, kind.versions[0], kind.plural)] = []
        for obj in objects:
            group, _, version = str(obj["apiVersion"]).rpartition("/")
            if plural := _PLURALS.get((group, obj["kind"])):
                bare = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
                self.lists[self.path(group, version, plural)].append(bare)  # items of a List say neither

    @staticmethod
    def path(group: str, version: str, plural: str) -> str:
        return f"/apis/{group}/{version}/{plural}" if group else f"/api/{version}/{plural}"

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        if queued := self.faults.get(path):
            return queued.pop(0), {"kind": "Status"}
        if path in self.always:
            return self.always[path], {"kind": "Status"}
        if path == "/apis":
            return 200, {"kind": "APIGroupList", "groups": self._groups()}
        if path in self.lists:
            return 200, self._list(self.lists[path], query)
        below = [each.rpartition("/")[2] for each in self.lists if each.rpartition("/")[0] == path]
        if below:
            return 200, {"kind": "APIResourceList", "resources": [{"name": n, "verbs": ["get", "list"]} for n in below]}
        return 404, {"kind": "Status"}

    def _groups(self) -> list[Obj]:
        found: dict[str, list[str]] = defaultdict(list)
        for path in self.lists:
            parts = path.split("/")
            if parts[1] == "apis" and parts[3] not in found[parts[2]]:
                found[parts[2]].append(parts[3])
        return [{"name": group, "versions": [{"version": v} for v in versions]} for group, versions in found.items()]

    def _list(self, objects: list[Obj], query: dict[str, list[str]]) -> Obj:
        assert query["limit"] == ["500"]
        start = int(query.get("continue", ["0"])[0])
        end = start + self.page
        meta = {"resourceVersion": "1"} | ({"continue": str(end)} if end < len(objects) else {})
        return {"kind": "List", "metadata": meta, "items": objects[start:end] or None}


@contextmanager
def serving(objects: list[Obj]) -> Iterator[Server]:
    """A server on a free port of loopback, until the block ends."""
    server = Server(objects)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # head and body in one packet: two wait for each other's acknowledgement

        def handle_any(self) -> None:
            server.seen.append((self.command, self.path))
            url = urlsplit(self.path)
            status, body = (401, {}) if self.headers["Authorization"] != f"Bearer {TOKEN}" else (
                server.answer(url.path, parse_qs(url.query))
            )  # fmt: skip
            if status == -1:
                self.close_connection = True
                return
            text = server.bodies.get(url.path) or json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_any  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: stderr belongs to the test."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
