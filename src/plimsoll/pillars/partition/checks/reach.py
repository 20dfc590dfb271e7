"""GPU092-093: does what the device plugin's configuration says reach the nodes it is meant for?"""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, name
from plimsoll.pillars.partition.change import some
from plimsoll.pillars.partition.pluginconfig import LABEL, Setup, config_map, configs, keys, nodes_by_key, setup, shown
from plimsoll.pillars.partition.sharestate import Gap, gaps, restart

_READS = (kinds.NODE, kinds.CONFIG_MAP, kinds.CLUSTER_POLICY, kinds.POD)


@check(
    "GPU092", Severity.WARNING, Layer.RISK, reads=_READS,
    remedy="Move the field to where the plugin reads it; set a default or label the nodes.",
    source="k8s-device-plugin #1433, #990, #615; gpu-operator #412, #684",
)  # fmt: skip
def sharing_reaches_nodes(case: Case) -> Iterator[Finding]:
    """What the device plugin's configuration says about sharing is read, and reaches the nodes it is meant for.

    The plugin ignores a field it does not know at its place: `renameByDefault` under `flags`, or
    `timeSlicing` outside `sharing`, changes nothing and says nothing. Nor does a configuration
    that no node selects: without a default and without a label the operator falls back to an
    empty one. Either way GPUs stay whole while everyone believes they are shared.
    """
    found, offered = setup(case.snapshot), config_map(case.snapshot)
    if found is None or offered is None:
        return
    for key, config in configs(case.snapshot).items():
        if config.refused:
            yield case.unknown(offered, f"Key {key} was not read: {config.refused}")
        elif config.ignored:
            yield case.finding(
                offered,
                f"The device plugin ignores {some(list(config.ignored))} in key {key} of ConfigMap {shown(offered)}",
                f"data[{key}]",
                remedy=f"kubectl -n {found.namespace} edit configmap {found.config_map}\n"
                "# sharing: {timeSlicing: {renameByDefault: true, resources: [{name: nvidia.com/gpu, replicas: 4}]}}\n"
                + restart(found),
            )
    sharing = sorted(key for key, config in configs(case.snapshot).items() if config.shared)
    if sharing and not any(nodes_by_key(case.snapshot).get(key) for key in keys(offered)) and gpu_nodes(case.snapshot):
        yield case.finding(
            found.owner,
            f"No node gets a configuration of ConfigMap {shown(offered)}, though {some(sharing)} would share GPUs: "
            "there is no default and no node carries the label",
            found.path,
            seen={"default": found.default, "label": LABEL},
            remedy=f"kubectl get nodes -L {LABEL}\n# label those that are meant {LABEL}={sharing[0]}\n"
            f"# or name a default in {found.owner.get('kind')} "
            f"{name(found.owner)}: devicePlugin.config.default",
        )
    for key, behind in gaps(case, edited=False).items():
        yield _gap(case, found, offered, key, behind, "was not applied on")


def _gap(case: Case, found: Setup, offered: Obj, key: str, behind: list[Gap], how: str) -> Finding:
    nodes = [name(each.node) for each in behind]
    first = behind[0]
    return case.finding(
        offered,
        f"Key {key or '(empty)'} of ConfigMap {shown(offered)} {how} {some(nodes)}: {nodes[0]} offers {first.offers}, "
        f"not {first.wanted}",
        "metadata.resourceVersion",
        *([f"data[{key}]"] if key else []),
        seen={"wanted": first.wanted, "offered": first.offers, "plugin started": first.started},
        affects=[f"node/{each}" for each in nodes],
        severity=Severity.ERROR if any(each.short for each in behind) else None,
        layer=Layer.PARTITION,
        remedy=restart(found),
    )


@check(
    "GPU093", Severity.WARNING, Layer.PARTITION, reads=_READS,
    remedy="kubectl -n gpu-operator rollout restart ds/nvidia-device-plugin-daemonset ds/gpu-feature-discovery",
    source="gpu-operator #1144; k8s-device-plugin cmd/config-manager (symlink unchanged, no signal)",
)  # fmt: skip
def edited_config_is_loaded(case: Case) -> Iterator[Finding]:
    """Every device plugin runs with the configuration as it stands.

    Only a change of the node's label makes the config-manager signal the plugin. An edit of the
    text under the same key reaches the mounted file but nobody reads it again, so nodes keep
    sharing as before until the plugin is restarted, each node at its own time.
    """
    found, offered = setup(case.snapshot), config_map(case.snapshot)
    if found is None or offered is None:
        return
    for key, behind in gaps(case, edited=True).items():
        yield _gap(case, found, offered, key, behind, "was edited but is not loaded on")
