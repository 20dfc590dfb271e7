"""The stages of kwok: whole, and none of them touches the pods whose kubelet the hardware process is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import plimsoll.lab
from plimsoll.kube.operands import BY_NAME
from plimsoll.lab.hardware.operands import LABELS
from plimsoll.lab.run.addons import BY_NAME as BY_ADDON
from plimsoll.lab.run.follow import ANSWERS

FILES = sorted((Path(plimsoll.lab.__file__).parent / "stages").glob("*.yaml"))
STAGES = {stage["metadata"]["name"]: stage["spec"] for file in FILES for stage in yaml.safe_load_all(file.read_text())}
PODS = {name: spec for name, spec in STAGES.items() if spec["resourceRef"]["kind"] == "Pod"}


def keys(spec: dict[str, Any]) -> list[str]:
    return [each["key"] for each in spec["selector"]["matchExpressions"]]


def test_every_stage_has_a_name_of_its_own_and_does_something() -> None:
    documents = sum(file.read_text().count("kind: Stage") for file in FILES)
    assert len(STAGES) == documents
    assert all(spec["steps"] for spec in STAGES.values())


@pytest.mark.parametrize("name", sorted(PODS))
def test_operands_are_left_to_the_hardware_process(name: str) -> None:
    spec = PODS[name]
    key = next(each for each in keys(spec) if ".metadata.labels.app" in each)
    apps = re.search(r'test\("(.*)"\)', key)
    assert apps
    played = re.search(r"\((.*)\)", LABELS)
    assert played
    for app in played[1].split(","):
        assert re.search(apps[1], app), app
    assert re.search(apps[1], BY_NAME["driver"].daemonset + "-5.15.0-ubuntu22.04")  # one per kernel
    for other in ("", "nginx", "gpu-operator", "nvidia-smi", "my-nvidia-dcgm"):
        assert not re.search(apps[1], other), other


@pytest.mark.parametrize("name", sorted(PODS))
def test_a_stage_says_whether_it_means_pods_that_are_going(name: str) -> None:
    assert ".metadata.deletionTimestamp" in keys(PODS[name])


def test_pods_whose_program_the_lab_runs_wait_until_it_answers() -> None:
    (key,) = [each for each in keys(PODS["pod-ready"]) if ANSWERS in each]
    for addon in BY_ADDON.values():
        if followed := addon.followed:
            assert len(followed.labels) == 1
            for label, value in followed.labels.items():
                assert f'["{followed.namespace}", "{label}", "{value}"]' in key


def test_no_stage_writes_what_a_node_offers() -> None:
    for name, spec in STAGES.items():
        for step in spec["steps"]:
            written = step.get("patch", {}).get("template", "")
            assert "capacity" not in written, name
            assert "allocatable" not in written, name
