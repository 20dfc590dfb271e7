"""Pillar partition: what the declaration asks of a cluster.

MIG layouts and sharing as files in ConfigMaps, and the labels by which each node is told its own. The GPU Operator's
ClusterPolicy names the ConfigMaps.
"""

from __future__ import annotations

from typing import Any

import yaml

from plimsoll.gpus import mig
from plimsoll.gpus.model import Sku
from plimsoll.kube.objects import Obj
from plimsoll.plan.model import NodeRule, Part, thing
from plimsoll.spec import derive, nodeconfig
from plimsoll.spec.model import Platform
from plimsoll.spec.nodeconfig import LAYOUTS, MIG_LABEL, PLUGIN_LABEL, SHARING, UNCUT, WHOLE
from plimsoll.spec.pools import Pool


def render(platform: Platform) -> Part:
    """ConfigMaps where the operands need some, and a rule of labels per pool. MIG layouts must be settled."""
    return Part(
        objects=tuple(config_maps(platform)),
        nodes=tuple(rule(pool) for pool in platform.pools),
        notes=(*_unmanaged(platform), *_together(platform)),
    )


def config_maps(platform: Platform) -> list[Obj]:
    """What the ClusterPolicy names: the device plugin's configurations and the MIG manager's layouts."""
    made = []
    if nodeconfig.shares(platform):
        # The chart takes a default for granted; nodes without the label then share nothing.
        data = {WHOLE: _yaml({"version": "v1"})}
        for pool in platform.pools:
            if config := nodeconfig.plugin_config(pool):
                data[nodeconfig.plugin_key(pool)] = _yaml(config)
        made.append(thing("v1", "ConfigMap", SHARING, platform.operator.namespace, data=data))
    if nodeconfig.own_layouts(platform):
        data = {"config.yaml": _yaml({"version": "v1", "mig-configs": _layouts(platform)})}
        made.append(thing("v1", "ConfigMap", LAYOUTS, platform.operator.namespace, data=data))
    return made


def rule(pool: Pool) -> NodeRule:
    """The labels of a pool's nodes. A change of either takes the devices from pods that hold them."""
    wanted = {MIG_LABEL: nodeconfig.mig_config(pool) or None, PLUGIN_LABEL: nodeconfig.plugin_key(pool) or None}
    return NodeRule(pool=pool.name, selector=pool.selector, labels=wanted, disruptive=(MIG_LABEL, PLUGIN_LABEL))


def _layouts(platform: Platform) -> dict[str, list[dict[str, Any]]]:
    """Every layout a node of the platform may be told: a file of ours takes the place of all usual ones."""
    skus = {sku.name: sku for pool in platform.pools if (sku := derive.sku(pool)) and sku.mig}
    names = dict.fromkeys(name for sku in skus.values() for name in mig.config_names(sku))
    configs = {name: _usual(name, list(skus.values())) for name in names}
    for pool in platform.pools:
        if wanted := nodeconfig.layout(pool):
            configs.setdefault(nodeconfig.mig_config(pool), [_entry(wanted)])
    return configs


def _usual(name: str, skus: list[Sku]) -> list[dict[str, Any]]:
    """A layout that mig-manager usually has: one entry, or one per kind of GPU where it is not the same for all."""
    if name == UNCUT:
        return [{"devices": "all", "mig-enabled": False}]
    groups: dict[tuple[tuple[str, int], ...], list[str]] = {}
    for sku in skus:
        wanted = mig.layout_of_config(sku, name)
        if wanted is not None:
            groups.setdefault(tuple(wanted.items()), []).extend(f"0x{device}10DE" for device in sku.pci)
    if len(groups) == 1:
        return [_entry(dict(wanted)) for wanted in groups]
    return [{"device-filter": devices, **_entry(dict(wanted))} for wanted, devices in groups.items()]


def _entry(wanted: dict[str, int]) -> dict[str, Any]:
    return {"devices": "all", "mig-enabled": True, "mig-devices": wanted}


def _yaml(content: object) -> str:
    return yaml.safe_dump(content, sort_keys=False, width=10_000)


def _unmanaged(platform: Platform) -> list[str]:
    """What the ClusterPolicy must say where we do not write it."""
    if "operator" in platform.cluster.manage:
        return []
    wanted = []
    if nodeconfig.shares(platform):
        wanted.append(f"devicePlugin.config.name={SHARING} with default={WHOLE}")
    if nodeconfig.own_layouts(platform):
        wanted.append(f"migManager.config.name={LAYOUTS}")
    strategy = nodeconfig.strategy(platform)
    if strategy:
        wanted.append(f"mig.strategy={strategy}")
    return (
        [f"Somebody else keeps the GPU Operator: its ClusterPolicy must say {' and '.join(wanted)}."] if wanted else []
    )


def _together(platform: Platform) -> list[str]:
    """Pools that ask for what no cluster does at once: it has one MIG strategy, and no MPS beside `mixed`."""
    if nodeconfig.strategy(platform) != "mixed":
        return []
    single = [pool.name for pool in platform.pools if pool.partition.mig and pool.partition.mig.strategy == "single"]
    mps = [pool.name for pool in platform.pools if pool.partition.mps]
    notes = []
    if single:
        notes.append(
            f"MIG strategy single of {', '.join(single)} is not possible beside pools with mixed: the GPU Operator has "
            "one strategy for all nodes, and theirs will advertise a resource per profile."
        )
    if mps:
        notes.append(
            f"MPS on {', '.join(mps)} is not possible beside pools with MIG strategy mixed: the device plugin ends "
            "there. Share them with timeSlicing, or cut the others with strategy single."
        )
    return notes
