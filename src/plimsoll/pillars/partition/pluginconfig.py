"""The device plugin's configuration file: which one a node gets, and what it says.

Source: k8s-device-plugin api/config/v1 and cmd/config-manager. The config-manager takes the key
that the node's label names, else the default, else walks its fallback strategies; a key that does
not exist ends it, and with it the pod. Unknown fields are ignored without a word, values that are
not allowed end the plugin.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, text
from plimsoll.kube.operands import cluster_policy, operand_daemonsets
from plimsoll.kube.snapshot import Snapshot, fact
from plimsoll.pillars.partition import yamltext
from plimsoll.pillars.partition.nodes import PLUGIN, home, standalone

LABEL = "nvidia.com/device-plugin.config"
MAX_MPS_CLIENTS = 48  # CUDA MPS: clients per GPU, compute capability 7.0 and newer


class Setup(NamedTuple):
    """Where the device plugin's configuration comes from."""

    owner: Obj  # the object that names it: ClusterPolicy, or the plugin's DaemonSet
    path: str  # where in it
    config_map: str
    namespace: str
    default: str  # key for nodes without the label; "" if none
    fallbacks: tuple[str, ...]
    strategy: str  # MIG strategy from the environment, which overrides the file; "" if not set


class Shared(NamedTuple):
    """One resource that is shared."""

    resource: str
    replicas: int


class Config(NamedTuple):
    """What one key of the ConfigMap says, as the plugin understands it."""

    method: str  # time-slicing | mps | none
    shared: tuple[Shared, ...]
    rename: bool
    strategy: str  # flags.migStrategy; "" if not said
    errors: tuple[str, ...]  # values that stop the plugin
    ignored: tuple[str, ...]  # fields it does not know at that place, and drops
    refused: str = ""  # why we could not read it; then the rest is empty


@fact
def setup(snapshot: Snapshot) -> Setup | None:
    """The plugin's configuration source, or None where it has no ConfigMap."""
    policy = cluster_policy(snapshot)
    if policy is not None:
        named = text(policy, "spec", "devicePlugin", "config", "name")
        if not named or get(policy, "spec", "devicePlugin", "enabled") is False:
            return None
        return Setup(
            policy, "spec.devicePlugin.config.name", named, home(snapshot),
            text(policy, "spec", "devicePlugin", "config", "default"), ("empty",),
            text(policy, "spec", "mig", "strategy"),
        )  # fmt: skip
    plugins = [
        each for each in snapshot.list(kinds.DAEMON_SET) if standalone(mapping(each, "spec", "template")) == PLUGIN
    ]
    for daemons in (*operand_daemonsets(snapshot).get(PLUGIN, []), *plugins):
        if found := _from_template(daemons):
            return found
    return None


def _from_template(daemons: Obj) -> Setup | None:
    pod = mapping(daemons, "spec", "template", "spec")
    for manager in items(pod, "initContainers"):
        env = {text(each, "name"): text(each, "value") for each in items(manager, "env")}
        if "CONFIG_FILE_SRCDIR" in env:  # the config-manager, whatever its container is called
            break
    else:
        return None
    mounted = {text(each, "name") for each in items(manager, "volumeMounts")}
    for index, volume in enumerate(items(pod, "volumes")):
        if text(volume, "name") in mounted and (named := text(volume, "configMap", "name")):
            plugin_env = {
                text(each, "name"): text(each, "value")
                for box in items(pod, "containers")
                for each in items(box, "env")
            }
            path = f"spec.template.spec.volumes[{index}].configMap.name"
            fallbacks = tuple(each for each in env.get("FALLBACK_STRATEGIES", "").split(",") if each)
            default, strategy = env.get("DEFAULT_CONFIG", ""), plugin_env.get("MIG_STRATEGY", "")
            return Setup(daemons, path, named, namespace(daemons), default, fallbacks, strategy)
    return None


def config_map(snapshot: Snapshot) -> Obj | None:
    """The ConfigMap with the plugin's configurations, or None if it was not read or is not there."""
    found = setup(snapshot)
    return snapshot.get(kinds.CONFIG_MAP, found.config_map, found.namespace) if found else None


def keys(config: Obj) -> list[str]:
    """The configurations a ConfigMap offers."""
    return sorted({*mapping(config, "data"), *mapping(config, "binaryData")})


def key_for(snapshot: Snapshot, node: Obj) -> str:
    """The key a node gets; "" for the empty configuration (nothing shared)."""
    found, offered = setup(snapshot), config_map(snapshot)
    if found is None:
        return ""
    if chosen := text(labels(node), LABEL) or found.default:
        return chosen
    have = keys(offered) if offered else []
    for fallback in found.fallbacks:
        if fallback == "empty":
            return ""
        if fallback == "named" and "default" in have:
            return "default"
        if fallback == "single" and len(have) == 1:
            return have[0]
    return ""


@fact
def configs(snapshot: Snapshot) -> dict[str, Config]:
    """Every key of the ConfigMap, read."""
    found = config_map(snapshot)
    data = mapping(found, "data")
    return {key: read(data[key]) for key in sorted(data) if isinstance(data[key], str)}


