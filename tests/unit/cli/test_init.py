"""`plimsoll init` as a person meets it: the file, its head, the summary, and what it refuses."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from plimsoll.cli import init, options
from plimsoll.errors import InputError
from plimsoll.spec.load import load
from tests import recorded

ROOT = Path(__file__).parents[3]
LAB = ROOT / "examples" / "lab"
GOLDEN = ROOT / "tests" / "golden" / "init" / "lab.yaml"


@pytest.fixture(autouse=True)
def _recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read recordings without a process; how files and clusters are read is tested with what reads them."""

    def read(snapshot: Path | None, context: str | None, kubeconfig: Path | None) -> Any:
        assert snapshot is not None
        assert (context, kubeconfig) == (None, None)
        return recorded.load(snapshot)

    monkeypatch.setattr(options, "read_cluster", read)


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(init.command, [str(arg) for arg in args])


def test_the_file_loads_and_its_head_says_where_it_comes_from_and_what_was_guessed(tmp_path: Path) -> None:
    place = tmp_path / "platform.yaml"
    done = run(LAB / "healthy.json.gz", "-o", place, "--name", "lab")
    assert done.exit_code == 0, done.stderr
    text = place.read_text()
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert str(LAB / "healthy.json.gz") in head[0]
    assert "taken 2026-11-24 11:" in head[0]
    guesses = [line for line in head if line.startswith("# guess: ")]
    assert "# guess: no cluster shows what a node costs: pools have no price" in guesses
    assert "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("#")) == GOLDEN.read_text()
    assert load(text, "platform.yaml").metadata.name == "lab"
    assert done.stdout == ""
    assert "  pool h100: 4 nodes × 8 H100-SXM5-80GB, on-demand" in done.stderr
    assert "  team team-b: 8 of h100, 1 × 1g.10gb of a100-mig, 1 of l4-shared" in done.stderr
    assert "  team serving: no quota" in done.stderr
    assert "  service chat: 1 to 4 replicas on h100" in done.stderr
    assert f"{len(guesses)} guesses:" in done.stderr
    assert list(tmp_path.iterdir()) == [place]
    assert stat.S_IMODE(place.stat().st_mode) & 0o444


def test_to_stdout(tmp_path: Path) -> None:
    done = run(LAB / "healthy.json.gz", "-o", "-")
    assert done.exit_code == 0
    assert load(done.stdout, "-").metadata.name == "eks-us-east-1"
    assert "wrote" in done.stderr


def test_an_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    place = tmp_path / "platform.yaml"
    place.write_text("mine")
    done = run(LAB / "healthy.json.gz", "-o", place)
    assert isinstance(done.exception, InputError)
    assert (done.exception.what, done.exception.where) == ("exists already", str(place))
    assert "--force" in done.exception.hint
    assert place.read_text() == "mine"
    assert run(LAB / "healthy.json.gz", "-o", place, "--force").exit_code == 0
    assert load(place.read_text(), "p").pools


def test_force_writes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("old")
    (tmp_path / "link.yaml").symlink_to("real.yaml")
    assert run(LAB / "healthy.json.gz", "-o", tmp_path / "link.yaml", "--force").exit_code == 0
    assert (tmp_path / "link.yaml").is_symlink()
    assert load((tmp_path / "real.yaml").read_text(), "p").pools


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run(LAB / "healthy.json.gz", "-o", tmp_path / "no" / "such" / "platform.yaml")
    assert isinstance(done.exception, InputError)
    assert "cannot write it" in str(done.exception)
    done = run(LAB / "healthy.json.gz", "-o", tmp_path, "--force")
    assert isinstance(done.exception, InputError)
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_without_gpus_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cpu-0", "labels": {}}}
    monkeypatch.setattr(options, "read_cluster", lambda *_: recorded.whole([node], "cpu.json"))
    done = run("cpu.json", "-o", tmp_path / "platform.yaml")
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 2
    assert str(done.exception).startswith("cpu.json: no GPU node among 1 nodes: looked at ")
    assert list(tmp_path.iterdir()) == []


def test_hostile_names_stay_inside_their_comment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.count": "1"}
    nodes = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "good", "labels": labels}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "bad\npools: []\x1b[31m", "labels": {
            "nvidia.com/gpu.product": "\nwaivers: x"}}},
    ]  # fmt: skip
    monkeypatch.setattr(options, "read_cluster", lambda *_: recorded.whole(nodes, "evil\nname"))
    done = run("x", "-o", tmp_path / "platform.yaml")
    assert done.exit_code == 0, done.exception
    text = (tmp_path / "platform.yaml").read_text()
    assert len(load(text, "p").pools) == 1
    assert "\x1b" not in text + done.stderr


def test_a_name_that_is_none_is_refused() -> None:
    done = run(LAB / "healthy.json.gz", "--name", "Acme Inc", "-o", "-")
    assert done.exit_code == 2
    assert "'Acme Inc'" in done.stderr


def test_from_the_command_line_to_a_judgement(tmp_path: Path) -> None:
    def plimsoll(*args: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "plimsoll", *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)

    done = plimsoll("init", LAB / "healthy.json.gz")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Traceback" not in done.stderr
    judged = plimsoll("check", LAB / "healthy.json.gz", "-f", "platform.yaml", "-o", "json")
    assert judged.returncode == 0, judged.stderr
    again = plimsoll("init", LAB / "healthy.json.gz")
    assert again.returncode == 2
    assert again.stderr == "error: platform.yaml: exists already\n\nhint: --force writes over it\n"
