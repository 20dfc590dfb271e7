"""Pages of metrics read over HTTP: where they are, and many of them in one round."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import NamedTuple

import msgspec

from plimsoll.errors import ClusterError
from plimsoll.kube.objects import Obj, items, labels, name, namespace, number, text
from plimsoll.kube.pods import finished, ready
from plimsoll.kube.served import vllm_container

PAGE_MAX = 32 << 20
_TIMEOUT = 5.0  # seconds without a byte
_LONGEST = 10.0  # seconds for one page: who sends a byte now and then may not keep all others waiting
_WORKERS = 4  # more of them wait for each other
_EXPORTERS = ("nvidia-dcgm-exporter", "dcgm-exporter")
_EXPORTER_PORT, _SERVER_PORT = 9400, 8000
_NODE_LABELS = ("node", "__meta_kubernetes_pod_node_name", "__meta_kubernetes_node_name")
_DISCOVERED_MAX = 100_000
_PORT_MAX, _DIGITS_MAX = 65_535, 5


class Target(NamedTuple):
    """A page. node: name of the node it is about or on; pod: namespace/name of whose it is."""

    host: str
    port: int
    path: str
    node: str
    pod: str
    tls: bool = False


class Page(NamedTuple):
    """What came: a body, or why none did."""

    target: Target
    body: bytes
    trouble: str = ""


class Targets:
    """The exporters and model servers among the pods that watches tell of.

    tenants: namespaces of teams. A pod there may call itself an exporter: nobody would bill a team by what it says of
    itself.
    """

    def __init__(self, tenants: Container[str] = ()) -> None:
        self._tenants = tenants
        self._found: dict[str, Target] = {}

    def take(self, pod: Obj, *, gone: bool) -> None:
        key = f"{namespace(pod)}/{name(pod)}"
        target = None if gone or finished(pod) or not ready(pod) else _target(pod, key, self._tenants)
        if target is None:
            self._found.pop(key, None)
        else:
            self._found[key] = target

    def all(self) -> list[Target]:
        return list(self._found.values())


def _target(pod: Obj, key: str, tenants: Container[str]) -> Target | None:
    address, node = text(pod, "status", "podIP"), text(pod, "spec", "nodeName")
    if not address or not node:
        return None
    have = labels(pod)
    called = text(have, "app"), text(have, "app.kubernetes.io/name")
    if any(each in _EXPORTERS for each in called) and namespace(pod) not in tenants:
        container = next(iter(items(pod, "spec", "containers")), {})
        return Target(address, _port(container, _EXPORTER_PORT), "/metrics", node, key)
    if found := vllm_container(pod):
        return Target(address, _port(found[1], _SERVER_PORT), "/metrics", node, key)
    return None


def _port(container: Obj, default: int) -> int:
    return next((port for each in items(container, "ports") if (port := number(each, "containerPort")) > 0), default)


def discovered(body: bytes) -> list[Target]:
    """Targets in the form of Prometheus' HTTP service discovery. Raises ClusterError for anything else."""
    try:
        groups = msgspec.json.decode(body, type=list[_Group])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClusterError(f"what the service discovery answers is no list of targets: {error}") from None
    found = []
    for group in groups:
        have = group.labels
        node = next((have[each] for each in _NODE_LABELS if have.get(each)), "")
        pod = f"{have.get('namespace', '')}/{have.get('pod', '')}"
        for each in group.targets:
            host, _, port = each.rpartition(":")
            if host and port.isdecimal() and len(port) <= _DIGITS_MAX and int(port) <= _PORT_MAX:
                tls = have.get("__scheme__") == "https"
                found.append(Target(host, int(port), have.get("__metrics_path__", "/metrics"), node, pod, tls))
    if len(found) > _DISCOVERED_MAX:
        raise ClusterError(f"the service discovery names {len(found)} targets; at most {_DISCOVERED_MAX} are read")
    return found


class _Group(msgspec.Struct):
    targets: list[str]
    labels: dict[str, str] = {}


msgspec.json.Decoder(list[_Group])  # described here, once, before there are threads: see plimsoll.spec.load


class Scraper:
    """Keeps a connection to each target. Not for several rounds at once."""

    def __init__(self) -> None:
        self._connections: dict[Target, http.client.HTTPConnection] = {}
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="scrape")
        self._reading: dict[Target, tuple[float, socket.socket]] = {}  # until when at most
        self._over = Event()
        Thread(target=self._watch, daemon=True).start()

    def round(self, targets: Iterable[Target]) -> Iterable[Page]:
        """A page of each, as they come in order."""
        wanted = list(targets)
        for old in self._connections.keys() - set(wanted):
            self._connections.pop(old).close()
        return self._workers.map(self.page, wanted)

    def page(self, target: Target) -> Page:
        for last in (False, True):
            known = target in self._connections
            try:
                return Page(target, self._read(target))
            except (OSError, http.client.HTTPException, ValueError) as error:
                connection = self._connections.pop(target, None)
                if connection is not None:
                    connection.close()
                if last or not known:  # a connection that was kept may just have been closed by the other side
                    return Page(target, b"", str(error) or type(error).__name__)
        raise AssertionError

    def _read(self, target: Target) -> bytes:
        connection = self._connections.get(target)
        if connection is None:
            kind = http.client.HTTPSConnection if target.tls else http.client.HTTPConnection
            connection = self._connections[target] = kind(target.host, target.port, timeout=_TIMEOUT)
        if connection.sock is None:
            connection.connect()
        self._reading[target] = time.monotonic() + _LONGEST, connection.sock
        try:
            connection.request("GET", target.path)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise ValueError(f"it answers {answer.status}")
            body = answer.read(PAGE_MAX + 1)
        finally:
            until, _ = self._reading.pop(target)
        if time.monotonic() >= until:
            raise ValueError(f"its page takes longer than {_LONGEST:.0f} s")
        if len(body) > PAGE_MAX:
            raise ValueError(f"its page is larger than {PAGE_MAX >> 20} MiB")
        if answer.length:
            raise ValueError("its page broke off")
        return body

    def _watch(self) -> None:
        """End readings that take too long. A timeout of the socket begins anew with each byte."""
        while not self._over.wait(1):
            now = time.monotonic()
            for until, sock in list(self._reading.values()):
                if now >= until:
                    try:
                        socket.socket.shutdown(sock, socket.SHUT_RDWR)
                    except OSError:
                        continue  # it is over already

    def close(self) -> None:
        self._over.set()
        self._workers.shutdown(wait=False, cancel_futures=True)
        for connection in self._connections.values():
            connection.close()
