"""What the lab tells the charts of the GPU Operator and Kueue about a platform, and writes on its nodes for them.

The operator that can be built from Go modules is v25.3.2; the chart in its module is a development one, so the
images are named by value.
"""

from __future__ import annotations

from typing import Any

import yaml

from plimsoll.gpus import mig
from plimsoll.kube.objects import Obj
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool

RELEASE = "v25.3.2"  # what the pseudo-version of the Go module is, as the release's own tag names it
_TOOLKIT = "v1.19.1"
_TOOLKIT_ENV = {
    "ACCEPT_NVIDIA_VISIBLE_DEVICES_ENVVAR_WHEN_UNPRIVILEGED": "false",
    "ACCEPT_NVIDIA_VISIBLE_DEVICES_AS_VOLUME_MOUNTS": "true",
}
_EXPORTER = "4.5.3-4.8.2-distroless"
_EXPORTER_ENV = {
    "DCGM_EXPORTER_LISTEN": ":9400",  # the chart's own three: a list of ours takes the place of its
    "DCGM_EXPORTER_KUBERNETES": "true",
    "DCGM_EXPORTER_COLLECTORS": "/etc/dcgm-exporter/dcp-metrics-included.csv",
    "KUBERNETES_VIRTUAL_GPUS": "true",  # else the series of shared GPUs name no pod
}
_SHARING = "plimsoll-device-plugin"
_WHOLE = "whole-gpus"  # of nodes that no label says otherwise of; the chart makes an invalid object without a default
_LAYOUTS = "plimsoll-mig-parted"


def chart_values(platform: Platform | None) -> dict[str, Any]:
    """Values for the chart: the release's images; driver, MIG strategy, sharing, tolerations as the pools need them."""
    own = {"version": RELEASE}
    values: dict[str, Any] = {"operator": own, "validator": own, "nodeStatusExporter": own}
    if platform is None:
        return values
    values.update(_hardened(platform))
    strategies = {pool.partition.mig.strategy for pool in platform.pools if pool.partition.mig}
    if strategies:
        values["mig"] = {"strategy": "mixed" if "mixed" in strategies else "single"}
    if any(_sharing(pool) for pool in platform.pools):
        values["devicePlugin"] = {"config": {"name": _SHARING, "default": _WHOLE}}
    if any(_own_layout(pool) for pool in platform.pools):
        values["migManager"] = {"config": {"name": _LAYOUTS, "default": "all-disabled"}}
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    for pool in platform.pools:
        for taint in pool.taints:
            entry = {"key": taint.key, "operator": "Exists", "effect": taint.effect}
            if entry not in tolerations:
                tolerations.append(entry)
    values["daemonsets"] = {"tolerations": tolerations}
    values["node-feature-discovery"] = {"worker": {"tolerations": tolerations}}
    return values


