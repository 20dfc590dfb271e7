"""An API server on loopback that keeps what is written to it and streams watches, with faults on demand."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?:/namespaces/(?P<space>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?$"
)
_BUILTIN = {kind.plural: kind for kind in kinds.ALL}


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Fault:
    """An answer in place of the right one; status -1 drops the connection."""

    status: int
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


def status(code: int, reason: str = "", message: str = "", name: str = "") -> Obj:
    details = {"details": {"name": name}} if name else {}
    return {"kind": "Status", "code": code, "reason": reason, "message": message} | details


def refusal(code: int, reason: str, message: str) -> Fault:
    return Fault(code, json.dumps(status(code, reason, message)).encode())


class Api:
    """Objects by (plural, namespace, name); `history` has every event with its version."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Obj] = {}
        self.history: list[tuple[int, str, str, Obj]] = []  # version, change, plural, object
        self.version = 100
        self.oldest = 0  # watches from before are told that it is gone
        self.page = 7
        self.seen: list[Request] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)  # by "METHOD path", in order; "WATCH path" too
        self.discovery: dict[str, list[Obj]] = {}  # by apiVersion
        self.lines: list[bytes] = []  # sent as they are to the next watch that has nothing else to send
        self.cuts = 0  # a watch that sees it change ends without its last chunk
        self.over = False
        self.changed = threading.Condition()
        self.url = ""

    # What a test does behind the client's back.

    def put(self, kind: str, name: str, space: str = "", **more: Any) -> Obj:
        with self.changed:
            return self._store(kind, name, space, {"metadata": {"name": name, "namespace": space}, **more})

    def remove(self, plural: str, name: str, space: str = "") -> None:
        with self.changed:
            self.version += 1
            gone = self.objects.pop((plural, space, name))
            self.history.append((self.version, "DELETED", plural, gone))
            self.changed.notify_all()

    def forget(self) -> None:
        """What has happened can no longer be watched; open watches end."""
        with self.changed:
            self.version += 1
            self.history.clear()
            self.oldest = self.version
        self.cut()

    def cut(self) -> None:
        with self.changed:
            self.cuts += 1
            self.changed.notify_all()

    def say(self, line: bytes) -> None:
        with self.changed:
            self.lines.append(line)
            self.changed.notify_all()

    def asked(self, method: str, part: str = "") -> list[Request]:
        return [each for each in self.seen if each.method == method and part in each.path]

    # What the client asks.

    def answer(self, request: Request) -> tuple[int, Any]:
        found = _PATH.match(request.path)
        listed = self._discovered(request.path)
        if listed is not None:
            return 200, listed
        if not found or not self._served(found["group"], found["version"], found["plural"]):
            return 404, None
        plural, space, name = found["plural"], found["space"] or "", unquote(found["name"] or "")
        if plural == "namespaces" and space:
            space = ""
        if found["sub"] and request.method == "POST":
            return 201, {"kind": "Posted", "to": found["sub"], "body": request.body}
        with self.changed:
            return self._do(request, plural, space, name)

    def _discovered(self, path: str) -> Obj | None:
        version = path.removeprefix("/apis/").removeprefix("/api/")
        if version not in self.discovery:
            return None
        return {"kind": "APIResourceList", "resources": self.discovery[version]}

    def _served(self, group: str | None, version: str, plural: str) -> bool:
        kind = _BUILTIN.get(plural)
        if kind and kind.builtin:
            return True
        there = self.discovery.get(f"{group}/{version}" if group else version, [])
        return any(each["name"] == plural for each in there)

    def _do(self, request: Request, plural: str, space: str, name: str) -> tuple[int, Any]:
        key = (plural, space, name)
        there = self.objects.get(key)
        if request.method == "GET" and not name:
            return 200, self._list(plural, space, request.query)
        if request.method == "POST":
            name = request.body["metadata"]["name"]
            if (plural, space, name) in self.objects:
                return 409, status(409, "AlreadyExists", f'{plural} "{name}" already exists', name)
            return 201, self._store(plural, name, space, request.body)
        if request.method == "PATCH":
            return 200, self._store(plural, name, space, (there or {}) | request.body)
        if there is None:
            return 404, status(404, "NotFound", f'{plural} "{name}" not found', name)
        if request.method == "PUT":
            if request.body["metadata"].get("resourceVersion") != there["metadata"]["resourceVersion"]:
                return 409, status(409, "Conflict", "the object has been modified", name)
            return 200, self._store(plural, name, space, request.body)
        if request.method == "DELETE":
            self.version += 1
            del self.objects[key]
            self.history.append((self.version, "DELETED", plural, there))
            self.changed.notify_all()
            return 200, status(200)
        return 200, there

    def _store(self, plural: str, name: str, space: str, obj: Obj) -> Obj:
        self.version += 1
        old = self.objects.get((plural, space, name))
        uid = old["metadata"]["uid"] if old else f"uid-{self.version}"
        meta = {"name": name, "uid": uid, "resourceVersion": str(self.version)} | (
            {"namespace": space} if space else {}
        )
        kept = obj | {"metadata": obj["metadata"] | meta}
        self.objects[plural, space, name] = kept
        self.history.append((self.version, "MODIFIED" if old else "ADDED", plural, kept))
        self.changed.notify_all()
        return kept

    def _list(self, plural: str, space: str, query: dict[str, str]) -> Obj:
        found = [each for (p, s, _), each in self.objects.items() if p == plural and space in ("", s)]
        found = [each for each in found if _chosen(each, query)]
        start = int(query.get("continue", "0"))
        end = start + self.page
        meta = {"resourceVersion": str(self.version)} | ({"continue": str(end)} if end < len(found) else {})
        bare = [{key: value for key, value in each.items() if key not in ("apiVersion", "kind")} for each in found]
        return {"kind": "List", "metadata": meta, "items": bare[start:end]}

    def events(self, request: Request, plural: str, space: str) -> Iterator[bytes | None]:
        """Lines of a watch; None where the connection is to break."""
        at, cuts = int(request.query["resourceVersion"]), self.cuts
        while True:
            with self.changed:
                if self.cuts != cuts or self.over:
                    yield None
                    return
                due = [each for each in self.history if each[0] > at and each[2] == plural]
                lines, self.lines = self.lines, []
                if not due and not lines:
                    self.changed.wait(5)
                    continue
            for version, change, _, obj in due:
                at = version
                if space in ("", obj["metadata"].get("namespace")) and _chosen(obj, request.query):
                    yield json.dumps({"type": change, "object": obj}, ensure_ascii=False).encode()
            yield from lines


