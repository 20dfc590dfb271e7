"""GPU080-083: does the layout a node asks for exist, fit, suit the strategy, and arrive?"""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief
from plimsoll.gpus.mig import resource_name
from plimsoll.kube import kinds
from plimsoll.kube.nodes import allocatable, capacity, dra_nodes, gpu_nodes
from plimsoll.kube.objects import Obj, labels, mapping, name, text
from plimsoll.kube.operands import cluster_policy
from plimsoll.kube.pods import trouble
from plimsoll.pillars.partition.change import PATHS, STATE, WANTED, change_of, some
from plimsoll.pillars.partition.layouts import Wish, misfit, missing_config_map, names_for, wish
from plimsoll.pillars.partition.nodes import PLUGIN, SETTLE, daemonset, home, minutes, operand, plugin_started
from plimsoll.pillars.partition.words import MIXED_DEVICES
from plimsoll.units import count

_STRATEGY, _PRODUCT = "nvidia.com/mig.strategy", "nvidia.com/gpu.product"


def _affects(node: Obj) -> list[str]:
    return [f"node/{name(node)}"]


@check(
    "GPU080", Severity.ERROR, Layer.PLUGIN_INPUT,
    reads=(kinds.NODE, kinds.CONFIG_MAP, kinds.CLUSTER_POLICY),
    remedy="Label the node with a config that exists and fits its GPU.",
    source="mig-parted assert --valid-config; NVIDIA MIG User Guide, supported profiles",
)  # fmt: skip
def layout_exists_and_fits(case: Case) -> Iterator[Finding]:
    """Every MIG layout a node asks for exists, and fits its GPU.

    The label `nvidia.com/mig.config` names an entry of the MIG manager's file. A name that is not
    there, a profile of another GPU (`1g.5gb` on an 80 GB card) or instances that find no room make
    the change fail before or after the GPUs were emptied. This is known without touching the node.
    """
    gone = missing_config_map(case.snapshot)
    policy = cluster_policy(case.snapshot)
    if gone and policy:
        asking = [
            name(n) for n in gpu_nodes(case.snapshot) if labels(n).get(WANTED) and labels(n).get(STATE) != "success"
        ]
        yield case.finding(
            policy,
            f"ConfigMap {home(case.snapshot)}/{gone}, from which the MIG manager reads its layouts, does not exist",
            "spec.migManager.config.name",
            seen={"nodes that wait for a layout": len(asking)},
            affects=[f"node/{each}" for each in asking],
            severity=None if asking else Severity.WARNING,
            layer=None if asking else Layer.RISK,
            remedy=f"kubectl -n {home(case.snapshot)} create configmap {gone} --from-file=config.yaml\n"
            f"# or let the manager generate layouts: empty spec.migManager.config.name of ClusterPolicy {name(policy)}",
        )
    for node in gpu_nodes(case.snapshot):
        have = labels(node)
        if text(have, "nvidia.com/mig.capable") == "false" or not (wrong := misfit(case, node)):
            continue  # a GPU without MIG: GPU079 speaks of it
        wanted, applied = text(have, WANTED), have.get(STATE) == "success"
        absent = wanted not in names_for(case.snapshot, node).offered
        if applied and not absent:
            continue  # it was applied, so the driver knows better than our table
        best = difflib.get_close_matches(wanted, wrong.choices, n=1, cutoff=0.0) or ["all-disabled"]
        yield case.finding(
            node,
            f"{name(node)} asks for MIG layout {wanted}, which cannot be applied: {wrong.reason}",
            *PATHS,
            f"metadata.labels[{_PRODUCT}]",
            seen={"layouts that fit": some(list(wrong.choices), 12)},
            affects=[] if applied else _affects(node),
            severity=Severity.WARNING if applied else None,
            layer=Layer.RISK if applied else None,
            remedy=f"kubectl label node {name(node)} {WANTED}={best[0]} --overwrite   # what fits: "
            f"{some(list(wrong.choices), 12)}",
        )


