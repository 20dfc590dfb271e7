"""How MIG has cut the GPUs of a node, and the layouts that mig-manager is configured with.

Source: mig-parted's config file (api/spec/v1).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from plimsoll.errors import InputError
from plimsoll.gpus import mig, placement
from plimsoll.kube.objects import Obj, annotations_of, get, items, mapping, text
from plimsoll.kube.yamldocs import documents
from plimsoll.lab.hardware.machine import Machine

CUT = "lab.plimsoll.dev/mig"  # of a node: what the GPUs themselves remember
Cut = dict[str, int] | None
"""Instances of one GPU by profile; {} with MIG on and none made; None with MIG off."""


def cuts(node: Obj, machine: Machine) -> tuple[Cut, ...]:
    """How each GPU of a node is cut now; MIG is off where nothing says otherwise."""
    try:
        said = msgspec.json.decode(annotations_of(node).get(CUT, "[]"), type=list[dict[str, int] | None])
    except msgspec.MsgspecError:
        said = []
    return tuple(said) if len(said) == machine.gpus else (None,) * machine.gpus


def written(cut: Sequence[Cut]) -> str:
    return msgspec.json.encode(list(cut)).decode()


class Wrong(msgspec.Struct, frozen=True):
    """Why a config cannot be applied."""

    reason: str


def wanted(config: Obj | None, name: str, machine: Machine) -> tuple[Cut, ...] | Wrong:
    """What the named layout of a ConfigMap makes of every GPU of a node."""
    configs = _configs(text(config, "data", "config.yaml"))
    if isinstance(configs, Wrong):
        return configs
    if name not in configs:
        return Wrong(f"selected mig-config not present: {name}")
    found: list[Cut] = [None] * machine.gpus
    for entry in items(configs, name):
        if not _for(entry, machine):
            continue
        cut = mapping(entry, "mig-devices") if entry.get("mig-enabled") is True else None
        if cut is not None and not all(type(count) is int for count in cut.values()):
            return Wrong("mig-devices are counts by profile")
        for index in _gpus(entry, machine):
            found[index] = None if cut is None else {mig.canonical(key): count for key, count in cut.items() if count}
    return _checked(found, machine)


@lru_cache(maxsize=16)  # every node asks for the same one
def _configs(said: str) -> Obj | Wrong:
    """The layouts of a config file, by name."""
    try:
        loaded = [document for _, document in documents(said, "config.yaml")]
    except InputError as error:
        return Wrong(str(error))
    return mapping(loaded[0] if loaded else {}, "mig-configs")


def _for(entry: Obj, machine: Machine) -> bool:
    """Whether an entry's device filter lets this GPU through."""
    filter_ = get(entry, "device-filter")
    known = filter_ if isinstance(filter_, list) else [filter_] if filter_ else []
    own = {f"0x{device}10de".lower() for device in machine.sku.pci}
    return not known or any(str(each).lower() in own for each in known)


def _gpus(entry: Obj, machine: Machine) -> list[int]:
    devices = get(entry, "devices")
    chosen = devices if isinstance(devices, list) else range(machine.gpus) if devices == "all" else []
    return [index for index in chosen if type(index) is int and 0 <= index < machine.gpus]


def _checked(found: list[Cut], machine: Machine) -> tuple[Cut, ...] | Wrong:
    for cut in found:
        if cut is not None and machine.sku.mig is None:
            return Wrong("MIG is not supported by this GPU")
        result = placement.place(machine.sku, cut) if cut else None
        if isinstance(result, placement.Misfit):
            return Wrong(result.reason)
    return tuple(found)
