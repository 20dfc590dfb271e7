"""Faults of partitions: MIG layouts and shared GPUs. GPU075 to GPU095."""

from __future__ import annotations

import yaml

from plimsoll.kube.objects import Obj, get, labels, mapping, name, text
from plimsoll.lab.faults import operands
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.operands import NAMESPACE, PLUGIN
from plimsoll.lab.hardware.conditions import Condition

_CONFIG, _STATE = "nvidia.com/mig.config", "nvidia.com/mig.config.state"
_SHARING = "nvidia.com/device-plugin.config"
_MANAGER = "nvidia-mig-manager"
_DUE = 30  # minutes: a change of layout is given 15, a restart for it 20


def _layout(hands: Hands, config: str) -> None:
    operands.label(hands, hands.node, {_CONFIG: config})


def _state(hands: Hands) -> str:
    """What the MIG manager says of the layout asked for."""
    return labels(operands.node(hands)).get(_STATE, "")


def _again(id_: str, title: str, outcome: str, state: str) -> Fault:
    """A node applies its layout anew, as after a restart, and does not come to the end of it."""

    def inject(hands: Hands) -> None:
        hands.condition(Condition(id=hands.fault, node=hands.node, mig=outcome))  # type: ignore[arg-type]
        _restart_manager(hands)

    return Fault(
        id=id_,
        title=title,
        where="node",
        on="mig",
        inject=inject,
        shown=lambda hands: _state(hands) == state,
        later=_DUE,
    )


def _restart_manager(hands: Hands) -> None:
    """Start the node's MIG manager anew, now and when the fault is healed: only then it looks at the label again."""
    before = {name(each) for each in operands.pods(hands, _MANAGER)}
    operands.renew(hands, _MANAGER)
    operands.until(lambda: bool(_new(hands, before)), "a new MIG manager")
    for pod in _new(hands, before):
        hands.end_later(pod)


def _new(hands: Hands, before: set[str]) -> list[Obj]:
    return [each for each in operands.pods(hands, _MANAGER) if name(each) not in before]


def _single(hands: Hands) -> None:
    """The strategy is changed to one that cannot express several profiles on a node."""
    operands.policy(hands, {"mig": {"strategy": "single"}})


def _invalid(hands: Hands) -> bool:
    machines = [
        each for each in operands.gpu_nodes(hands) if labels(each).get(_CONFIG, "all-disabled") != "all-disabled"
    ]
    return bool(machines) and all(
        labels(each).get("nvidia.com/gpu.product", "").endswith("-MIG-INVALID") for each in machines
    )


def _unmanaged(hands: Hands) -> None:
    """The MIG manager is switched off, and a new node asks for its layout."""
    operands.policy(hands, {"migManager": {"enabled": False}})
    operands.until(lambda: not operands.pods(hands, _MANAGER), "the MIG manager is gone")
    operands.label(hands, hands.node, {_STATE: None})


def _sharing(hands: Hands) -> Obj:
    """The ConfigMap with the device plugin's configurations."""
    policy = hands.get(*operands.POLICY)
    return hands.get("v1/ConfigMap", text(policy, "spec", "devicePlugin", "config", "name"), NAMESPACE)


def _edit(hands: Hands, config: dict[str, object]) -> None:
    """Write a configuration for the node's label, and start its device plugin anew, as an eager hand would."""
    _write(hands, config)
    operands.renew(hands, PLUGIN)


def _write(hands: Hands, config: dict[str, object]) -> None:
    key = labels(operands.node(hands))[_SHARING]
    hands.change("v1/ConfigMap", name(_sharing(hands)), {"data": {key: yaml.safe_dump(config)}}, NAMESPACE)


def _slices(replicas: int, **more: object) -> dict[str, object]:
    rules = {"renameByDefault": True, "resources": [{"name": "nvidia.com/gpu", "replicas": replicas}]}
    return {"version": "v1", "sharing": {"timeSlicing": rules, **more}}


def _typo(hands: Hands) -> None:
    operands.label(hands, hands.node, {_SHARING: "time-slicign-4"})
    operands.renew(hands, PLUGIN)


def _no_map(hands: Hands) -> None:
    """The ConfigMap went with a namespace clean-up; a node's plugin was started anew since."""
    hands.remove("v1/ConfigMap", name(_sharing(hands)), NAMESPACE)
    operands.renew(hands, PLUGIN)


