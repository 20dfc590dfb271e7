"""Each example, from an empty cluster to a working platform and back to a file, with the real controllers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plimsoll.kube import kinds
from plimsoll.kube.client import Client
from plimsoll.kube.objects import condition, name, text
from plimsoll.lab.adapt import adapt
from plimsoll.lab.run import launch
from plimsoll.lab.run.settings import ADDONS, Folder, Settings
from plimsoll.spec.dump import to_yaml
from plimsoll.spec.load import load

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent.name for path in (ROOT / "examples").glob("*/platform.yaml") if path.parent.name != "lab")
PROGRAM = Path(sys.executable).parent / "plimsoll"


class Empty:
    """A lab in which nothing is installed, with the nodes of one example."""

    def __init__(self, folder: Folder, file: Path) -> None:
        self.folder, self.file, self.client = folder, file, Client(folder.kubeconfig)

    def plimsoll(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "KUBECONFIG": str(self.folder.kubeconfig), "PLIMSOLL_CHARTS": str(self.folder.charts)}
        return subprocess.run(
            [str(PROGRAM), *words],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture(params=EXAMPLES)
def empty(request: pytest.FixtureRequest, labs: Path, tmp_path: Path) -> Iterator[Empty]:
    """A new one for each example: what one has installed is in the way of the next."""
    declared, _ = adapt(load((ROOT / "examples" / request.param / "platform.yaml").read_text(), request.param))
    file = tmp_path / "platform.yaml"
    file.write_text(to_yaml(declared))
    launch.up(Settings(name="empty", addons=ADDONS, platform=file.read_text(), charts="wait"))
    found = Empty(launch.folder_of("empty"), file)
    yield found
    found.client.close()
    launch.down(found.folder)


def test_applies_to_an_empty_cluster_and_works(empty: Empty, tmp_path: Path) -> None:
    applied = empty.plimsoll("apply", "-f", str(empty.file), "--yes", "--timeout", "180")
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout.startswith("+ Namespace/")

    again = empty.plimsoll("apply", "-f", str(empty.file), "--yes", "--timeout", "180")
    assert (again.returncode, again.stdout) == (0, ""), again.stdout + again.stderr

    plan = empty.plimsoll("plan", "-f", str(empty.file), "--exit-code", "-o", "json")
    assert plan.returncode == 0, plan.stdout
    assert json.loads(plan.stdout)["changes"] == []

    _controllers_act(empty.client)
    _comes_back(empty, tmp_path)


def _controllers_act(client: Client) -> None:
    """What `apply` waited for, asked of the controllers once more."""
    for kind, type_ in ((kinds.CLUSTER_QUEUE, "Active"), (kinds.LOCAL_QUEUE, "Active"), (kinds.SCALED_OBJECT, "Ready")):
        for each in client.list(kind):
            assert text(condition(each, type_), "status") == "True", (kind, name(each))
    assert client.list(kinds.CLUSTER_QUEUE)
    assert [text(each, "status", "state") for each in client.list(kinds.CLUSTER_POLICY)] == ["ready"]


def _comes_back(empty: Empty, folder: Path) -> None:
    """`init` writes the declaration that was applied, from the cluster and from a snapshot; neither plans a change."""
    snapshot, live, frozen = folder / "cluster.plimsoll", folder / "live.yaml", folder / "frozen.yaml"
    assert empty.plimsoll("capture", "-o", str(snapshot)).returncode == 0
    assert empty.plimsoll("init", "-o", str(live)).returncode == 0
    assert empty.plimsoll("init", str(snapshot), "-o", str(frozen)).returncode == 0
    wanted = load(empty.file.read_text(), "applied")
    for file in (live, frozen):
        assert load(file.read_text(), file.name) == wanted
    assert empty.plimsoll("plan", "-f", str(live), "--exit-code").returncode == 0
    offline = empty.plimsoll("plan", str(snapshot), "-f", str(frozen), "--exit-code")
    assert offline.returncode == 0, offline.stdout
