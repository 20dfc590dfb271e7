"""GPU090, 091, 094, 095: can the device plugin start with the configuration it is given?

The configuration is an input of the plugin: a fault in it keeps the plugin from starting, so it
sits deeper than the plugin's own crash. Where the plugin still runs with what it read before,
the same fault is a risk: it strikes at the next restart.
"""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, get, labels, name, text
from plimsoll.kube.pods import ready, trouble
from plimsoll.pillars.partition.change import some
from plimsoll.pillars.partition.nodes import (
    MPS_DAEMON,
    PLUGIN,
    SETTLE,
    daemonset,
    home,
    minutes,
    operand,
    plugin_started,
    serves,
)
from plimsoll.pillars.partition.pluginconfig import (
    LABEL,
    config_for,
    config_map,
    configs,
    keys,
    nodes_by_key,
    setup,
    shown,
)
from plimsoll.pillars.partition.sharestate import restart

_READS = (kinds.NODE, kinds.CONFIG_MAP, kinds.CLUSTER_POLICY, kinds.POD)


def _stopped(case: Case, nodes: list[Obj]) -> list[str]:
    """Names of the nodes whose device plugin is not ready."""
    return [name(node) for node in nodes if not serves(case.snapshot, PLUGIN, name(node))]


def _weight(stopped: list[str]) -> tuple[Severity, Layer, list[str]]:
    """Severity, layer and tokens of a fault in the plugin's input: a risk where nothing has stopped yet."""
    if stopped:
        return Severity.ERROR, Layer.PLUGIN_INPUT, [f"node/{each}" for each in stopped]
    return Severity.WARNING, Layer.RISK, []


@check(
    "GPU090", Severity.ERROR, Layer.PLUGIN_INPUT, reads=_READS,
    remedy="Label the node with a key of the ConfigMap, or add the key.",
    source="k8s-device-plugin cmd/config-manager (`specified config … does not exist`)",
)  # fmt: skip
def chosen_config_exists(case: Case) -> Iterator[Finding]:
    """Every device-plugin configuration that a node or ClusterPolicy chooses exists.

    The label `nvidia.com/device-plugin.config` names a key of the ConfigMap. A key that is not
    there ends the config-manager, so the init container `config-manager-init` crash-loops and the
    node offers no GPU. A misspelt default does that to every node without a label.
    """
    found, offered = setup(case.snapshot), config_map(case.snapshot)
    if found is None or offered is None:
        return
    have = keys(offered)
    unlabelled = []
    for node in gpu_nodes(case.snapshot):
        chosen = text(labels(node), LABEL)
        if not chosen:
            unlabelled.append(node)
        elif chosen not in have:
            severity, layer, affects = _weight(_stopped(case, [node]))
            yield case.finding(
                node,
                f"{name(node)} asks for device-plugin configuration {chosen}, which ConfigMap {shown(offered)} "
                f"does not have (it has {some(have) or 'none'})",
                f"metadata.labels[{LABEL}]",
                seen={"keys of the ConfigMap": have},
                affects=affects, severity=severity, layer=layer,
                remedy=f"kubectl -n {found.namespace} get configmap {found.config_map} -o yaml\n"
                f"kubectl label node {name(node)} {LABEL}={have[0] if have else 'KEY'} --overwrite   # one of: "
                f"{some(have)}",
            )  # fmt: skip
    if found.default and found.default not in have and unlabelled:
        severity, layer, affects = _weight(_stopped(case, unlabelled))
        yield case.finding(
            found.owner,
            f"The default device-plugin configuration {found.default} is no key of ConfigMap {shown(offered)}: "
            f"{many(len(unlabelled), 'node')} without label would get it",
            found.path,
            *(["spec.devicePlugin.config.default"] if found.path.startswith("spec.devicePlugin") else []),
            seen={"keys of the ConfigMap": have, "nodes": some([name(node) for node in unlabelled])},
            affects=affects, severity=severity, layer=layer,
            remedy=f"kubectl -n {found.namespace} get configmap {found.config_map} -o yaml\n"
            f"kubectl patch clusterpolicy {name(found.owner)} --type merge "
            f"-p '{{\"spec\":{{\"devicePlugin\":{{\"config\":{{\"default\":\"{have[0] if have else 'KEY'}\"}}}}}}}}'",
        )  # fmt: skip


@check(
    "GPU091", Severity.ERROR, Layer.PLUGIN_INPUT, reads=(kinds.NODE, kinds.CLUSTER_POLICY, kinds.POD),
    whole=(kinds.CONFIG_MAP,),
    remedy="Create the ConfigMap in the namespace of the operator.", source="gpu-operator devicePlugin.config.name",
)  # fmt: skip
def config_map_exists(case: Case) -> Iterator[Finding]:
    """The ConfigMap with the device plugin's configurations exists where its pods look for it.

    The plugin, GFD and the MPS control daemon mount it. Without it their pods wait in
    ContainerCreating for a volume that never comes, on every GPU node at once. A frequent reason
    is a ConfigMap created in another namespace than the operator's.
    """
    found = setup(case.snapshot)
    if found is None or config_map(case.snapshot) is not None:
        return
    elsewhere = sorted(shown(each) for each in case.snapshot.list(kinds.CONFIG_MAP) if name(each) == found.config_map)
    severity, layer, affects = _weight(_stopped(case, list(gpu_nodes(case.snapshot))))
    where = f"; it exists as {some(elsewhere)}" if elsewhere else ""
    yield case.finding(
        found.owner,
        f"ConfigMap {found.namespace}/{found.config_map}, which the device plugin mounts, does not exist{where}",
        found.path,
        seen={"nodes whose device plugin is not ready": len(affects)},
        affects=affects, severity=severity, layer=layer,
        remedy=f"kubectl get configmap -A --field-selector metadata.name={found.config_map}\n"
        f"kubectl -n {found.namespace} create configmap {found.config_map} --from-file=config.yaml\n"
        f"# or share nothing: empty {found.path} of {found.owner.get('kind')} {name(found.owner)}",
    )  # fmt: skip


