"""What `lab up` refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from plimsoll.errors import InputError
from plimsoll.lab.run import launch
from plimsoll.lab.run.fleet import DEFAULT_PLATFORM
from plimsoll.lab.run.settings import Settings

PLATFORM = """\
apiVersion: plimsoll.dev/v1
kind: Platform
metadata: {name: lab}
pools:
  - {name: plain, gpu: H100-SXM5-80GB, gpusPerNode: 8, nodes: {min: 1, max: 1}}
  - name: odd
    gpu: H100-SXM5-80GB
    gpusPerNode: 8
    nodes: {min: 1, max: 1}
    partition: %s
teams:
  - {name: research, quota: {plain: 8}}
"""
CUT = [
    "{mig: {strategy: mixed, layout: {1g.10gb: 7}}}",
    "{mig: {strategy: single, layout: {1g.10gb: 7}}}",
    "{timeSlicing: {replicas: 4}}",
    "{mps: {replicas: 4}}",
]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What was started, in place of starting it."""
    calls: list[Settings] = []
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(launch, "_spawn", lambda folder, settings: calls.append(settings))
    monkeypatch.setattr(launch, "_wait", lambda folder, progress: None)
    return calls


@pytest.mark.parametrize("charts", ["install", "wait"])
@pytest.mark.parametrize("partition", CUT)
def test_pools_that_only_the_operator_can_cut_or_share_are_told_of_at_once(
    partition: str, charts: Literal["install", "wait"], started: list[Settings], tmp_path: Path
) -> None:
    settings = Settings(name="cut", addons=("kueue", "prometheus"), platform=PLATFORM % partition, charts=charts)
    with pytest.raises(InputError, match=r"pools have it: odd$") as raised:
        launch.up(settings)
    assert raised.value.hint == "--with kueue,gpu-operator,prometheus"
    assert not started
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("partition", CUT)
def test_with_the_operator_they_are_fine(partition: str, started: list[Settings]) -> None:
    settings = Settings(name="cut", addons=("gpu-operator",), platform=PLATFORM % partition)
    launch.up(settings)
    assert started == [settings]


@pytest.mark.parametrize("platform", ["", DEFAULT_PLATFORM, PLATFORM % "{}"])
def test_whole_gpus_need_no_operator(platform: str, started: list[Settings]) -> None:
    launch.up(Settings(name="whole", addons=("prometheus",), platform=platform))
    assert len(started) == 1
