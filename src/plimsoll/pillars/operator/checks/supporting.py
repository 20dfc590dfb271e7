"""Check on the operands beside driver, toolkit, plugin and validator: GPU023."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief, many
from plimsoll.kube import kinds
from plimsoll.kube.objects import name, namespace, text
from plimsoll.kube.operands import MONITORING, OPERANDS, SUPPORTING, operand_states
from plimsoll.pillars.operator.checks.age import lasting
from plimsoll.pillars.operator.checks.plugins import of_node

_JUDGED = ("driver", "vgpu-manager", "container-toolkit", "device-plugin", "mps-control-daemon", "operator-validator",
           "dra-validator")  # fmt: skip
_WITHOUT = {
    "gpu-feature-discovery": "its GPU labels are no longer right after a change",
    "mig-manager": "it cannot change its MIG layout",
}


@check(
    "GPU023",
    Severity.WARNING,
    Layer.VALIDATOR,
    reads=(kinds.NODE, kinds.POD),
    remedy="kubectl -n gpu-operator get pods -o wide | grep -v Running",
    source="gpu-operator assets (gpu-feature-discovery, mig-manager, dcgm-exporter, node-status-exporter)",
)
def supporting_operands_run(case: Case) -> Iterator[Finding]:
    """The operands beside driver, toolkit and plugin run too.

    GPUs are on offer without feature discovery, MIG manager or exporters, so that a crash of
    one goes unnoticed until it matters: labels stay as they were, a MIG layout cannot be
    changed, use and health of the GPUs are no longer measured. It is an error where GPUs are
    passed to virtual machines and one of the operands for that fails.
    """
    for node, states in sorted(operand_states(case.snapshot).items()):
        for operand in OPERANDS:
            state = states.get(operand.name)
            if operand.name in _JUDGED or state is None or state.pod is None or state.trouble is None:
                continue
            found = state.trouble
            age = text(state.pod, "metadata", "creationTimestamp")
            starting = found.state == "unready" and not lasting(case, age)
            if not state.fails or starting or found.state in ("image", "unschedulable"):
                continue
            lost = _WITHOUT.get(operand.name, "nobody measures its GPUs" if operand.name in MONITORING else "")
            yield of_node(
                case,
                node,
                state.pod,
                f"{operand.name} on {node} does not run "
                f"({found.reason or found.state}, {many(found.restarts, 'restart')})"
                + (f": {brief(state.says, 160)}" if state.says else f": {lost}" if lost else ""),
                found.path,
                seen={"state": found.state, "container": found.container, "without it": lost or "unknown"},
                severity=None if operand.name in SUPPORTING else Severity.ERROR,
                remedy=f"kubectl -n {namespace(state.pod)} logs {name(state.pod)} --all-containers --previous "
                f"--ignore-errors=true\n"
                f"kubectl -n {namespace(state.pod)} describe pod {name(state.pod)}"
                + ("\nout of memory: raise its resources.limits.memory in the chart's values"
                   if found.reason == "OOMKilled" else ""),
            )  # fmt: skip
