"""The life of a lab: side by side with another, put back, ended, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from plimsoll.errors import InputError, LabError
from plimsoll.kube.client import Client
from plimsoll.kube.objects import get
from plimsoll.lab.run import control, launch
from plimsoll.lab.run.fleet import DEFAULT_PLATFORM
from plimsoll.lab.run.settings import Settings
from plimsoll.lab.run.state import State, alive, read
from tests.lab.conftest import Lab

BARE = Settings(name="bare", addons=(), platform=DEFAULT_PLATFORM)


def _pids(state: State) -> list[int]:
    return [each.pid for each in state.programs if each.pid]


def _runs(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _until(look: Callable[[], bool], patience: float = 20.0) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if look():
            return True
        time.sleep(0.05)
    return False


def test_a_lab_killed_dead_leaves_no_process(labs: Path) -> None:
    state = launch.up(BARE)
    pids = _pids(state)
    assert len(pids) >= 5
    os.kill(state.pid, signal.SIGKILL)
    assert _until(lambda: not any(_runs(pid) for pid in pids))
    folder = launch.folder_of("bare")
    assert _until(lambda: (left := read(folder)) is not None and left.phase == "stopped")  # a thread may end last
    with pytest.raises(LabError, match="does not answer"):
        control.ask(folder, "reset")
    again = launch.up(BARE)
    assert again.phase == "ready"
    assert launch.down(folder)
    assert not any(_runs(pid) for pid in _pids(again))
    launch.forget(folder)
    assert not folder.root.exists()


def test_two_run_side_by_side_and_do_not_meet(lab: Lab) -> None:
    state = launch.up(BARE)
    try:
        assert state.doors["api-server"] != lab.state.doors["api-server"]
        with Client(launch.folder_of("bare").kubeconfig) as other:
            assert len(other.list("v1/Node")) < len(lab.client.list("v1/Node"))
            other.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "only-here"}})
        assert lab.client.get("v1/Namespace", "only-here") is None
        with pytest.raises(InputError, match="other settings"):
            launch.up(Settings(name="bare", addons=("keda",), platform=DEFAULT_PLATFORM))
    finally:
        launch.down(launch.folder_of("bare"))


def test_reset_puts_everything_back(lab: Lab, space: str) -> None:
    before = {get(node, "metadata", "name"): get(node, "status", "allocatable") for node in lab.client.list("v1/Node")}
    lab.client.delete("v1/Namespace", "keda")
    lab.client.delete("v1/Node", "h100-0")
    lab.client.delete("nvidia.com/v1/ClusterPolicy", "cluster-policy")
    lab.reset()
    lab.wait("v1/Node", "h100-0", "", lambda node: node is not None)
    after = {get(node, "metadata", "name"): get(node, "status", "allocatable") for node in lab.client.list("v1/Node")}
    assert after == before
    assert lab.client.get("v1/Namespace", space) is None
    assert lab.client.get("apps/v1/Deployment", "keda-operator", "keda") is not None
    policy = lab.wait(
        "nvidia.com/v1/ClusterPolicy", "cluster-policy", "", lambda it: get(it, "status", "state") == "ready"
    )
    assert policy


def test_the_command_line_tells_what_runs(lab: Lab) -> None:
    argv = [sys.executable, "-m", "plimsoll", "lab"]
    said = subprocess.run([*argv, "status", "--name", "tests"], capture_output=True, text=True, check=True).stdout
    assert "lab tests: ready" in said
    assert "kube-apiserver" in said
    inside = [*argv, "exec", "--name", "tests", "--", "sh", "-c", "echo $KUBECONFIG"]
    assert (
        subprocess.run(inside, capture_output=True, text=True, check=True).stdout.strip().endswith("admin.kubeconfig")
    )


def test_two_resets_at_once_leave_one_lab(labs: Path) -> None:
    launch.up(BARE)
    folder = launch.folder_of("bare")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: control.ask(folder, "reset"), range(2)))
    state = read(folder)
    assert state is not None
    assert all(each.pid and not each.restarts for each in state.programs)
    assert launch.down(folder)


def test_an_up_that_is_told_to_end_leaves_nothing(labs: Path) -> None:
    argv = [sys.executable, "-m", "plimsoll", "lab", "up", "--with", "none", "--name", "ended"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        folder = launch.folder_of("ended")
        assert _until(lambda: alive(folder))
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert _until(lambda: not alive(folder))


def test_what_was_asked_wrongly_is_said_before_anything_starts(labs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a kind and a name"):
        launch.up(Settings(name="wrong", manifests="apiVersion: v1\nkind: ConfigMap\n"))
    with pytest.raises(InputError, match="no name that a node can have"):
        launch.up(Settings(name="wrong", nodes="apiVersion: v1\nkind: Node\nmetadata: {name: A B}\n"))
    with pytest.raises(InputError, match="no such lab"):
        launch.ready("wrong")
    assert not launch.folder_of("wrong").root.exists()
