"""The MIG layout a node's label asks for: where its name is looked up, what it gives, whether it fits.

Source: mig-parted api/spec/v1; gpu-operator migManager.config. With a ConfigMap named in ClusterPolicy
only its names count. Without, the MIG manager generates a file per node from what NVML reports
(ConfigMap `<node>-mig-config`), and falls back to `default-mig-parted-config`.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from plimsoll.check.model import Case
from plimsoll.gpus import mig
from plimsoll.gpus.model import Sku
from plimsoll.gpus.placement import Misfit, place
from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, get, labels, mapping, name, text
from plimsoll.kube.operands import cluster_policy
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.partition import yamltext
from plimsoll.pillars.partition.change import WANTED
from plimsoll.pillars.partition.nodes import gpu_count, home, sku

DEFAULT = "default-mig-parted-config"
_FILTER = re.compile(r"0x([0-9A-F]{4})10DE\Z", re.IGNORECASE)
_MAX_GPUS = 64


class Names(NamedTuple):
    """The configs a node may choose from."""

    place: str  # for a sentence
    offered: tuple[str, ...]  # empty where that is not known
    configs: dict[str, Any]  # their entries as written; empty for generated ones we did not read


class Wish(NamedTuple):
    """What a config gives one node."""

    instances: dict[str, int]  # by profile name as written, over all GPUs
    whole: int  # GPUs left without MIG


class Wrong(NamedTuple):
    """Why a config cannot be applied."""

    reason: str
    choices: tuple[str, ...]  # configs that would work


@fact
def _parsed(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """The `mig-configs` of every ConfigMap of the operator's namespace that holds some, by ConfigMap name."""
    found = {}
    for obj in snapshot.list(kinds.CONFIG_MAP):
        source = text(obj, "data", "config.yaml")
        if text(obj, "metadata", "namespace") == home(snapshot) and "mig-configs" in source:
            try:
                found[name(obj)] = mapping(yamltext.parse(source), "mig-configs")
            except (yamltext.MalformedError, yamltext.RefusedError):
                continue
    return found


def custom_name(snapshot: Snapshot) -> str:
    """The ConfigMap that ClusterPolicy names for layouts; "" where the manager generates them."""
    return text(cluster_policy(snapshot), "spec", "migManager", "config", "name")


def names_for(snapshot: Snapshot, node: Obj) -> Names:
    """Where a node's config is looked up."""
    files, custom, model = _parsed(snapshot), custom_name(snapshot), sku(node)
    for each in (custom,) if custom else (f"{name(node)}-mig-config", DEFAULT):
        if configs := files.get(each):
            extra = _generated(model) if not custom else ()
            return Names(f"ConfigMap {home(snapshot)}/{each}", tuple(sorted({*configs, *extra})), configs)
    if custom and custom != DEFAULT:
        return Names(f"ConfigMap {home(snapshot)}/{custom}", (), {})
    return Names(f"what the MIG manager generates for {model.name}" if model else "", _generated(model), {})


def _generated(model: Sku | None) -> tuple[str, ...]:
    return tuple(mig.config_names(model)) if model else ()


def missing_config_map(snapshot: Snapshot) -> str:
    """The ConfigMap that ClusterPolicy names and nobody made; the default one is the operator's own business."""
    custom = custom_name(snapshot)
    if not custom or custom == DEFAULT or not snapshot.whole(kinds.CONFIG_MAP):
        return ""
    return "" if snapshot.get(kinds.CONFIG_MAP, custom, home(snapshot)) else custom


def misfit(case: Case, node: Obj) -> Wrong | None:
    """Why the config a node asks for cannot be applied to it; None if it can, or if that cannot be told."""
    wanted = text(labels(node), WANTED)
    if not wanted or wanted == "all-disabled":
        return None
    names, model = names_for(case.snapshot, node), sku(node)
    if names.offered and wanted not in names.offered:
        return Wrong(f"{names.place} has no config {wanted}", _choices(case.snapshot, names, model) or names.offered)
    reason = _reason(names, wanted, model)
    if reason:
        return Wrong(reason, _choices(case.snapshot, names, model))
    return None


