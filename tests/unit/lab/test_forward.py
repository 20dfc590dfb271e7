"""The forwarder: what goes in at one end comes out at the other, and a dead target closes the call."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.lab.run.forward import Forwarder


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


async def _through(payload: bytes) -> bytes:
    target = await asyncio.start_server(_echo, "127.0.0.1", 0)
    door = socket.create_server(("127.0.0.1", 0))
    forwarder = Forwarder()
    await forwarder.add("127.0.0.1", 1, target.sockets[0].getsockname()[1], listener=door)
    reader, writer = await asyncio.open_connection(*door.getsockname())
    writer.write(payload)
    writer.write_eof()
    back = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    await forwarder.close()
    target.close()
    return back


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=300_000))
def test_bytes_pass_unchanged(payload: bytes) -> None:
    assert asyncio.run(_through(payload)) == payload


def test_a_target_that_is_gone_closes_the_call() -> None:
    async def scenario() -> bytes:
        gone = socket.create_server(("127.0.0.1", 0))
        port = gone.getsockname()[1]
        gone.close()
        door = socket.create_server(("127.0.0.1", 0))
        forwarder = Forwarder()
        await forwarder.add("127.0.0.1", 1, port, listener=door)
        reader, writer = await asyncio.open_connection(*door.getsockname())
        answer = await asyncio.wait_for(reader.read(-1), 5)
        writer.close()
        await forwarder.close()
        return answer

    assert asyncio.run(scenario()) == b""


async def _says(word: bytes) -> asyncio.Server:
    async def say(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(word)
        writer.close()
        await writer.wait_closed()

    return await asyncio.start_server(say, "127.0.0.1", 0)


async def _heard(address: tuple[str, int]) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    said = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    return said


async def _moved() -> None:
    old, new = await _says(b"old"), await _says(b"new")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    forwarder = Forwarder()
    await forwarder.add("127.0.0.1", port, old.sockets[0].getsockname()[1])
    assert await _heard(("127.0.0.1", port)) == b"old"
    await forwarder.add("127.0.0.1", port, new.sockets[0].getsockname()[1])
    assert await _heard(("127.0.0.1", port)) == b"new"
    forwarder.remove("127.0.0.1", port)
    forwarder.remove("127.0.0.1", port)
    with pytest.raises(ConnectionRefusedError):
        await _heard(("127.0.0.1", port))
    await forwarder.add("127.0.0.1", port, old.sockets[0].getsockname()[1])
    assert await _heard(("127.0.0.1", port)) == b"old"
    await forwarder.close()
    old.close()
    new.close()
    await asyncio.sleep(0.05)  # both ends of every call close


def test_an_address_leads_where_it_was_last_told_and_nowhere_once_removed() -> None:
    asyncio.run(_moved())
