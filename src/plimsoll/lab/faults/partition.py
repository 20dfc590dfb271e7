"""Faults of what is cut or shared, beside those of layouts: what a node still counts, or counts no more."""

from __future__ import annotations

import yaml

from plimsoll.kube.nodes import allocatable
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, text
from plimsoll.kube.pods import gpu_requests
from plimsoll.kube.yamldocs import documents
from plimsoll.lab.faults import operands, work
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.operands import GFD, NAMESPACE, PLUGIN
from plimsoll.lab.faults.work import DUE, GPU
from plimsoll.lab.hardware.conditions import Condition

_CONFIG = "nvidia.com/device-plugin.config"
_CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.12 GiB free"


def _fallen(hands: Hands) -> None:
    """A GPU has fallen off the bus; the plugin was started anew since, feature discovery was not."""
    hands.condition(Condition(id=hands.fault, node=hands.node, gpus_missing=1, hold=("gfd",)))
    operands.renew(hands, PLUGIN)


def _one_less(hands: Hands) -> bool:
    machine = operands.node(hands)
    promised = labels(machine).get("nvidia.com/gpu.count", "")
    return promised.isdecimal() and allocatable(machine).get(GPU) == int(promised) - 1


def _whole_too(hands: Hands) -> None:
    """The kubelet still gives whole GPUs of a node that is cut up."""
    hands.condition(Condition(id=hands.fault, node=hands.node, hold=("plugin",)))
    gpus = labels(operands.node(hands)).get("nvidia.com/gpu.count", "8")
    hands.status("v1/Node", hands.node, {side: {GPU: gpus} for side in ("capacity", "allocatable")})


def _agent(hands: Hands) -> None:
    """A fleet's own monitor runs on every GPU node, and keeps its GPUs open."""
    tags = {"app.kubernetes.io/name": "gpud"}
    container = {"name": "gpud", "image": "registry.example.com/monitoring/gpud:0.8.0"}
    inner = {"nodeSelector": {"nvidia.com/gpu.present": "true"}, "tolerations": work.TOLERATIONS}
    spec = {
        "selector": {"matchLabels": tags},
        "template": {"metadata": {"labels": tags}, "spec": {**inner, "containers": [container]}},
    }
    meta = {"name": "gpud", "namespace": "monitoring"}
    hands.create({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec})


def _configs(hands: Hands) -> Obj:
    """The ConfigMap with the device plugin's configurations."""
    policy = hands.get(*operands.POLICY)
    return hands.get("v1/ConfigMap", text(policy, "spec", "devicePlugin", "config", "name"), NAMESPACE)


def _shared(hands: Hands) -> tuple[str, Obj]:
    """The configuration that shares GPUs by time: its key, and what it says."""
    for key, said in sorted(mapping(_configs(hands), "data").items()):
        loaded = next((each for _, each in documents(said, key)), None)
        if isinstance(loaded, dict) and get(loaded, "sharing", "timeSlicing"):
            return key, loaded
    operands.first(hands, [], "a device-plugin configuration with time-slicing")
    raise AssertionError


def _write(hands: Hands, key: str, config: Obj) -> None:
    hands.change("v1/ConfigMap", name(_configs(hands)), {"data": {key: yaml.safe_dump(config)}}, NAMESPACE)


def _misplaced(hands: Hands) -> None:
    """One more wish, where the plugin does not read it, in the hand that never comes back to look."""
    key, config = _shared(hands)
    _write(hands, key, {**config, "flags": {**mapping(config, "flags"), "failRequestsGreaterThanOne": True}})


def _crowded(hands: Hands) -> None:
    """More than half of a node's shares are held; then their number is halved for its node alone."""
    here = work.space(hands)
    key, config = _shared(hands)
    shares = max(allocatable(operands.node(hands)).values())
    pods = work.template({f"{GPU}.shared": "1"}, nodeSelector=work.pool(operands.node(hands)))
    free = shares - _held(hands)
    work.deploy(hands, here, pods, replicas=free)
    operands.until(lambda: work.running(hands, here, free), f"{free} pods on shares")
    for each in items(config, "sharing", "timeSlicing", "resources"):
        each["replicas"] = int(each["replicas"]) // 2
    _write(hands, f"{key}-half", config)
    operands.label(hands, hands.node, {_CONFIG: f"{key}-half"})
    _halve(hands)