@fact
def _known_choices(_: Snapshot) -> dict[tuple[str, str], tuple[str, ...]]:
    """Filled by `_choices`: nodes of one kind share the answer, and it takes a solver run per config."""
    return {}


def _choices(snapshot: Snapshot, names: Names, model: Sku | None) -> tuple[str, ...]:
    """The configs on offer that can be applied to a GPU model, as far as we know."""
    known, key = _known_choices(snapshot), (names.place, model.name if model else "")
    if key not in known:
        known[key] = tuple(each for each in names.offered if not _reason(names, each, model))
    return known[key]


def _reason(names: Names, config: str, model: Sku | None) -> str:
    if model is None:
        return ""
    if config not in names.configs:
        layout = mig.layout_of_config(model, config)
        if config == "all-disabled" or (model.mig and layout is not None):
            return ""
        return f"{model.name} has no MIG" if model.mig is None else ""  # a generated name we do not know may be newer
    own = [entry for entry in _entries(names.configs[config]) if _applies(entry, model)]
    if not own:
        return f"config {config} has no entry for {model.name} (device-filter)"
    for entry in own:
        if entry.get("mig-enabled") is True:
            found = place(model, _counts(entry))
            if isinstance(found, Misfit):
                return f"config {config} does not fit: {found.reason}"
    return ""


def _entries(config: Any) -> list[dict[str, Any]]:
    return [each for each in config if isinstance(each, dict)] if isinstance(config, list) else []


def _applies(entry: dict[str, Any], model: Sku) -> bool:
    given = entry.get("device-filter")
    if not given:
        return True
    listed = given if isinstance(given, list) else [given]
    ids = {match[1].upper() for each in listed if isinstance(each, str) and (match := _FILTER.match(each))}
    return bool(ids.intersection(model.pci)) or not model.pci


def _counts(entry: dict[str, Any]) -> dict[str, int]:
    given = mapping(entry, "mig-devices")
    return {key: n for key, n in given.items() if isinstance(key, str) and isinstance(n, int) and 0 < n < 100}


def wish(case: Case, node: Obj) -> Wish | None:
    """What the config a node asks for gives it, or None where that cannot be told."""
    wanted, model, gpus = text(labels(node), WANTED), sku(node), gpu_count(node)
    if not wanted or model is None or not 0 < gpus <= _MAX_GPUS:
        return None
    names = names_for(case.snapshot, node)
    known, key = _known_wishes(case.snapshot), (names.place, wanted, model.name, gpus)
    if key not in known:
        known[key] = _wish(names, wanted, model, gpus)
    return known[key]


@fact
def _known_wishes(_: Snapshot) -> dict[tuple[str, str, str, int], Wish | None]:
    """Filled by `wish`: nodes of one kind share the answer."""
    return {}


def _wish(names: Names, wanted: str, model: Sku, gpus: int) -> Wish | None:
    if wanted not in names.configs:
        layout = mig.layout_of_config(model, wanted)
        if layout is None:
            return None
        return Wish({key: n * gpus for key, n in layout.items()}, gpus if wanted == "all-disabled" else 0)
    total: dict[str, int] = {}
    whole = 0
    own = [entry for entry in _entries(names.configs[wanted]) if _applies(entry, model)]
    for index in range(gpus):
        entry = next((each for each in reversed(own) if _covers(each, index)), None)
        if entry is None or entry.get("mig-enabled") is not True:
            whole += 1
            continue
        for key, n in _counts(entry).items():
            total[key] = total.get(key, 0) + n
    return Wish(total, whole)


def _covers(entry: dict[str, Any], index: int) -> bool:
    devices = get(entry, "devices")
    return devices == "all" or (isinstance(devices, list) and index in devices)
