"""`plimsoll lab build` as a process: what it builds, what stops it, what it leaves behind. Its `go` is a script."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from plimsoll.errors import LabError
from plimsoll.lab.build.build import build
from plimsoll.lab.build.found import find
from plimsoll.lab.build.programs import recipes
from tests.unit.lab.fakes import Machine, alive

NAMES = [recipe.name for recipe in recipes()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def here(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process stand on that machine."""
    for name, value in machine.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


def wait_for(path: Path) -> str:
    end = time.monotonic() + 20
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < end, f"{path.name} did not come"
        time.sleep(0.02)
    return path.read_text().strip()


def test_the_first_run_builds_and_the_second_starts_no_go(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = machine.build("-o", "json")
    assert first.returncode == 0, first.stderr
    assert machine.built() == NAMES
    report = json.loads(first.stdout)
    by_name = {each["name"]: each for each in report["programs"]}
    assert by_name["kube-apiserver"]["source"] == "built"
    assert by_name["kube-apiserver"]["version"].startswith("v1.")
    assert by_name["gpu-operator"]["version"].startswith("v25.")
    assert by_name["alertmanager"]["source"] == "path"
    assert by_name["alertmanager"]["version"] == "2.42.0"
    assert all(Path(each["path"]).is_file() for each in by_name.values())
    assert "keda-webhooks v2" in first.stderr
    assert not list(machine.cache.glob("lab/tmp/*"))

    machine.forget()
    second = machine.build()
    assert second.returncode == 0
    assert not (machine.bin / "calls").exists()
    assert [line.split()[0] for line in second.stdout.splitlines()] == sorted(by_name)

    here(machine, monkeypatch)
    programs = find()
    assert programs.path("etcd").read_text() == "whole\n"
    assert (programs.asset("kueue", "charts/kueue") / "Chart.yaml").is_file()
    assert (programs.asset("keda", "config") / "crd" / "bases" / "a.yaml").is_file()
    assert (programs.asset("gpu-operator", "assets") / "state-driver" / "a.yaml").is_file()
    assert set(programs.versions) == set(by_name)
    with pytest.raises(LabError, match="no-such-thing is not there"):
        programs.path("no-such-thing")


def test_go_runs_as_we_say_and_not_as_the_user_set_it_up(machine: Machine) -> None:
    own = {"GOFLAGS": "-mod=vendor", "GOOS": "plan9", "GOPROXY": "direct", "CGO_ENABLED": "1"}
    assert machine.build(**own).returncode == 0
    seen = dict(line.split("=", 1) for line in (machine.bin / "environment").read_text().splitlines())
    assert seen["GOFLAGS"] == "-mod=readonly"
    assert (seen["CGO_ENABLED"], seen["GOOS"], seen["GOTOOLCHAIN"], seen["GOWORK"]) == ("0", "linux", "local", "off")
    assert seen["GOPROXY"] == "direct", "where modules come from is the user's to say"
    assert seen["GOTMPDIR"].startswith(str(machine.cache))
    calls = (machine.bin / "calls").read_text()
    assert "-X k8s.io/component-base/version.gitVersion=v1." in calls
    assert "build -trimpath -buildvcs=false -ldflags -s -w -o" in calls


def test_a_program_that_does_not_compile_is_one_error_and_the_rest_stays(machine: Machine) -> None:
    machine.mode("kwok", "fail")
    failed = machine.build()
    assert failed.returncode == 6
    assert failed.stdout == ""
    assert "kwok v0" in failed.stderr
    assert "x.go:1:2: undefined: y" in failed.stderr
    assert str(machine.cache / "lab" / "logs" / "kwok.log") in failed.stderr
    assert machine.built() == NAMES[: NAMES.index("kwok") + 1]

    machine.mode("nothing", "")
    machine.forget()
    assert machine.build().returncode == 0
    assert machine.built() == NAMES[NAMES.index("kwok") :]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("write /x: no space left on device", "the disk is full"),
        ("link: signal: killed", "memory"),
        ("SECURITY ERROR", "go.sum"),
    ],
)
def test_what_go_says_becomes_what_to_do(machine: Machine, said: str, hint: str) -> None:
    machine.mode("etcd", said)
    failed = machine.build()
    assert failed.returncode == 6
    assert said in failed.stderr
    assert hint in failed.stderr.partition("hint:")[2]
    assert machine.built() == ["etcd"]


def test_only_the_network_is_tried_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here(machine, monkeypatch)
    monkeypatch.setattr("plimsoll.lab.build.build._NETWORK_PAUSES", (0.001, 0.001))
    machine.mode("etcd", "Get mod: dial tcp: i/o timeout")
    lines: list[str] = []
    with pytest.raises(LabError) as failed:
        build(lambda _what, _done, _total: None, lines.append)
    assert "GOPROXY" in failed.value.hint
    assert machine.built() == ["etcd"] * 3
    assert len(lines) == 2


def test_killed_at_its_work_it_leaves_no_go_behind_and_the_next_run_goes_on(machine: Machine) -> None:
    machine.mode("kubectl", "sleep")
    child = machine.start()
    go = int(wait_for(machine.bin / "pid"))
    assert alive(go)
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=20)
    end = time.monotonic() + 10
    while alive(go):
        assert time.monotonic() < end, "go outlived the build"
        time.sleep(0.02)
    assert not list(machine.cache.glob("lab/programs/kubernetes-*/bin/kubectl"))

    machine.mode("nothing", "")
    machine.forget()
    again = machine.build()
    assert again.returncode == 0, again.stderr
    assert machine.built() == NAMES[NAMES.index("kubectl") :]
    (kubectl,) = machine.cache.glob("lab/programs/kubernetes-*/bin/kubectl")
    assert kubectl.read_text() == "whole\n"
    assert not list(machine.cache.glob("lab/tmp/*"))


def test_interrupted_it_ends_go_and_says_nothing_long(machine: Machine) -> None:
    machine.mode("etcd", "sleep")
    child = machine.start()
    go = int(wait_for(machine.bin / "pid"))
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert not alive(go)


def test_two_builds_do_not_race(machine: Machine) -> None:
    machine.mode("etcd", "slow")
    first = machine.start()
    end = time.monotonic() + 20
    while not machine.built():
        assert time.monotonic() < end
        time.sleep(0.02)
    second = machine.build()
    _, err = first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0), err + second.stderr
    assert f"another build runs (process {first.pid})" in second.stderr
    assert machine.built() == NAMES, "what the first has built, the second finds"


def test_the_bar_moves_by_seconds_and_ends_full(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here(machine, monkeypatch)
    moves: list[tuple[str, int, int]] = []
    build(lambda what, done, total: moves.append((what, done, total)), lambda _line: None)
    total = sum(recipe.seconds for recipe in recipes())
    assert {each for _, _, each in moves} == {total}
    done = [each for _, each, _ in moves]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == total


def test_a_cache_that_cannot_be_made_is_one_error(machine: Machine) -> None:
    failed = machine.build(PLIMSOLL_CACHE="/dev/null/cache")
    assert failed.returncode == 6
    assert "/dev/null/cache" in failed.stderr
    assert "PLIMSOLL_CACHE" in failed.stderr
