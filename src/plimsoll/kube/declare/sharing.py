"""How the GPUs of one node are cut and shared, from its labels, what it advertises and the device plugin's file.

Sources: GFD's labels (k8s-device-plugin internal/lm: `gpu.replicas` counts per GPU, `-SHARED` marks
a shared resource that kept its name, single-strategy MIG describes the slice), mig-manager's labels,
GKE's labels for partitions and shared clients.
"""

from __future__ import annotations

from typing import Any

from plimsoll.errors import InputError
from plimsoll.gpus import mig
from plimsoll.gpus.model import Geometry, Sku
from plimsoll.gpus.placement import Misfit, place
from plimsoll.kube import kinds
from plimsoll.kube.declare.words import Note, valid
from plimsoll.kube.nodes import capacity
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, text
from plimsoll.kube.operands import cluster_policy, operator_namespace
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.spec import document
from plimsoll.spec.pools import Layout, Mig, Mps, Partition, Profile, TimeSlicing
from plimsoll.units import count

PRODUCT = "nvidia.com/gpu.product"
GKE_SLICE = "cloud.google.com/gke-gpu-partition-size"
_GKE_SHARING = "cloud.google.com/gke-gpu-sharing-strategy"
_GKE_CLIENTS = "cloud.google.com/gke-max-shared-clients-per-gpu"
_METHODS = {"time-slicing": "time-slicing", "time-sharing": "time-slicing", "mps": "mps"}
_MOST = {"time-slicing": 128, "mps": 48}
_MPS_OLD = 16  # clients of a GPU of compute capability below 7.5. Source: k8s-device-plugin


def slices(node: Obj, sku: Sku) -> tuple[str, int] | None:
    """With the single MIG strategy the profile every GPU is cut in and instances per GPU; None without it."""
    have = labels(node)
    product = text(have, PRODUCT).removesuffix("-SHARED")
    profile = mig.profile(sku, product.partition("-MIG-")[2] or text(have, GKE_SLICE))
    if profile is None:
        return None
    asked = mig.layout_of_config(sku, text(have, "nvidia.com/mig.config")) or {}
    return profile.name, asked.get(profile.name) or profile.max_instances


def partition_of(snapshot: Snapshot, node: Obj, sku: Sku, gpus: int, note: Note) -> Partition | None:
    """How a node's GPUs are shared, per GPU; None where nothing on the node says so."""
    method, replicas, told = _shares(snapshot, node, gpus)
    most = _MPS_OLD if method == "mps" and sku.capability < (7, 5) else _MOST.get(method, 0)
    if replicas > most:
        note(f"each GPU is shared among {replicas}; declared {most}, the most {method} may have on it", name(node))
        replicas = most
    cut = _mig(node, sku, gpus, replicas, note)
    if cut is None and not method and not told and not any(number > 0 for number in capacity(node).values()):
        return None
    if not method:
        return Partition(mig=cut)
    rename = _renamed(snapshot, node)
    if method == "mps" and cut is None:
        return Partition(mps=Mps(replicas=replicas, rename_by_default=rename))
    block = _plugin_sharing(snapshot, node)
    strict = block.get("failRequestsGreaterThanOne") is True if block else True
    slicing = TimeSlicing(replicas=replicas, rename_by_default=rename, fail_requests_greater_than_one=strict)
    return Partition(mig=cut, time_slicing=slicing)


