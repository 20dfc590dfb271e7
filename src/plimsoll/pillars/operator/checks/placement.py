"""Checks on placement: may the operands run on each GPU node? GPU020, GPU021."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.nodes import dra_nodes, gpu_nodes, selected, untolerated
from plimsoll.kube.objects import Obj, get, items, labels, name, namespace, pod_template, text
from plimsoll.kube.operands import (
    GATE,
    OPT_OUT,
    SUPPORTING,
    cluster_policy,
    enabled,
    gate,
    operand_of,
    operand_states,
    operator_namespace,
)
from plimsoll.pillars.operator.checks import nfd
from plimsoll.pillars.operator.checks.hints import dead
from plimsoll.pillars.operator.checks.offer import shortfalls
from plimsoll.pillars.operator.checks.placements import Placement, placements
from plimsoll.pillars.operator.checks.plugins import is_plugin, plugin_pods
from plimsoll.pillars.operator.checks.versions import upgrade


def some(names: list[str]) -> str:
    """Names for a title: at most three, then how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@check("GPU020", Severity.WARNING, Layer.PLACEMENT, reads=(kinds.NODE, kinds.CLUSTER_POLICY),
       remedy="kubectl label node <node> nvidia.com/gpu.deploy.operands-",
       source="gpu-operator state_manager.go")  # fmt: skip
def no_operand_opted_out(case: Case) -> Iterator[Finding]:
    """No label keeps the operator's operands off a GPU node.

    `nvidia.com/gpu.deploy.operands=false`, or `false` for one operand, keeps them away for
    good. That is right for a node whose GPUs are managed otherwise, and a forgotten note
    of some repair everywhere else. It is a warning where the node offers no GPU now.
    Switching the device plugin off in the ClusterPolicy does the same to every node.
    """
    yield from _plugin_off(case)
    for node in gpu_nodes(case.snapshot):
        title, have = name(node), labels(node)
        out = {f"{GATE}{op}" for op, each in operand_states(case.snapshot)[title].items() if each.state == "opted-out"}
        keys = [OPT_OUT] if have.get(OPT_OUT) == "false" else sorted(out & set(have))
        if not keys:
            continue
        offers = title not in shortfalls(case.snapshot)
        vital = any(key.removeprefix(GATE) not in SUPPORTING for key in keys)
        yield case.finding(
            node,
            f"{', '.join(f'{key}={have[key]}' for key in keys)} keeps operands off {title}"
            + ("" if offers else ", which offers no GPU"),
            *(f"metadata.labels[{key}]" for key in keys),
            affects=[f"node/{title}"],
            remedy="if that is not meant, let the operator set it anew:\n"
            f"kubectl label node {title} {' '.join(key + '-' for key in keys)}",
            severity=Severity.WARNING if vital and not offers else Severity.INFO,
        )


def _plugin_off(case: Case) -> Iterator[Finding]:
    """The ClusterPolicy switches the device plugin off, and nodes it manages offer nothing."""
    policy = cluster_policy(case.snapshot)
    if policy is None or enabled(case.snapshot, "device-plugin") is not False:
        return
    if dra_nodes(case.snapshot) or case.snapshot.list(kinds.GPU_CLUSTER):
        return  # off because the DRA driver hands out the GPUs: GPU055 names the node it leaves out
    bare = sorted(
        node
        for node, wrong in shortfalls(case.snapshot).items()
        if wrong.kind in ("absent", "gone", "dead")
        and wrong.severity is None
        and node in operand_states(case.snapshot)
        and labels(case.snapshot.get(kinds.NODE, node) or {}).get(gate("device-plugin")) == "true"
    )
    if bare:
        yield case.finding(
            policy,
            f"ClusterPolicy {name(policy)} switches the device plugin off; {some(bare)} "
            f"{'offers' if len(bare) == 1 else 'offer'} no GPU",
            "spec.devicePlugin.enabled",
            affects=[f"node/{node}" for node in bare],
            remedy=f"{upgrade(case.snapshot, 'devicePlugin.enabled=true')}\n"
            "or bring another device plugin, or the DRA driver",
            severity=Severity.ERROR,
        )


@check("GPU021", Severity.ERROR, Layer.PLACEMENT, reads=(kinds.NODE, kinds.DAEMON_SET), whole=(kinds.POD,),
       remedy="let daemonsets.tolerations of the chart cover the taint, or take the taint away:\n"
       "kubectl describe node <node>   # its taints",
       source="gpu-operator daemonsets.tolerations, #26; DaemonSet controller")  # fmt: skip
