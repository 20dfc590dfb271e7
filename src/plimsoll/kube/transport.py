"""Requests to one API server, tried again where that is safe."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from time import sleep

import httpx2
import msgspec

from plimsoll.errors import ClusterError
from plimsoll.kube import connect
from plimsoll.kube.answers import UNTYPED, Unreachable, decoded
from plimsoll.kube.connect import BUSY, LOGIN, PAUSES, PLUGIN_ERRORS
from plimsoll.kube.objects import Obj

Params = Mapping[str, str]
# Errors that come before a byte of the request has left us.
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Transport:
    """An authenticated connection pool. Thread-safe."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        self._streams: set[socket.socket] = set()
        self.closed = False

    def close(self) -> None:
        self.closed = True
        for connection in list(self._streams):
            wake(connection)  # or its reader would sleep on: closing a socket does not disturb who reads it
        self._client.close()

    @property
    def place(self) -> str:
        """Host and port; never what else a URL can hold."""
        url = self._client.base_url
        return f"{url.host}:{url.port}" if url.port else url.host

    def get(self, path: str, params: Params | None = None, *, what: str) -> Obj:
        return decoded(self.send("GET", path, params, safe=True), what)

    def send(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        *,
        body: object = None,
        media: str = "application/json",
        safe: bool,
    ) -> httpx2.Response:
        """The answer, whatever its status, tried up to four times.

        `safe`: asking twice is as good as once. What is not safe is tried again only where the server has not begun
        with it: the connection was refused, or (but for POST, where 429 also is the answer of an eviction that a
        budget forbids) it said that it is too busy. Raises Unreachable, and ClusterError without credentials.
        """
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if content is None else {"Content-Type": media}
        for pause in (*PAUSES, None):
            try:
                answer = self._client.request(method, path, params=params, content=content, headers=headers)
            except httpx2.TransportError as error:
                if pause is None or not (safe or isinstance(error, _UNSENT)):
                    raise self._unreachable(error) from None
                sleep(pause)
                continue
            except PLUGIN_ERRORS as error:
                raise self._no_credentials(error) from None
            if pause is None or not _again(answer, method, safe=safe):
                return answer
            sleep(connect.wait(answer, pause))
        raise AssertionError  # the last round returns or raises

    @contextmanager
    def stream(self, path: str, params: Params, read: float) -> Iterator[tuple[httpx2.Response, socket.socket]]:
        """An answer that is read as it comes, and its socket; `read` is how many seconds it may be silent.

        Raises httpx2.TransportError: its reader knows how to go on.
        """
        timeout = httpx2.Timeout(10.0, read=read)
        request = self._client.build_request("GET", path, params=params, timeout=timeout)
        try:
            answer = self._client.send(request, stream=True)
        except PLUGIN_ERRORS as error:
            raise self._no_credentials(error) from None
        connection: socket.socket = answer.extensions["network_stream"].get_extra_info("socket")
        self._streams.add(connection)
        try:
            with closing(answer):
                yield answer, connection
        finally:
            self._streams.discard(connection)

    def _unreachable(self, error: httpx2.TransportError) -> Unreachable:
        return Unreachable(f"cannot reach the cluster: {connect.why(error)}", where=self.place, hint=LOGIN)

    def _no_credentials(self, error: BaseException) -> ClusterError:
        return ClusterError(f"no credentials: {connect.plugin(error)}", where=self.place, hint=LOGIN)


def wake(connection: socket.socket) -> None:
    """End a connection that another thread reads."""
    with suppress(OSError):  # the other side was faster
        # Not SSLSocket.shutdown, which takes the TLS state away under the reader's feet.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _again(answer: httpx2.Response, method: str, *, safe: bool) -> bool:
    status = answer.status_code
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return method != "POST"
    return safe and status in BUSY and UNTYPED.encode() not in answer.content
