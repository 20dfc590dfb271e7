"""Checks on what watches the GPUs: GPU112, GPU113, GPU117."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj, get, items, labels, mapping, name, namespace, number, selects, text
from plimsoll.kube.pods import controller, labelled_pods, ready
from plimsoll.kube.snapshot import Snapshot


def _runs_exporter(owner: Obj) -> bool:
    """Whether a DaemonSet runs dcgm-exporter on at least one node."""
    images = [text(each, "image") for each in items(owner, "spec", "template", "spec", "containers")]
    return any("dcgm-exporter" in image for image in images) and number(owner, "status", "desiredNumberScheduled") > 0


def _monitors(snapshot: Snapshot, kind: Kind, here: str, have: dict[str, str]) -> list[Obj]:
    """Monitors whose selector and namespaces match a Service or pod with these labels."""
    return [
        monitor
        for monitor in snapshot.list(kind)
        if selects(get(monitor, "spec", "selector"), have) and _covers(monitor, here)
    ]


def _covers(monitor: Obj, here: str) -> bool:
    where = get(monitor, "spec", "namespaceSelector")
    if not isinstance(where, dict) or not where:
        return namespace(monitor) == here
    names = where.get("matchNames")
    return where.get("any") is True or (isinstance(names, list) and here in names)


@check("GPU112", Severity.WARNING, Layer.RISK, reads=(kinds.DAEMON_SET,),
       whole=(kinds.SERVICE, kinds.SERVICE_MONITOR, kinds.POD_MONITOR, kinds.PROMETHEUS),
       remedy="dcgmExporter.serviceMonitor.enabled=true with additionalLabels in the ClusterPolicy",
       source="gpu-operator dcgmExporter.serviceMonitor; Prometheus Operator selectors")  # fmt: skip
def gpu_metrics_scraped(case: Case) -> Iterator[Finding]:
    """Where the Prometheus Operator is in use, one of its monitors selects the DCGM exporter.

    The exporter is ready and serves metrics whether or not anybody collects them. The GPU
    Operator skips its ServiceMonitor without a word when the CRD came later, and a Prometheus
    ignores monitors that lack the label it selects by: no GPU graphs, no alerts, no error.
    """
    snapshot = case.snapshot
    servers = snapshot.list(kinds.PROMETHEUS)
    if not (servers or snapshot.list(kinds.SERVICE_MONITOR) or snapshot.list(kinds.POD_MONITOR)):
        return  # other collectors find targets by annotation or configuration, which no object shows
    for owner in snapshot.list(kinds.DAEMON_SET):
        if not _runs_exporter(owner):
            continue
        here, pod_labels = namespace(owner), mapping(owner, "spec", "template", "metadata", "labels")
        found = _monitors(snapshot, kinds.POD_MONITOR, here, pod_labels)
        monitors = [(monitor, "podMonitorSelector") for monitor in found]
        for service in snapshot.list(kinds.SERVICE):
            selector = get(service, "spec", "selector")
            if namespace(service) == here and selector and selects({"matchLabels": selector}, pod_labels):
                found = _monitors(snapshot, kinds.SERVICE_MONITOR, here, labels(service))
                monitors += [(monitor, "serviceMonitorSelector") for monitor in found]
        taken = [m for m, field in monitors if any(selects(get(s, "spec", field), labels(m)) for s in servers)]
        if taken or (monitors and not servers):
            continue
        what = (
            f"no Prometheus selects {name(monitors[0][0])}"
            if monitors
            else "no ServiceMonitor or PodMonitor selects it"
        )
        yield case.finding(
            owner,
            f"The DCGM exporter {here}/{name(owner)} runs but is not scraped: {what}",
            "status.numberReady",
            seen={"monitors": ", ".join(name(monitor) for monitor, _ in monitors) or "none"},
            remedy="kubectl get prometheus -A -o jsonpath='{.items[*].spec.serviceMonitorSelector}'\n"
            "set dcgmExporter.serviceMonitor.enabled=true and dcgmExporter.serviceMonitor.additionalLabels to that "
            "label in the ClusterPolicy (created late: restart the gpu-operator deployment)",
        )


@check("GPU113", Severity.WARNING, Layer.RISK, reads=(kinds.DAEMON_SET,),
       remedy="kubectl get ds -A | grep dcgm", source="DCGM user guide (profiling lock)")  # fmt: skip
def one_dcgm_owner(case: Case) -> Iterator[Finding]:
    """Only one DCGM engine watches the GPUs of a node.

    The GPU lets one process at a time read profiling counters. A second exporter with its
    own engine, or one beside a DCGM host engine it does not use, gets errors instead of
    tensor-core and memory activity, or takes them from the first.
    """
    snapshot = case.snapshot
    exporters = [each for each in snapshot.list(kinds.DAEMON_SET) if _runs_exporter(each)]
    exporters.sort(key=lambda each: (labels(each).get("app") == "nvidia-dcgm-exporter", name(each)))
    for second in exporters[:-1]:  # the operator's own comes last and stays
        others = ", ".join(f"{namespace(each)}/{name(each)}" for each in exporters if each is not second)
        yield case.finding(
            second,
            f"DaemonSet {namespace(second)}/{name(second)} runs a second DCGM exporter beside {others}",
            "status.desiredNumberScheduled",
            seen={"exporters": len(exporters)},
            remedy=f"kubectl -n {namespace(second)} delete ds {name(second)}\nor set dcgmExporter.enabled=false",
        )
    engines = [
        each
        for each in snapshot.list(kinds.DAEMON_SET)
        if labels(each).get("app") == "nvidia-dcgm" and number(each, "status", "desiredNumberScheduled") > 0
    ]
    for exporter in exporters if engines else []:
        env = [
            entry for each in items(exporter, "spec", "template", "spec", "containers") for entry in items(each, "env")
        ]
        if not any(entry.get("name") == "DCGM_REMOTE_HOSTENGINE_INFO" for entry in env):
            yield case.finding(
                exporter,
                f"DCGM exporter {namespace(exporter)}/{name(exporter)} has its own engine beside that of nvidia-dcgm",
                "spec.template.spec.containers[0].env",
                remedy="set DCGM_REMOTE_HOSTENGINE_INFO=nvidia-dcgm:5555 for the exporter, or dcgm.enabled=false",
            )


@check("GPU117", Severity.WARNING, Layer.DISCOVERY, reads=(kinds.POD,),
       remedy="raise the memory limits in the node-feature-discovery values of the chart",
       source="gpu-operator #1049")  # fmt: skip
def nfd_has_memory(case: Case) -> Iterator[Finding]:
    """The master and the garbage collector of node feature discovery do not run out of memory.

    Their memory grows with the number of nodes; on clusters of some hundred nodes the
    chart's limit kills them. New GPU nodes then get no labels, and the operator, which goes
    by labels, does not see them.
    """
    found: dict[tuple[str, str, str], tuple[Obj, str]] = {}
    for pod in labelled_pods(case.snapshot, "app.kubernetes.io/name", "node-feature-discovery"):
        role = text(labels(pod), "role") or text(labels(pod), "app.kubernetes.io/component")
        if "worker" in (role, name(pod).rpartition("-")[0].rpartition("-")[2]):
            continue
        for index, status in enumerate(items(pod, "status", "containerStatuses")):
            for when in ("state", "lastState"):
                if text(status, when, "terminated", "reason") == "OOMKilled":
                    path = f"status.containerStatuses[{index}].{when}.terminated.reason"
                    found.setdefault(controller(case.snapshot, pod), (pod, path))
    for (kind, here, title), (pod, path) in sorted(found.items()):
        yield case.finding(
            pod,
            f"{kind} {here}/{title} of node feature discovery runs out of memory",
            path,
            "status.containerStatuses[0].restartCount",
            "spec.containers[0].resources.limits.memory",
            remedy=(
                f"kubectl -n {here} set resources {kind.lower()} {title} --limits=memory=4Gi\n" if kind != "Pod" else ""
            )
            + "then in the chart's values: "
            "node-feature-discovery.master.resources.limits.memory, node-feature-discovery.gc.resources.limits.memory",
            severity=None if ready(pod) else Severity.ERROR,
        )
