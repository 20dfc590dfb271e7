"""Faults of the container toolkit and of the runtime under it: GPU045 to GPU050."""

from __future__ import annotations

from plimsoll.kube.objects import get, name, namespace, text
from plimsoll.lab.faults import operands
from plimsoll.lab.faults.driver import gpu_container
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.operands import BY_RUNTIME, EXPORTER, PLUGIN, TOOLKIT, failing
from plimsoll.lab.hardware.conditions import Condition

_SANDBOX = (
    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: "
    'no runtime for "nvidia" is configured'
)
_CONFIG = (
    "unable to setup runtime: unable to load containerd config /runtime/config-dir/config.toml: "
    "version 4 is not supported"
)
_CDI = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: could not apply "
    "required modification to OCI specification: error modifying OCI spec: failed to inject CDI devices: "
    "unresolvable CDI devices runtime.nvidia.com/gpu=all"
)
_NVML = "Failed to initialize NVML: Unknown Error"
_HANDLER = "nvidia-container-runtime"
_DUE = 12  # minutes: a toolkit is given ten to find its driver, a pod ten to get its sandbox


def _everywhere(hands: Hands, **condition: object) -> None:
    """What befalls every pod of a node that runs in the nvidia runtime."""
    for app in BY_RUNTIME:
        hands.condition(Condition(id=hands.fault, node=hands.node, operand=app, **condition))  # type: ignore[arg-type]


def _no_runtime(hands: Hands) -> None:
    """The toolkit wrote to a file that the runtime does not read; the node has restarted since."""
    _everywhere(hands, reason="FailedCreatePodSandBox", message=_SANDBOX)
    operands.until(lambda: operands.says(hands, PLUGIN, "waiting"), "no sandbox")
    operands.renew(hands, *BY_RUNTIME)


def _no_sandbox(hands: Hands) -> bool:
    return operands.says(hands, PLUGIN, "waiting") and not operands.offers(operands.node(hands))


def _host_driver_missing(hands: Hands) -> None:
    """Drivers are left to the machines' images, and one machine has none."""
    hands.condition(
        Condition(id=hands.fault, node=hands.node, operand=TOOLKIT, init=True, container="driver-validation",
                  reason="NotReady")
    )  # fmt: skip
    operands.policy(hands, {"driver": {"enabled": False}})
    operands.until(lambda: not operands.pods(hands, operands.DRIVER), "driver pods gone")
    operands.until(lambda: operands.says(hands, TOOLKIT, "init"), "toolkit waits")
    operands.renew(hands, TOOLKIT)
    operands.follow(hands, TOOLKIT)


def _toolkit_waits(hands: Hands) -> bool:
    gone = not operands.pods(hands, operands.DRIVER)
    return gone and operands.says(hands, TOOLKIT, "init") and not operands.offers(operands.node(hands))


def _unresolvable(hands: Hands) -> None:
    """CDI was switched on, and the files that say what its names mean are missing on one node."""
    _everywhere(hands, init=True, container="toolkit-validation", ended="StartError", exit_code=128, message=_CDI)
    operands.until(lambda: operands.says(hands, PLUGIN, "crash"), "plugin cannot start")
    operands.renew(hands, *BY_RUNTIME)


def _cannot_start(hands: Hands) -> bool:
    return operands.says(hands, PLUGIN, "crash") and not operands.offers(operands.node(hands))


def _unknown_class(hands: Hands) -> None:
    """A server's manifest names a RuntimeClass that this cluster does not have."""
    served = operands.served(hands)
    change = {"spec": {"template": {"spec": {"runtimeClassName": _HANDLER}}}}
    hands.change("apps/v1/Deployment", name(served), change, namespace(served))


def _class_refused(hands: Hands) -> bool:
    told = hands.client.list("v1/Event", fields="reason=FailedCreate,involvedObject.kind=ReplicaSet")
    return any(f'"{_HANDLER}" not found' in text(each, "message") for each in told)


def _reloaded(hands: Hands) -> None:
    """`systemctl daemon-reload` on the node of a running server takes the GPUs from every container there."""
    first = operands.first(hands, operands.users(hands), "a pod with GPUs")
    machine = text(first, "spec", "nodeName")
    for pod in operands.users(hands):
        if get(pod, "spec", "nodeName") == machine:
            operands.spoil(hands, pod, text(gpu_container(pod), "name"), _NVML)
    hands.condition(Condition(id=hands.fault, node=machine, operand=EXPORTER, message=_NVML))


def _gpus_taken(hands: Hands) -> bool:
    found = hands.client.list("v1/Pod")
    return operands.spoiled(found) and any(operands.crashes(each) for each in operands.pods(hands, EXPORTER))


def _another_runtime(hands: Hands) -> None:
    hands.status("v1/Node", hands.node, {"nodeInfo": {"containerRuntimeVersion": "cri-o://1.34.2"}})


def _runtimes_differ(hands: Hands) -> bool:
    return text(operands.node(hands), "status", "nodeInfo", "containerRuntimeVersion").startswith("cri-o")


FAULTS: tuple[Fault, ...] = (
    failing(
        "GPU045", "the container toolkit of a node cannot read the runtime's configuration", TOOLKIT, "crash",
        message=_CONFIG,
    ),
    Fault(
        id="GPU045+runtime",
        title="the container runtime of a node does not know the nvidia runtime",
        where="node",
        on="gpu",
        inject=_no_runtime,
        shown=_no_sandbox,
        later=_DUE,
    ),
    Fault(
        id="GPU046",
        title="drivers are left to the machines, and one machine has none",
        where="node",
        on="gpu",
        inject=_host_driver_missing,
        shown=_toolkit_waits,
        later=_DUE,
    ),
    Fault(
        id="GPU047",
        title="the runtime of a node cannot resolve the names of its GPUs",
        where="node",
        on="gpu",
        inject=_unresolvable,
        shown=_cannot_start,
    ),
    Fault(
        id="GPU048",
        title="a server names a RuntimeClass that does not exist",
        where="service",
        inject=_unknown_class,
        shown=_class_refused,
    ),
    Fault(
        id="GPU049",
        title="a reload of systemd has taken the GPUs from the containers of a node",
        where="cluster",
        inject=_reloaded,
        shown=_gpus_taken,
    ),
    Fault(
        id="GPU050",
        title="a node uses another container runtime than the others",
        where="node",
        on="gpu",
        inject=_another_runtime,
        shown=_runtimes_differ,
    ),
)  # fmt: skip
