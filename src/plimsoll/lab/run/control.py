"""How the command line talks to a running lab: one line of JSON each way over a socket in the lab's folder."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

from plimsoll.errors import LabError, PlimsollError
from plimsoll.lab.run.settings import Folder

_log = logging.getLogger(__name__)
_PATIENCE = 120.0  # seconds; a reset takes a tenth of that
_LINE = 1 << 16

Answer = Callable[[dict[str, str]], Awaitable[dict[str, str]]]


@asynccontextmanager
async def server(folder: Folder, answer: Answer) -> AsyncIterator[None]:
    """Answer requests while the context lasts."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            reply = await answer(msgspec.json.decode(await reader.readline(), type=dict[str, str]))
        except PlimsollError as error:
            reply = {"error": str(error), "hint": error.hint}
        except msgspec.DecodeError:
            reply = {"error": "not a request"}
        except Exception as error:
            _log.exception("a request failed")
            reply = {"error": f"{type(error).__name__}: {error}"}
        with suppress(OSError):
            writer.write(msgspec.json.encode(reply) + b"\n")
            await writer.drain()
        writer.close()

    folder.control.unlink(missing_ok=True)
    with _short(folder) as path:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
    folder.control.chmod(0o600)
    running = await asyncio.start_unix_server(serve, sock=listener, limit=_LINE)
    try:
        yield
    finally:
        running.close()
        folder.control.unlink(missing_ok=True)


def ask(folder: Folder, do: str, program: str = "") -> None:
    """Have a running lab do something and wait until it is done. Raises PlimsollError where it cannot."""
    with socket.socket(socket.AF_UNIX) as call:
        call.settimeout(_PATIENCE)
        try:
            with _short(folder) as path:
                call.connect(path)
            call.sendall(msgspec.json.encode({"do": do, "program": program}) + b"\n")
            line = call.makefile("rb").readline(_LINE)
            reply = msgspec.json.decode(line, type=dict[str, str]) if line else {"error": "the lab ended meanwhile"}
        except (OSError, msgspec.DecodeError) as error:
            raise LabError(
                f"the lab does not answer: {error}", where=str(folder.root), hint="`plimsoll lab status` says how it is"
            ) from None
    if "error" in reply:
        raise LabError(reply["error"], where="lab", hint=reply.get("hint", ""))


class _short:  # noqa: N801  # used like a function
    """A name for the socket that fits the 107 bytes a socket's address may have, however long the folder's is."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def __enter__(self) -> str:
        self._handle = os.open(self._folder.root, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._handle}/{self._folder.control.name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)
