"""Keeping the world up to date: one thread for each kind of object."""

from __future__ import annotations

import logging
import time
from threading import Event, Thread

from plimsoll.errors import PlimsollError
from plimsoll.kube.client import Client, NotFound
from plimsoll.kube.kinds import Kind
from plimsoll.lab.telemetry.world import NEEDED, OPTIONAL, World

_log = logging.getLogger(__name__)
_PAUSE = 5.0  # seconds before a watch that ended in an error is begun anew
_PARTING = 1.0  # seconds that they are waited for in the end


class Watches:
    """Feeds a world from a cluster until told to stop."""

    def __init__(self, client: Client, world: World) -> None:
        self._client = client
        self._world = world
        self._stop = Event()
        self._failed: dict[Kind, str] = {}
        self._threads = [Thread(target=self._follow, args=(kind,), daemon=True) for kind in (*NEEDED, *OPTIONAL)]

    def start(self) -> None:
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        """End them; a thread that waits for a server that does not answer is left behind."""
        self._stop.set()
        until = time.monotonic() + _PARTING
        for each in self._threads:
            each.join(max(until - time.monotonic(), 0.0))

    def trouble(self) -> str:
        """Why the world may be stale, a line for each kind that cannot be watched; "" if it is not."""
        return "".join(f"{kind}: {why}\n" for kind, why in sorted(self._failed.copy().items()))

    def _follow(self, kind: Kind) -> None:
        while not self._stop.is_set():
            try:
                if kind in self._failed:
                    self._client.raw("/livez")  # a watch of a kind without objects would not tell that all is well
                    del self._failed[kind]
                for change, obj in self._client.watch(kind, stop=self._stop):
                    self._world.take(kind, change, obj, time.time())
            except NotFound:  # its CRD may come yet
                if kind in NEEDED:
                    self._failed[kind] = "not served"
            except PlimsollError as error:
                if self._stop.is_set():
                    return
                _log.warning("%s: %s", kind, error)
                self._failed[kind] = str(error)
            self._stop.wait(_PAUSE)