def _hardened(platform: Platform) -> dict[str, Any]:
    """What a production platform asks of the chart beside its pools, as whoever runs it would write it.

    Toolkit and exporter are newer than those the release brings, which have known flaws; the others stay the release's.
    With CDI the device plugin names a pod's devices, and the toolkit need not believe the pod's environment.
    """
    driver, upgrades = platform.operator.driver, platform.operator.upgrades
    own = {"enabled": driver.managed_by == "operator", "version": str(driver.version)}
    policy = {
        "maxUnavailable": upgrades.max_unavailable.write(),
        "drain": {"timeoutSeconds": int(upgrades.drain.timeout.seconds)},
    }
    return {
        "driver": {**own, "kernelModuleType": driver.kernel_module, "upgradePolicy": policy},
        "cdi": {"enabled": True},
        "toolkit": {"version": _TOOLKIT, "env": _env(_TOOLKIT_ENV)},
        "dcgmExporter": {
            "version": _EXPORTER,
            "env": _env(_EXPORTER_ENV),
            "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        },
    }


def _env(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def config_maps(platform: Platform | None, namespace: str) -> list[Obj]:
    """The ConfigMaps that the values name: sharing by pool, and layouts that mig-manager does not know by itself."""
    if platform is None:
        return []
    sharing = {pool.name: yaml.safe_dump(_plugin(pool)) for pool in platform.pools if _sharing(pool)}
    layouts: dict[str, Any] = {"all-disabled": [{"devices": "all", "mig-enabled": False}]}
    for pool in platform.pools:
        if wanted := layout(pool):
            layouts[mig_config(pool)] = [{"devices": "all", "mig-enabled": True, "mig-devices": wanted}]
    made = []
    if sharing:
        made.append(_map(_SHARING, namespace, {_WHOLE: "version: v1\n", **sharing}))
    if any(_own_layout(pool) for pool in platform.pools):
        document = yaml.safe_dump({"version": "v1", "mig-configs": layouts}, sort_keys=False)
        made.append(_map(_LAYOUTS, namespace, {"config.yaml": document}))
    return made


def kueue_config(platform: Platform | None) -> dict[str, Any]:
    """What Kueue's Configuration says beside the chart's own.

    CPU and memory come with the GPUs of a node, so only GPUs are counted.
    """
    counted = {"excludeResourcePrefixes": ["cpu", "memory", "ephemeral-storage"]}
    settings: dict[str, Any] = {"resources": counted, "metrics": {"enableClusterQueueResources": True}}
    if platform is None:
        return settings
    queueing = platform.queueing
    again = {"timestamp": "Eviction", "backoffLimitCount": 5, "backoffBaseSeconds": 60, "backoffMaxSeconds": 3600}
    timeout = f"{int(queueing.wait_for_pods_ready.seconds)}s"
    settings["waitForPodsReady"] = {"timeout": timeout, "recoveryTimeout": timeout, "requeuingStrategy": again}
    if queueing.fair_sharing:
        settings["fairSharing"] = {"preemptionStrategies": ["LessThanOrEqualToFinalShare", "LessThanInitialShare"]}
    return settings


def node_labels(pool: Pool) -> dict[str, str]:
    """The labels by which a node of the pool is told its layout and its sharing."""
    labels = {}
    if layout(pool):
        labels["nvidia.com/mig.config"] = mig_config(pool)
    if _sharing(pool):
        labels["nvidia.com/device-plugin.config"] = pool.name
    return labels


def mig_config(pool: Pool) -> str:
    """The name of the pool's layout: mig-manager's own where it has one for it, else the pool's."""
    sku, wanted = derive.sku(pool), layout(pool)
    if sku:
        for name in mig.config_names(sku):
            if wanted and mig.layout_of_config(sku, name) == wanted:
                return name
    return pool.name


def _own_layout(pool: Pool) -> bool:
    return bool(layout(pool)) and mig_config(pool) == pool.name


def layout(pool: Pool) -> dict[str, int]:
    """Instances per GPU; {} without MIG and where the layout is open."""
    return {profile: count // pool.gpus_per_node for profile, count in derive.mig_per_node(pool).items()}


def _sharing(pool: Pool) -> bool:
    return bool(pool.partition.time_slicing or pool.partition.mps)


def _plugin(pool: Pool) -> dict[str, Any]:
    """The device plugin's config file for a pool that shares: on whole GPUs, or on each kind of MIG instance."""
    resources = [{"name": name.removesuffix(".shared"), "replicas": 0} for name in derive.resources(pool)]
    if slicing := pool.partition.time_slicing:
        for each in resources:
            each["replicas"] = slicing.replicas
        rules = {"renameByDefault": slicing.rename_by_default, "resources": resources}
        rules["failRequestsGreaterThanOne"] = slicing.fail_requests_greater_than_one
        return {"version": "v1", "sharing": {"timeSlicing": rules}}
    mps = pool.partition.mps
    for each in resources:
        each["replicas"] = mps.replicas if mps else 1
    return {
        "version": "v1",
        "sharing": {"mps": {"renameByDefault": mps.rename_by_default if mps else False, "resources": resources}},
    }


def _map(name: str, namespace: str, data: dict[str, str]) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}
