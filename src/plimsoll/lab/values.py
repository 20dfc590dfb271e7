"""What the lab tells the GPU Operator's chart about a platform's pools, and what it writes on their nodes for it.

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
_SHARING = "plimsoll-device-plugin"
_WHOLE = "whole-gpus"  # of nodes that no label says otherwise of; the chart makes an invalid object without a default
_LAYOUTS = "plimsoll-mig-parted"


def chart_values(platform: Platform | None) -> dict[str, Any]:
    """Values for the chart: the release's images; driver, MIG strategy, sharing, tolerations as the pools need them."""
    own = {"version": RELEASE}
    values: dict[str, Any] = {"operator": own, "validator": own, "nodeStatusExporter": own}
    if platform is None:
        return values
    values["driver"] = {"version": str(platform.operator.driver.version)}
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


def config_maps(platform: Platform | None, namespace: str) -> list[Obj]:
    """The ConfigMaps that the values name: sharing by pool, and layouts that mig-manager does not know by itself."""
    if platform is None:
        return []
    sharing = {pool.name: yaml.safe_dump(_plugin(pool)) for pool in platform.pools if _sharing(pool)}
    layouts: dict[str, Any] = {"all-disabled": [{"devices": "all", "mig-enabled": False}]}
    for pool in platform.pools:
        layout = _layout(pool)
        if layout:
            layouts[mig_config(pool)] = [{"devices": "all", "mig-enabled": True, "mig-devices": layout}]
    made = []
    if sharing:
        made.append(_map(_SHARING, namespace, {_WHOLE: "version: v1\n", **sharing}))
    if any(_own_layout(pool) for pool in platform.pools):
        document = yaml.safe_dump({"version": "v1", "mig-configs": layouts}, sort_keys=False)
        made.append(_map(_LAYOUTS, namespace, {"config.yaml": document}))
    return made


def node_labels(pool: Pool) -> dict[str, str]:
    """The labels by which a node of the pool is told its layout and its sharing."""
    labels = {}
    if _layout(pool):
        labels["nvidia.com/mig.config"] = mig_config(pool)
    if _sharing(pool):
        labels["nvidia.com/device-plugin.config"] = pool.name
    return labels


def mig_config(pool: Pool) -> str:
    """The name of the pool's layout: mig-manager's own where it has one for it, else the pool's."""
    sku, layout = derive.sku(pool), _layout(pool)
    if sku:
        for name in mig.config_names(sku):
            if layout and mig.layout_of_config(sku, name) == layout:
                return name
    return pool.name


def _own_layout(pool: Pool) -> bool:
    return bool(_layout(pool)) and mig_config(pool) == pool.name


def _layout(pool: Pool) -> dict[str, int]:
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
