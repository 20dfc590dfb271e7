"""Nodes that differ from what platform.yaml declares for their pool."""

from __future__ import annotations

import re
from typing import NamedTuple

from plimsoll.check.model import Case
from plimsoll.gpus.mig import canonical, profile_of_resource
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, labels
from plimsoll.pillars.partition.change import change_of
from plimsoll.pillars.partition.layouts import misfit, wish
from plimsoll.spec.model import Platform
from plimsoll.spec.nodeconfig import UNCUT, mig_config
from plimsoll.spec.pools import Pool
from plimsoll.units import count

_COUNT = re.compile(r"(nvidia\.com/mig-.+)\.count\Z")
_SINGLE = re.compile(r"-MIG-([0-9]+g\..*)\Z")


class Drift(NamedTuple):
    """A node whose MIG layout, or the one its label asks for, is not the declared one."""

    node: Obj
    pool: str
    wants: str
    has: str
    asks: str  # the label's layout where that is what differs; "" where it is what the node has
    config: str  # the config to set


def drifts(case: Case) -> list[Drift]:
    """Every such node that GFD has described.

    In the middle of a change, or after one that failed, GFD's labels are those of before: then what the
    node's own label asks for is compared.
    """
    platform = case.platform
    if not isinstance(platform, Platform):
        return []
    found = []
    for node in gpu_nodes(case.snapshot):
        pool = _pool(platform, node)
        wants = _declared(pool) if pool else None
        has, asks = _found(node), _asked(case, node)
        if pool is None or wants is None or has is None or misfit(case, node):
            continue
        settled = change_of(case, node) is None
        if settled and has != wants:
            found.append(Drift(node, pool.name, _words(wants), _words(has), "", _config(pool)))
        elif asks is not None and asks != wants:
            found.append(Drift(node, pool.name, _words(wants), _words(has), _words(asks), _config(pool)))
    return found


def declared_config(case: Case, node: Obj) -> str:
    """The MIG config that platform.yaml declares for a node; "" where it leaves that open or names no such pool."""
    pool = _pool(case.platform, node) if isinstance(case.platform, Platform) else None
    wants = _declared(pool) if pool else None
    return _config(pool) if pool and wants is not None else ""


def _asked(case: Case, node: Obj) -> dict[str, int] | None:
    """Instances the node's label asks for; None where it has none, or one whose layout is not known."""
    wanted = wish(case, node)
    return None if wanted is None else {canonical(profile): n for profile, n in wanted.instances.items() if n}


def _pool(platform: Platform, node: Obj) -> Pool | None:
    have = labels(node)
    return next((p for p in platform.pools if all(have.get(k) == v for k, v in p.selector.items())), None)


def _declared(pool: Pool) -> dict[str, int] | None:
    """Instances per node; {} for whole GPUs; None where platform.yaml leaves the choice open."""
    cut = pool.partition.mig
    if cut is None:
        return {}
    if isinstance(cut.layout, str):
        return None
    return {profile: n * pool.gpus_per_node for profile, n in cut.layout.items() if n}


def _found(node: Obj) -> dict[str, int] | None:
    """Instances by GFD's labels; None where GFD has not described the GPUs."""
    have = labels(node)
    product = have.get("nvidia.com/gpu.product")
    if not isinstance(product, str) or product.endswith("-MIG-INVALID"):
        return None
    if single := _SINGLE.search(product.removesuffix("-SHARED")):
        return {single[1]: count(have.get("nvidia.com/gpu.count"))}
    found = {}
    for label, value in have.items():
        if (match := _COUNT.match(str(label))) and (profile := profile_of_resource(match[1])) and count(value):
            found[profile] = count(value)
    return found


def _words(instances: dict[str, int]) -> str:
    return " + ".join(f"{n}×{profile}" for profile, n in sorted(instances.items())) or "whole GPUs"


def _config(pool: Pool) -> str:
    """The config to set; what is cut though its pool's GPU has no MIG is another GPU, and made whole."""
    return mig_config(pool) or UNCUT
