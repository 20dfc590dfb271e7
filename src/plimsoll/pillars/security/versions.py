"""What the GPU nodes run, and how they hand out GPUs: VER-01 to VER-03, VER-07, DEV-01, DEV-02."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, pod_template, text
from plimsoll.kube.operands import cluster_policy, operand_daemonsets
from plimsoll.kube.snapshot import Snapshot
from plimsoll.pillars.security.advisories import (
    AS_OF,
    DRIVER,
    DRIVER_WORST,
    EXPORTER,
    TOOLKIT,
    Version,
    list_flaws,
    open_flaws,
    say,
)
from plimsoll.units import version

_READS = (kinds.NODE, kinds.CLUSTER_POLICY)
_EDIT = "kubectl edit clusterpolicy cluster-policy"
_BULLETINS = f"NVIDIA product security bulletins as of {AS_OF}"
ENVVAR = "ACCEPT_NVIDIA_VISIBLE_DEVICES_ENVVAR_WHEN_UNPRIVILEGED"


def driver_of(node: Obj) -> str:
    """The driver version GPU feature discovery reports for a node; "" if none."""
    have = labels(node)
    if full := text(have, "nvidia.com/cuda.driver-version.full"):
        return full
    parts = [text(have, f"nvidia.com/cuda.driver.{part}") for part in ("major", "minor", "rev")]
    return ".".join(part for part in parts if part) if parts[0] else ""


def _drivers(snapshot: Snapshot) -> Counter[str]:
    return Counter(found for node in gpu_nodes(snapshot) if (found := driver_of(node)))


def _owner(snapshot: Snapshot, running: str) -> Obj:
    """What decides the driver: the ClusterPolicy where the operator installs it, else the first node that runs it."""
    policy = cluster_policy(snapshot)
    if policy is not None and get(policy, "spec", "driver", "enabled") is not False:
        return policy
    return next(node for node in gpu_nodes(snapshot) if driver_of(node) == running)


def _driver_finding(case: Case, bad: list[str], what: str, then: str, build: str) -> Finding:
    """then: what to install, in words. build: the version to write where one setting decides it."""
    drivers, owner = _drivers(case.snapshot), _owner(case.snapshot, bad[0])
    count = sum(drivers[each] for each in bad)
    how = (
        f"kubectl patch clusterpolicy {name(owner)} --type=merge -p "
        f'\'{{"spec":{{"driver":{{"version":"{build}"}}}}}}\'   # node by node, and its GPU pods end'
        if owner["kind"] == "ClusterPolicy"
        else "the driver is the host's: change the image of the nodes"
    )
    return case.finding(
        owner,
        f"{count} of {many(len(gpu_nodes(case.snapshot)), 'GPU node')} {'runs' if count == 1 else 'run'} driver "
        f"{', '.join(bad[:3])}, {what}: {DRIVER_WORST}",
        "spec.driver.version",
        "metadata.labels[nvidia.com/cuda.driver-version.full]",
        seen={"drivers on nodes": ", ".join(f"{each}: {drivers[each]}" for each in sorted(drivers)), "as of": AS_OF},
        remedy=f"{then}\n{how}",
    )


@check("VER-01", Severity.WARNING, Layer.RISK, reads=_READS, remedy=_EDIT,
       source=f"{_BULLETINS} (5821)")  # fmt: skip
def driver_has_its_fixes(case: Case) -> Iterator[Finding]:
    """Every GPU node runs a driver build with the fixes of its branch.

    The driver runs in the kernel, and every container with a GPU talks to it. The flaws mended in May 2026 let one
    reach memory that is not its own.
    """
    bad = sorted(
        each
        for each in _drivers(case.snapshot)
        if (numbers := version(each)) and numbers[0] in DRIVER and numbers < DRIVER[numbers[0]]
    )
    if bad:
        builds = [_build(each) for each in sorted({DRIVER[version(each)[0]] for each in bad})]
        fixes, what = ", ".join(builds), "the mended builds" if builds[1:] else "the mended build"
        yield _driver_finding(case, bad, f"older than {fixes}, {what}", f"install {fixes} or later", builds[-1])


def _build(numbers: Version) -> str:
    """A driver version as NVIDIA writes it: the last part has two digits."""
    return f"{numbers[0]}.{numbers[1]}.{numbers[2]:02d}"


@check("VER-02", Severity.WARNING, Layer.RISK, reads=_READS, remedy=_EDIT,
       source=f"{_BULLETINS} (5821 rev. 2)")  # fmt: skip
def driver_branch_gets_fixes(case: Case) -> Iterator[Finding]:
    """Every GPU node runs a driver of a branch that still gets fixes.

    NVIDIA mends only the branches it supports. What is found in another one stays open for good, and only a change
    of branch, with its test of every image, closes it.
    """
    bad = sorted(
        each
        for each in _drivers(case.snapshot)
        if (numbers := version(each)) and numbers[0] not in DRIVER and numbers[0] < max(DRIVER)
    )
    if bad:
        newer = [_build(each) for each in sorted(DRIVER.values()) if each > max(map(version, bad))]  # no way back
        what, then = "a branch that the newest bulletin gives no fix for", f"move to {' or '.join(newer)} or later"
        yield _driver_finding(case, bad, what, then, newer[0])


def _containers(daemonset: Obj) -> Iterator[tuple[str, Obj]]:
    for field in ("containers", "initContainers"):
        for index, each in enumerate(items(pod_template(daemonset), "spec", field)):
            yield f"spec.template.spec.{field}[{index}]", each


def _operand_version(
    snapshot: Snapshot, operand: str, field: str, image: str, part: int
) -> tuple[Obj, str, Version] | None:
    """What an operand runs: the object to change, the path and the version. The running DaemonSet is believed first.

    part: which of the tag's versions is meant (`4.2.3-4.1.3-ubuntu22.04`: DCGM, then the exporter).
    """
    policy = cluster_policy(snapshot)
    for each in operand_daemonsets(snapshot).get(operand, []):
        for path, container in _containers(each):
            repository, _, tag = text(container, "image").partition("@")[0].rpartition(":")
            numbers = version(tag.split("-")[part]) if image in repository and len(tag.split("-")) > part else ()
            if len(numbers) >= 2:
                return (policy, f"spec.{field}.version", numbers) if policy else (each, f"{path}.image", numbers)
    if policy is None or get(policy, "spec", field, "enabled") is False:
        return None
    parts = text(policy, "spec", field, "version").split("-")
    numbers = version(parts[part]) if len(parts) > part else ()
    return (policy, f"spec.{field}.version", numbers) if len(numbers) >= 2 else None


@check("VER-03", Severity.WARNING, Layer.RISK, reads=(kinds.DAEMON_SET, kinds.CLUSTER_POLICY), remedy=_EDIT,
       source=f"{_BULLETINS} (5582, 5616, 5659, 5850)")  # fmt: skip
def toolkit_has_its_fixes(case: Case) -> Iterator[Finding]:
    """The container toolkit is a version without known flaws.

    It runs as root on the host at the start of every GPU container and handles what the image brings. Each of its
    flaws let an image out of its container: whoever may choose an image is root on the node. An error
    where one with a score of 9 or more is open.
    """
    found = _operand_version(case.snapshot, "container-toolkit", "toolkit", "container-toolkit", 0)
    if found is None:
        return
    obj, path, running = found
    flaws = open_flaws(TOOLKIT, running, cdi=cdi_on(case.snapshot))
    if flaws:
        fixed = say(max(each.fixed for each in flaws))
        yield case.finding(
            obj,
            f"The container toolkit {say(running)} has {list_flaws(flaws)}",
            path,
            seen={"running": say(running), "mended in": fixed, "as of": AS_OF},
            severity=Severity.ERROR if (flaws[0].score or 0) >= 9 else None,
            remedy=f"upgrade the GPU Operator (26.3.2 and later bring toolkit 1.19.1), or set toolkit.version v{fixed} "
            "or later in the ClusterPolicy; it restarts the runtime of each node\nuntil then run only images you trust",
        )


@check("VER-07", Severity.WARNING, Layer.RISK, reads=(kinds.DAEMON_SET, kinds.CLUSTER_POLICY), remedy=_EDIT,
       source=f"{_BULLETINS} (5857)")  # fmt: skip
def exporter_has_its_fixes(case: Case) -> Iterator[Finding]:
    """The exporter of GPU metrics is a version without known flaws.

    Until 4.8.2 its port also serves Go's profiler, without a key: any pod that reaches it can read the exporter's
    memory or keep it too busy to export.
    """
    found = _operand_version(case.snapshot, "dcgm-exporter", "dcgmExporter", "dcgm-exporter", 1)
    if found is None:
        return
    obj, path, running = found
    if flaws := open_flaws(EXPORTER, running):
        yield case.finding(
            obj,
            f"dcgm-exporter {say(running)} has {list_flaws(flaws)}",
            path,
            seen={"running": say(running), "mended in": say(flaws[0].fixed), "as of": AS_OF},
            remedy="upgrade the GPU Operator (26.3.2 and later), or set dcgmExporter.version to 4.5.3-4.8.2 or later\n"
            "until then a NetworkPolicy in its namespace that opens port 9400 to Prometheus alone",
        )


def cdi_on(snapshot: Snapshot) -> bool | None:
    """Whether the operator hands GPUs in through CDI; None where its own default decides, which its version sets."""
    policy = cluster_policy(snapshot)
    stated = get(policy, "spec", "cdi", "enabled") if policy else None
    return stated if isinstance(stated, bool) else None


def _toolkit_env(snapshot: Snapshot) -> dict[str, Any]:
    """The toolkit's settings: of the ClusterPolicy, and over them those of the running DaemonSet."""
    policy = cluster_policy(snapshot)
    entries = items(policy, "spec", "toolkit", "env") if policy else []
    for each in operand_daemonsets(snapshot).get("container-toolkit", []):
        for _, container in _containers(each):
            entries = [*entries, *items(container, "env")]
    return {text(entry, "name"): entry.get("value") for entry in entries}


