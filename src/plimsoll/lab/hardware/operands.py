"""Which operand waits for which, and what keeps each from running.

Sources: gpu-operator assets/ (init containers and what they wait for), validator/main.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from plimsoll.kube.objects import Obj, get, items, labels, text
from plimsoll.kube.operands import GATE, operand_of
from plimsoll.lab.hardware.conditions import Condition
from plimsoll.lab.hardware.kubelet import Plan, Trouble, passed, started
from plimsoll.lab.hardware.sharing import Choice

LABELS = (
    "app in (nvidia-driver-daemonset,nvidia-container-toolkit-daemonset,nvidia-operator-validator,"
    "nvidia-device-plugin-daemonset,nvidia-device-plugin-mps-control-daemon,nvidia-dcgm,nvidia-dcgm-exporter,"
    "gpu-feature-discovery,nvidia-mig-manager,nvidia-node-status-exporter)"
)
"""The pods of operands whose kubelet we are; the stages of kwok leave the same ones alone."""
DRIVERS = "app.kubernetes.io/component=nvidia-driver"
PLUGIN, DISCOVERY, MPS = "device-plugin", "gpu-feature-discovery", "mps-control-daemon"
VALIDATOR, DRIVER, TOOLKIT, MIG = "operator-validator", "driver", "container-toolkit", "mig-manager"
_SANDBOX = "FailedCreatePodSandBox"
_INIT_CONFIG = "config-manager-init"


class Site(msgspec.Struct, frozen=True):
    """What the pods of a node find there.

    pods: by operand. configs: the ConfigMaps of the operator's namespace by name. choices: the device plugin's config
    as each operand that uses it knows it. fatal: what ends an operand in its main container, "" if nothing does.
    """

    labels: Mapping[str, str]
    pods: Mapping[str, Obj]
    policy: Obj | None
    configs: Mapping[str, Obj]
    conditions: tuple[Condition, ...]
    choices: Mapping[str, Choice]
    fatal: Mapping[str, str]


def by_operand(pods: Iterable[Obj]) -> dict[str, Obj]:
    """The pod of each operand; of two the one that is not going away, else the younger."""
    found: dict[str, Obj] = {}
    for pod in pods:
        held = found.get(operand_of(pod))
        if held is None or _rank(pod) > _rank(held):
            found[operand_of(pod)] = pod
    return found


def _rank(pod: Obj) -> tuple[bool, str]:
    return not get(pod, "metadata", "deletionTimestamp"), text(pod, "metadata", "creationTimestamp")


def plans(site: Site) -> dict[str, Plan]:
    """How far each operand's pod gets, by operand: all of them but plugin-validation, which needs the capacity."""
    made = {operand: _own(site, operand, pod) for operand, pod in site.pods.items()}
    driver = _up(site, made, DRIVER, "driver") or site.labels.get(f"{GATE}driver") == "pre-installed"
    for operand in (TOOLKIT, VALIDATOR):
        _wait(site, made, operand, "driver-validation", driver)
    toolkit = _up(site, made, TOOLKIT, "toolkit")
    _wait(site, made, VALIDATOR, "toolkit-validation", driver and toolkit)
    validator = site.pods.get(VALIDATOR)
    # The validator's pod writes this file; every other operand waits until it is there.
    toolkit_ready = validator is not None and passed(validator, made[VALIDATOR], "toolkit-validation")
    for operand in made:
        if operand != VALIDATOR:
            _wait(site, made, operand, "toolkit-validation", toolkit_ready)
    return made


def validated(site: Site, plan: Plan, *, capacity: bool) -> Plan:
    """The validator's plan, once it is known whether the node advertises a GPU."""
    made = {VALIDATOR: plan}
    off = get(site.policy, "spec", "devicePlugin", "enabled") is False
    _wait(site, made, VALIDATOR, "plugin-validation", capacity or off)
    return made[VALIDATOR]


def _up(site: Site, made: Mapping[str, Plan], operand: str, switch: str) -> bool:
    """Whether an operand has done its work on the node: it is ready, or the operator leaves it to others."""
    if get(site.policy, "spec", switch, "enabled") is False:
        return True
    pod = site.pods.get(operand)
    return pod is not None and not get(pod, "metadata", "deletionTimestamp") and made[operand].ready


def _wait(site: Site, made: dict[str, Plan], operand: str, container: str, done: bool) -> None:
    """Let a pod wait in an init container for what is not done, unless it passed it before or is stuck earlier."""
    pod, plan = site.pods.get(operand), made.get(operand)
    if pod is None or plan is None or done or plan.waits or started(pod):
        return
    names = [text(each, "name") for each in items(pod, "spec", "initContainers")]
    if container in names and not any(each in plan.troubles for each in names[: names.index(container)]):
        made[operand] = msgspec.structs.replace(plan, waits=container)


def _own(site: Site, operand: str, pod: Obj) -> Plan:
    """What is wrong with a pod by itself: faults, a volume that is missing, a config that cannot be used."""
    troubles = dict(_configured(site, operand, pod))
    stuck = _missing_volume(site, pod)
    for each in site.conditions:
        if each.operand and each.operand in (text(labels(pod), "app"), _usual(pod)):
            if each.reason == _SANDBOX:
                stuck = f"{_SANDBOX}: {each.message}"
                continue
            first = items(pod, "spec", "initContainers" if each.init else "containers")
            container = each.container or text(first, 0, "name")
            troubles[container] = Trouble(each.reason, each.message, each.exit_code, each.ended, each.restarts)
    there = {text(each, "name") for field in ("initContainers", "containers") for each in items(pod, "spec", field)}
    return Plan(stuck=stuck, troubles={name_: each for name_, each in troubles.items() if name_ in there})


def _usual(pod: Obj) -> str:
    """The usual `app` label of a driver whose DaemonSet is named after a kernel or an NVIDIADriver."""
    return "nvidia-driver-daemonset" if operand_of(pod) == DRIVER else ""


def _configured(site: Site, operand: str, pod: Obj) -> Iterable[tuple[str, Trouble]]:
    """Containers that the plugin's config brings down."""
    choice = site.choices.get(operand)
    if choice is None:
        return
    if choice.no_such:
        # A pod that runs already has its config; there only the sidecar, which was to bring the new one, fails.
        container = "config-manager" if started(pod) else _INIT_CONFIG
        yield container, Trouble("CrashLoopBackOff", choice.no_such)
        return
    wrong = choice.broken or site.fatal.get(operand, "")
    if wrong:
        main = text(items(pod, "spec", "containers"), 0, "name")
        yield main, Trouble("CrashLoopBackOff", wrong)


def _missing_volume(site: Site, pod: Obj) -> str:
    """What a kubelet says of a ConfigMap that is to be mounted and is not there; "" if all are."""
    if started(pod):
        return ""
    for volume in items(pod, "spec", "volumes"):
        wanted, mount = text(volume, "configMap", "name"), text(volume, "name")
        if wanted and wanted not in site.configs and get(volume, "configMap", "optional") is not True:
            return f'FailedMount: MountVolume.SetUp failed for volume "{mount}" : configmap "{wanted}" not found'
    return ""
