"""What nodes are told by label of MIG and sharing: the names of their configurations, and what these say.

The MIG manager and the device plugin act when a label of their node changes, not when the text behind its value does.
So a name of ours ends with a digest of what it stands for.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from plimsoll.gpus import mig
from plimsoll.spec import derive
from plimsoll.spec.model import Platform
from plimsoll.spec.pools import Pool
from plimsoll.units import version

MIG_LABEL, PLUGIN_LABEL = "nvidia.com/mig.config", "nvidia.com/device-plugin.config"
LAYOUTS, SHARING = "plimsoll-mig-parted", "plimsoll-device-plugin"  # ConfigMaps in the operator's namespace
UNCUT = "all-disabled"  # the layout of whole GPUs
WHOLE = "whole-gpus"  # the device plugin's configuration for nodes whose label names none
_GENERATES = (26, 3)  # from here on the MIG manager writes the usual layouts of each node's own GPU itself


def layout(pool: Pool) -> dict[str, int]:
    """MIG instances per GPU; {} without MIG and where the layout is open."""
    return {profile: count // pool.gpus_per_node for profile, count in derive.mig_per_node(pool).items()}


def mig_config(pool: Pool) -> str:
    """The name of a pool's layout: mig-manager's own where it has one for it; "" without MIG and where it is open.

    Whole GPUs that could be cut have a name, too: a node that was cut before is made whole by it.
    """
    sku, wanted = derive.sku(pool), layout(pool)
    if sku is None or sku.mig is None or derive.open_layout(pool):
        return ""
    if not wanted:
        return UNCUT
    usual = (name for name in mig.config_names(sku) if mig.layout_of_config(sku, name) == wanted)
    return next(usual, _named(pool, wanted))


def own_layouts(platform: Platform) -> bool:
    """Whether the MIG manager must be given layouts: it does not know a pool's own, and old ones generate none."""
    cut = [pool for pool in platform.pools if layout(pool)]
    old = version(platform.operator.version)[:2] < _GENERATES
    return any(old or mig_config(pool) == _named(pool, layout(pool)) for pool in cut)


def strategy(platform: Platform) -> str:
    """The MIG strategy, of which a cluster has one: `mixed` if any pool asks for it; "" where no pool is cut."""
    asked = {pool.partition.mig.strategy for pool in platform.pools if pool.partition.mig}
    return "mixed" if "mixed" in asked else next(iter(asked), "")


def plugin_config(pool: Pool) -> dict[str, Any] | None:
    """The device plugin's configuration of a pool that shares: its GPUs, or each kind of MIG instance. Else None."""
    slicing, mps = pool.partition.time_slicing, pool.partition.mps
    shares = slicing or mps
    if shares is None:
        return None
    names = [resource.removesuffix(".shared") for resource in derive.resources(pool)]
    resources = [{"name": name, "replicas": shares.replicas} for name in names]
    rules: dict[str, Any] = {"renameByDefault": shares.rename_by_default, "resources": resources}
    if slicing is None:
        return {"version": "v1", "sharing": {"mps": rules}}  # MPS refuses requests greater than one by itself
    rules["failRequestsGreaterThanOne"] = slicing.fail_requests_greater_than_one
    return {"version": "v1", "sharing": {"timeSlicing": rules}}


def plugin_key(pool: Pool) -> str:
    """The key of a pool's configuration in SHARING; "" where it shares nothing."""
    config = plugin_config(pool)
    return _named(pool, config) if config else ""


def shares(platform: Platform) -> bool:
    """Whether the GPUs of any pool are shared."""
    return any(plugin_key(pool) for pool in platform.pools)


def _named(pool: Pool, content: object) -> str:
    """A label value for some content: the pool's name, so that people know it, and a digest."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{pool.name[:54]}-{digest[:8]}"
