"""Step into the network of a lab that runs."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

from plimsoll.errors import LabError

_KINDS = ("user", "net")


def network(pid: int) -> None:
    """Move this process, which must have one thread, into the network (and user namespace) of process `pid`."""
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in _KINDS:
        mine, theirs = f"/proc/self/ns/{kind}", f"/proc/{pid}/ns/{kind}"
        with suppress(FileNotFoundError):
            if os.readlink(mine) == os.readlink(theirs):  # noqa: PTH115  # a link to no path
                continue
            handle = os.open(theirs, os.O_RDONLY)
            try:
                if libc.setns(handle, 0):
                    why = os.strerror(ctypes.get_errno())
                    raise LabError(f"cannot enter the lab's network: {why}", where=theirs)
            finally:
                os.close(handle)
