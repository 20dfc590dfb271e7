"""One apply of a platform at a time: a Lease that its holder renews, and that goes to the next when it does not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic, sleep

from plimsoll.errors import ClusterError
from plimsoll.kube.answers import Conflict, NotFound
from plimsoll.kube.client import Client
from plimsoll.kube.objects import Obj, mapping, number, text
from plimsoll.plan.model import HOME
from plimsoll.plan.patience import patiently
from plimsoll.units import moment

_KIND = "coordination.k8s.io/v1/Lease"
_SECONDS = 20  # after which a holder that does not renew is taken for dead
_RENEWED = 5.0


@contextmanager
def held(client: Client, platform: str) -> Iterator[None]:
    """Hold the lease. Raises ClusterError where somebody else does and goes on doing so."""
    name = f"apply.{platform}"
    me = f"{socket.gethostname()}/{os.getpid()}/{_began(os.getpid())}"
    _take(client, name, me)
    done = threading.Event()

    def renew() -> None:
        while not done.wait(_RENEWED):
            with suppress(ClusterError):
                client.patch(_KIND, name, {"spec": {"renewTime": _now()}}, HOME)

    thread = threading.Thread(target=renew, daemon=True, name="lease")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(ClusterError):
            client.delete(_KIND, name, HOME)


def _take(client: Client, name: str, me: str) -> None:
    end = monotonic() + _SECONDS + _RENEWED
    spec = {"holderIdentity": me, "leaseDurationSeconds": _SECONDS}
    while True:
        there = patiently(lambda: client.get(_KIND, name, HOME))
        wanted: Obj = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": HOME},
            "spec": {**spec, "acquireTime": _now(), "renewTime": _now()},
        }
        try:
            if there is None:
                patiently(partial(client.create, wanted))
                return
            if _dead(there) or text(there, "spec", "holderIdentity") == me:
                wanted["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
                client.replace(wanted)
                return
        except (Conflict, NotFound):  # somebody was faster
            continue
        if monotonic() > end:
            host, _, rest = text(there, "spec", "holderIdentity").partition("/")
            raise ClusterError(
                f"another apply is at work: process {rest.partition('/')[0]} on {host}",
                where=f"Lease/{HOME}/{name}",
                hint="wait until it ends",
            )
        sleep(0.5)


def _dead(lease: Obj) -> bool:
    """Whether the holder is gone: a process of this machine that has ended, or one that has stopped renewing."""
    host, _, rest = text(lease, "spec", "holderIdentity").partition("/")
    pid, _, began = rest.partition("/")
    if host == socket.gethostname() and pid.isdigit() and _began(int(pid)) != began:
        return True
    renewed = moment(mapping(lease, "spec").get("renewTime"))
    patience = timedelta(seconds=number(lease, "spec", "leaseDurationSeconds") or _SECONDS)
    return renewed is None or datetime.now(UTC) - renewed > patience


def _began(pid: int) -> str:
    """When a process started, in the kernel's ticks; "" if it is gone or nobody tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