def _held(hands: Hands) -> int:
    return sum(gpu_requests(each).get(f"{GPU}.shared", 0) for each in operands.users(hands))


def _halve(hands: Hands) -> None:
    """The quota follows: as much is taken from each queue."""
    for queue in hands.client.list("kueue.x-k8s.io/v1beta2/ClusterQueue"):

        def how(changed: Obj) -> None:
            for group in items(changed, "spec", "resourceGroups"):
                for flavor in items(group, "flavors"):
                    for each in items(flavor, "resources"):
                        if each.get("name") == f"{GPU}.shared":
                            each["nominalQuota"] = int(each["nominalQuota"]) // 2

        hands.change("kueue.x-k8s.io/v1beta2/ClusterQueue", name(queue), how)


def _fewer(hands: Hands) -> bool:
    return 0 < allocatable(operands.node(hands)).get(f"{GPU}.shared", 0) < _held(hands)


def _exhausted(hands: Hands) -> None:
    """A tenant of a shared GPU finds its memory taken by the others."""
    users = [each for each in operands.users(hands) if gpu_requests(each).get(f"{GPU}.shared")]
    pod = operands.first(hands, users, "a pod on a share of a GPU")
    operands.spoil(hands, pod, text(pod, "spec", "containers", 0, "name"), _CUDA)


def _crashes(hands: Hands) -> bool:
    return operands.spoiled([each for each in hands.client.list("v1/Pod") if gpu_requests(each).get(f"{GPU}.shared")])


def _mps(hands: Hands) -> None:
    """MPS for a node of a cluster whose MIG strategy is mixed, with which the plugin refuses it."""
    rules = {"renameByDefault": True, "resources": [{"name": GPU, "replicas": 4}]}
    _write(hands, "mps", {"version": "v1", "sharing": {"mps": rules}})
    operands.label(hands, hands.node, {_CONFIG: "mps"})
    operands.renew(hands, PLUGIN, GFD)


FAULTS: tuple[Fault, ...] = (
    Fault(
        id="GPU059",
        title="one GPU of a node has fallen off the bus since its labels were written",
        where="node",
        on="gpu",
        inject=_fallen,
        shown=_one_less,
        later=DUE,
    ),
    Fault(
        id="GPU083",
        title="a node whose GPUs are all cut up still gives whole ones",
        where="node",
        on="mig",
        inject=_whole_too,
        shown=lambda hands: allocatable(operands.node(hands)).get(GPU, 0) > 0,
        later=DUE,
    ),
    Fault(
        id="GPU086",
        title="an agent keeps GPUs open that the MIG manager would have to reset",
        where="cluster",
        inject=_agent,
        shown=lambda hands: bool(get(hands.get("apps/v1/DaemonSet", "gpud", "monitoring"), "status", "numberReady")),
    ),
    Fault(
        id="GPU092",
        title="a sharing configuration has a field where the device plugin does not read it",
        where="cluster",
        inject=_misplaced,
        shown=lambda hands: "flags" in _shared(hands)[1],
    ),
    Fault(
        id="GPU094+mps",
        title="a node is to share its GPUs by MPS, which does not go with the MIG strategy mixed",
        where="node",
        on="shared",
        inject=_mps,
        shown=lambda hands: operands.says(hands, PLUGIN, "crash") and not operands.offers(operands.node(hands)),
    ),
    Fault(
        id="GPU097",
        title="a tenant of a shared GPU runs out of its memory",
        where="pod",
        inject=_exhausted,
        shown=_crashes,
    ),
    Fault(
        id="GPU099",
        title="a node's GPUs are cut into fewer shares than its pods hold",
        where="node",
        on="shared",
        inject=_crowded,
        shown=_fewer,
        later=DUE,
    ),
)
