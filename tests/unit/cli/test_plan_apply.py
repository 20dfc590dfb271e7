"""`plimsoll plan` and `plimsoll apply` as a person or a pipeline meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from plimsoll.cli import apply as applying
from plimsoll.cli import options, planning
from plimsoll.cli import plan as planning_verb
from plimsoll.errors import ClusterError, InputError
from plimsoll.kube import kinds
from plimsoll.kube.objects import MANAGER, Obj
from plimsoll.kube.snapshot import Coverage, Snapshot, Source
from plimsoll.plan.result import Action, Plan
from plimsoll.spec.problems import SpecError
from tests import recorded as recordings
from tests.unit.cli.test_init_recorded import applied
from tests.unit.plan import standing
from tests.unit.report.planned import full, item

ROOT = Path(__file__).parents[3]
FILE = ROOT / "examples" / "01-first-cluster" / "platform.yaml"


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(planning_verb.command, ["-f", str(FILE), *map(str, args)])


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PLIMSOLL_CHARTS", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))


def shows(monkeypatch: pytest.MonkeyPatch, snapshot: Snapshot) -> None:
    monkeypatch.setattr(options, "read_cluster", lambda *_: snapshot)


def declared() -> Any:
    return options.declared(FILE)


# plan


def test_a_cluster_as_declared_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    shows(monkeypatch, recordings.whole(applied(declared())))
    done = run("x", "--exit-code")
    assert done.exit_code == 0, done.stdout
    assert "No change: " in done.stdout


def test_an_empty_cluster_is_all_to_create(monkeypatch: pytest.MonkeyPatch) -> None:
    shows(monkeypatch, recordings.whole([]))
    done = run("x", "--exit-code", "-o", "json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["counts"]["create"] == len(found["changes"]) > 20
    assert run("x").exit_code == 0, "without --exit-code a change is no failure"


def test_what_nobody_read_is_unknown_and_exits_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Snapshot([], source=Source("list", "x", "unknown"), taken_at=None, coverage={})
    shows(monkeypatch, nothing)
    done = run("x", "--exit-code", "--pillar", "security", "-o", "json")
    assert done.exit_code == 3
    assert {each["action"] for each in json.loads(done.stdout)["changes"]} == {"unknown"}


def test_a_change_beside_something_unknown_is_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    coverage = dict.fromkeys(kinds.ALL, Coverage.WHOLE) | {kinds.NAMESPACE: Coverage.UNREAD}
    shows(monkeypatch, Snapshot([], source=Source("list", "x", "unknown"), taken_at=None, coverage=coverage))
    assert run("x", "--exit-code").exit_code == 1


def test_only_one_pillar(monkeypatch: pytest.MonkeyPatch) -> None:
    shows(monkeypatch, recordings.whole([]))
    found = json.loads(run("x", "--pillar", "queueing", "-o", "json").stdout)
    assert {each["pillar"] for each in found["changes"]} == {"queueing"}


def test_what_is_ours_and_no_longer_declared_is_to_prune(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = applied(declared())
    more: Obj = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {
        "name": "old", "namespace": "ml", "managedFields": [{"manager": MANAGER, "operation": "Apply"}],
        "labels": next(each for each in objects if each["kind"] == "Namespace")["metadata"]["labels"]
        | {"plimsoll.dev/pillar": "security"}}}  # fmt: skip
    shows(monkeypatch, recordings.whole([*objects, more]))
    [only] = json.loads(run("x", "-o", "json").stdout)["changes"]
    assert (only["action"], only["kind"], only["name"]) == ("prune", "ServiceAccount", "old")
    assert "- ServiceAccount/ml/old" in run("x").stdout


def test_markdown_goes_to_stdout_and_notes_of_a_table_to_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "planned", lambda *_: full())
    assert run("x", "-o", "markdown").stdout.startswith("# Plan for `acme`")
    done = run("x", "--notes")
    assert "note: Mirror the images first." in done.stderr
    assert "Mirror" not in done.stdout
    assert "--notes" in run("x").stderr, "without it, it is said that there are some"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "holds no declaration"),
        ("a: [", "not valid YAML"),
        ("pools: 5", "pools"),
        ("\x00", ""),
        ("a: &a [*a]\n", ""),
        ("a" * 9_000_000, ""),
    ],
)
def test_a_declaration_that_is_none_is_an_error(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "platform.yaml").write_text(text)
    done = CliRunner().invoke(planning_verb.command, ["-f", str(tmp_path / "platform.yaml"), "x"])
    assert isinstance(done.exception, InputError), done.exception
    assert done.exception.exit_code == 2
    assert what in f"{done.exception}"


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(planning_verb.command, ["-f", str(tmp_path / "no.yaml"), "x"])
    assert isinstance(done.exception, InputError)
    assert isinstance(run(tmp_path / "no.plimsoll").exception, InputError)
    done = run(tmp_path / "no.plimsoll", "--charts", tmp_path / "none")
    assert isinstance(done.exception, InputError)
    assert (done.exception.what, done.exception.where) == ("no such folder of charts", str(tmp_path / "none"))
    assert isinstance(run().exception, InputError | ClusterError), "no kubeconfig"


def test_a_snapshot_and_a_context_are_one_too_many() -> None:
    done = run("x", "--context", "prod")
    assert done.exit_code == 2
    assert "not both" in done.stderr


def test_errors_have_a_code_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "plimsoll", "plan", "-f", str(FILE)],
        capture_output=True, text=True, cwd=tmp_path, timeout=120,
        env={**os.environ, "KUBECONFIG": str(tmp_path / "no"), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode in (2, 4)
    assert done.stderr.startswith("error: ")
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


# apply


@pytest.fixture
def api() -> Iterator[standing.Cluster]:
    with standing.cluster() as found:
        yield found


def apply(api: standing.Cluster, folder: Path, *args: str, answer: str = "") -> Result:
    config = standing.kubeconfig(folder, api.url)
    words = ["-f", str(FILE), "--kubeconfig", str(config), "--pillar", "security", *args]
    return CliRunner().invoke(applying.command, words, input=answer)


def test_nobody_there_to_say_yes_is_an_error(api: standing.Cluster, tmp_path: Path) -> None:
    done = apply(api, tmp_path)
    assert isinstance(done.exception, InputError)
    assert "--yes" in done.exception.hint
    assert api.seen == []


def test_it_applies_and_then_there_is_nothing_to_do(api: standing.Cluster, tmp_path: Path) -> None:
    done = apply(api, tmp_path, "--yes")
    assert done.exit_code == 0, (done.exception, done.stderr)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("+ Namespace/")
    assert f"first-cluster: {len(lines)} created, 0 changed, 0 replaced, 0 pruned; 0 as they were" in done.stderr
    again = apply(api, tmp_path, "--yes")
    assert again.stdout == ""
    assert f"0 created, 0 changed, 0 replaced, 0 pruned; {len(lines)} as they were" in again.stderr


class _Somebody:
    """`sys` with a person at the terminal."""

    class stdin:  # noqa: N801 - as sys calls it
        @staticmethod
        def isatty() -> bool:
            return True


@pytest.mark.parametrize("yes", [True, False])
def test_it_shows_the_plan_and_asks(
    api: standing.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yes: bool
) -> None:
    monkeypatch.setattr("plimsoll.cli.apply.sys", _Somebody)
    monkeypatch.setattr("click.confirm", lambda *_, **__: yes)
    done = apply(api, tmp_path)
    assert "platform first-cluster against test" in done.stdout
    assert (done.exit_code == 0) is yes
    assert bool(api.objects) is yes, "what was asked of the server before were dry runs"


def test_pruning_is_offered_and_not_done(api: standing.Cluster, tmp_path: Path) -> None:
    apply(api, tmp_path, "--yes")
    marks = next(each for key, each in api.objects.items() if key[0] == "namespaces" and key[2] != "plimsoll-system")
    labels = marks["metadata"]["labels"] | {"plimsoll.dev/pillar": "security"}
    meta = {"name": "old", "namespace": "ml", "labels": labels, "managedFields": [{"manager": MANAGER}]}
    api.keep("configmaps", {"metadata": meta})
    done = apply(api, tmp_path, "--yes")
    assert "note: 1 objects are no longer declared; --prune deletes them" in done.stderr
    assert api.stands("configmaps", "old", "ml") is not None
    done = apply(api, tmp_path, "--yes", "--prune")
    assert done.stdout == "- ConfigMap/ml/old\n"
    assert api.stands("configmaps", "old", "ml") is None


REFUSED = {
    "blocked": item(Action.BLOCKED, "ConfigMap", "x", why="it is wrong"),
    "replace": item(Action.REPLACE, "LocalQueue", "x", why="it cannot change"),
    "unknown": item(Action.UNKNOWN, "ConfigMap", "x", why="forbidden"),
}


@pytest.mark.parametrize("which", REFUSED)
def test_what_forbids_it_is_an_error_before_anything_moves(
    api: standing.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    found = Plan(platform="acme", against="test", items=(REFUSED[which],))
    monkeypatch.setattr(planning, "against", lambda *_, **__: found)
    done = apply(api, tmp_path, "--yes")
    assert isinstance(done.exception, ClusterError)
    assert done.exception.exit_code == 4
    assert api.written() == []


def test_a_wrong_declaration_reaches_no_cluster(api: standing.Cluster, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("apiVersion: plimsoll.dev/v1\nkind: Platform\nmetadata: {name: x}\npools: 5\n")
    config = standing.kubeconfig(tmp_path, api.url)
    words = ["-f", str(tmp_path / "p.yaml"), "--kubeconfig", str(config), "--yes"]
    assert isinstance(CliRunner().invoke(applying.command, words).exception, SpecError)
    assert api.seen == []


def test_a_timeout_that_is_none_is_refused(api: standing.Cluster, tmp_path: Path) -> None:
    assert apply(api, tmp_path, "--yes", "--timeout", "0").exit_code == 2
    assert apply(api, tmp_path, "--yes", "--pillar", "nosuch").exit_code == 2
    assert api.seen == []
