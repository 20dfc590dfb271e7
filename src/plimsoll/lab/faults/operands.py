"""What faults of the GPU Operator's parts share: its pods on a node, and a container of them that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from plimsoll.errors import LabError
from plimsoll.kube.objects import Obj, annotations_of, get, items, labels, mapping, name, namespace, number, text
from plimsoll.kube.operands import operand_of
from plimsoll.kube.pods import gpu_requests, ready, trouble
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.hardware.conditions import Condition

NAMESPACE = "gpu-operator"
POLICY = ("nvidia.com/v1/ClusterPolicy", "cluster-policy")
NFD = "gpu-operator-node-feature-discovery"
NEXT_DRIVER = "595.99.02"  # newer than what platforms of the lab declare
GATE = "nvidia.com/gpu.deploy."
DRIVER, TOOLKIT = "nvidia-driver-daemonset", "nvidia-container-toolkit-daemonset"
PLUGIN, VALIDATOR = "nvidia-device-plugin-daemonset", "nvidia-operator-validator"
GFD, EXPORTER = "gpu-feature-discovery", "nvidia-dcgm-exporter"
BY_RUNTIME = (VALIDATOR, PLUGIN, GFD, EXPORTER)  # that run in the nvidia runtime
_PAUSE, _PATIENCE = 0.3, 20.0


def until(holds: Callable[[], bool], what: str, *, patience: float = _PATIENCE) -> None:
    """Wait until something holds, between two steps of a fault. Raises LabError where it does not in time."""
    end = time.monotonic() + patience
    while not holds():
        if time.monotonic() > end:
            raise LabError(f"still not so after {patience:.0f} s: {what}", where="lab")
        time.sleep(_PAUSE)


def gpu_nodes(hands: Hands) -> list[Obj]:
    """The nodes the operator has adopted, by name."""
    found = hands.client.list("v1/Node", labels="nvidia.com/gpu.present=true")
    return sorted(found, key=name)


def node(hands: Hands) -> Obj:
    """The fault's node as it is now."""
    return hands.get("v1/Node", hands.node)


def offers(machine: Obj) -> int:
    """GPUs of any kind that pods may be given on a node now."""
    found = mapping(machine, "status", "allocatable")
    return sum(int(count) for key, count in found.items() if key.startswith("nvidia.com/") and str(count).isdecimal())


def pods(hands: Hands, *apps: str) -> list[Obj]:
    """The operands' pods, by their `app` label (all of them without one), on the fault's node where it has one."""
    found = [each for each in hands.pods(NAMESPACE, "app") if operand_of(each)]
    return [each for each in found if not apps or text(labels(each), "app") in apps]


def renew(hands: Hands, *apps: str) -> None:
    """End the operands' pods, as the driver manager or a reboot does; their DaemonSets make new ones where they may."""
    for each in pods(hands, *apps):
        hands.end_pod(name(each), NAMESPACE)


def follow(hands: Hands, app: str) -> None:
    """Have what needs the driver or the toolkit start anew, as after a reboot: it waits. app: the one that fails."""
    gates = (TOOLKIT, VALIDATOR) if app == DRIVER else (VALIDATOR,)
    renew(hands, *gates)  # they let the others start: first they must be seen to wait
    until(lambda: all(says(hands, each, "init") for each in gates), f"{', '.join(gates)} wait")
    renew(hands, *(text(labels(each), "app") for each in pods(hands) if not _is(each, DRIVER, TOOLKIT, VALIDATOR)))


def _is(pod: Obj, *apps: str) -> bool:
    return text(labels(pod), "app") in apps


def says(hands: Hands, app: str, *states: str) -> bool:
    """Whether each pod of an operand (of which there must be one) is in one of these states of `pods.trouble`."""
    found = [trouble(each) for each in pods(hands, app)]
    return bool(found) and all(each is not None and each.state in states for each in found)