@check(
    "GPU081", Severity.ERROR, Layer.PLUGIN_INPUT, reads=(kinds.NODE, kinds.POD),
    remedy="Change the layout to one profile for all GPUs, or set the MIG strategy to mixed.",
    source="k8s-device-plugin internal/lm (MIG-INVALID); gpu-operator #460",
)  # fmt: skip
def layout_suits_strategy(case: Case) -> Iterator[Finding]:
    """No node has a MIG layout that its MIG strategy cannot express.

    Strategy `single` shows instances as plain `nvidia.com/gpu`, so all GPUs of a node must be cut
    into one profile. Where they are not, GFD labels the product `…-MIG-INVALID` with a count of 0,
    the device plugin stops with `more than one MIG device type present`, and the node offers nothing.
    """
    for node in gpu_nodes(case.snapshot):
        plugin, have = operand(case.snapshot, PLUGIN, name(node)), labels(node)
        ill = trouble(plugin) if plugin else None
        said = ill.message if ill and MIXED_DEVICES.search(ill.message) else ""
        if not (said or text(have, _PRODUCT).endswith("-MIG-INVALID")) or change_of(case, node):
            continue  # in a change the labels are those of before; a failed one is its own cause
        strategy = text(have, _STRATEGY) or text(cluster_policy(case.snapshot), "spec", "mig", "strategy")
        yield case.finding(
            node,
            f"The MIG layout of {name(node)} does not suit strategy {strategy or 'single'}: "
            + (brief(said, 160) or f"GFD calls it {text(have, _PRODUCT)}"),
            *PATHS,
            f"metadata.labels[{_STRATEGY}]",
            f"metadata.labels[{_PRODUCT}]",
            seen={"device plugin said": said} if said else None,
            affects=_affects(node),
            remedy=f"# set {WANTED} to one profile on every GPU, the layout first, the strategy after it:\n"
            f"{_list(case, node)}\n"
            "# or keep the mix (all nodes; resources are renamed after their profile):\n"
            "kubectl patch clusterpolicy "
            f"{name(cluster_policy(case.snapshot) or {}) or 'cluster-policy'} --type merge "
            '-p \'{"spec":{"mig":{"strategy":"mixed"}}}\'',
        )


def _list(case: Case, node: Obj) -> str:
    return f"# layouts on offer: {some(list(names_for(case.snapshot, node).offered), 12) or 'see the MIG manager'}"


@check(
    "GPU082", Severity.ERROR, Layer.PARTITION,
    reads=(kinds.NODE, kinds.POD, kinds.CONFIG_MAP, kinds.CLUSTER_POLICY),
    remedy="Restart the device plugin on the node; check the MIG strategy.",
    source="gpu-operator #603, #646, #1738; device plugin MIG strategies",
)  # fmt: skip
def layout_is_offered(case: Case) -> Iterator[Finding]:
    """A node whose MIG layout succeeded offers the devices of that layout.

    `success` says that the GPUs are cut, not that anyone can have the pieces. The device plugin
    must have looked again afterwards, its strategy must expose MIG devices, and the layout must
    create some: `all-enabled` switches MIG on and makes none.
    """
    for node in gpu_nodes(case.snapshot):
        plugin = operand(case.snapshot, PLUGIN, name(node))
        if labels(node).get(STATE) != "success" or not mapping(node, "status", "capacity"):
            continue
        if name(node) in dra_nodes(case.snapshot):
            continue  # handed out by ResourceSlices, not by numbers
        age = minutes(plugin_started(plugin), case.now) if plugin else None
        if age is not None and age < SETTLE:
            continue
        gap = _gap(case, node)
        if gap:
            yield case.finding(
                node,
                f"{name(node)} reports MIG layout {text(labels(node), WANTED)} as applied, but {gap[0]}",
                *PATHS,
                f"metadata.labels[{_STRATEGY}]",
                seen={"offered": capacity(node)},
                affects=_affects(node),
                remedy=gap[1] + f"\nkubectl -n {home(case.snapshot)} delete pod -l app={daemonset(PLUGIN)} "
                f"--field-selector spec.nodeName={name(node)}   # it comes back and looks again",
            )