def _down(hands: Hands) -> bool:
    return operands.says(hands, PLUGIN, "crash", "init", "waiting") and not operands.offers(operands.node(hands))


def _edited(hands: Hands) -> bool:
    key = labels(operands.node(hands))[_SHARING]
    return "replicas: 8" in text(_sharing(hands), "data", key)


def _stale(hands: Hands) -> None:
    """After a restart of the plugin under another name of the resource the kubelet still gives the old one."""
    hands.condition(Condition(id=hands.fault, node=hands.node, hold=("plugin",)))
    sides = {side: {"nvidia.com/gpu": "1"} for side in ("capacity", "allocatable")}
    hands.status("v1/Node", hands.node, sides)


def _both(hands: Hands) -> bool:
    free = mapping(operands.node(hands), "status", "allocatable")
    return text(free, "nvidia.com/gpu") == "1" and text(free, "nvidia.com/gpu.shared") not in ("", "0")


def _unmade(hands: Hands) -> None:
    """The layout was applied, and the device plugin never told of it."""
    hands.condition(Condition(id=hands.fault, node=hands.node, hold=("plugin",)))
    offered = mapping(operands.node(hands), "status", "capacity")
    none = {key: "0" for key in offered if key.startswith("nvidia.com/mig-")}
    hands.status("v1/Node", hands.node, {"capacity": none, "allocatable": none})


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="GPU061",
        title="a node still gives whole GPUs beside the shares of them",
        where="node",
        on="shared",
        inject=_stale,
        shown=_both,
        later=_DUE,
    ),
    _again("GPU075", "the MIG layout of a node cannot be applied", "failed", "failed"),
    _again("GPU076", "a change of the MIG layout waits for its GPUs", "pending", "pending"),
    _again("GPU077", "a change of the MIG layout was given up half-way", "wedged", "pending"),
    _again("GPU078", "a node was rebooted for its MIG layout and has not come back", "rebooting", "rebooting"),
    Fault(
        id="GPU079",
        title="a MIG layout is asked for, and the MIG manager is switched off",
        where="node",
        on="mig",
        inject=_unmanaged,
        shown=lambda hands: not operands.pods(hands, _MANAGER) and not labels(operands.node(hands)).get(_STATE),
        later=_DUE,
    ),
    Fault(
        id="GPU080",
        title="the MIG layout a node asks for does not exist",
        where="node",
        on="mig",
        inject=lambda hands: _layout(hands, "all-3g.40g"),
        shown=lambda hands: _state(hands) == "failed",
    ),
    Fault(
        id="GPU081",
        title="the MIG strategy cannot express the layout of a node",
        where="cluster",
        inject=_single,
        shown=_invalid,
        later=_DUE,
    ),
    Fault(
        id="GPU082",
        title="a MIG layout succeeded, and the node offers none of its devices",
        where="node",
        on="mig",
        inject=_unmade,
        shown=lambda hands: not operands.offers(operands.node(hands)),
        later=_DUE,
    ),
    Fault(
        id="GPU084",
        title="a node of whole GPUs was cut up, and nobody declared it",
        where="node",
        on="gpu",
        inject=lambda hands: _layout(hands, "all-1g.10gb"),
        shown=lambda hands: get(operands.node(hands), "status", "allocatable", "nvidia.com/mig-1g.10gb") == "56",
    ),
    Fault(
        id="GPU090",
        title="a node's label names a device-plugin configuration that does not exist",
        where="node",
        on="shared",
        inject=_typo,
        shown=_down,
    ),
    Fault(
        id="GPU091",
        title="the ConfigMap with the device plugin's configurations is gone",
        where="node",
        on="shared",
        inject=_no_map,
        shown=_down,
    ),
    Fault(
        id="GPU093",
        title="a sharing configuration was changed, and no device plugin has read it",
        where="node",
        on="shared",
        inject=lambda hands: _write(hands, _slices(8)),
        shown=_edited,
        later=_DUE,
    ),
    Fault(
        id="GPU094",
        title="a sharing configuration asks for one share of each GPU, which the device plugin refuses",
        where="node",
        on="shared",
        inject=lambda hands: _edit(hands, _slices(1)),
        shown=_down,
    ),
)
