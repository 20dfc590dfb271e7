"""Who collects metrics, from whom, and under which names: OBS-03, 04, 08, 10 to 14."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plimsoll.check.model import Case, Finding, Layer, Severity, check
from plimsoll.kube import kinds
from plimsoll.kube.objects import (
    annotations_of,
    get,
    items,
    labels,
    mapping,
    name,
    namespace,
    pod_template,
    selects,
    text,
)
from plimsoll.kube.operands import cluster_policy
from plimsoll.kube.served import vllm_servers
from plimsoll.pillars.observability.facts import (
    anchor,
    collects,
    exporter_container,
    exporter_version,
    exporters,
    monitors_of,
    operated,
)

_PLATFORM = re.compile(r"dcgm|nvidia|gpu|kueue|keda|vllm|llm|inference|sglang|triton", re.IGNORECASE)
_CPOL = "kubectl edit clusterpolicy cluster-policy"


@check("OBS-03", Severity.WARNING, Layer.RISK, reads=(kinds.SERVICE_MONITOR, kinds.POD_MONITOR),
       whole=(kinds.PROMETHEUS,),
       remedy="kubectl get prometheus -A -o jsonpath='{.items[*].spec.serviceMonitorSelector}'",
       source="Prometheus Operator serviceMonitorSelector, podMonitorSelector")  # fmt: skip
def monitors_are_selected(case: Case) -> Iterator[Finding]:
    """Every monitor of the GPU platform is taken up by a Prometheus.

    A Prometheus reads only monitors that carry the labels it selects by (with kube-prometheus-stack,
    `release: …`). One without them is accepted, looks right, and collects nothing. The exporter's own
    monitor is judged by GPU112.
    """
    servers = case.snapshot.list(kinds.PROMETHEUS)
    for kind, field in ((kinds.SERVICE_MONITOR, "serviceMonitorSelector"), (kinds.POD_MONITOR, "podMonitorSelector")):
        for monitor in case.snapshot.list(kind) if servers else ():
            said = f"{namespace(monitor)} {name(monitor)} {mapping(monitor, 'spec', 'selector')}"
            if not _PLATFORM.search(said) or "dcgm" in said.lower():
                continue
            if any(selects(get(server, "spec", field), labels(monitor)) for server in servers):
                continue
            wanted = get(servers[0], "spec", field, "matchLabels")
            yield case.finding(
                monitor,
                f"{kind.kind} {namespace(monitor)}/{name(monitor)} is selected by no Prometheus, so nobody collects it",
                "metadata.labels",
                seen={f"Prometheus {name(servers[0])}: spec.{field}": str(get(servers[0], "spec", field))},
                remedy=f"kubectl -n {namespace(monitor)} label {kind.kind.lower()} {name(monitor)} "
                + (" ".join(f"{key}={value}" for key, value in wanted.items()) if isinstance(wanted, dict) else "…"),
            )


@check("OBS-04", Severity.WARNING, Layer.RISK, reads=(kinds.CLUSTER_POLICY, kinds.SERVICE_MONITOR),
       remedy=_CPOL, source="gpu-operator dcgmExporter.serviceMonitor.honorLabels")  # fmt: skip
def pod_labels_survive_the_scrape(case: Case) -> Iterator[Finding]:
    """The pod a GPU metric names is the pod that uses the GPU.

    The exporter writes `pod` and `namespace`, and so does Prometheus for the exporter itself. Unless the
    monitor has `honorLabels: true` the user's pod becomes `exported_pod`, and every query by pod adds up the
    exporter's own pods: cost by team, idle alerts and dashboards are about the wrong pods.
    """
    policy = cluster_policy(case.snapshot)
    monitor = mapping(policy, "spec", "dcgmExporter", "serviceMonitor") if policy else {}
    if policy and monitor.get("enabled") is True and monitor.get("honorLabels") is not True:
        yield case.finding(
            policy,
            "GPU metrics name the exporter's pod instead of the user's: serviceMonitor.honorLabels is not true",
            "spec.dcgmExporter.serviceMonitor.honorLabels",
            "spec.dcgmExporter.serviceMonitor.enabled",
            remedy=f"kubectl patch clusterpolicy {name(policy)} --type=merge -p "
            '\'{"spec":{"dcgmExporter":{"serviceMonitor":{"honorLabels":true}}}}\'',
        )
    for each in exporters(case.snapshot):
        have = labels(pod_template(each))
        for found in monitors_of(case.snapshot, kinds.SERVICE_MONITOR, namespace(each), have):
            made = any(own.get("kind") == "ClusterPolicy" for own in items(found, "metadata", "ownerReferences"))
            if not made and not any(entry.get("honorLabels") is True for entry in items(found, "spec", "endpoints")):
                yield case.finding(
                    found,
                    f"GPU metrics collected by {namespace(found)}/{name(found)} name the exporter's pod "
                    "instead of the user's: honorLabels is not true",
                    "spec.endpoints[0].honorLabels",
                    remedy=f"kubectl -n {namespace(found)} edit servicemonitor {name(found)}   # honorLabels: true",
                )


@check("OBS-08", Severity.INFO, Layer.RISK, reads=(kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.NODE),
       remedy="kubectl get pods -A | grep -iE 'prometheus|agent|otel'",
       source="Prometheus Operator, OpenTelemetry Collector")  # fmt: skip
def something_collects(case: Case) -> Iterator[Finding]:
    """Something in the cluster collects metrics.

    Nothing here looks like a Prometheus, an agent or a collector. That is fine where one outside reaches
    in; no object of the cluster shows it, so nothing further about collection could be judged.
    """
    obj = anchor(case.snapshot)
    if obj is not None and exporters(case.snapshot) and not collects(case.snapshot):
        yield case.finding(
            obj,
            "Nothing in the cluster collects metrics; if nothing outside does either, nobody sees the GPUs",
            "spec.dcgmExporter.serviceMonitor.enabled",
            seen={"Prometheus, agents or collectors found": 0},
            remedy="install a Prometheus (kube-prometheus-stack) or an agent, or make sure that the one outside "
            "scrapes port 9400 of the exporter, 8443 of Kueue and 8000 of vLLM",
        )


@check("OBS-10", Severity.WARNING, Layer.RISK, reads=(kinds.POD_MONITOR, kinds.NODE),
       whole=(kinds.DEPLOYMENT, kinds.STATEFUL_SET),
       remedy="helm install kube-state-metrics prometheus-community/kube-state-metrics -n monitoring",
       source="kube-state-metrics docs (pod resource requests)")  # fmt: skip
def pods_are_accounted_for(case: Case) -> Iterator[Finding]:
    """Where Prometheus runs in the cluster, kube-state-metrics runs too.

    The exporter knows what a GPU does, kube-state-metrics who asked for it: which pods hold GPUs, from when
    to when, and how many the nodes have. Without it held but idle GPUs cannot be told from free ones.
    """
    runs = (*case.snapshot.list(kinds.DEPLOYMENT), *case.snapshot.list(kinds.STATEFUL_SET))
    images = [text(each, "image") for obj in runs for each in items(pod_template(obj), "spec", "containers")]
    obj = next(iter(case.snapshot.list(kinds.PROMETHEUS)), None) or anchor(case.snapshot)
    if obj is None or not operated(case.snapshot) or any("kube-state-metrics" in image for image in images):
        return
    yield case.finding(
        obj,
        "No kube-state-metrics runs, so nobody knows which pods hold GPUs, and for how long",
        "metadata.name",
        seen={"kube-state-metrics": "absent"},
    )


@check("OBS-11", Severity.WARNING, Layer.RISK, reads=(kinds.PROMETHEUS,), whole=(kinds.PROMETHEUS_RULE,),
       remedy="kubectl get prometheusrule -A",
       source="Prometheus Operator PrometheusRule; NVIDIA Xid catalogue")  # fmt: skip
def gpus_have_alerts(case: Case) -> Iterator[Finding]:
    """Somebody is told when a GPU fails.

    Xid errors, failed row remaps and GPUs that fell off the bus show in the metrics within seconds. Without
    a rule on them the first to know is the tenant whose job hangs, hours later.
    """
    servers = case.snapshot.list(kinds.PROMETHEUS)
    if not servers or anchor(case.snapshot) is None:
        return
    for rule in case.snapshot.list(kinds.PROMETHEUS_RULE):
        if any(
            "DCGM_" in str(get(each, "expr"))
            for group in items(rule, "spec", "groups")
            for each in items(group, "rules")
        ):
            return
    yield case.finding(
        servers[0],
        "No PrometheusRule asks for a DCGM metric, so no alert tells of a failing GPU",
        "spec.ruleSelector",
        seen={"PrometheusRules": len(case.snapshot.list(kinds.PROMETHEUS_RULE))},
        remedy="write a PrometheusRule on DCGM_FI_DEV_XID_ERRORS, DCGM_FI_DEV_ROW_REMAP_FAILURE, temperature, and on "
        "GPU nodes without series; err_code is a label: ask for its appearance, changes() never fires",
    )


@check("OBS-12", Severity.INFO, Layer.RISK, reads=(kinds.CONFIG_MAP, kinds.CLUSTER_QUEUE),
       remedy="kubectl -n kueue-system edit configmap kueue-manager-config",
       source="Kueue Configuration.metrics.enableClusterQueueResources")  # fmt: skip
def quotas_are_measured(case: Case) -> Iterator[Finding]:
    """Kueue exports the quota and usage of its queues.

    `kueue_cluster_queue_resource_usage`, nominal quota and limits are off unless
    `metrics.enableClusterQueueResources` is true. Without them no dashboard can show who borrows, who
    waits beside free quota, and what a team uses of what it was promised.
    """
    if not case.snapshot.list(kinds.CLUSTER_QUEUE):
        return
    for found in case.snapshot.list(kinds.CONFIG_MAP):
        config = text(found, "data", "controller_manager_config.yaml")
        if "kueue" in name(found) and config and not re.search(r"enableClusterQueueResources:\s*true", config):
            yield case.finding(
                found,
                "Kueue does not export the quota and usage of its queues",
                seen={"data[controller_manager_config.yaml]: metrics.enableClusterQueueResources": "not true"},
                remedy=f"kubectl -n {namespace(found)} edit configmap {name(found)}   # metrics: "
                "{enableClusterQueueResources: true}\n"
                f"kubectl -n {namespace(found)} rollout restart deploy kueue-controller-manager",
            )


@check("OBS-13", Severity.WARNING, Layer.RISK, reads=(kinds.DEPLOYMENT, kinds.STATEFUL_SET),
       whole=(kinds.SERVICE_MONITOR, kinds.POD_MONITOR, kinds.SERVICE),
       remedy="kubectl get servicemonitor,podmonitor -A",
       source="vLLM docs/usage/metrics; Prometheus Operator PodMonitor")  # fmt: skip
def servers_are_scraped(case: Case) -> Iterator[Finding]:
    """Where the Prometheus Operator is in use, every vLLM server is collected.

    Queue length, cache usage and latency are what a service is scaled by. When no monitor selects its pods,
    the trigger's query finds nothing, KEDA takes that for no load, and the service stays at its minimum.
    """
    if not operated(case.snapshot):
        return
    for each, _, _ in vllm_servers(case.snapshot):
        here, have = namespace(each.obj), labels(each.template)
        services = [
            service
            for service in case.snapshot.list(kinds.SERVICE)
            if namespace(service) == here
            and (selector := get(service, "spec", "selector"))
            and selects({"matchLabels": selector}, have)
        ]
        marked = [annotations_of(service) for service in services] + [annotations_of(each.template)]
        if (
            monitors_of(case.snapshot, kinds.POD_MONITOR, here, have)
            or any(monitors_of(case.snapshot, kinds.SERVICE_MONITOR, here, labels(service)) for service in services)
            or any(marks.get("prometheus.io/scrape") == "true" for marks in marked)
        ):
            continue
        yield case.finding(
            each.obj,
            f"No monitor selects the vLLM pods of {here}/{name(each.obj)}, so their metrics are not collected",
            f"{each.at}.metadata.labels",
            seen={"ServiceMonitors and PodMonitors that select them": 0},
            remedy=f"make a PodMonitor in {here} that selects {have} and its port (path /metrics), every 15 s or less",
        )


_RENAMED = re.compile(
    r"\bDCGM_FI_(DEV_(SM_CLOCK|MEM_CLOCK|GPU_TEMP|MEMORY_TEMP|POWER_USAGE|TOTAL_ENERGY_CONSUMPTION|PCIE_REPLAY_COUNTER|"
    r"GPU_UTIL|MEM_COPY_UTIL|ENC_UTIL|DEC_UTIL|XID_ERRORS|FB_FREE|FB_USED|FB_RESERVED|NVLINK_BANDWIDTH_TOTAL|"
    r"UNCORRECTABLE_REMAPPED_ROWS|CORRECTABLE_REMAPPED_ROWS|ROW_REMAP_FAILURE)|"
    r"PROF_(GR_ENGINE_ACTIVE|SM_ACTIVE|PIPE_TENSOR_ACTIVE|DRAM_ACTIVE))\b(?!_)"
)
_NEW = re.compile(
    r"\bDCGM_FI_\w+_(CELSIUS|WATTS|JOULES_TOTAL|HERTZ|UTIL_RATIO|FB_(FREE|USED|RESERVED)_BYTES|REPLAY_TOTAL|XID_ERROR|"
    r"ROW_REMAP_(FAILED|CORRECTABLE_TOTAL|UNCORRECTABLE_TOTAL))\b"
)


@check("OBS-14", Severity.WARNING, Layer.RISK, reads=(kinds.DAEMON_SET, kinds.PROMETHEUS_RULE),
       remedy="kubectl get prometheusrule -A",
       source="dcgm-exporter 4.9.0 release notes (23 renames, 11 units)")  # fmt: skip
def rules_use_the_exporters_names(case: Case) -> Iterator[Finding]:
    """Rules ask for GPU metrics under the names the running exporter gives them.

    dcgm-exporter 4.9 renames 23 default metrics and changes the unit of eleven. A rule on a name that is gone
    does not fail: it never fires again.
    """
    versions = {exporter_version(found) for each in exporters(case.snapshot) if (found := exporter_container(each))}
    versions.discard(())
    if not versions:
        return
    renamed, kept = min(versions) >= (4, 9), max(versions) < (4, 9)
    for rule in case.snapshot.list(kinds.PROMETHEUS_RULE):
        texts = [str(get(each, "expr")) for group in items(rule, "spec", "groups") for each in items(group, "rules")]
        old = next((match for expr in texts if (match := _RENAMED.search(expr)) and not _NEW.search(expr)), None)
        new = next((match for expr in texts if (match := _NEW.search(expr)) and not _RENAMED.search(expr)), None)
        wrong = old if renamed else new if kept else None
        if wrong:
            running = ".".join(map(str, max(versions)))
            yield case.finding(
                rule,
                f"PrometheusRule {namespace(rule)}/{name(rule)} asks for {wrong.group(0)}, "
                f"which dcgm-exporter {running} does not export",
                seen={"metric": wrong.group(0), "exporter": running},
                remedy="write the rule for both names (old or new), with the units of each: "
                "MHz→Hz, mJ→J, percent→ratio, MiB→bytes",
            )
