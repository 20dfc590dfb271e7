"""One apply of a platform at a time: a Lease that its holder renews, and that goes to the next when it does not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from plimsoll.errors import ClusterError
from plimsoll.kube.answers import Conflict, NotFound
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, mapping, text
from plimsoll.plan.model import HOME
from plimsoll.plan.patience import passes, patiently

_KIND = "coordination.k8s.io/v1/Lease"
_SECONDS = 20  # after which a holder that does not renew is taken for dead
_RENEWED = 5.0
_PAUSE = 0.5


@contextmanager
def held(client: Client, platform: str) -> Iterator[threading.Event]:
    """Hold the lease; the event is set when somebody else has taken it, because we could not renew it for too long.

    Raises ClusterError where somebody else holds it and goes on doing so.
    """
    name = f"apply.{platform}"
    me = f"{socket.gethostname()}/{os.getpid()}/{_began(os.getpid())}/{_processes()}"
    _take(client, name, me)
    done, lost = threading.Event(), threading.Event()

    def renew() -> None:
        while not done.wait(_RENEWED) and not lost.is_set():
            with suppress(ClusterError):
                if (there := _ours(client, name, me)) is None:
                    lost.set()
                else:
                    client.replace(there | {"spec": mapping(there, "spec") | {"renewTime": _now()}})

    thread = threading.Thread(target=renew, daemon=True, name="lease")
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()
        with suppress(ClusterError):
            if _ours(client, name, me) is not None:
                client.delete(_KIND, name, HOME)


def _ours(client: Client, name: str, me: str) -> Obj | None:
    there = client.get(_KIND, name, HOME)
    return there if text(there, "spec", "holderIdentity") == me else None


def _take(client: Client, name: str, me: str) -> None:
    """Whether a holder renews is judged by our own clock: those of two machines may differ."""
    began = since = monotonic()
    seen = ""
    while True:
        there = patiently(lambda: client.get(_KIND, name, HOME))
        if (version := text(there, "metadata", "resourceVersion")) != seen:
            seen, since = version, monotonic()
        holder = text(there, "spec", "holderIdentity")
        try:
            if there is None:
                patiently(partial(client.create, _lease(name, me)))
                return
            if holder in ("", me) or _ended(holder) or monotonic() - since > _SECONDS:
                client.replace(_lease(name, me, version))
                return
        except ClusterError as error:  # somebody was faster, or nobody answers for a moment
            gone = isinstance(error, NotFound) and there is not None
            if not (gone or isinstance(error, Conflict) or passes(error)):
                raise
        if monotonic() - began > _SECONDS + _RENEWED:
            host, _, rest = holder.partition("/")
            raise ClusterError(
                f"another apply is at work: process {rest.partition('/')[0]} on {host}",
                where=f"Lease/{HOME}/{name}",
                hint="wait until it ends",
            )
        sleep(_PAUSE)


def _lease(name: str, me: str, version: str = "") -> Obj:
    metadata = {"name": name, "namespace": HOME} | ({"resourceVersion": version} if version else {})
    spec = {"holderIdentity": me, "leaseDurationSeconds": _SECONDS, "acquireTime": _now(), "renewTime": _now()}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def _ended(holder: str) -> bool:
    """Whether a holder is a process that we could see, and that is no more."""
    _, _, rest = holder.partition("/")
    pid, _, more = rest.partition("/")
    began, _, processes = more.partition("/")
    return pid.isdecimal() and bool(processes) and processes == _processes() and _began(int(pid)) != began


def _began(pid: int) -> str:
    """When a process started, in the kernel's ticks; "" if it is gone or nobody tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _processes() -> str:
    """This run of this kernel and its list of processes, in which a number means one of them; "" if nobody tells.

    Not the host's name: two machines, or two containers of one, may go by the same.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