def operands_placed(case: Case) -> Iterator[Finding]:
    """Every operand that belongs on a GPU node may run there, and does.

    A taint that `daemonsets.tolerations` does not cover lets running operands live but
    never come back: after a reboot, an upgrade or an eviction the DaemonSet says DESIRED 0
    for the node, the ClusterPolicy stays ready, and the node offers no GPU. The same goes
    for an operand whose pod the scheduler cannot place.
    """
    yield from _standalone(case)
    for node in gpu_nodes(case.snapshot):
        wrong = placements(case.snapshot).get(name(node))
        if wrong is None or wrong.kind not in ("taint", "unschedulable", "missing"):
            continue
        if wrong.kind == "taint":
            yield _tainted(case, node, wrong)
            continue
        title, gone = name(node), list(wrong.operands)
        subject = wrong.state.pod or wrong.state.daemonset or node
        stuck = wrong.kind == "unschedulable"
        what = f"cannot be scheduled: {wrong.says}" if stuck else wrong.says or "has no pod there"
        yield case.finding(
            subject if stuck else node,
            f"{wrong.state.operand} is meant for {title} but {what}",
            "status.conditions[PodScheduled].message" if stuck else f"metadata.labels[{gate(wrong.state.operand)}]",
            seen={"operands that do not run": ", ".join(gone)},
            affects=[f"node/{title}"],
            remedy=(
                ""
                if subject is node
                else f"kubectl -n {namespace(subject)} describe {text(subject, 'kind').lower()} {name(subject)}\n"
            )
            + f"kubectl describe node {title}   # taints, pressure, free cpu and memory",
            severity=wrong.severity,
        )


def _standalone(case: Case) -> Iterator[Finding]:
    """Device plugins without the operator whose DaemonSet selects a tainted node, and has no pod there."""
    for plugin in case.snapshot.list(kinds.DAEMON_SET):
        template = pod_template(plugin)
        if operand_of(plugin) or not is_plugin(template):
            continue
        for node in dead(case.snapshot):
            taints = untolerated(node, items(template, "spec", "tolerations"), daemon=True)
            if not taints or name(node) in plugin_pods(case.snapshot) or not selected(node, template):
                continue
            key = text(taints[0], "key")
            yield case.finding(
                node,
                f"{name(node)} has taint {key}, which plugin {namespace(plugin)}/{name(plugin)} does not tolerate",
                "spec.taints",
                seen={"tolerations": get(template, "spec", "tolerations") or "none"},
                affects=[f"node/{name(node)}"],
                remedy=f"add to the tolerations of DaemonSet {namespace(plugin)}/{name(plugin)}:\n"
                f"- {{key: {key}, operator: Exists, effect: {text(taints[0], 'effect')}}}",
            )


def _tainted(case: Case, node: Obj, wrong: Placement) -> Finding:
    title, gone, daemonset = name(node), list(wrong.operands), wrong.state.daemonset or {}
    written = ", ".join(f"{text(t, 'key')}{'=' + text(t, 'value') if t.get('value') else ''}:{text(t, 'effect')}"
                        for t in wrong.taints)  # fmt: skip
    what = f"{len(gone)} cannot run there: {some(gone)}" if gone else "they run only until their next restart"
    here = operator_namespace(case.snapshot) or namespace(daemonset)
    lines = "\n".join(
        f"- {{key: {text(t, 'key')}, operator: Exists, effect: {text(t, 'effect')}}}" for t in wrong.taints
    )
    return case.finding(
        node,
        f"{title} has taint {written}, which the operands do not tolerate; {what}",
        "spec.taints",
        seen={"tolerations of " + name(daemonset): get(pod_template(daemonset), "spec", "tolerations") or "none",
              "operands that do not run": ", ".join(gone) or "none",
              "NFD worker tolerates it": _nfd_tolerates(case, node)},
        affects=[f"node/{title}"],
        remedy=f"kubectl get ds -n {here}   # DESIRED leaves {title} out\n"
        "add to daemonsets.tolerations (ClusterPolicy: spec.daemonsets.tolerations) and "
        f"node-feature-discovery.worker.tolerations in values.yaml:\n{lines}\n"
        f"{upgrade(case.snapshot)} -f values.yaml\n"
        f"or take the taint away: kubectl taint node {title} {' '.join(text(t, 'key') + '-' for t in wrong.taints)}",
        severity=wrong.severity,
    )  # fmt: skip


def _nfd_tolerates(case: Case, node: Obj) -> bool | str:
    workers = nfd.workers(case.snapshot)
    if not workers:
        return "unknown"
    return any(not untolerated(node, items(pod_template(each), "spec", "tolerations"), daemon=True) for each in workers)
