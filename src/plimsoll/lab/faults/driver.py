"""Faults of the driver and of its upgrades: GPU030 to GPU040."""

from __future__ import annotations

from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, number, text
from plimsoll.kube.pods import gpu_requests, trouble
from plimsoll.lab.faults import operands
from plimsoll.lab.faults.discovery import NEW, join
from plimsoll.lab.faults.hands import Hands
from plimsoll.lab.faults.model import Fault
from plimsoll.lab.faults.operands import DRIVER, GATE, NAMESPACE, NEXT_DRIVER, failing
from plimsoll.lab.hardware.conditions import Condition

_STATE = "nvidia.com/gpu-driver-upgrade-state"
_SKIP = "nvidia.com/gpu-driver-upgrade.skip"
_CTR, _MANAGER = "nvidia-driver-ctr", "k8s-driver-manager"
_BLACKWELL = "p6-b200.48xlarge"
_WINDOW = 25  # minutes: a driver may take the 21 of its startup probe
_HEADERS = (
    "Installing Linux kernel headers... E: Unable to locate package linux-headers-6.8.0-1029-aws "
    "Could not resolve Linux kernel version"
)
_COMPILES = (
    "Building kernel modules: /usr/src/nvidia/kernel/nvidia-drm/nvidia-drm-drv.c:748: error: too many arguments; "
    "make[1]: *** [Makefile:1944: modules] Error 2"
)
_NOUVEAU = "Could not unload NVIDIA driver kernel modules: nouveau is in use. Blacklist it and reboot"
_SIGNED = "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service. Is Secure Boot enabled?"
_HELD = "Failed to uninstall nvidia driver components: rmmod: ERROR: Module nvidia is in use by: nvidia_uvm"
_NO_DEVICE = "NVIDIA-SMI: No devices were found"
_ASLEEP = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver"


def _from_host(hands: Hands) -> None:
    """The driver manager found a driver in the machine's image, and steps aside."""
    operands.label(hands, hands.node, {f"{GATE}driver": "pre-installed"})


def _stepped_aside(hands: Hands) -> bool:
    return not operands.pods(hands, DRIVER)


def _version(hands: Hands, **upgrades: object) -> None:
    _ask(hands, {"version": NEXT_DRIVER, "upgradePolicy": upgrades})


def _ask(hands: Hands, driver: Obj) -> None:
    """Ask for another driver. Its DaemonSet is noted: healed with the policy, no driver is taken for an old one."""
    hands.change("apps/v1/DaemonSet", DRIVER, {}, NAMESPACE)
    operands.policy(hands, {"driver": driver})


def _wanted(hands: Hands) -> bool:
    """Whether the driver's DaemonSet asks for the new version."""
    found = hands.get("apps/v1/DaemonSet", DRIVER, NAMESPACE)
    return NEXT_DRIVER in text(found, "spec", "template", "spec", "containers", 0, "image")


def _outdated(hands: Hands) -> bool:
    found = hands.get("apps/v1/DaemonSet", DRIVER, NAMESPACE)
    settled = number(found, "status", "observedGeneration") == number(found, "metadata", "generation")
    return _wanted(hands) and settled and not number(found, "status", "updatedNumberScheduled")


def _only(hands: Hands, chosen: str) -> None:
    """Keep every other node out of the upgrade that follows."""
    for machine in operands.gpu_nodes(hands):
        operands.label(hands, name(machine), {} if name(machine) == chosen else {_SKIP: "true"})


def _with_data(hands: Hands) -> Obj:
    """A pod that holds GPUs and local data, such as the shared memory of a model server."""
    found = [each for each in operands.users(hands)
             if any("emptyDir" in volume for volume in items(each, "spec", "volumes"))]  # fmt: skip
    return operands.first(hands, found, "a pod with GPUs and an emptyDir")


def _may_not_delete(hands: Hands) -> None:
    """An upgrade that may delete no local data meets a pod that has some."""
    _only(hands, text(_with_data(hands), "spec", "nodeName"))
    _version(hands, autoUpgrade=True, podDeletion={"deleteEmptyDir": False, "force": False})


def _states(hands: Hands) -> dict[str, str]:
    return {name(each): text(labels(each), _STATE) for each in operands.gpu_nodes(hands)}


def _server(hands: Hands) -> Obj:
    """A pod that serves and holds GPUs."""
    found = [each for each in _of(hands, operands.served(hands)) if text(each, "spec", "nodeName")]
    return operands.first(hands, found, "a server with GPUs")


def _budget(hands: Hands) -> None:
    """An upgrade meets a disruption budget that allows no disruption."""
    pod = _server(hands)
    tags = {key: value for key, value in labels(pod).items() if key != "pod-template-hash"}
    meta = {"name": "all-of-them", "namespace": namespace(pod)}
    spec = {"minAvailable": "100%", "selector": {"matchLabels": tags}}
    _only(hands, text(pod, "spec", "nodeName"))
    hands.create({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec})
    hands.aside("gpu-operator")  # else it goes on evicting what it has begun to evict
    _version(hands, autoUpgrade=True, podDeletion={"deleteEmptyDir": True, "force": True})


def _endless(hands: Hands) -> None:
    """An upgrade waits for jobs to end, and its selector names a server that never does."""
    pod = _server(hands)
    tags = sorted((key, value) for key, value in labels(pod).items() if key != "pod-template-hash")
    _only(hands, text(pod, "spec", "nodeName"))
    _version(hands, autoUpgrade=True, waitForCompletion={"podSelector": "=".join(tags[0]), "timeoutSeconds": 0})


