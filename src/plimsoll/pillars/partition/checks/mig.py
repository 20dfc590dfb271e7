"""GPU075-079: does the MIG manager bring each node to the layout its label asks for?

A node is in one stage of a change at a time, so at most one of these speaks of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import drain, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes, is_ready
from plimsoll.kube.objects import Obj, name
from plimsoll.pillars.partition.change import (
    BEGUN,
    PATHS,
    REBOOT,
    SLOW,
    STATE,
    WANTED,
    Change,
    change_of,
    holders,
    some,
)
from plimsoll.pillars.partition.declared import declared_config
from plimsoll.pillars.partition.layouts import misfit
from plimsoll.pillars.partition.nodes import MIG_MANAGER, daemonset, home, operand

_SOURCE = "mig-parted pkg/mig/reconfigure; "


def _in(case: Case, stage: str) -> Iterator[tuple[Obj, Change]]:
    for node in gpu_nodes(case.snapshot):
        change = change_of(case, node)
        if change and change.stage == stage:
            yield node, change


def _depth(change: Change) -> Layer:
    """Where a change sits among the causes: paused operands are its doing, so it is deeper than the plugin."""
    return Layer.PLUGIN_INPUT if change.paused else Layer.PARTITION


def _affects(node: Obj) -> list[str]:
    return [f"node/{name(node)}"]


def _logs(case: Case, node: Obj) -> str:
    manager, where = operand(case.snapshot, MIG_MANAGER, name(node)), home(case.snapshot)
    if manager:
        return f"kubectl -n {where} logs {name(manager)} --tail=200"
    return f"kubectl -n {where} get pods -l app={daemonset(MIG_MANAGER)} -o wide   # none on {name(node)}"


def _who(case: Case, node: Obj) -> str:
    found = holders(case, node)
    held = f"   # {some(found)} {'holds' if len(found) == 1 else 'hold'} GPUs" if found else ""
    return f"kubectl get pods -A --field-selector spec.nodeName={name(node)}{held}"


def _again(case: Case, node: Obj, wanted: str) -> str:
    """Commands that start the change anew, with the declared layout where platform.yaml has one."""
    title, declared = name(node), declared_config(case, node)
    off = f"kubectl label node {title} {WANTED}=all-disabled --overwrite   # wait for {STATE}=success"
    if not wanted and not declared:
        return f"{off}\nthen set {WANTED} to the layout you want"
    config = declared or wanted
    why = f"   # what platform.yaml declares, not {wanted}" if declared and wanted and declared != wanted else ""
    return f"{off}\nkubectl label node {title} {WANTED}={config} --overwrite{why}"


@check(
    "GPU075", Severity.ERROR, Layer.PARTITION, reads=(kinds.NODE,),
    remedy="Read the MIG manager's log on the node, free its GPUs, then set nvidia.com/mig.config again.",
    source=_SOURCE + "gpu-operator #262, #646; mig-parted #181",
)  # fmt: skip
def layout_applied(case: Case) -> Iterator[Finding]:
    """The MIG manager could apply the layout each node asks for.

    A node whose change failed offers no device, or those of the old layout, while quota and
    schedulers count on the new one. ClusterPolicy stays `ready`. The usual reasons: a process
    still holds a GPU (a pod, DCGM, a host service), the reset was refused because `nvidia_drm`
    is loaded, the GPU needs a reboot to change its mode, or the layout does not fit the GPU
    (then GPU080 says so).
    """
    for node, change in _in(case, "failed"):
        client = (
            f"\nkubectl -n {home(case.snapshot)} delete pod -l 'app in (nvidia-dcgm,nvidia-dcgm-exporter)' "
            f"--field-selector spec.nodeName={name(node)}   # DCGM can keep a handle on a MIG device"
            if change.why
            else ""
        )
        yield case.finding(
            node,
            f"MIG layout {change.wanted or '(unnamed)'} failed on {name(node)}"
            + (f": {change.why}" if change.why else "")
            + ("; it offers no GPU now" if not change.offers else ""),
            *PATHS,
            seen={"devices that pods can be given": change.offers},
            affects=_affects(node),
            layer=_depth(change),
            remedy=f"{_logs(case, node)}\n{_who(case, node)}{client}\n"
            f"only if its pods may end:\n{drain(name(node), some(holders(case, node)) or 'its pods')}\n"
            f"{_again(case, node, change.wanted)}\nkubectl uncordon {name(node)}   # once {STATE}=success",
        )


@check(
    "GPU076", Severity.WARNING, Layer.PARTITION, reads=(kinds.NODE,), whole=(kinds.POD,),
    remedy="List the GPU pods of the node; the change waits for them.", source=_SOURCE + "evicts no pods of users",
)  # fmt: skip
def layout_change_moves(case: Case) -> Iterator[Finding]:
    """No node is in the middle of a change of its MIG layout.

    While a change runs, the device plugin, GFD and DCGM of the node are stopped and it offers
    no GPU. That takes a minute or two; after a quarter of an hour something holds it up: mostly
    a pod that still uses a GPU, which the MIG manager does not evict.
    """
    for node, change in _in(case, "pending"):
        slow = change.age is not None and change.age >= SLOW
        begun = change.age is not None and change.age < BEGUN
        idle = not change.offers and change.age is None
        since = f" for {many(change.age, 'minute')}" if change.age is not None else ""
        yield case.finding(
            node,
            f"MIG layout {change.wanted or '(unnamed)'} has been pending on {name(node)}{since}: {change.why}",
            *PATHS,
            seen={"devices that pods can be given": change.offers},
            affects=_affects(node),
            severity=Severity.ERROR if slow or idle else Severity.INFO if begun else Severity.WARNING,
            layer=_depth(change),
            remedy=f"{_who(case, node)}\n{_logs(case, node)}",
        )


@check(
    "GPU077", Severity.ERROR, Layer.PLUGIN_INPUT, reads=(kinds.NODE, kinds.EVENT), whole=(kinds.POD,),
    remedy="Set the paused deploy labels back to true, then set nvidia.com/mig.config again.",
    source=_SOURCE + "gpu-operator #2833, mig-parted #485",
)  # fmt: skip
def layout_change_is_not_wedged(case: Case) -> Iterator[Finding]:
    """No change of a MIG layout has been given up half-way.

    When an operand does not stop within five minutes the MIG manager returns without marking the
    change failed and without letting the operands back. From then on the state stays `pending`,
    the deploy labels stay `paused-for-mig-change`, the operator does not heal them, and the node
    offers nothing while every pod that is left looks healthy and ClusterPolicy says `ready`.
    """
    for node, change in _in(case, "wedged"):
        free = [f"kubectl label node {name(node)} {key}=true --overwrite" for key in change.paused]
        paused = f" ({many(len(change.paused), 'operand')} paused)" if change.paused else ""
        yield case.finding(
            node,
            f"MIG change to {change.wanted or '(unnamed)'} is stuck on {name(node)}: {change.why}{paused}",
            *PATHS,
            *(f"metadata.labels[{key}]" for key in change.paused),
            seen={"devices that pods can be given": change.offers},
            affects=_affects(node),
            remedy="\n".join([_logs(case, node), _who(case, node), *free, _again(case, node, change.wanted)]),
        )


@check(
    "GPU078", Severity.ERROR, Layer.PARTITION, reads=(kinds.NODE, kinds.POD),
    remedy="Cordon the node and power-cycle it.", source=_SOURCE + "WITH_REBOOT",
)  # fmt: skip
def reboot_for_layout_ends(case: Case) -> Iterator[Finding]:
    """Every node that the MIG manager rebooted has come back.

    With WITH_REBOOT=true a GPU whose mode cannot be changed by a reset makes the manager reboot
    the node. If the mode has not changed afterwards it stops there rather than reboot for ever,
    and the node stays without GPUs until somebody looks.
    """
    for node, change in _in(case, "rebooting"):
        under_way = not is_ready(node) if change.age is None else change.age < REBOOT
        yield case.finding(
            node,
            f"{name(node)} is still rebooting for MIG layout {change.wanted or '(unnamed)'}"
            + (f" {change.why}" if change.why else ""),
            *PATHS,
            "status.conditions[Ready].status",
            affects=_affects(node),
            severity=Severity.WARNING if under_way else Severity.ERROR,
            layer=_depth(change),
            remedy=f"kubectl cordon {name(node)}\n{_logs(case, node)}\n"
            "# then power-cycle the machine; a cold start resets what a warm reboot does not\n"
            f"when it is back: kubectl uncordon {name(node)}",
        )


@check(
    "GPU079", Severity.ERROR, Layer.PARTITION, reads=(kinds.NODE,), whole=(kinds.POD,),
    remedy="Enable the MIG manager (migManager.enabled=true) and label the node gpu.deploy.mig-manager=true.",
    source="gpu-operator #287, #873; state_manager.go (deploy label needs nvidia.com/mig.capable)",
)  # fmt: skip
def layout_has_a_manager(case: Case) -> Iterator[Finding]:
    """Somebody acts on every MIG layout that a node's label asks for.

    The label alone changes nothing: a MIG manager pod on the node must read it and answer with
    `nvidia.com/mig.config.state`. The operator starts one only where GFD found a GPU that can be
    partitioned and ClusterPolicy enables it; otherwise the label stays a wish and the pods that
    ask for its devices stay Pending.
    """
    for node, change in _in(case, "unattended"):
        cannot = "mig.capable=false" in change.why
        if misfit(case, node) and not cannot:
            continue  # GPU080 says more: it would not work with a manager either
        yield case.finding(
            node,
            f"{name(node)} asks for MIG layout {change.wanted} and nobody acts on it: {change.why}",
            *PATHS,
            "metadata.labels[nvidia.com/mig.capable]",
            "metadata.labels[nvidia.com/gpu.deploy.mig-manager]",
            affects=_affects(node),
            remedy=f"kubectl label node {name(node)} {WANTED}-   # the GPU has no MIG"
            if cannot
            else "kubectl get clusterpolicies -o jsonpath='{.items[*].spec.migManager.enabled}'\n"
            f"kubectl label node {name(node)} nvidia.com/gpu.deploy.mig-manager=true --overwrite\n{_logs(case, node)}",
        )
