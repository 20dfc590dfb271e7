"""What the operator pillar renders: values each release's chart has and its ClusterPolicy receives."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from plimsoll.kube.objects import Obj, get
from plimsoll.lab.telemetry.fields import FIELDS
from plimsoll.pillars.observability.exporter import _NEEDED
from plimsoll.pillars.operator.render import render
from plimsoll.pillars.operator.render_counters import KEY, counters
from plimsoll.pillars.operator.render_versions import RELEASES, doubt, release
from plimsoll.pillars.partition.render import render as partition
from plimsoll.plan import charts
from plimsoll.plan.model import Chart
from plimsoll.spec.load import load
from plimsoll.spec.model import Platform

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*/platform.yaml"))
PROVIDERS = ("eks", "aks", "gke", "openshift", "generic")
# Of the ClusterPolicy of v26.7.0: the fields that anything here could need, and no others.
_POLICY_26_7 = """
cdi.enabled cdi.nriPluginEnabled cdi.default psa.enabled mig.strategy
daemonsets.annotations daemonsets.labels daemonsets.priorityClassName daemonsets.tolerations
daemonsets.updateStrategy daemonsets.rollingUpdate.maxUnavailable
devicePlugin.config.name devicePlugin.config.default devicePlugin.enabled devicePlugin.mps.root devicePlugin.version
driver.enabled driver.version driver.kernelModuleType driver.useNvidiaDriverCRD driver.rdma.enabled
driver.upgradePolicy.autoUpgrade driver.upgradePolicy.maxParallelUpgrades driver.upgradePolicy.maxUnavailable
driver.upgradePolicy.drain.enable driver.upgradePolicy.drain.force driver.upgradePolicy.drain.timeoutSeconds
driver.upgradePolicy.drain.deleteEmptyDir driver.upgradePolicy.podDeletion.force
driver.upgradePolicy.podDeletion.timeoutSeconds driver.upgradePolicy.podDeletion.deleteEmptyDir
driver.upgradePolicy.waitForCompletion.timeoutSeconds
toolkit.enabled toolkit.version toolkit.env toolkit.installDir
dcgmExporter.enabled dcgmExporter.version dcgmExporter.env dcgmExporter.config.name dcgmExporter.hostPID
dcgmExporter.resources.limits dcgmExporter.resources.requests dcgmExporter.serviceMonitor.enabled
dcgmExporter.serviceMonitor.interval dcgmExporter.serviceMonitor.scrapeTimeout
dcgmExporter.serviceMonitor.honorLabels dcgmExporter.serviceMonitor.additionalLabels
migManager.enabled migManager.version migManager.config.name migManager.config.default
hostPaths.rootFS hostPaths.driverInstallDir hostPaths.kubeletRootDir
operator.runtimeClass operator.use_ocp_driver_toolkit operator.defaultRuntime
"""
_CHART_26_7 = """
platform nfd psa cdi sandboxWorkloads hostPaths daemonsets validator operator mig driver toolkit devicePlugin dcgm
dcgmExporter gfd migManager nodeStatusExporter gds gdrcopy vgpuManager vgpuDeviceManager vfioManager kataManager
sandboxDevicePlugin kataSandboxDevicePlugin ccManager clusterPolicy gpuCluster draDriver extraObjects
node-feature-discovery
"""
POLICY_26_7, CHART_26_7 = _POLICY_26_7.split(), _CHART_26_7.split()


def text(**changes: str) -> str:
    """The largest example, with some of its words replaced by others."""
    found = (ROOT / "examples" / "05-everything" / "platform.yaml").read_text()
    words = {"provider": "provider: eks", "owner": "managedBy: operator", "version": "v26.7.0"}
    for key, new in changes.items():
        old = words[key]
        found = found.replace(old, f"{old.partition(' ')[0]} {new}" if " " in old else new)
    return found


def platform(**changes: str) -> Platform:
    return load(text(**changes), "platform.yaml")


def chart(found: Platform) -> Chart:
    (only,) = render(found).charts
    return only


def env(section: Obj) -> dict[str, str]:
    return {each["name"]: each["value"] for each in section["env"]}


def paths(value: Any, before: str = "") -> Iterator[str]:
    """The paths of all that is no map."""
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from paths(each, f"{before}.{key}" if before else key)
    else:
        yield before


@lru_cache(maxsize=1)
def chart_25_3() -> tuple[Path, Obj] | None:
    """The chart of the lab's release as its Go module has it, and its ClusterPolicy's definition; None where absent."""
    cache = Path.home() / "go" / "pkg" / "mod" / "github.com" / "!n!v!i!d!i!a"
    for place in sorted(cache.glob("gpu-operator@*/deployments/gpu-operator")):
        crd = place / "crds" / "nvidia.com_clusterpolicies.yaml"
        return place, yaml.safe_load(crd.read_text())
    return None


every_ground = pytest.mark.parametrize(
    ("provider", "owner"), [(each, owner) for each in PROVIDERS for owner in ("operator", "host", "cloud")]
)


class TestValues:
    @every_ground
    def test_26_7_has_every_value_and_its_policy_receives_it(self, provider: str, owner: str) -> None:
        made = chart(platform(provider=provider, owner=owner))
        assert set(made.values) <= set(CHART_26_7)
        sections = {field.partition(".")[0] for field in POLICY_26_7}
        for path, (crd, field) in made.receives.items():
            assert crd == "clusterpolicies.nvidia.com"
            for each in paths(charts._at(made.values, path), field.removeprefix("spec.")):
                assert any(each == known or each.startswith(f"{known}.") for known in POLICY_26_7), each
        said = {path for path in paths(made.values) if path.partition(".")[0] in sections}
        assert all(any(each == path or each.startswith(f"{path}.") for path in made.receives) for each in said)

    @every_ground
    def test_25_3_has_every_value_and_its_policy_receives_it(self, provider: str, owner: str) -> None:
        found = chart_25_3()
        if found is None:
            pytest.skip("the Go module of the GPU Operator is not in the module cache")
        place, policy = found
        made = chart(platform(provider=provider, owner=owner, version="v25.3.2"))
        assert list(charts.problems(made, place, {"clusterpolicies.nvidia.com": policy}.get)) == []

    @pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
    def test_operands_tolerate_every_taint(self, example: Path) -> None:
        found = load(example.read_text(), "platform.yaml")
        values = chart(found).values
        tolerated = {(each["key"], each["effect"]) for each in values["daemonsets"]["tolerations"]}
        assert tolerated >= {(taint.key, taint.effect) for pool in found.pools for taint in pool.taints}
        assert values["node-feature-discovery"]["worker"]["tolerations"] == values["daemonsets"]["tolerations"]

    @pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
    def test_config_maps_that_are_named_are_those_that_are_made(self, example: Path) -> None:
        found = load(example.read_text(), "platform.yaml")
        values = chart(found).values
        named = {get(values, operand, "config", "name") for operand in ("devicePlugin", "migManager", "dcgmExporter")}
        made = {
            each["metadata"]["name"]
            for part in (render(found), partition(found))
            for each in part.objects
            if each["kind"] == "ConfigMap"
        }
        assert named - {None} == made

    def test_without_the_partition_pillar_no_config_map_of_its_is_named(self) -> None:
        found = load(text().replace("cluster:", "cluster:\n  manage: [operator]"), "platform.yaml")
        values = chart(found).values
        assert "devicePlugin" not in values
        assert "migManager" not in values
        assert values["mig"] == {"strategy": "mixed"}

    def test_pods_get_gpus_by_the_device_plugin_alone(self) -> None:
        for version in ("v25.3.2", "v26.7.0"):
            values = chart(platform(version=version)).values
            assert values["cdi"]["enabled"] is True
            assert set(env(values["toolkit"]).values()) == {"false"}

    def test_upgrades_as_declared(self) -> None:
        driver = chart(platform()).values["driver"]
        assert (driver["version"], driver["kernelModuleType"]) == ("595.91.07", "open")
        policy = driver["upgradePolicy"]
        assert (policy["maxUnavailable"], policy["maxParallelUpgrades"]) == ("10%", 0)
        assert policy["gpuPodDeletion"] == {"timeoutSeconds": 900, "deleteEmptyDir": True}
        assert any("2026-12-20 to 2027-01-04" in note for note in render(platform()).notes)

    def test_a_service_monitor_where_somebody_reads_it(self) -> None:
        def monitor(found: str) -> Obj:
            section: Obj = chart(load(found, "platform.yaml")).values["dcgmExporter"]["serviceMonitor"]
            return section

        assert monitor(text()) == {"enabled": False}  # the observability pillar makes a better one
        alone = text().replace("cluster:", "cluster:\n  manage: [operator]")
        assert monitor(alone)["enabled"] is True
        labelled = alone.replace("operator: true}", "operator: true, labels: {release: p}}")
        assert monitor(labelled)["additionalLabels"] == {"release": "p"}
        assert monitor(alone.replace("operator: true}", "operator: false}")) == {"enabled": False}

    def test_shares_have_pods_of_their_own_only_where_there_are_shares(self) -> None:
        assert env(chart(platform()).values["dcgmExporter"])["KUBERNETES_VIRTUAL_GPUS"] == "true"
        whole = load((ROOT / "examples" / "03-spot-training" / "platform.yaml").read_text(), "platform.yaml")
        assert "KUBERNETES_VIRTUAL_GPUS" not in env(chart(whole).values["dcgmExporter"])


class TestProviders:
    @pytest.mark.parametrize(
        ("provider", "owner", "driver", "toolkit"),
        [
            ("eks", "operator", True, True),
            ("eks", "host", False, False),
            ("aks", "operator", True, True),
            ("aks", "cloud", False, False),
            ("gke", "operator", True, True),
            ("gke", "cloud", False, True),
            ("openshift", "operator", True, True),
            ("generic", "operator", True, True),
            ("generic", "host", False, True),
        ],
    )
    def test_who_owns_driver_and_toolkit(self, provider: str, owner: str, driver: bool, toolkit: bool) -> None:
        values = chart(platform(provider=provider, owner=owner)).values
        assert values["driver"]["enabled"] is driver
        assert values["toolkit"].get("enabled", True) is toolkit
        assert ("version" in values["driver"]) is driver

    def test_googles_driver_is_found_where_its_installer_puts_it(self) -> None:
        part = render(platform(provider="gke", owner="cloud"))
        values = part.charts[0].values
        assert (
            values["hostPaths"]["driverInstallDir"] == values["toolkit"]["installDir"] == "/home/kubernetes/bin/nvidia"
        )
        quota = next(each for each in part.objects if each["kind"] == "ResourceQuota")
        assert int(quota["spec"]["hard"]["pods"]) > 8 * 36  # operands on each of the nodes
        assert any("gke-no-default-nvidia-gpu-device-plugin" in note for note in part.notes)

    def test_operands_may_start_in_their_namespace(self) -> None:
        (space,) = (each for each in render(platform()).objects if each["kind"] == "Namespace")
        assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"

    def test_openshift_has_features_discovered_by_its_own_operator(self) -> None:
        values = chart(platform(provider="openshift")).values
        assert (values["platform"], values["nfd"]) == ({"openshift": True}, {"enabled": False})
        assert values["operator"] == {"use_ocp_driver_toolkit": True}


class TestReleases:
    @pytest.mark.parametrize(
        ("declared", "since", "doubted"),
        [
            ("v25.3.2", (25, 3), False),
            ("25.3.4", (25, 3), False),
            ("v25.10.1", (25, 10), False),
            ("v26.3.1", (26, 3), False),
            ("v26.3.3", (26, 3, 2), False),
            ("v26.7.0", (26, 7), False),
            ("v26.7.2", (26, 7), False),
            ("v25.6.0", (25, 3), True),
            ("v24.9.2", (25, 3), True),
            ("v27.1.0", (26, 7), True),
        ],
    )
    def test_which_row_is_used(self, declared: str, since: tuple[int, ...], doubted: bool) -> None:
        assert release(declared).since == since
        assert bool(doubt(declared)) is doubted
        notes = render(platform(version=declared)).notes
        assert any("Plimsoll has read" in note for note in notes) is doubted

    def test_rows_rise(self) -> None:
        assert [row.since for row in RELEASES] == sorted(row.since for row in RELEASES)

    def test_operands_with_known_flaws_are_replaced(self) -> None:
        old, new = chart(platform(version="v25.3.2")).values, chart(platform()).values
        assert (old["toolkit"]["version"], old["cdi"]) == ("v1.19.1", {"enabled": True, "default": True})
        assert old["dcgmExporter"]["version"] == "4.5.3-4.8.2-distroless"
        assert "version" not in new["toolkit"] | new["dcgmExporter"]
        assert (new["clusterPolicy"], new["gpuCluster"]) == ({"deployCR": True}, {"deployCR": False})
        assert "gpuCluster" not in old

    def test_the_chart_is_named_as_it_is_published(self) -> None:
        assert chart(platform(version="26.7.0")).version == "v26.7.0"


class TestCounters:
    def rows(self) -> list[list[str]]:
        lines = [line for line in counters().splitlines() if line and not line.startswith("#")]
        return [[part.strip() for part in line.split(",")] for line in lines]

    def test_the_exporter_can_read_each_line(self) -> None:
        rows = self.rows()
        assert all(len(row) == 3 and row[1] in ("gauge", "counter", "label") for row in rows)
        assert len({row[0] for row in rows}) == len(rows)

    def test_what_the_checks_and_the_labs_exporter_know_is_counted(self) -> None:
        fields = {row[0] for row in self.rows()}
        assert all(any(each.startswith(known) for each in fields) for known in _NEEDED.values())
        left_out = {"DCGM_FI_DEV_VGPU_LICENSE_STATUS"}  # nobody here has vGPU
        assert {field.old for field in FIELDS if not field.only_new} - fields == left_out

    def test_the_config_map_has_the_key_the_operator_mounts(self) -> None:
        made = {each["metadata"]["name"]: each for each in render(platform()).objects}
        assert made["plimsoll-dcgm-counters"]["data"] == {KEY: counters()}
        assert KEY == "dcgm-metrics.csv"


def test_the_same_declaration_gives_the_same_part() -> None:
    assert render(platform()) == render(platform())