def failing(
    id_: str,
    title: str,
    app: str,
    state: str,
    *,
    container: str = "",
    init: bool = False,
    reason: str = "CrashLoopBackOff",
    message: str = "",
    exit_code: int = 1,
    ended: str = "Error",
    later: int = 0,
) -> Fault:
    """A container of an operand that fails on a node, and what needs it waits.

    state: as `pods.trouble` then calls it. The rest: as in `Condition`.
    """

    def inject(hands: Hands) -> None:
        hands.condition(
            Condition(id=hands.fault, node=hands.node, operand=app, container=container, init=init, reason=reason,
                      message=message, exit_code=exit_code, ended=ended)
        )  # fmt: skip
        until(lambda: says(hands, app, state), f"{app} on {hands.node}: {state}")
        if init or reason not in ("CrashLoopBackOff", "NotReady"):  # what only a new pod can run into
            renew(hands, app)
        if app in (DRIVER, TOOLKIT):
            follow(hands, app)

    def shown(hands: Hands) -> bool:
        return says(hands, app, state) and not offers(node(hands))

    return Fault(id=id_, title=title, where="node", on="gpu", inject=inject, shown=shown, later=later)


def policy(hands: Hands, spec: Obj) -> None:
    """Change the ClusterPolicy's spec, as `kubectl edit` or a chart's upgrade does."""
    hands.change(*POLICY, {"spec": spec})


def policy_state(hands: Hands) -> tuple[str, str]:
    """(state, reason) that the operator gives its ClusterPolicy."""
    found = hands.get(*POLICY)
    true = [each for each in items(found, "status", "conditions") if each.get("status") == "True"]
    return text(found, "status", "state"), text(true[0] if true else {}, "reason")


def rolled_out(hands: Hands) -> bool:
    """Whether every DaemonSet of the operator has its pods, all as it wants them now."""
    return all(map(_settled, hands.client.list("apps/v1/DaemonSet", NAMESPACE)))


def _settled(daemonset: Obj) -> bool:
    status = mapping(daemonset, "status")
    wanted = number(status, "desiredNumberScheduled")
    known = number(status, "observedGeneration") == number(daemonset, "metadata", "generation")
    return known and wanted == number(status, "updatedNumberScheduled") == number(status, "numberAvailable")


def label(hands: Hands, machine: str, values: dict[str, str | None]) -> None:
    """`kubectl label node`; None takes a label away."""
    hands.change("v1/Node", machine, {"metadata": {"labels": values}})


def users(hands: Hands) -> list[Obj]:
    """The pods that hold GPUs and are ready, by namespace and name, on the fault's node where it has one."""
    fields = f"spec.nodeName={hands.node}" if hands.node else ""
    found = hands.client.list("v1/Pod", fields=fields)
    return sorted((each for each in found if gpu_requests(each) and ready(each)), key=_key)


def first(hands: Hands, found: list[Obj], what: str) -> Obj:
    """The first of these. Raises LabError where there is none."""
    if not found:
        raise LabError(f"{hands.fault} needs {what}", where="lab", hint="examples/practice has one")
    return found[0]


def served(hands: Hands) -> Obj:
    """The first Deployment that asks for GPUs and has them. Raises LabError without one."""
    found = hands.client.list("apps/v1/Deployment")
    fit = [each for each in found if gpu_requests(mapping(each, "spec", "template"))
           and get(each, "status", "readyReplicas")]  # fmt: skip
    return first(hands, sorted(fit, key=_key), "a Deployment with GPUs that are there")


def _key(obj: Obj) -> tuple[str, str]:
    return namespace(obj), name(obj)


def spoil(hands: Hands, pod: Obj, container: str, message: str, *, reason: str = "Error", exit_code: int = 1) -> None:
    """Have a container of a pod that is no operand's crash from now on."""
    said = {"crash": container, "crash-reason": reason, "crash-message": message, "crash-exit-code": str(exit_code)}
    notes = {f"lab.plimsoll.dev/{key}": value for key, value in said.items()}
    hands.change("v1/Pod", name(pod), {"metadata": {"annotations": notes}}, namespace(pod))


def spoiled(found: Iterable[Obj]) -> bool:
    """Whether every one of these pods crashes as it was told to."""
    told = [each for each in found if "lab.plimsoll.dev/crash" in annotations_of(each)]
    return bool(told) and all(map(crashes, told))


def crashes(pod: Obj) -> bool:
    """Whether a container of a pod fails."""
    found = trouble(pod)
    return found is not None and found.state == "crash"
