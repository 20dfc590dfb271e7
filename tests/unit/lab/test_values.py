"""What the charts are told about a platform."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from plimsoll.lab import values
from plimsoll.lab.run.addons import kueue
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform

PRACTICE = (Path(__file__).parents[3] / "examples" / "practice" / "platform.yaml").read_text()


@pytest.fixture
def platform() -> Platform:
    return load(PRACTICE, "platform.yaml")


def test_the_operator_gets_what_production_asks_for(platform: Platform) -> None:
    said = values.chart_values(platform)
    assert said["cdi"] == {"enabled": True, "default": True}
    assert said["driver"]["version"] == str(platform.operator.driver.version)
    upgrades = said["driver"]["upgradePolicy"]
    assert upgrades["maxUnavailable"] == "10%"
    assert {part: upgrades[part]["timeoutSeconds"] for part in ("drain", "gpuPodDeletion")} == {
        "drain": 900,
        "gpuPodDeletion": 900,
    }
    toolkit = {each["name"]: each["value"] for each in said["toolkit"]["env"]}
    assert toolkit["ACCEPT_NVIDIA_VISIBLE_DEVICES_ENVVAR_WHEN_UNPRIVILEGED"] == "false"
    exporter = {each["name"]: each["value"] for each in said["dcgmExporter"]["env"]}
    assert exporter["KUBERNETES_VIRTUAL_GPUS"] == "true"
    assert exporter["DCGM_EXPORTER_KUBERNETES"] == "true"


def test_every_config_map_that_is_named_is_made(platform: Platform) -> None:
    said = values.chart_values(platform)
    named = {said[operand]["config"]["name"] for operand in ("dcgmExporter", "devicePlugin", "migManager")}
    made = values.config_maps(platform, "gpu-operator")
    assert {each["metadata"]["name"] for each in made} == named
    assert {each["metadata"]["namespace"] for each in made} == {"gpu-operator"}


def test_the_lab_has_no_prometheus_operator(platform: Platform) -> None:
    asked = load(PRACTICE.replace("operator: false}", "operator: true}"), "platform.yaml")
    assert asked != platform
    assert values.chart_values(asked)["dcgmExporter"]["serviceMonitor"] == {"enabled": False}


def test_nodes_are_told_what_the_operator_does_not_know_by_itself(platform: Platform) -> None:
    told = {pool.name: values.node_labels(pool) for pool in platform.pools}
    assert told["h100"] == {}
    assert told["a100-mig"] == {"nvidia.com/mig.config": "all-balanced"}
    (sharing,) = (each for each in values.config_maps(platform, "x") if "device-plugin" in each["metadata"]["name"])
    assert told["l4-shared"]["nvidia.com/device-plugin.config"] in sharing["data"]


def test_operands_tolerate_the_taints_of_every_pool(platform: Platform) -> None:
    tolerated = {each["key"] for each in values.chart_values(platform)["daemonsets"]["tolerations"]}
    assert tolerated == {taint.key for pool in platform.pools for taint in pool.taints}


def test_a_driver_of_the_host_is_left_alone() -> None:
    host = load(PRACTICE.replace("driver: {", "driver: {managedBy: host, "), "platform.yaml")
    assert values.chart_values(host)["driver"]["enabled"] is False


def test_without_a_platform_the_charts_are_as_they_come() -> None:
    assert values.chart_values(None) == {}
    assert values.config_maps(None, "gpu-operator") == []
    assert set(values.kueue_config(None)) == {"resources", "metrics"}


def test_kueue_takes_turns_as_declared(platform: Platform) -> None:
    said = values.kueue_config(platform)
    assert said["waitForPodsReady"]["timeout"] == "600s"
    assert "fairSharing" in said
    still = load(PRACTICE.replace("queueing:\n", "queueing:\n  fairSharing: false\n"), "platform.yaml")
    assert "fairSharing" not in values.kueue_config(still)


def test_kueues_own_configuration_is_kept(tmp_path: Path) -> None:
    usual = {"metrics": {"bindAddress": ":8443"}, "integrations": {"frameworks": ["pod"]}}
    chart = {"managerConfig": {"controllerManagerConfigYaml": yaml.safe_dump(usual)}}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(chart))
    told = kueue.configuration(tmp_path, {"metrics": {"enableClusterQueueResources": True}, "resources": {"a": 1}})
    assert yaml.safe_load(told) == {
        "metrics": {"bindAddress": ":8443", "enableClusterQueueResources": True},
        "integrations": {"frameworks": ["pod"]},
        "resources": {"a": 1},
    }
