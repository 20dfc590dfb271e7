"""Pillar serving: what the declaration asks of a cluster.

For every service: its workload, its own identity, an address, a budget for disruptions, who may reach it, and what
scales it. KEDA comes as its project's chart, LeaderWorkerSet only where a replica spans nodes.
"""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.pillars.serving import render_facts, render_network, render_scaling, render_workloads
from plimsoll.pillars.serving.render_facts import Facts
from plimsoll.pillars.serving.render_pods import HUB_SECRET
from plimsoll.plan.model import Chart, Part
from plimsoll.spec.model import Platform
from plimsoll.units import version

_MULTIPROCESSING_SINCE = (0, 12)  # --nnodes; before, only Ray spans nodes


def render(platform: Platform) -> Part:
    services, notes = render_facts.of(platform)
    objects: list[Obj] = []
    for facts in services:
        objects.append(render_workloads.workload(platform, facts))
        objects += render_network.objects(platform, facts)
        if facts.scaled:
            objects.append(render_scaling.scaler(platform, facts))
        notes += _notes(platform, facts)
    if services:
        notes += _common(platform)
    return Part(objects=tuple(objects), charts=tuple(_charts(services)), notes=tuple(notes))


def _charts(services: list[Facts]) -> Iterator[Chart]:
    grouped = any(facts.grouped for facts in services)
    if services:
        # KEDA may always read and scale Deployments and StatefulSets; other kinds are named, or it reads everything
        kinds = [{"apiGroup": "leaderworkerset.x-k8s.io", "kind": "leaderworkersets"}] if grouped else []
        parts = ("operator", "metricServer", "webhooks")
        yield Chart(
            name="keda",
            namespace="keda",
            chart="keda",
            repository="https://kedacore.github.io/charts",
            version="2.20.2",
            values={
                "operator": {"replicaCount": 2},
                "metricsServer": {"replicaCount": 2},
                "webhooks": {"replicaCount": 2},
                "podDisruptionBudget": {each: {"maxUnavailable": 1} for each in parts},
                "permissions": {each: {"restrict": {"secret": True}} for each in ("operator", "metricServer")},
                "rbac": {"enabledCustomScaledRefKinds": grouped, "scaledRefKinds": kinds},
                "prometheus": {each: {"enabled": True} for each in parts},
                "enableServiceLinks": False,
            },
            crds=("scaledobjects.keda.sh",),
            deployments=("keda-operator", "keda-operator-metrics-apiserver", "keda-admission-webhooks"),
        )
    if grouped:
        yield Chart(
            name="lws",
            namespace="lws-system",
            chart="lws",
            repository="oci://registry.k8s.io/lws/charts",
            version="0.9.0",
            values={"replicaCount": 2},
            crds=("leaderworkersets.leaderworkerset.x-k8s.io",),
            deployments=("lws-controller-manager",),
        )


def _notes(platform: Platform, facts: Facts) -> Iterator[str]:
    service, name = facts.service, facts.service.name
    if service.replicas.min == 0 and not facts.sleeps:
        yield (
            f"Service {name} keeps one replica though its least is 0: its load is measured by its own pods, so nothing "
            "could wake it; with scaleOn: schedule it sleeps between its windows"
        )
    if facts.model.kind == "hub":
        yield (
            f"Service {name} loads {facts.model.given} from the model hub at every start; for a gated model make "
            f"Secret {facts.namespace}/{HUB_SECRET} with the key token, and to start faster keep the weights on a "
            "volume that many pods can read: model: pvc://claim/path, or oci://registry/artifact"
        )
    elif facts.model.kind == "path":
        yield f"Service {name} serves {facts.model.given}, which its image must hold; pvc://claim/path mounts a volume"
    elif facts.model.kind == "store":
        yield (
            f"Service {name} streams {facts.model.given}: give ServiceAccount {facts.namespace}/{facts.account} an "
            "identity of the cloud that may read it"
        )
    if not service.queued and platform.queueing.local_queue == "default":
        yield (
            f"Service {name} is set aside from the queues, but LocalQueue default takes every workload of namespace "
            f"{facts.namespace}; give the service a namespace of its own, or queueing.localQueue another name"
        )
    address = render_facts.service_name(name)
    if address != name:
        yield f"Service {name} is reached as {address}: the name of a Kubernetes Service begins with a letter"
    if facts.least < 2 and not render_workloads.spare(platform, facts):
        yield (
            f"Service {name} is away for a start while a new version rolls out with one replica: there is no GPU to "
            "spare for a second one"
        )
    if facts.grouped and version(service.engine.version) < _MULTIPROCESSING_SINCE:
        yield f"Service {name} spans nodes, which vLLM {service.engine.version} does only with Ray; use 0.12 or later"


def _common(platform: Platform) -> Iterator[str]:
    if platform.security.network != "default-deny":
        return
    label = render_network.GATEWAY_LABEL
    yield (
        "Requests reach services only from namespaces that carry a label; give it to your gateway's: "
        f"kubectl label namespace <gateway> {label}=true"
    )
    if not render_network.prometheus_namespace(platform):
        yield (
            f"The address {platform.observability.prometheus.url} does not tell Prometheus' namespace; its pods reach "
            f"the metrics of services once that namespace carries the label {label}=true, too"
        )
