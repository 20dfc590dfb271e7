"""All of kube-proxy that a lab needs: whoever calls a ClusterIP reaches the process that plays the Service's pods.

Every address of 127.0.0.0/8 is local on Linux, so a ClusterIP out of it can be listened on.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress

_log = logging.getLogger(__name__)
_CHUNK = 1 << 16


class Forwarder:
    """TCP from address:port to a local port, as many as asked for."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._targets: dict[tuple[str, int], int] = {}

    async def add(self, address: str, port: int, target: int, *, listener: socket.socket | None = None) -> None:
        """Forward address:port to 127.0.0.1:target; one that is forwarded already goes there from now on.

        `listener`: a socket that is bound there already.
        """
        place = address, port
        self._targets[place] = target
        if place in self._servers:
            return

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.CancelledError):  # the lab goes down
                await _relay(reader, writer, self._targets[place])

        if listener:
            server = await asyncio.start_server(serve, sock=listener)
        else:
            server = await asyncio.start_server(serve, address, port)
        self._servers[place] = server
        _log.info("%s:%d goes to port %d", address, port, target)

    def remove(self, address: str, port: int) -> None:
        """Stop listening there; calls that are under way go on."""
        if server := self._servers.pop((address, port), None):
            server.close()

    async def close(self) -> None:
        """Stop listening."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: int,
) -> None:
    """Pass bytes both ways until either side ends; a target that does not answer closes the call."""
    try:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
    for each in (writer, far_writer):
        with suppress(OSError):
            each.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.write_eof()
