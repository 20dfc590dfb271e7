"""The addresses of one lab: a network of its own where the kernel lets it, else free addresses of the host's loopback.

In a network of its own nothing but the lab's loopback exists: its programs may listen wherever they like, on ports
that only root may use outside, and several labs do not meet. What a user wants to reach from outside (API server,
Prometheus) is listened on by sockets that were made before; a socket stays in the network it was made in.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

from plimsoll.errors import LabError

LOOPBACK = "127.0.0.1"

_RANGES = range(96, 127)  # 127.<n>.0.0/16 for ClusterIPs: one for each of 31 labs that share the host's loopback
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_SIOCSIFFLAGS, _IFF_UP_RUNNING = 0x8914, 0x1 | 0x40  # linux/sockios.h, net/if.h


class Network:
    """Addresses and ports. `doors`: what can be reached from outside, each a name and a port there."""

    def __init__(self, doors: tuple[str, ...]) -> None:
        outside = {name: _listener(LOOPBACK, 0) for name in doors}
        self.own = _isolate()
        self._outside = outside if self.own else {}
        self.doors = {name: int(door.getsockname()[1]) for name, door in outside.items()}
        if not self.own:
            for door in outside.values():
                door.close()
        self._held: list[socket.socket] = []
        self.prefix, self.api_listener = _range()

    @property
    def cidr(self) -> str:
        """The range of ClusterIPs."""
        return f"{self.prefix}.0.0/16"

    @property
    def api_address(self) -> str:
        """Where pods find the API server: the first ClusterIP."""
        return f"{self.prefix}.0.1"

    def port(self, door: str = "") -> int:
        """A free port on loopback. `door`: the one that is reached from outside under that name."""
        if door and not self.own:
            return self.doors[door]
        holder = _listener(LOOPBACK, 0)
        self._held.append(holder)  # until `release`, so that the next call gives another
        return int(holder.getsockname()[1])

    def outside(self, door: str) -> socket.socket | None:
        """The listener outside whose calls go to `port(door)`; None where outside and inside are the same."""
        return self._outside.get(door)

    def release(self) -> None:
        """Let the programs bind what `port` gave."""
        for holder in self._held:
            holder.close()
        self._held.clear()


def _listener(address: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _isolate() -> bool:
    """Move this process into a network of its own; an ordinary user becomes root of a user namespace first.

    False where the kernel does not let it. To be called while the process has one thread.
    """
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET | (_CLONE_NEWUSER if user else 0)):
        return False
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    with socket.socket() as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP_RUNNING))
    return True


def _range() -> tuple[str, socket.socket]:
    """A free range, held by a listener on its first address, which is the API server's."""
    for second in _RANGES:
        with suppress(OSError):
            try:
                return f"127.{second}", _listener(f"127.{second}.0.1", 443)
            except PermissionError:
                raise LabError(
                    "the lab may not listen on port 443 of loopback, nor make a network of its own",
                    where="port 443",
                    hint="run it as root, or allow user namespaces (sysctl user.max_user_namespaces), "
                    "or set sysctl net.ipv4.ip_unprivileged_port_start=443",
                ) from None
    raise LabError(
        "no loopback range is free for ClusterIPs",
        where=f"127.{_RANGES.start}.0.0/16 to 127.{_RANGES.stop - 1}.0.0/16",
        hint="end other labs with `plimsoll lab down`",
    )