def _chosen(obj: Obj, query: dict[str, str]) -> bool:
    selector = query.get("fieldSelector", "")
    return not selector or selector == f"metadata.name={obj['metadata']['name']}"


@contextmanager
def serving(given: Api | None = None) -> Iterator[Api]:
    """The server on a free port of loopback, until the block ends."""
    api = given or Api()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            length = int(self.headers.get("Content-Length", "0"))
            body = json.loads(self.rfile.read(length)) if length else None
            request = Request(self.command, url.path, query, dict(self.headers), body)
            api.seen.append(request)
            watch = query.get("watch") == "true"
            faults = api.faults[f"{'WATCH' if watch else self.command} {url.path}"]
            if faults:
                self.fault(faults.pop(0))
            elif watch:
                self.watch(request)
            else:
                code, found = api.answer(request)
                text = b"404 page not found\n" if found is None else json.dumps(found).encode()
                self.reply(code, text, {})

        def fault(self, fault: Fault) -> None:
            if fault.status == -1:
                self.close_connection = True
            else:
                self.reply(fault.status, fault.body, fault.headers)

        def reply(self, code: int, text: bytes, headers: dict[str, str]) -> None:
            head = {"Content-Type": "application/json", "Content-Length": str(len(text))} | headers
            lines = "".join(f"{key}: {value}\r\n" for key, value in head.items())
            self.wfile.write(f"HTTP/1.1 {code} X\r\n{lines}\r\n".encode() + text)  # at once, or Nagle's algorithm waits

        def watch(self, request: Request) -> None:
            found = _PATH.match(request.path)
            assert found
            if int(request.query["resourceVersion"]) < api.oldest:
                self.reply(410, json.dumps(status(410, "Expired")).encode(), {})
                return
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for line in api.events(request, found["plural"], found["space"] or ""):
                if line is None:
                    self.close_connection = True
                    return
                try:
                    self.wfile.write(b"%x\r\n%s\n\r\n" % (len(line) + 1, line))
                except OSError:
                    return

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: stderr belongs to the test."""

    class Http(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that has gone is what these tests are about."""

    with Http(("127.0.0.1", 0), Handler) as http:
        api.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield api
        finally:
            api.over = True
            api.cut()
            http.shutdown()
            thread.join()
