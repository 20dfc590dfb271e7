"""The device plugin's config: which one a node uses, and how it shares the GPUs.

Sources: device plugin api/config/v1 (validation) and config-manager (choice); gpu-operator (without a default the
config is empty).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from plimsoll.errors import InputError
from plimsoll.kube.objects import Obj, get, items, mapping, text
from plimsoll.kube.yamldocs import documents

CONFIG = "nvidia.com/device-plugin.config"
_MPS_CLIENTS = 48


class Sharing(msgspec.Struct, frozen=True):
    """What a config makes of each resource.

    replicas: by resource name. renamed: shared resources get the suffix `.shared`.
    """

    strategy: str = "none"
    replicas: Mapping[str, int] = msgspec.field(default_factory=dict)
    renamed: bool = False


class Choice(msgspec.Struct, frozen=True):
    """The config a node is told to use.

    key: of the ConfigMap; "" without one. no_such: the config-manager finds none of that name.
    broken: the plugin cannot load it.
    """

    key: str = ""
    sharing: Sharing = Sharing()
    no_such: str = ""
    broken: str = ""


def choice(have: Mapping[str, str], policy: Obj | None, configs: Mapping[str, Obj]) -> Choice:
    """The config for a node with these labels. configs: ConfigMaps of the operator's namespace by name."""
    config = text(policy, "spec", "devicePlugin", "config", "name")
    key = have.get(CONFIG) or text(policy, "spec", "devicePlugin", "config", "default")
    if not config or not key or config not in configs:  # without the ConfigMap the pod does not start anyway
        return Choice()
    said = get(configs[config], "data", key)
    if not isinstance(said, str):
        return Choice(key, no_such=f"error updating config: specified config {key} does not exist")
    sharing = _sharing(said)
    return Choice(key, sharing) if isinstance(sharing, Sharing) else Choice(key, broken=sharing)


@lru_cache(maxsize=64)
def _sharing(said: str) -> Sharing | str:
    """What a config file says of sharing, or why the plugin cannot load it."""
    try:
        loaded: Any = next((document for _, document in documents(said, "config")), {})
    except InputError as error:
        return f"unable to load config: unable to parse config file: {error.what}"
    if get(loaded, "version") not in ("v1", None):
        return f"unable to load config: unknown version: {get(loaded, 'version')}"
    slicing, mps = mapping(loaded, "sharing", "timeSlicing"), mapping(loaded, "sharing", "mps")
    if slicing and mps:
        return "unable to load config: sharing must be either time-slicing or MPS, not both"
    shares, strategy = (mps, "mps") if mps else (slicing, "time-slicing")
    if not shares:
        return Sharing()
    found: dict[str, int] = {}
    for entry in items(shares, "resources"):
        replicas, name = entry.get("replicas"), text(entry, "name")
        if type(replicas) is not int or replicas < 2:
            return f"unable to load config: number of replicas must be >= 2: {name}"
        if mps and replicas > _MPS_CLIENTS:
            return f"invalid MPS configuration: maximum number of replicas is {_MPS_CLIENTS}: {name}"
        found[name] = replicas
    if not found:
        return "unable to load config: no resources specified for sharing"
    return Sharing(strategy, found, get(shares, "renameByDefault") is True)
