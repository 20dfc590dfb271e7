"""`plimsoll render` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from plimsoll.cli import render
from plimsoll.errors import InputError

EXAMPLES = Path(__file__).parents[3] / "examples"
FIRST = EXAMPLES / "01-first-cluster" / "platform.yaml"
ALL = EXAMPLES / "05-everything" / "platform.yaml"


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(render.command, [str(arg) for arg in args])


def test_without_a_folder_the_objects_go_to_stdout() -> None:
    done = run("-f", ALL)
    assert done.exit_code == 0, done.output
    kinds = [each["kind"] for each in yaml.safe_load_all(done.stdout)]
    assert kinds[0] == "Namespace"
    assert {"ClusterQueue", "ScaledObject", "PrometheusRule"} <= set(kinds)
    assert "Application" not in kinds
    assert done.stderr == ""


def test_a_folder_gets_the_form_that_is_declared_or_asked_for(tmp_path: Path) -> None:
    done = run("-f", FIRST, "-o", tmp_path / "a")
    assert done.exit_code == 0, done.output
    assert "files for apply; " in done.stderr
    assert (tmp_path / "a" / "charts.yaml").exists()
    done = run("-f", ALL, "-o", tmp_path / "b", "--repository", "https://git.example.com/a.git", "--path", "p")
    assert "files for argocd; " in done.stderr
    assert "path: p/argocd\n" in (tmp_path / "b" / "argocd.yaml").read_text()
    assert run("-f", ALL, "-o", tmp_path / "c", "--delivery", "helmfile").exit_code == 0
    assert (tmp_path / "c" / "helmfile.yaml").exists()


def test_a_second_run_changes_nothing_and_a_pillar_alone_takes_the_others_away(tmp_path: Path) -> None:
    run("-f", FIRST, "-o", tmp_path)
    assert " 0 written, " in run("-f", FIRST, "-o", tmp_path).stderr
    assert run("-f", FIRST, "-o", tmp_path, "--pillar", "queueing").exit_code == 0
    assert (tmp_path / "queueing" / "resources" / "objects.yaml").exists()
    assert not (tmp_path / "security").exists()


def test_a_pillar_that_others_keep_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "platform.yaml"
    file.write_text(FIRST.read_text().replace("\npools:", "\ncluster: {manage: [queueing]}\npools:", 1))
    done = run("-f", file, "--pillar", "queueing")
    assert done.exit_code == 0, done.output
    assert isinstance(run("-f", file, "--pillar", "spot").exception, InputError)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--delivery", "flux"), "give -o FOLDER"),
        (("--repository", "https://git.example.com/a.git"), "give -o FOLDER"),
        (("-o", "x", "--repository", "https://git.example.com/a.git"), "is for argocd and flux, not for apply"),
        (("--pillar", "nonsense"), "is not one of"),
    ],
)
def test_options_that_do_not_go_together_are_refused(args: tuple[str, ...], said: str) -> None:
    done = run("-f", FIRST, *args)
    assert done.exit_code == 2
    assert said in done.stderr


def test_argocd_asks_for_a_repository(tmp_path: Path) -> None:
    done = run("-f", ALL, "-o", tmp_path)
    assert isinstance(done.exception, InputError)
    assert "--repository" in done.exception.hint
    assert not list(tmp_path.iterdir())
