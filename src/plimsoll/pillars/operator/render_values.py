"""The values of the GPU Operator's chart: what the declaration says, and what production asks beside it.

Everything not said here stays the chart's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plimsoll.kube.objects import Obj
from plimsoll.pillars.operator.render_cloud import Ground
from plimsoll.pillars.operator.render_counters import NAME as COUNTERS
from plimsoll.pillars.operator.render_versions import Release
from plimsoll.spec import derive, nodeconfig
from plimsoll.spec.model import Platform

_POLICY = "clusterpolicies.nvidia.com"
_ELSEWHERE = ("platform", "nfd", "node-feature-discovery", "clusterPolicy", "gpuCluster")  # values no ClusterPolicy has
_RENAMED = {"driver.upgradePolicy.gpuPodDeletion": "driver.upgradePolicy.podDeletion"}
_SCRAPE = 15  # seconds between two readings; the exporter's own thirty would make every other scrape a repeat


def values(platform: Platform, ground: Ground, release: Release) -> Obj:
    """The values for one platform, by provider and release."""
    said: Obj = {
        **release.own,
        **ground.values,
        "daemonsets": {"tolerations": _tolerations(platform)},
        "node-feature-discovery": {"worker": {"tolerations": _tolerations(platform)}},
        "driver": _driver(platform, ground),
        "toolkit": _toolkit(ground, release),
        "dcgmExporter": _exporter(platform, release),
    }
    if strategy := nodeconfig.strategy(platform):
        said["mig"] = {"strategy": strategy}
    if "partition" in platform.cluster.manage:  # else nobody makes the ConfigMaps
        if nodeconfig.shares(platform):
            said["devicePlugin"] = {"config": {"name": nodeconfig.SHARING, "default": nodeconfig.WHOLE}}
        if nodeconfig.own_layouts(platform):
            said["migManager"] = {"config": {"name": nodeconfig.LAYOUTS, "default": nodeconfig.UNCUT}}
    return said


def received(said: Obj) -> dict[str, tuple[str, str]]:
    """Which values arrive in the ClusterPolicy as they are: the path of each to the CRD's name and the path there."""
    found = {}
    for section, settings in said.items():
        for path in _paths(section, settings) if section not in _ELSEWHERE else ():
            found[path] = (_POLICY, f"spec.{_RENAMED.get(path, path)}")
    return found


def _paths(before: str, settings: Obj) -> Iterator[str]:
    """The paths of a section's settings; of one within which a name differs there, the paths of its parts."""
    for key, value in settings.items():
        path = f"{before}.{key}"
        if any(mine.startswith(f"{path}.") for mine in _RENAMED):
            yield from _paths(path, value)
        else:
            yield path


def _tolerations(platform: Platform) -> list[Obj]:
    """The chart's own toleration, and one for every taint that nodes of a pool carry, whatever its value."""
    keys = {("nvidia.com/gpu", "NoSchedule"): None}
    for pool in platform.pools:
        keys |= {(taint.key, taint.effect): None for taint in derive.taints(platform, pool)}
    return [{"key": key, "operator": "Exists", "effect": effect} for key, effect in keys]


def _driver(platform: Platform, ground: Ground) -> Obj:
    if not ground.driver:
        return {"enabled": False}
    driver = platform.operator.driver
    return {
        "enabled": True,
        "version": str(driver.version),
        "kernelModuleType": driver.kernel_module,
        "upgradePolicy": _upgrades(platform),
    }


def _upgrades(platform: Platform) -> Obj:
    """How a new driver goes through the nodes.

    Only pods with GPUs have to leave, by eviction, so that budgets hold; their local data does not keep them, for
    nearly each has a memory volume. What is still there after the timeout stops the upgrade of its node.
    """
    upgrades = platform.operator.upgrades
    timeout = int(upgrades.drain.timeout.seconds)
    return {
        "autoUpgrade": True,
        "maxParallelUpgrades": 0,  # no bound beside maxUnavailable; the chart's own is one node
        "maxUnavailable": upgrades.max_unavailable.write(),
        "gpuPodDeletion": {"timeoutSeconds": timeout, "deleteEmptyDir": True},
        "drain": {"timeoutSeconds": timeout},
    }


def _toolkit(ground: Ground, release: Release) -> Obj:
    """The container toolkit, told to hand out GPUs by the device plugin's word alone.

    With CDI the plugin names a pod's devices to the runtime. By default a pod that sets NVIDIA_VISIBLE_DEVICES, or
    mounts a volume by the name of a device, gets it unasked.
    """
    if not ground.toolkit:
        return {"enabled": False}
    closed = {
        "ACCEPT_NVIDIA_VISIBLE_DEVICES_ENVVAR_WHEN_UNPRIVILEGED": "false",
        "ACCEPT_NVIDIA_VISIBLE_DEVICES_AS_VOLUME_MOUNTS": "false",
    }
    place = {"installDir": ground.toolkit_dir} if ground.toolkit_dir else {}
    return {**_version("toolkit", release), **place, "env": _env(closed)}


def _exporter(platform: Platform, release: Release) -> Obj:
    """The exporter of GPU metrics, with our list of fields.

    Memory: DCGM keeps the history of eight GPUs outside Go's heap, and is killed at half of this.
    """
    env = {
        "DCGM_EXPORTER_LISTEN": ":9400",  # the chart's own two: a list of ours takes the place of its
        "DCGM_EXPORTER_KUBERNETES": "true",
        "DCGM_EXPORTER_INTERVAL": f"{_SCRAPE * 1000}",
    }
    if nodeconfig.shares(platform):
        env["KUBERNETES_VIRTUAL_GPUS"] = "true"  # else the series of shared GPUs name no pod
    return {
        **_version("dcgmExporter", release),
        "config": {"name": COUNTERS},
        "env": _env(env),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "serviceMonitor": _monitor(platform),
    }


def _monitor(platform: Platform) -> Obj:
    """The chart's own ServiceMonitor, where nobody else makes one; two would count everything twice.

    honorLabels: a series' namespace and pod are those that use the GPU, not the exporter's own.
    """
    prometheus = platform.observability.prometheus
    if not prometheus.operator or "observability" in platform.cluster.manage:
        return {"enabled": False}
    labels = {"additionalLabels": dict(prometheus.labels)} if prometheus.labels else {}
    return {"enabled": True, "interval": f"{_SCRAPE}s", "honorLabels": True, **labels}


def _version(operand: str, release: Release) -> dict[str, str]:
    return {"version": release.replaced[operand]} if operand in release.replaced else {}


def _env(given: Mapping[str, str]) -> list[Obj]:
    return [{"name": name, "value": value} for name, value in given.items()]