@check("DEV-01", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_POLICY,), whole=(kinds.DAEMON_SET,), remedy=_EDIT,
       source="nvidia-container-toolkit config (accept-nvidia-visible-devices-envvar-when-unprivileged); "
              "k8s-device-plugin#61, #1605")  # fmt: skip
def environment_grants_no_gpus(case: Case) -> Iterator[Finding]:
    """A pod cannot take GPUs by setting an environment variable.

    The toolkit's default hands every GPU of the node to any container that sets NVIDIA_VISIBLE_DEVICES=all, asked
    for or not; many images set it themselves. The scheduler, quotas and bills do not see it. With CDI and
    the nvidia runtime not the default, the way is closed for pods that do not choose that runtime.
    """
    policy, have = cluster_policy(case.snapshot), _toolkit_env(case.snapshot)
    if policy is None or get(policy, "spec", "toolkit", "enabled") is False or not mapping(policy, "spec", "toolkit"):
        return
    if str(have.get(ENVVAR, "")).lower() == "false":
        return
    default = (
        str(have.get("NVIDIA_RUNTIME_SET_AS_DEFAULT", have.get("CONTAINERD_SET_AS_DEFAULT", ""))).lower() == "true"
    )
    if cdi_on(case.snapshot) is False or default:
        why = "the nvidia runtime is the default" if default else "CDI is off"
        yield case.finding(
            policy,
            f"Any pod can take all GPUs of its node with NVIDIA_VISIBLE_DEVICES=all: {ENVVAR} is not false, and {why}",
            "spec.toolkit.env",
            "spec.cdi.enabled",
            seen={ENVVAR: have.get(ENVVAR) or "not set, so true"},
            remedy="in the ClusterPolicy:\ntoolkit.env: [{name: " + ENVVAR + ', value: "false"}, '
            '{name: ACCEPT_NVIDIA_VISIBLE_DEVICES_AS_VOLUME_MOUNTS, value: "true"}]\n'
            "devicePlugin.env: [{name: DEVICE_LIST_STRATEGY, value: volume-mounts}]\n"
            "pods that relied on the variable lose their GPUs: look for them first (GPU068)",
        )


@check("DEV-02", Severity.INFO, Layer.RISK, reads=(kinds.CLUSTER_POLICY,), remedy=_EDIT,
       source="gpu-operator cdi.enabled (default since v25.10.0)")  # fmt: skip
def gpus_come_through_cdi(case: Case) -> Iterator[Finding]:
    """GPUs are handed to containers through CDI.

    With CDI the container runtime itself adds exactly the devices the kubelet names. Without it every GPU container
    passes NVIDIA's own runtime hook, where most of the toolkit's flaws were, and loses its GPUs when
    systemd reloads.
    """
    policy = cluster_policy(case.snapshot)
    if policy is not None and cdi_on(case.snapshot) is False:
        yield case.finding(
            policy,
            "GPUs are handed to containers by NVIDIA's runtime hook: cdi.enabled is false",
            "spec.cdi.enabled",
            "spec.cdi.default",
            remedy=f"kubectl patch clusterpolicy {name(policy)} --type=merge -p "
            '\'{"spec":{"cdi":{"enabled":true}}}\'   # restarts the toolkit and the device plugin on each node',
        )
