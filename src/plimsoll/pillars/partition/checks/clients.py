"""GPU086-087: do workloads and agents fit with MIG?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes, selected
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, owner, text
from plimsoll.kube.operands import cluster_policy
from plimsoll.kube.pods import gpu_pods
from plimsoll.pillars.partition.change import DEPLOY, WANTED, some
from plimsoll.pillars.partition.workloads import responsible
from plimsoll.units import count

_AGENT = re.compile(r"dcgm|nvsm|/gpud\b|nvidia[-_]gpu[-_]exporter", re.IGNORECASE)


def _partitioned(case: Case) -> list[Obj]:
    """Nodes whose label asks for a MIG layout."""
    return [node for node in gpu_nodes(case.snapshot) if labels(node).get(WANTED) not in (None, "", "all-disabled")]


@check(
    "GPU086", Severity.WARNING, Layer.RISK, reads=(kinds.NODE, kinds.CLUSTER_POLICY, kinds.DAEMON_SET),
    remedy="Gate the agent on nvidia.com/gpu.deploy.client=true, or let the MIG manager stop host services.",
    source="mig-parted deployments/k8s-mig-manager (gpu-clients), DCGM #276",
)  # fmt: skip
def gpu_clients_stop_for_layouts(case: Case) -> Iterator[Finding]:
    """Everything that keeps GPUs open can be stopped by the MIG manager.

    Instances cannot be destroyed while a process has a handle on them, and monitoring agents keep
    one for ever. The manager stops the operator's own operands, pods selected by
    `nvidia.com/gpu.deploy.client`, and host services where it is allowed to; any other agent
    makes the next change of layout fail with `in use by another client`.
    """
    nodes = _partitioned(case)
    if not nodes:
        return
    policy = cluster_policy(case.snapshot)
    hosted = [name(node) for node in nodes if labels(node).get(f"{DEPLOY}driver") == "pre-installed"]
    env = {text(each, "name"): text(each, "value") for each in items(policy, "spec", "migManager", "env")}
    if policy and hosted and env.get("WITH_SHUTDOWN_HOST_GPU_CLIENTS") == "false":
        yield case.finding(
            policy,
            f"The MIG manager may not stop host services (WITH_SHUTDOWN_HOST_GPU_CLIENTS=false) on {some(hosted)}, "
            "which run a host driver",
            "spec.migManager.env[WITH_SHUTDOWN_HOST_GPU_CLIENTS].value",
            "spec.migManager.gpuClientsConfig.name",
            seen={"nodes": some(hosted)},
            remedy=f"kubectl edit clusterpolicy {name(policy)}   # in migManager.env, and list the services in the "
            "ConfigMap of gpuClientsConfig",
        )
    for daemons in case.snapshot.list(kinds.DAEMON_SET):
        template = mapping(daemons, "spec", "template")
        images = [text(each, "image") for each in items(template, "spec", "containers")]
        agent = next((image for image in images if _AGENT.search(image)), "")
        gated = any(key.startswith(DEPLOY) for key in mapping(template, "spec", "nodeSelector"))
        if not agent or gated or owner(daemons).get("kind") in ("ClusterPolicy", "GPUCluster"):
            continue
        where = [name(node) for node in nodes if selected(node, template)]
        if where:
            yield case.finding(
                daemons,
                f"{agent.rpartition('/')[2]} of {namespace(daemons)}/{name(daemons)} keeps GPUs open on {some(where)} "
                "and is not stopped for a MIG change",
                "spec.template.spec.nodeSelector",
                seen={"image": agent},
                remedy=f"kubectl -n {namespace(daemons)} patch daemonset {name(daemons)} --type merge -p "
                f'\'{{"spec":{{"template":{{"spec":{{"nodeSelector":{{"{DEPLOY}client":"true"}}}}}}}}}}\'\n'
                f"kubectl label node {where[0]} {DEPLOY}client=true",
            )


@check(
    "GPU087", Severity.WARNING, Layer.RISK, reads=(kinds.POD, kinds.NODE),
    remedy="Give the job one larger MIG device, or whole GPUs.",
    source="MIG user guide (no peer-to-peer between instances; CUDA enumerates one instance per process)",
)  # fmt: skip
def no_multi_gpu_on_slices(case: Case) -> Iterator[Finding]:
    """No container is given several MIG devices to use as several GPUs.

    A CUDA process sees one MIG device however many it holds, and instances cannot talk to each
    other over NVLink or peer-to-peer: NCCL across them fails or crawls through host memory, while
    all of them are paid for.
    """
    reported: set[tuple[str, str, str]] = set()
    for pod, wants in gpu_pods(case.snapshot):
        if sum(wants.values()) < 2:
            continue
        for index, container in enumerate(items(pod, "spec", "containers")):
            held = _slices(case, pod, container)
            if sum(held.values()) < 2:
                continue
            obj = responsible(case.snapshot, pod)
            key = (text(obj, "kind"), namespace(obj), name(obj))
            if key not in reported:
                reported.add(key)
                devices = ", ".join(f"{amount} × {resource}" for resource, amount in held.items())
                yield case.finding(
                    obj,
                    f"{key[0]} {key[1]}/{key[2]} gives one container {devices}: a process can use one MIG device only",
                    seen={f"spec.containers[{index}].resources.limits": held, "pod": f"{namespace(pod)}/{name(pod)}"},
                )


def _slices(case: Case, pod: Obj, container: Obj) -> dict[str, int]:
    """MIG devices a container asks for. On a single-strategy node `nvidia.com/gpu` is one too."""
    limits = mapping(container, "resources", "limits")
    found = {key: count(value) for key, value in limits.items() if key.startswith("nvidia.com/mig-")}
    node = case.snapshot.get(kinds.NODE, text(pod, "spec", "nodeName"))
    if node and "-MIG-" in text(labels(node), "nvidia.com/gpu.product") and get(limits, "nvidia.com/gpu"):
        found["nvidia.com/gpu"] = count(limits["nvidia.com/gpu"])
    return {key: value for key, value in sorted(found.items()) if value}
