"""The devices of this node as its own driver and kubelet tell of them."""

from __future__ import annotations

import logging
from pathlib import Path

from plimsoll.agents.meter.nvml import Devices
from plimsoll.agents.meter.podresources import SOCKET, Held, Kubelet
from plimsoll.agents.meter.reading import Reading
from plimsoll.agents.meter.sharers import Names
from plimsoll.errors import ClusterError

_log = logging.getLogger(__name__)


class Local:
    """A source of readings; see rounds.Source."""

    def __init__(self, node: str, socket: Path = SOCKET) -> None:
        self._devices = Devices(node, _log.warning)
        self._kubelet = Kubelet(socket)
        self._silent = False

    def read(self, names: Names) -> list[Reading]:
        held: list[Held] = []
        try:
            held = self._kubelet.held()
            self._silent = False
        except ClusterError as error:  # devices are read all the same; who holds them is then deduced
            if not self._silent:
                _log.warning("%s", error)
            self._silent = True
        return self._devices.read(names, held)
