"""Threads that feed the world, and the process as it is started and ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Any, cast

import pytest

from plimsoll.kube import kinds
from plimsoll.kube.client import Client, NotFound, Unreachable
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj
from plimsoll.lab.telemetry import watch
from plimsoll.lab.telemetry.watch import Watches
from plimsoll.lab.telemetry.world import World
from tests.unit.lab.telemetry_objects import node


class Cluster:
    """A client whose watches tell of one node; it does not serve ServiceMonitors, and pods cannot be reached once."""

    def __init__(self) -> None:
        self.asked: list[Kind] = []

    def raw(self, path: str) -> bytes:
        return b"ok"

    def watch(self, kind: Kind, *, stop: Event, **_: Any) -> Iterator[tuple[str, Obj]]:
        self.asked.append(kind)
        if kind == kinds.SERVICE_MONITOR:
            raise NotFound(404, "NotFound", "not served")
        if kind == kinds.POD and self.asked.count(kind) == 1:
            raise Unreachable("nobody answers", where="pods")
        if kind == kinds.NODE:
            yield "ADDED", node()
        stop.wait()


def eventually(what: str, done: Any) -> None:
    until = monotonic() + 10
    while not done():
        assert monotonic() < until, what
        sleep(0.01)


def test_watches_fill_the_world_and_say_what_they_cannot_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_PAUSE", 0.2)
    cluster, world = Cluster(), World()
    watches = Watches(cast(Client, cluster), world)
    watches.start()
    eventually("trouble is told", lambda: "Pod: pods: nobody answers" in watches.trouble())
    assert "ServiceMonitor" not in watches.trouble()  # which need not be there
    eventually("the node is known", lambda: len(world.groups("here")) == 2)
    eventually("trouble ends", lambda: not watches.trouble())
    eventually("a CRD may come yet", lambda: cluster.asked.count(kinds.SERVICE_MONITOR) > 1)
    watches.stop()


@pytest.mark.parametrize(("listen", "code"), [("nowhere", 2), ("127.0.0.1:0", 2)])
def test_what_cannot_be_used_is_said_in_a_line(tmp_path: Path, listen: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "plimsoll.lab.telemetry", f"--kubeconfig={tmp_path / 'none'}", f"--listen={listen}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr and done.stderr


def test_it_ends_when_it_is_told_to(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("""\
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {}}]
""")
    process = subprocess.Popen(
        [sys.executable, "-m", "plimsoll.lab.telemetry", f"--kubeconfig={kubeconfig}", "--listen=127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr:
        assert "serving on 127.0.0.1:" in process.stderr.readline()
        process.terminate()
        assert process.wait(timeout=8) == 0  # though no API server answers