def config_for(snapshot: Snapshot, node: Obj) -> Config | None:
    """What the plugin of a node is told, or None where that cannot be known or it is told nothing."""
    return configs(snapshot).get(key_for(snapshot, node))


_KNOWN: dict[str, frozenset[str]] = {
    "": frozenset({"version", "flags", "resources", "sharing", "imex", "health"}),
    "sharing": frozenset({"timeSlicing", "mps"}),
    "sharing.timeSlicing": frozenset({"renameByDefault", "failRequestsGreaterThanOne", "resources"}),
    "sharing.mps": frozenset({"renameByDefault", "failRequestsGreaterThanOne", "resources"}),
}
_MISPLACED = frozenset({"timeSlicing", "mps", "renameByDefault", "failRequestsGreaterThanOne", "replicas", "sharing"})


def read(source: str) -> Config:
    """Read one configuration file."""
    try:
        document = yamltext.parse(source)
    except yamltext.MalformedError as error:
        return Config("none", (), False, "", (f"it is not YAML: {error}",), ())
    except yamltext.RefusedError as error:
        return Config("none", (), False, "", (), (), str(error))
    if document is None:
        return Config("none", (), False, "", (), ())
    if not isinstance(document, dict):
        return Config("none", (), False, "", ("it is not a map of settings",), ())
    errors: list[str] = []
    version = document.get("version")
    if version not in (None, "v1"):
        errors.append(f"version {_show(version)} is not v1")
    sharing = _section(document, "sharing", errors)
    methods = {"time-slicing": "timeSlicing", "mps": "mps"}
    asked = {method: field for method, field in methods.items() if sharing.get(field) is not None}
    found = {method: _resources(sharing, field, errors) for method, field in asked.items()}
    if len(found) == 2:
        errors.append("timeSlicing and mps exclude each other")
    method = "mps" if "mps" in found else next(iter(found), "none")
    _mps_limits(found.get("mps", ()), errors)
    shared = found.get(method, ())
    rename = mapping(sharing, methods.get(method, "")).get("renameByDefault") is True
    flags = _section(document, "flags", errors)
    return Config(method, shared, rename, text(flags, "migStrategy"), tuple(errors), tuple(_ignored(document)))


def _section(document: dict[Any, Any], field: str, errors: list[str]) -> dict[str, Any]:
    if document.get(field) is not None and not isinstance(document[field], dict):
        errors.append(f"{field} is not a map")
    return mapping(document, field)


def _resources(sharing: dict[str, Any], field: str, errors: list[str]) -> tuple[Shared, ...]:
    listed = get(sharing, field, "resources")
    if not isinstance(listed, list) or not listed:
        errors.append(f"sharing.{field}.resources is empty")
        return ()
    found = []
    for index, each in enumerate(listed[:64]):
        where = f"sharing.{field}.resources[{index}]"
        resource, replicas = text(each, "name"), get(each, "replicas")
        if not resource:
            errors.append(f"{where} has no name")
        if not isinstance(replicas, int) or isinstance(replicas, bool):
            errors.append(f"{where}.replicas is {_show(replicas)}, not a number")
        elif replicas < 2:
            errors.append(f"{where}.replicas is {replicas}; at least 2 (to share nothing, leave the block out)")
        elif resource:
            found.append(Shared(resource, replicas))
    return tuple(found)


def _mps_limits(shared: tuple[Shared, ...], errors: list[str]) -> None:
    for each in shared:
        if each.replicas > MAX_MPS_CLIENTS:
            errors.append(f"{each.replicas} MPS replicas; a GPU takes {MAX_MPS_CLIENTS} clients")
        if each.resource != "nvidia.com/gpu":
            errors.append(f"MPS cannot share {each.resource}, only nvidia.com/gpu")


def _ignored(document: dict[Any, Any]) -> list[str]:
    """Paths of fields the plugin drops; under `flags` only those that clearly belong elsewhere."""
    found = []
    for path, known in _KNOWN.items():
        here = get(document, *path.split(".")) if path else document
        if isinstance(here, dict):
            prefix = f"{path}." if path else ""
            found += [f"{prefix}{key}" for key in here if isinstance(key, str) and key not in known]
    flags = mapping(document, "flags")
    for path, here in (("flags", flags), ("flags.plugin", mapping(flags, "plugin"))):
        found += [f"{path}.{key}" for key in here if key in _MISPLACED]
    return found[:10]


def _show(value: object) -> str:
    return repr(value)[:40]


@fact
def nodes_by_key(snapshot: Snapshot) -> dict[str, list[Obj]]:
    """GPU nodes by the key they get."""
    found: dict[str, list[Obj]] = {}
    for node in gpu_nodes(snapshot):
        found.setdefault(key_for(snapshot, node), []).append(node)
    return found


def shown(config: Obj) -> str:
    """A ConfigMap as people write it."""
    return f"{namespace(config)}/{name(config)}"
