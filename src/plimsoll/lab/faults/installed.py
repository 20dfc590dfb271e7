"""Faults of what is installed beside or around the operator's operands: GPU023, GPU063, GPU107 to GPU119."""

from __future__ import annotations

import copy

import msgspec

from plimsoll.kube.nodes import allocatable
from plimsoll.kube.objects import Obj, get, labels, mapping, name, number, text
from plimsoll.kube.pods import finished, gpu_requests
from plimsoll.lab.faults import operands, work
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.operands import EXPORTER, GFD, NAMESPACE, NFD
from plimsoll.lab.faults.work import DUE, GPU
from plimsoll.lab.hardware.conditions import Condition

_MASTER = f"{NFD}-master"
_MANAGER = "nvidia-mig-manager"
_LAYOUT, _UNCUT, _PRODUCT = "nvidia.com/mig.config", "all-disabled", "nvidia.com/gpu.product"
_TEST = "nvidia-device-plugin-validator"
_DRA = "resource.k8s.io/v1"


def _broken(id_: str, title: str, app: str, condition: Condition, state: str) -> Fault:
    """A supporting operand of a node that fails by itself. condition: without its id and node."""

    def inject(hands: Hands) -> None:
        hands.condition(msgspec.structs.replace(condition, id=hands.fault, node=hands.node, operand=app))
        if condition.reason == "NotReady":
            operands.renew(hands, app)  # a container that has crashed before is taken for one that tries again
        operands.until(lambda: operands.says(hands, app, state), f"{app} on {hands.node}: {state}")

    def shown(hands: Hands) -> bool:
        return operands.says(hands, app, state)

    return Fault(id=id_, title=title, where="node", on="gpu", inject=inject, shown=shown, later=DUE)


def _full(hands: Hands) -> Obj:
    """The first node of whole GPUs that are all held."""
    held: dict[str, int] = {}
    for pod in hands.client.list("v1/Pod"):
        if not finished(pod):
            node = text(pod, "spec", "nodeName")
            held[node] = held.get(node, 0) + gpu_requests(pod).get(GPU, 0)
    machines = [each for each in operands.gpu_nodes(hands) if held.get(name(each)) == allocatable(each).get(GPU, 0)]
    return operands.first(hands, [each for each in machines if held.get(name(each))], "a node whose GPUs are all held")


def _no_room(hands: Hands) -> None:
    """The validator's test pod, as it makes it where WITH_WORKLOAD is set, on a node that has no GPU to spare."""
    machine = _full(hands)
    spec = work.template({GPU: "1"}, nodeSelector=work.pool(machine), restartPolicy="OnFailure")["spec"]
    meta = {"name": f"{_TEST}-9xk2p", "namespace": NAMESPACE, "labels": {"app": _TEST}}
    hands.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


def _test_waits(hands: Hands) -> bool:
    found = hands.client.list("v1/Pod", NAMESPACE, labels=f"app={_TEST}")
    return any(work.state(each, "PodScheduled") == ("False", "Unschedulable") for each in found)


def _second_exporter(hands: Hands) -> None:
    """Somebody installed the exporter's own chart beside the operator, for one kind of GPU."""
    own = hands.get("apps/v1/DaemonSet", EXPORTER, NAMESPACE)
    uncut = [each for each in operands.gpu_nodes(hands) if labels(each).get(_LAYOUT, _UNCUT) == _UNCUT]
    product = labels(operands.first(hands, uncut, "a node of whole GPUs"))[_PRODUCT]
    inner = {key: value for key, value in own["spec"]["template"]["spec"].items() if key in ("containers", "volumes")}
    inner |= {"nodeSelector": {_PRODUCT: product}, "tolerations": work.TOLERATIONS}
    tags = {"app.kubernetes.io/name": "dcgm-exporter", "app.kubernetes.io/instance": "dcgm"}
    spec = {"selector": {"matchLabels": tags}, "template": {"metadata": {"labels": tags}, "spec": inner}}
    meta = {"name": "dcgm-exporter", "namespace": "monitoring"}
    hands.create({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec})


def _no_memory(hands: Hands) -> None:
    for pod in _masters(hands):
        operands.spoil(hands, pod, "master", "", reason="OOMKilled", exit_code=137)


def _masters(hands: Hands) -> list[Obj]:
    return hands.client.list("v1/Pod", NAMESPACE, labels="role=master,app.kubernetes.io/name=node-feature-discovery")


def _second_operator(hands: Hands) -> None:
    """The chart was installed once more, into another namespace. It waits for a lease that the first one holds."""
    own = hands.get("apps/v1/Deployment", "gpu-operator", NAMESPACE)
    other = "gpu-operator-resources"
    hands.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    spec = {key: value for key, value in own["spec"].items() if key in ("replicas", "selector", "template")}
    spec = copy.deepcopy(spec)
    for key in ("serviceAccount", "serviceAccountName"):
        spec["template"]["spec"].pop(key, None)
    meta = {"name": "gpu-operator", "namespace": other, "labels": labels(own)}
    hands.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})