def _canary(hands: Hands) -> None:
    """A rollout that somebody stopped after its first node."""
    _only(hands, hands.node)
    _version(hands, autoUpgrade=True)


def _mixed(hands: Hands) -> bool:
    done = _states(hands).get(hands.node) == "upgrade-done"
    return done and text(labels(operands.node(hands)), "nvidia.com/cuda.driver-version.full") == NEXT_DRIVER


def _newer_image(hands: Hands) -> None:
    """A server's pod that was made anew from an image of a newer CUDA."""
    for pod in _of(hands, operands.served(hands)):
        title = text(gpu_container(pod), "name")
        said = (
            "failed to create shim task: OCI runtime create failed: nvidia-container-cli: requirement error: "
            "unsatisfied condition: cuda>=13.3, please update your driver to a newer version"
        )
        operands.spoil(hands, pod, title, said, reason="StartError", exit_code=128)


def _closed(hands: Hands) -> None:
    """The proprietary modules are asked for, as older GPUs took them; then a Blackwell machine comes."""
    _only(hands, "")
    _ask(hands, {"kernelModuleType": "proprietary"})
    hands.condition(
        Condition(id=hands.fault, node=NEW, operand=DRIVER, container=_CTR, reason="NotReady", message=_NO_DEVICE)
    )
    join(hands, [], gpu="B200-180GBx8", machine_type=_BLACKWELL)


def _finds_no_device(hands: Hands) -> bool:
    mine = [each for each in operands.pods(hands, DRIVER) if text(each, "spec", "nodeName") == NEW]
    return any(each.state == "unready" for each in map(trouble, mine) if each)


def gpu_container(pod: Obj) -> Obj:
    """The container of a pod that asks for GPUs; its first where it is not one alone."""
    found = items(pod, "spec", "containers")
    return next((each for each in found if gpu_requests({"spec": {"containers": [each]}})), found[0])


def _of(hands: Hands, deployment: Obj) -> list[Obj]:
    tags = ",".join(f"{key}={value}" for key, value in mapping(deployment, "spec", "selector", "matchLabels").items())
    return hands.client.list("v1/Pod", namespace(deployment), labels=tags)


def _refuses(hands: Hands) -> bool:
    served = hands.client.list("apps/v1/Deployment")
    return any(operands.spoiled(_of(hands, each)) for each in served if not get(each, "status", "readyReplicas"))


FAULTS: tuple[Fault, ...] = (
    failing(
        "GPU030", "the packages of a node's kernel are nowhere to be had", DRIVER, "crash",
        container=_CTR, message=_HEADERS,
    ),
    failing(
        "GPU030+compile", "the driver does not compile for a node's kernel", DRIVER, "crash",
        container=_CTR, message=_COMPILES,
    ),
    failing("GPU031", "nouveau holds the GPUs of a node", DRIVER, "crash", container=_CTR, message=_NOUVEAU),
    failing(
        "GPU031+secureboot", "Secure Boot refuses the NVIDIA modules of a node", DRIVER, "crash",
        container=_CTR, message=_SIGNED,
    ),
    failing(
        "GPU032", "the old driver of a node cannot be unloaded", DRIVER, "crash",
        container=_MANAGER, init=True, message=_HELD,
    ),
    failing(
        "GPU033", "the driver of a node runs and never answers", DRIVER, "unready",
        container=_CTR, reason="NotReady", message=_ASLEEP, later=_WINDOW,
    ),
    Fault(
        id="GPU034",
        title="one node brings its own driver, the others take the operator's",
        where="node",
        on="gpu",
        inject=_from_host,
        shown=_stepped_aside,
    ),
    Fault(
        id="GPU035",
        title="a new driver version is asked for, and nobody rolls it out",
        where="cluster",
        inject=lambda hands: _version(hands, autoUpgrade=False),
        shown=_outdated,
    ),
    Fault(
        id="GPU036",
        title="a driver upgrade has failed at a pod with local data that may not be deleted",
        where="cluster",
        inject=_may_not_delete,
        shown=lambda hands: "upgrade-failed" in _states(hands).values(),
    ),
    Fault(
        id="GPU037",
        title="a driver upgrade waits for pods that a disruption budget keeps",
        where="cluster",
        inject=_budget,
        shown=lambda hands: "pod-deletion-required" in _states(hands).values(),
    ),
    Fault(
        id="GPU037+jobs",
        title="a driver upgrade waits for a server as if it were a job that ends",
        where="cluster",
        inject=_endless,
        shown=lambda hands: "wait-for-jobs-required" in _states(hands).values(),
    ),
    Fault(
        id="GPU038",
        title="a driver upgrade was stopped after its first node",
        where="node",
        on="gpu",
        inject=_canary,
        shown=_mixed,
    ),
    Fault(
        id="GPU039",
        title="a server's image needs a newer CUDA than the driver has",
        where="service",
        inject=_newer_image,
        shown=_refuses,
    ),
    Fault(
        id="GPU040",
        title="the ClusterPolicy asks for proprietary kernel modules, and a Blackwell machine has come",
        where="cluster",
        inject=_closed,
        shown=_finds_no_device,
        later=_WINDOW,
    ),
)  # fmt: skip
