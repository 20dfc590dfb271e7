"""The exporter of GPU metrics: is it there, does it run, does it say what is needed? OBS-01, 02, 05 to 07, 09."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.check.words import brief, many
from plimsoll.kube import kinds
from plimsoll.kube.nodes import gpu_nodes, selected
from plimsoll.kube.objects import Obj, get, labels, mapping, name, namespace, pod_template, text
from plimsoll.kube.operands import cluster_policy, operand_states, operator_deployment, operator_namespace
from plimsoll.kube.pods import Trouble
from plimsoll.pillars.observability.facts import env_of, exporter_container, exporter_wanted, exporters, gpu_count
from plimsoll.units import moment, quantity

_GIB = 2**30
_START = timedelta(minutes=5)  # an image of half a GB, then DCGM's own start


@check("OBS-01", Severity.WARNING, Layer.RISK, reads=(kinds.NODE,), whole=(kinds.DAEMON_SET,),
       remedy="set dcgmExporter.enabled=true in the ClusterPolicy",
       source="gpu-operator dcgmExporter.enabled; dcgm-exporter")  # fmt: skip
def gpus_are_measured(case: Case) -> Iterator[Finding]:
    """A cluster with GPUs runs an exporter of GPU metrics.

    Without one nobody sees temperature, Xid errors, memory or use: a card that dies is noticed by its
    tenant, idle GPUs are paid for unseen, and no cost can be split by use.
    """
    nodes = gpu_nodes(case.snapshot)
    if not nodes or (exporters(case.snapshot) and exporter_wanted(case.snapshot) is not False):
        return
    policy = cluster_policy(case.snapshot)
    if policy is not None and exporter_wanted(case.snapshot) is False and not exporters(case.snapshot):
        yield case.finding(
            policy,
            f"The exporter of GPU metrics is switched off, so {_none(len(nodes))} is measured",
            "spec.dcgmExporter.enabled",
            seen={"GPU nodes": len(nodes)},
        )
    elif not exporters(case.snapshot) and policy is None and operator_deployment(case.snapshot) is None:
        yield case.finding(
            nodes[0],
            f"No DaemonSet runs dcgm-exporter, so {_none(len(nodes))} is measured",
            "metadata.name",
            seen={"GPU nodes": len(nodes)},
            remedy="helm install dcgm-exporter gpu-helm-charts/dcgm-exporter -n gpu-monitoring --create-namespace",
        )


def _none(nodes: int) -> str:
    return "no GPU node" if nodes == 1 else f"none of {nodes} GPU nodes"


@check("OBS-02", Severity.WARNING, Layer.CAPACITY, reads=(kinds.POD, kinds.DAEMON_SET, kinds.NODE),
       remedy="kubectl -n gpu-operator get pods -l app=nvidia-dcgm-exporter -o wide",
       source="gpu-operator operands")  # fmt: skip
def exporter_runs_everywhere(case: Case) -> Iterator[Finding]:
    """The exporter of GPU metrics is ready on every GPU node it is meant for.

    Where it is not, the node's GPUs work and are used, and no alert can fire for them. Its series do
    not go to zero, they end, which most dashboards draw as if nothing were wrong.
    """
    for node, states in operand_states(case.snapshot).items():
        for operand in ("dcgm", "dcgm-exporter", "dcgm-exporter-dra"):
            state = states.get(operand)
            if state is None or not state.fails or state.state == "absent":
                continue
            obj = state.pod or state.daemonset
            if obj is None:
                continue
            why = state.trouble
            if _starts(case, state.pod, why):
                continue
            said = why.reason if why else state.state
            if why and why.message:
                said += f": {brief(why.message, 160)}"
            yield case.finding(
                obj,
                f"{operand} on {node} does not run, so its GPUs are not measured: {said}",
                why.path if why else "status.phase",
                "spec.nodeName",
                affects=[f"node/{node}"],
                remedy=f"kubectl -n {namespace(obj)} describe pod {name(obj)}\n"
                f"kubectl -n {namespace(obj)} logs {name(obj)} --previous",
            )
            break


def _starts(case: Case, pod: Obj | None, why: Trouble | None) -> bool:
    """Whether a pod was made so recently that it may still be pulling, or waiting for the driver."""
    if pod is None or case.now is None or (why is not None and why.state in ("crash", "image")):
        return False
    made = moment(text(pod, "metadata", "creationTimestamp"))
    return made is not None and case.now - made < _START


@check("OBS-05", Severity.WARNING, Layer.RISK, reads=(kinds.DAEMON_SET, kinds.NODE),
       remedy="set dcgmExporter.resources.limits.memory to 1Gi in the ClusterPolicy",
       source="pytorch/ci-infra#1011 (41 of 86 pods killed on 8-GPU nodes at 512Mi)")  # fmt: skip
def exporter_has_memory(case: Case) -> Iterator[Finding]:
    """The exporter's memory limit is enough for nodes with eight GPUs.

    DCGM keeps history for each GPU outside the Go heap. With 512Mi the exporter runs on small nodes and
    is killed on those with eight GPUs, the expensive ones, so their metrics have holes.
    """
    for each in exporters(case.snapshot):
        container = exporter_container(each)
        limit = quantity(get(container, "resources", "limits", "memory"))
        if limit is None or limit >= _GIB:
            continue
        large = [
            node for node in gpu_nodes(case.snapshot) if gpu_count(node) >= 8 and selected(node, pod_template(each))
        ]
        if large:
            yield case.finding(
                each,
                f"{namespace(each)}/{name(each)} may use {text(container, 'resources', 'limits', 'memory')} of memory, "
                f"too little for the 8 GPUs of {name(large[0])}",
                "spec.template.spec.containers[0].resources.limits.memory",
                seen={"nodes with 8 GPUs or more": len(large)},
                remedy="kubectl patch clusterpolicy cluster-policy --type=merge -p "
                '\'{"spec":{"dcgmExporter":{"resources":{"limits":{"memory":"1Gi"}}}}}\'\n'
                "of an exporter of your own: its chart's resources",
            )


@check("OBS-06", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_POLICY,), whole=(kinds.CONFIG_MAP,),
       remedy="kubectl -n gpu-operator get configmaps",
       source="gpu-operator dcgmExporter.config.name (mounted as the collectors file)")  # fmt: skip
def counters_file_exists(case: Case) -> Iterator[Finding]:
    """The ConfigMap with the exporter's counters exists.

    The operator mounts the ConfigMap `dcgmExporter.config.name` into the exporter. While it does not
    exist the pods wait in ContainerCreating at their next start, on every node, and nothing is measured.
    """
    policy = cluster_policy(case.snapshot)
    title = text(policy, "spec", "dcgmExporter", "config", "name") if policy else ""
    here = operator_namespace(case.snapshot)
    if policy and title and here and case.snapshot.get(kinds.CONFIG_MAP, title, here) is None:
        yield case.finding(
            policy,
            f"The ClusterPolicy names ConfigMap {here}/{title} for the exporter's counters, which does not exist",
            "spec.dcgmExporter.config.name",
            remedy=f"kubectl -n {here} create configmap {title} --from-file=dcgm-metrics.csv\n"
            "or take dcgmExporter.config.name out of the ClusterPolicy",
        )


_NEEDED = {
    "how busy the tensor cores are": ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_PROF_TENSOR_UTIL_RATIO"),
    "use of MIG instances": ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO"),
    "memory traffic": ("DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_DRAM_UTIL_RATIO"),
    "Xid errors": ("DCGM_FI_DEV_XID_ERROR", "DCGM_EXP_XID_ERRORS"),
    "memory in use": ("DCGM_FI_DEV_FB_USED",),
}


@check("OBS-07", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_POLICY, kinds.CONFIG_MAP),
       remedy="kubectl -n gpu-operator edit configmap <name>   # that of dcgmExporter.config.name",
       source="dcgm-exporter etc/default-counters.csv")  # fmt: skip
def counters_cover_what_matters(case: Case) -> Iterator[Finding]:
    """A counters file of one's own keeps the counters one cannot do without.

    The file replaces the default list. GPU_UTIL says only that some kernel ran, and nothing at all on MIG:
    without the PROF counters a busy card and a wasted one look alike, without XID errors a dying one looks well.
    """
    policy = cluster_policy(case.snapshot)
    title = text(policy, "spec", "dcgmExporter", "config", "name") if policy else ""
    found = case.snapshot.get(kinds.CONFIG_MAP, title, operator_namespace(case.snapshot)) if title else None
    if found is None or not mapping(found, "data"):
        return
    lines = [
        line.strip()
        for content in mapping(found, "data").values()
        for line in (content.splitlines() if isinstance(content, str) else [])
        if not line.lstrip().startswith("#")
    ]
    missing = [what for what, names in _NEEDED.items() if not any(line.startswith(names) for line in lines)]
    if missing and lines:
        yield case.finding(
            found,
            f"The exporter's counters in ConfigMap {namespace(found)}/{name(found)} leave out {', '.join(missing)}",
            seen={"counters": len(lines), "missing": ", ".join(_NEEDED[what][0] for what in missing)},
            remedy=f"kubectl -n {namespace(found)} edit configmap {name(found)}\n"
            + "\n".join(f"{_NEEDED[what][0]}, gauge, {what}." for what in missing),
        )


@check("OBS-09", Severity.WARNING, Layer.RISK, reads=(kinds.DAEMON_SET, kinds.NODE),
       remedy="set KUBERNETES_VIRTUAL_GPUS=true in dcgmExporter.env of the ClusterPolicy",
       source="NVIDIA/dcgm-exporter#151, #201, #307 (shared devices lose their pods)")  # fmt: skip
def metrics_name_their_pods(case: Case) -> Iterator[Finding]:
    """The metrics of a GPU name the pods that use it, shared GPUs included.

    The exporter asks the kubelet which pod holds a device. Shared devices carry a replica's number in
    their id, which it understands only with KUBERNETES_VIRTUAL_GPUS: else the series of a time-sliced GPU
    have no pod, or one of several, and its cost and its idleness belong to nobody.
    """
    shared = {
        name(node)
        for node in gpu_nodes(case.snapshot)
        if labels(node).get("nvidia.com/gpu.sharing-strategy") in ("time-slicing", "mps")
    }
    for each in exporters(case.snapshot):
        container = exporter_container(each)
        have = env_of(container) if container else {}
        args = " ".join(map(str, get(container, "args") or []))
        if str(have.get("DCGM_EXPORTER_KUBERNETES", "")).lower() == "false":
            what = "do not name any pod: DCGM_EXPORTER_KUBERNETES is false"
        elif (
            any(selected(node, pod_template(each)) for node in gpu_nodes(case.snapshot) if name(node) in shared)
            and str(have.get("KUBERNETES_VIRTUAL_GPUS", "")).lower() != "true"
            and "--kubernetes-virtual-gpus" not in args
        ):
            where = many(len(shared), "node", "that shares", "that share")
            what = f"do not name the pods on {where} GPUs: KUBERNETES_VIRTUAL_GPUS is not set"
        else:
            continue
        yield case.finding(
            each,
            f"The metrics of {namespace(each)}/{name(each)} {what}",
            "spec.template.spec.containers[0].env",
            seen={"nodes that share": ", ".join(sorted(shared)[:5])},
            remedy="in the ClusterPolicy, dcgmExporter.env: [{name: KUBERNETES_VIRTUAL_GPUS, value: \"true\"}]\n"
            "queries then take max by (UUID, GPU_I_ID) for a device: each sharer has a copy of its series",
        )  # fmt: skip
