"""Whose process it is: the pod and the container of a process number, from `/proc/<pid>/cgroup` of the node.

Below `kubepods` every pod has a cgroup with its uid in the name, and every container one in that:

    /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid, _ for ->.slice/cri-containerd-<id>.scope
    /kubepods/burstable/pod<uid>/<id>                                           the cgroupfs driver
    /system.slice/containerd.service/kubepods-pod<uid>.slice:cri-containerd:<id> a runtime that was not told of systemd

Sources: pkg/kubelet/cm (names of pods), containerd and CRI-O (names of containers). Seen from a cgroup namespace of our
own the paths begin with `/..`; what follows the common part still names the pod. A static pod is named by the hash of
its manifest instead of a uid, which its mirror in the API has as annotation `kubernetes.io/config.hash`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_LONGEST = 1 << 16  # bytes read of a file of some hundred
_POD = re.compile(r"(?:[\w.-]*-)?pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?\Z")
_CONTAINER = re.compile(r"(?:[a-z-]+-)?([0-9a-f]{64})(?:\.scope)?\Z")


class Owner(NamedTuple):
    """pod: its uid. container: the id that the runtime gave it, "" for a process of the pod that is in none."""

    pod: str
    container: str


def owner(text: str) -> Owner | None:
    """The pod that a `/proc/<pid>/cgroup` speaks of; None for a process of the node itself.

    Of pods in pods (a cluster in a container) the outermost counts: it is the one that this cluster knows.
    """
    for line in text.splitlines():
        parts = re.split("[/:]", line.split(":", 2)[-1])
        for at, part in enumerate(parts):
            found = _POD.match(part)
            if found:
                inside = [
                    _CONTAINER.match(each) for each in parts[at + 1 : at + 3]
                ]  # a runtime's name may stand between
                return Owner(found[1].replace("_", "-"), next((each[1] for each in inside if each), ""))
    return None


class Processes:
    """The node's processes, as far as this one may see them. proc: where a procfs of the node is mounted."""

    def __init__(self, proc: Path = PROC) -> None:
        self.proc = proc

    def visible(self) -> bool:
        """Whether numbers here are the node's own, as the driver tells them: with hostPID, or the node's /proc mounted.

        Without, a number would be that of some other process. Process 2 of a node is its kernel's thread daemon.
        """
        try:
            with (self.proc / "2" / "stat").open("rb") as file:
                return file.read(64).startswith(b"2 (kthreadd) ")
        except OSError:
            return False

    def owner(self, pid: int) -> Owner | None:
        """See `owner`; None too for a process that ended or may not be looked at."""
        try:
            with (self.proc / str(pid) / "cgroup").open("rb") as file:
                return owner(file.read(_LONGEST).decode("utf-8", "replace"))
        except OSError:
            return None
