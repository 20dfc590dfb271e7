"""Charts as their projects publish them, and the kinds that no controller of a lab acts on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import yaml

from plimsoll.errors import ClusterError, LabError
from plimsoll.lab.build.found import Found, Programs
from plimsoll.lab.build.programs import Module
from plimsoll.lab.run import charts
from plimsoll.lab.run.addons import crds
from plimsoll.lab.run.cluster import Cluster
from plimsoll.spec.load import load

PRACTICE = Path(__file__).parents[3] / "examples" / "practice" / "platform.yaml"
VALUES = {
    "kueue": "image:\n  tag: release-0.19\n  # not yet\n  pullPolicy: Always\nother: Always\n",
    "gpu-operator": "operator:\n  #version: ''\n",
}
ABOUT = {
    "kueue": 'name: kueue\nversion: 0.19.2\nappVersion: "main"\n',
    "gpu-operator": "name: gpu-operator\nversion: v1.0.0-devel\nappVersion: x\ndependencies:\n  - version: v0.17.3\n",
}
PLACES = {"kueue": "charts/kueue", "gpu-operator": "deployments/gpu-operator"}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PLIMSOLL_CACHE", str(tmp_path / "cache"))
    modules, found = {}, {}
    for name, version in (("kueue", "v0.19.2"), ("gpu-operator", "v25.3.2")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "go.mod").write_text(f"module x\n\ngo 1.26.0\n\nrequire example.com/{name} {version}\n")
        (folder / "go.sum").write_text("")
        module = modules[name] = Module(folder=folder, path=f"example.com/{name}", assets=(PLACES[name],))
        chart = module.home / "assets" / PLACES[name]
        chart.mkdir(parents=True)
        (chart / "Chart.yaml").write_text(ABOUT[name])
        (chart / "values.yaml").write_text(VALUES[name])
        found[name] = Found(name, version, "built", folder)
    return Programs(found, modules)


def test_they_say_the_release_and_nothing_else_is_changed(programs: Programs, tmp_path: Path) -> None:
    folder = tmp_path / "charts"
    for _ in range(2):  # a lab of the same name lays them out anew
        charts.publish(programs, folder)
    assert sorted(each.name for each in folder.iterdir()) == ["gpu-operator-v25.3.2", "kueue-v0.19.2"]
    kueue, operator = charts.chart(folder, "kueue"), charts.chart(folder, "gpu-operator")
    about = yaml.safe_load((kueue / "Chart.yaml").read_text())
    assert about == {"name": "kueue", "version": "0.19.2", "appVersion": "v0.19.2"}
    values = yaml.safe_load((kueue / "values.yaml").read_text())
    assert values == {"image": {"tag": "v0.19.2", "pullPolicy": "IfNotPresent"}, "other": "Always"}
    about = yaml.safe_load((operator / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == ("v25.3.2", "v25.3.2")
    assert about["dependencies"] == [{"version": "v0.17.3"}]
    assert (operator / "values.yaml").read_text() == VALUES["gpu-operator"]
    with pytest.raises(LabError, match="no chart keda"):
        charts.chart(folder, "keda")


def test_a_kind_that_the_server_does_not_speak_of_yet_is_waited_for(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    charts.publish(programs, tmp_path / "charts")
    said = ['no matches for kind "ClusterPolicy" in version "nvidia.com/v1"', "", "no such value"]
    tries: list[Path] = []

    def upgrade(chart: Path, **_: object) -> None:
        tries.append(chart)
        if said[len(tries) - 1]:
            raise ClusterError(said[len(tries) - 1])

    async def call(function: Callable[..., object], *args: object, **more: object) -> object:
        return function(*args, **more)

    monkeypatch.setattr("plimsoll.kube.helm.upgrade", upgrade)
    monkeypatch.setattr(charts, "_PAUSE", 0.0)
    access = SimpleNamespace(admin=tmp_path / "kubeconfig")
    cluster = SimpleNamespace(
        call=call, folder=SimpleNamespace(charts=tmp_path / "charts"), plane=SimpleNamespace(access=access)
    )
    asyncio.run(charts.install(cast(Cluster, cluster), "gpu-operator", "gpu-operator", {}))
    assert [each.name for each in tries] == ["gpu-operator-v25.3.2"] * 2
    with pytest.raises(ClusterError, match="no such value"):
        asyncio.run(charts.install(cast(Cluster, cluster), "kueue", "kueue-system", {}))
    assert len(tries) == 3


def test_a_platform_without_a_prometheus_operator_gets_none_of_its_kinds() -> None:
    source = PRACTICE.read_text()
    without = crds.names(load(source, "practice"))
    assert "operator: false" in source
    with_it = crds.names(load(source.replace("operator: false", "operator: true"), "practice"))
    assert set(with_it) - set(without) == {each for each in with_it if each.endswith(".monitoring.coreos.com")} != set()
    assert crds.names(None) == with_it
    assert len(set(with_it)) == len(with_it)
