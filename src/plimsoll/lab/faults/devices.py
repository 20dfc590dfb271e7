"""Faults of the device plugin, of what a node offers, and of the validator: GPU054 to GPU062, GPU105 to GPU111."""

from __future__ import annotations

from plimsoll.kube.objects import Obj, get, items, labels, mapping, text
from plimsoll.lab.faults import operands
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.operands import EXPORTER, PLUGIN, VALIDATOR, failing
from plimsoll.lab.hardware.conditions import Condition

_GPU = "nvidia.com/gpu"
_DUE = 12  # minutes: a node that has just become ready is given ten before what it lacks counts
_NVML = (
    "Failed to initialize NVML: could not load NVML library. If this is a GPU node, did you set the default runtime?"
)
_CUDA = (
    "[Vector addition of 50000 elements] Failed to allocate device vector A (error code system not yet initialized)!"
)
_SECOND = "nvidia-device-plugin-daemonset"


def _resources(hands: Hands, **sides: str | None) -> None:
    """What the node's kubelet books for whole GPUs; None takes the resource away. The plugin no longer corrects it."""
    hands.condition(Condition(id=hands.fault, node=hands.node, hold=("plugin",)))
    hands.status("v1/Node", hands.node, {side: {_GPU: count} for side, count in sides.items()})


def _books(hands: Hands) -> tuple[str, str]:
    """(capacity, allocatable) of whole GPUs; "" where there is no such resource."""
    status = mapping(operands.node(hands), "status")
    return text(mapping(status, "capacity"), _GPU), text(mapping(status, "allocatable"), _GPU)


def _lose(hands: Hands) -> None:
    hands.condition(Condition(id=hands.fault, node=hands.node, gpus_lost=1))


def _miss(hands: Hands) -> None:
    hands.condition(Condition(id=hands.fault, node=hands.node, gpus_missing=1))


def _seven(hands: Hands) -> bool:
    """The node counts one GPU less, and so does GPU feature discovery."""
    return _books(hands) == ("7", "7") and labels(operands.node(hands)).get("nvidia.com/gpu.count") == "7"


def _second_plugin(hands: Hands) -> None:
    """Somebody applied the device plugin's own manifest beside the operator."""
    tags = {"name": "nvidia-device-plugin-ds"}
    container = {
        "name": "nvidia-device-plugin-ctr",
        "image": "nvcr.io/nvidia/k8s-device-plugin:v0.17.1",
        "volumeMounts": [{"name": "device-plugin", "mountPath": "/var/lib/kubelet/device-plugins"}],
    }
    spec = {
        "tolerations": [{"key": _GPU, "operator": "Exists", "effect": "NoSchedule"}],
        "nodeSelector": {"nvidia.com/gpu.present": "true"},
        "priorityClassName": "system-node-critical",
        "containers": [container],
        "volumes": [{"name": "device-plugin", "hostPath": {"path": "/var/lib/kubelet/device-plugins"}}],
    }
    hands.create(
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": _SECOND, "namespace": "kube-system"},
            "spec": {"selector": {"matchLabels": tags}, "template": {"metadata": {"labels": tags}, "spec": spec}},
        }
    )


def _two_plugins(hands: Hands) -> bool:
    found = hands.get("apps/v1/DaemonSet", _SECOND, "kube-system")
    return bool(get(found, "status", "numberReady"))


def _stage(id_: str, title: str, container: str, message: str) -> Fault:
    """A stage of the validator that fails on a node; the GPUs themselves are offered."""

    def inject(hands: Hands) -> None:
        hands.condition(
            Condition(
                id=hands.fault, node=hands.node, operand=VALIDATOR, init=True, container=container, message=message
            )
        )
        operands.renew(hands, VALIDATOR)

    return Fault(id=id_, title=title, where="node", on="gpu", inject=inject, shown=_stuck, later=_DUE)


def _stuck(hands: Hands) -> bool:
    return operands.says(hands, VALIDATOR, "crash", "init")


def _unmeasured(hands: Hands) -> None:
    hands.condition(
        Condition(
            id=hands.fault, node=hands.node, operand=EXPORTER, container=EXPORTER, message="Failed to watch metrics"
        )
    )


def _unsound(hands: Hands) -> None:
    """A health agent has found broken memory and says so on the node."""
    said = {
        "type": "GpuMemWatch",
        "status": "True",
        "reason": "GpuMemWatchIsNotHealthy",
        "message": "ErrorCode:DCGM_FR_VOLATILE_DBE_DETECTED GPU:3 Recommended Action=COMPONENT_RESET",
    }
    have = [each for each in _conditions(hands) if text(each, "type") != "GpuMemWatch"]
    hands.status("v1/Node", hands.node, {"conditions": [*have, said]})


def _conditions(hands: Hands) -> list[Obj]:
    return items(operands.node(hands), "status", "conditions")


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="GPU023",
        title="the exporter of GPU metrics crashes",
        where="node",
        on="gpu",
        inject=_unmeasured,
        shown=lambda hands: operands.says(hands, EXPORTER, "crash"),
        later=_DUE,
    ),
    failing(
        "GPU054", "the device plugin crashes", PLUGIN, "crash", container="nvidia-device-plugin", message=_NVML,
    ),
    Fault(
        id="GPU055",
        title="a node's device plugin has never registered with its kubelet",
        where="node",
        on="gpu",
        inject=lambda hands: _resources(hands, capacity=None, allocatable=None),
        shown=lambda hands: _books(hands) == ("", ""),
        later=_DUE,
    ),
    Fault(
        id="GPU056",
        title="a node's kubelet was restarted, and its device plugin has not registered again",
        where="node",
        on="gpu",
        inject=lambda hands: _resources(hands, allocatable="0"),
        shown=lambda hands: _books(hands) == ("8", "0"),
        later=_DUE,
    ),
    Fault(
        id="GPU057",
        title="a node's kubelet has given up on its device plugin",
        where="node",
        on="gpu",
        inject=lambda hands: _resources(hands, capacity="0", allocatable="0"),
        shown=lambda hands: _books(hands) == ("0", "0"),
        later=_DUE,
    ),
    Fault(
        id="GPU058",
        title="one GPU of a node has fallen ill",
        where="node",
        on="gpu",
        inject=_lose,
        shown=lambda hands: _books(hands) == ("8", "7"),
        later=_DUE,
    ),
    Fault(
        id="GPU060",
        title="one GPU of a node was not there when it started",
        where="node",
        on="gpu",
        inject=_miss,
        shown=_seven,
        later=_DUE,
    ),
    Fault(
        id="GPU062",
        title="the device plugin is installed a second time",
        where="cluster",
        inject=_second_plugin,
        shown=_two_plugins,
    ),
    _stage("GPU105", "the validator cannot see the GPUs that the device plugin offers", "plugin-validation",
           "failed to validate plugin: GPU resources are not discovered by the node"),
    _stage("GPU106", "no CUDA program runs on a node: its NVSwitches are not set up", "cuda-validation", _CUDA),
    Fault(
        id="GPU111",
        title="a health agent has found broken memory in a GPU",
        where="node",
        on="gpu",
        inject=_unsound,
        shown=lambda hands: any(text(each, "type") == "GpuMemWatch" for each in _conditions(hands)),
        later=_DUE,
    ),
)  # fmt: skip