@check(
    "GPU094", Severity.ERROR, Layer.PLUGIN_INPUT, reads=_READS,
    remedy="Correct the configuration, then restart the device plugin and GFD.",
    source="k8s-device-plugin api/config/v1 (replicas.go, sharing.go), cmd validateFlags",
)  # fmt: skip
def config_is_valid(case: Case) -> Iterator[Finding]:
    """Every device-plugin configuration is one the plugin accepts.

    The plugin stops at fewer than two replicas, an empty list of resources, a version other than
    v1, or MPS together with time-slicing or with MIG strategy `mixed`. On the nodes that use such a
    key plugin and GFD crash-loop; on others it waits for the first node that selects it.
    """
    found, offered = setup(case.snapshot), config_map(case.snapshot)
    if found is None or offered is None:
        return
    for key, config in configs(case.snapshot).items():
        users = nodes_by_key(case.snapshot).get(key, [])
        errors = list(config.errors)
        if users and config.method == "mps" and "mixed" in (found.strategy or config.strategy):
            errors.append("MPS does not work with MIG strategy mixed")
        if config.refused:
            yield case.unknown(offered, f"Key {key} was not read: {config.refused}")
        if not errors:
            continue
        severity, layer, affects = _weight(_stopped(case, users))
        use = f"; used by {many(len(users), 'node')}" if users else "; no node uses it yet"
        yield case.finding(
            offered,
            f"Key {key} of ConfigMap {shown(offered)} is no valid device-plugin configuration: {errors[0]}{use}",
            f"data[{key}]",
            seen={"errors": errors, "MIG strategy": found.strategy or config.strategy},
            affects=affects, severity=severity, layer=layer,
            remedy=f"kubectl -n {found.namespace} edit configmap {found.config_map}   # {key}\n" + restart(found),
        )  # fmt: skip


@check(
    "GPU095", Severity.ERROR, Layer.PLUGIN_INPUT, reads=(kinds.NODE, kinds.CONFIG_MAP, kinds.CLUSTER_POLICY),
    whole=(kinds.POD,),
    remedy="Enable GFD, disable MIG on the node, and see that the MPS control daemon runs there.",
    source="k8s-device-plugin #634, #982, #1132; gpu-operator assets/state-mps-control-daemon",
)  # fmt: skip
def mps_has_its_daemon(case: Case) -> Iterator[Finding]:
    """Every node that shares GPUs through MPS runs the MPS control daemon.

    The plugin waits for the daemon's answer before it registers, so without it the plugin looks
    healthy and the node offers nothing. The daemon's DaemonSet selects `nvidia.com/mps.capable=true`,
    which GFD sets from the same configuration and withholds where MIG is on.
    """
    for node in gpu_nodes(case.snapshot):
        config, plugin = config_for(case.snapshot, node), operand(case.snapshot, PLUGIN, name(node))
        if config is None or config.method != "mps" or config.errors or plugin is None:
            continue
        age = minutes(plugin_started(plugin), case.now)
        daemon = operand(case.snapshot, MPS_DAEMON, name(node))
        if (daemon and ready(daemon)) or (age is not None and age < SETTLE):
            continue
        capable = labels(node).get("nvidia.com/mps.capable")
        ill = trouble(daemon) if daemon else None
        if ill:
            says = f": {brief(ill.message, 120)}" if ill.message else ""
            why = f"pod {name(daemon or {})} is not ready ({ill.reason}{says})"
        elif capable != "true":
            why = f"GFD says nvidia.com/mps.capable={capable or '(absent)'}, so its DaemonSet passes the node by"
        else:
            why = "no pod of it runs there"
        where = home(case.snapshot)
        yield case.finding(
            node,
            f"{name(node)} is to share its GPUs through MPS and has no MPS control daemon: {why}",
            f"metadata.labels[{LABEL}]",
            "metadata.labels[nvidia.com/mps.capable]",
            "metadata.labels[nvidia.com/mig.config]",
            affects=[f"node/{name(node)}"],
            remedy=f"kubectl -n {where} get ds,pods -l app={daemonset(MPS_DAEMON)} -o wide\n"
            f"kubectl -n {where} logs {name(plugin)} -c {get(plugin, 'spec', 'containers', 0, 'name')} --tail=50\n"
            f"kubectl -n {where} get pods -l app=gpu-feature-discovery --field-selector spec.nodeName={name(node)}\n"
            "# MPS takes whole GPUs only: on a MIG node set nvidia.com/mig.config=all-disabled, or use time-slicing",
        )