def _shares(snapshot: Snapshot, node: Obj, gpus: int) -> tuple[str, int, bool]:
    """`time-slicing`, `mps` or "", with how many share one device, and whether the node's labels told it."""
    have = labels(node)
    keys = ["nvidia.com/gpu.replicas", _GKE_CLIENTS]
    keys += [key for key in have if key.startswith(mig.RESOURCE_PREFIX) and key.endswith(".replicas")]
    replicas = max(count(have.get(key)) for key in keys)
    strategies = ["nvidia.com/gpu.sharing-strategy", _GKE_SHARING]
    strategies += [key for key in have if key.startswith(mig.RESOURCE_PREFIX) and key.endswith(".sharing-strategy")]
    method = next((_METHODS[text(have, key)] for key in strategies if text(have, key) in _METHODS), "")
    if replicas >= 2:
        return method or "time-slicing", replicas, True
    if any(key in have for key in keys):
        return "", 0, True
    config = _plugin_sharing(snapshot, node)
    entries = [get(each, "replicas") for each in items(config, "resources")]
    asked = max((each for each in entries if isinstance(each, int) and not isinstance(each, bool)), default=0)
    if asked >= 2:
        return ("mps" if config.get("method") == "mps" else "time-slicing"), asked, True
    shared = capacity(node).get("nvidia.com/gpu.shared", 0)
    return ("time-slicing", shared // gpus, True) if shared >= 2 * gpus else ("", 0, False)


def _renamed(snapshot: Snapshot, node: Obj) -> bool:
    """Whether the shared resource has a name of its own, `….shared`."""
    advertised = capacity(node)
    if any(resource.endswith(".shared") for resource in advertised):
        return True
    if any(advertised.values()) or text(labels(node), PRODUCT).endswith("-SHARED"):
        return False
    return _plugin_sharing(snapshot, node).get("renameByDefault") is True


def _plugin_sharing(snapshot: Snapshot, node: Obj) -> dict[str, Any]:
    """The `timeSlicing` or `mps` block the device plugin of a node reads, with `method` for which; {} if none."""
    config = mapping(cluster_policy(snapshot), "spec", "devicePlugin", "config")
    key = text(labels(node), "nvidia.com/device-plugin.config") or text(config, "default")
    return _sharing_blocks(snapshot).get(key, {})


@fact
def _sharing_blocks(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """The sharing block of every key of the device plugin's ConfigMap that has one."""
    named = text(cluster_policy(snapshot), "spec", "devicePlugin", "config", "name")
    found = snapshot.get(kinds.CONFIG_MAP, named, operator_namespace(snapshot)) if named else None
    blocks = {}
    for key, value in mapping(found, "data").items():
        try:
            file = document.read(value, key).value if isinstance(value, str) else {}
        except InputError:  # the checks say what is wrong with it; here it tells nothing
            continue
        for field, method in (("timeSlicing", "time-slicing"), ("mps", "mps")):
            if block := mapping(file, "sharing", field):
                blocks[key] = {**block, "method": method}
    return blocks


def _mig(node: Obj, sku: Sku, gpus: int, replicas: int, note: Note) -> Mig | None:
    """How MIG cuts each GPU of a node; None where it does not."""
    if sku.mig is None:
        return None
    if single := slices(node, sku):
        return Mig(layout={single[0]: single[1]}, strategy="single")
    have = labels(node)
    asked, state = text(have, "nvidia.com/mig.config"), text(have, "nvidia.com/mig.config.state")
    there = _instances(node, max(1, replicas))
    if there:
        if state in ("failed", "pending", "rebooting"):
            note(f"mig.config {asked or '?'} is asked for and {state}; declared what is there now", name(node))
        return Mig(layout=_per_gpu(node, sku.mig, gpus, there, note))
    layout = mig.layout_of_config(sku, asked) if asked else {}
    if layout:
        note(f"no MIG instance is there; declared what the label mig.config={asked} asks for", name(node))
        return Mig(layout=layout)
    if asked == "all-enabled" or layout is None:
        note(f"no MIG instance is there and mig.config={asked} is no layout we know; left open", name(node))
        return Mig(layout="auto")
    return None


def _instances(node: Obj, replicas: int) -> dict[str, int]:
    """MIG instances of a whole node by profile: by GFD's labels, else by what it advertises."""
    told: dict[str, int] = {}
    advertised: dict[str, int] = {}
    for key, value in labels(node).items():
        if key.endswith(".count") and (profile := mig.profile_of_resource(key.removesuffix(".count"))):
            told[profile] = count(value)
    for resource, number in capacity(node).items():
        if profile := mig.profile_of_resource(resource):
            advertised[profile] = max(advertised.get(profile, 0), number // replicas)
    found = told if any(told.values()) else advertised
    return {profile: number for profile, number in sorted(found.items()) if number > 0 and valid(profile, Profile)}


def _per_gpu(node: Obj, cut: Geometry, gpus: int, there: dict[str, int], note: Note) -> Layout:
    """Instances per GPU; where GPUs of the node differ, what every one of them has room for."""
    layout = {profile: number // gpus for profile, number in there.items() if number >= gpus} or {next(iter(there)): 1}
    uneven = any(number % gpus for number in there.values())
    placed = place(cut, layout)
    if isinstance(placed, Misfit):
        uneven, layout = True, placed.fits or {cut.plain()[0].name: 1}
    if uneven:
        shown = ", ".join(f"{number} × {profile}" for profile, number in there.items())
        note(f"{shown} on {gpus} GPUs that are not cut alike; declared a layout close to it", name(node))
    return dict(layout)