def _two_operators(hands: Hands) -> bool:
    found = hands.get("apps/v1/Deployment", "gpu-operator", "gpu-operator-resources")
    return number(found, "status", "readyReplicas") > 0


def _class(hands: Hands) -> None:
    selector = [{"cel": {"expression": "device.driver == 'gpu.nvidia.com'"}}]
    meta = {"name": "gpu.nvidia.com"}
    hands.create({"apiVersion": _DRA, "kind": "DeviceClass", "metadata": meta, "spec": {"selectors": selector}})


def _both(hands: Hands) -> None:
    """The DRA driver is tried out on a node, which goes on with its device plugin."""
    _class(hands)
    machine = operands.node(hands)
    model = {"productName": {"string": labels(machine).get("nvidia.com/gpu.product", "")}, "type": {"string": "gpu"}}
    gpus = allocatable(machine).get(GPU, 0)
    devices = [{"name": f"gpu-{index}", "attributes": model, "capacity": {"memory": {"value": "80Gi"}}}
               for index in range(gpus)]  # fmt: skip
    pool = {"name": hands.node, "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": "gpu.nvidia.com", "nodeName": hands.node, "pool": pool, "devices": devices}
    meta = {"name": f"{hands.node}-gpu.nvidia.com"}
    hands.create({"apiVersion": _DRA, "kind": "ResourceSlice", "metadata": meta, "spec": spec})


def _unserved(hands: Hands) -> None:
    """A pod asks for its GPU by a claim, in a cluster without the driver."""
    here = work.space(hands)
    wanted = {"name": "gpu", "exactly": {"deviceClassName": "gpu.nvidia.com"}}
    spec = {"spec": {"devices": {"requests": [wanted]}}}
    meta = {"name": "gpu", "namespace": here}
    hands.create({"apiVersion": _DRA, "kind": "ResourceClaimTemplate", "metadata": meta, "spec": spec})
    pods = work.template({}, resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "gpu"}])
    pods["spec"]["containers"][0]["resources"]["claims"] = [{"name": "gpu"}]
    work.deploy(hands, here, pods)


def _claim_waits(hands: Hands) -> bool:
    claims = hands.client.list(f"{_DRA}/ResourceClaim", work.here(hands))
    return bool(claims) and not any(mapping(each, "status", "allocation") for each in claims)


FAULTS: tuple[Fault, ...] = (
    _broken(
        "GPU023+memory",
        "the exporter of GPU metrics is killed for its memory again and again",
        EXPORTER,
        Condition(id="", ended="OOMKilled", exit_code=137),
        "crash",
    ),
    _broken(
        "GPU023+ready",
        "the exporter of GPU metrics runs and never gets ready",
        EXPORTER,
        Condition(id="", reason="NotReady", message="HTTP probe failed with statuscode: 503"),
        "unready",
    ),
    _broken(
        "GPU023+gfd",
        "the labels of a node's GPUs are no longer written: GPU feature discovery crashes",
        GFD,
        Condition(id="", message="failed to generate labels: error getting machine type: permission denied"),
        "crash",
    ),
    _broken(
        "GPU023+mig",
        "a node's MIG manager crashes",
        _MANAGER,
        Condition(id="", message="panic: runtime error: invalid memory address or nil pointer dereference"),
        "crash",
    ),
    Fault(
        id="GPU063",
        title="a node hands out its GPUs both by its device plugin and by DRA",
        where="node",
        on="gpu",
        inject=_both,
        shown=lambda hands: bool(hands.client.list(f"{_DRA}/ResourceSlice")),
    ),
    Fault(
        id="GPU107",
        title="the validator's test pod finds no GPU that is free",
        where="cluster",
        inject=_no_room,
        shown=_test_waits,
        later=DUE,
    ),
    Fault(
        id="GPU109",
        title="pods claim GPUs by DRA in a cluster without its driver",
        where="pod",
        inject=_unserved,
        shown=_claim_waits,
        later=DUE,
    ),
    Fault(
        id="GPU113",
        title="the exporter of GPU metrics is installed a second time",
        where="cluster",
        inject=_second_exporter,
        shown=lambda hands: bool(get(hands.get("apps/v1/DaemonSet", "dcgm-exporter", "monitoring"), "status",
                                     "numberReady")),
    ),
    Fault(
        id="GPU117",
        title="the master of node feature discovery is killed for its memory again and again",
        where="cluster",
        inject=_no_memory,
        shown=lambda hands: operands.spoiled(_masters(hands)),
    ),
    Fault(
        id="GPU119",
        title="the operator is installed a second time, in another namespace",
        where="cluster",
        inject=_second_operator,
        shown=_two_operators,
    ),
)  # fmt: skip