def _gap(case: Case, node: Obj) -> tuple[str, str] | None:
    """What the node does not offer and a first step; None where it offers what it should or that is unknown."""
    have, wanted = labels(node), wish(case, node)
    strategy = text(have, _STRATEGY) or text(cluster_policy(case.snapshot), "spec", "mig", "strategy")
    offered = {resource: amount for resource, amount in capacity(node).items() if amount}
    if text(have, _PRODUCT).endswith("-MIG-INVALID"):
        return None
    if wanted is None or strategy == "single":
        single = "-MIG-" in text(have, _PRODUCT) or bool(wanted and wanted.instances)
        return ("its GPUs offer no device", "") if single and not offered else None
    if not wanted.instances:
        if wanted.whole or offered:
            return None
        return "that layout creates no instances, so it offers no device", (
            f"kubectl label node {name(node)} {WANTED}=all-balanced --overwrite   # or another layout with instances"
        )
    short = _short(node, wanted)
    if not short:
        return None
    if strategy == "none":
        return "MIG strategy none hides MIG devices", (
            "kubectl get clusterpolicies -o jsonpath='{.items[*].spec.mig.strategy}'   # single or mixed"
        )
    return f"it has {short}", ""


def _short(node: Obj, wanted: Wish) -> str:
    """The first resource whose number is not the layout's, in words; "" if all agree.

    The same part missing from every profile is a GPU that was lost, which GPU059 judges.
    """
    numbers, registered = {}, capacity(node)
    for profile, amount in wanted.instances.items():
        resource = resource_name(profile)
        replicas = max(1, count(labels(node).get(f"{resource}.replicas")))
        numbers[resource] = (registered.get(resource, 0) + registered.get(f"{resource}.shared", 0), amount * replicas)
    shares = {got / want for got, want in numbers.values()}
    others = [
        each for each, n in registered.items() if n and "/mig-" in each and each.removesuffix(".shared") not in numbers
    ]
    if len(shares) == 1 and 0 < next(iter(shares)) <= 1 and not others:
        return ""
    return next((f"{got} {resource} instead of {want}" for resource, (got, want) in numbers.items() if got != want), "")


@check(
    "GPU083", Severity.WARNING, Layer.PARTITION, reads=(kinds.NODE, kinds.CONFIG_MAP, kinds.CLUSTER_POLICY),
    remedy="Restart the kubelet of the node, or remove the key from its status.",
    source="gpu-operator #637; k8s-device-plugin #240",
)  # fmt: skip
def no_whole_gpus_beside_slices(case: Case) -> Iterator[Finding]:
    """A node whose GPUs are all cut by MIG offers no whole GPU.

    After a change to the mixed strategy the kubelet can keep counting `nvidia.com/gpu` beside the
    MIG resources. Pods that ask for a whole GPU are placed there and fail, again and again. A node
    where the layout leaves some GPUs whole offers both rightly; one that still counts them and gives
    none, as every kubelet does for five minutes after a change, takes no such pod (GPU061 says so).
    """
    for node in gpu_nodes(case.snapshot):
        offered = capacity(node)
        whole, sliced = offered.get("nvidia.com/gpu", 0), [r for r, n in offered.items() if n and "/mig-" in r]
        if not whole or not sliced or change_of(case, node) or allocatable(node).get("nvidia.com/gpu") == 0:
            continue
        wanted = wish(case, node)
        replicas = labels(node).get("nvidia.com/gpu.replicas")
        if (wanted is not None and wanted.whole == 0) or (wanted is None and replicas == "0"):
            yield case.finding(
                node,
                f"{name(node)} counts {whole} nvidia.com/gpu beside {some(sliced)}, though MIG cuts all its GPUs",
                "status.capacity[nvidia.com/gpu]",
                *PATHS,
                affects=_affects(node),
                remedy=f"# on {name(node)}: systemctl restart kubelet\n"
                f"kubectl patch node {name(node)} --subresource=status --type=json "
                '-p \'[{"op":"remove","path":"/status/capacity/nvidia.com~1gpu"}]\'',
            )
