"""How a service is reached, by whom, and what may take its pods away."""

from __future__ import annotations

from urllib.parse import urlsplit

from plimsoll.kube.objects import Obj
from plimsoll.pillars.serving.render_facts import COMPONENT, Facts, service_name
from plimsoll.pillars.serving.render_pods import WORKER_INDEX
from plimsoll.plan.model import thing
from plimsoll.spec import derive
from plimsoll.spec.model import Platform

GATEWAY_LABEL = "plimsoll.dev/gateway"  # "true" on namespaces whose pods may send requests to services
_NAME = "kubernetes.io/metadata.name"
# What is not the public network, the cloud's metadata service among it.
_PRIVATE = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]


def objects(platform: Platform, facts: Facts) -> list[Obj]:
    found = [_account(facts), _service(facts), _budget(facts)]
    if platform.security.network == "default-deny":
        found.append(_policy(platform, facts))
    return found


def _account(facts: Facts) -> Obj:
    """A server does not talk to the Kubernetes API, so it carries no token for it."""
    return thing(
        "v1",
        "ServiceAccount",
        facts.account,
        facts.namespace,
        labels=facts.labels,
        automountServiceAccountToken=False,
    )


def _service(facts: Facts) -> Obj:
    selector = facts.labels | ({WORKER_INDEX: "0"} if facts.grouped else {})
    return thing(
        "v1",
        "Service",
        service_name(facts.service.name),
        facts.namespace,
        labels=facts.labels | {COMPONENT: "server", derive.SERVICE_LABEL: facts.service.name},
        spec={"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    )


def _budget(facts: Facts) -> Obj:
    """One at a time, also where there is only one: a budget that lets none go keeps nodes from being drained."""
    return thing(
        "policy/v1",
        "PodDisruptionBudget",
        facts.name,
        facts.namespace,
        labels=facts.labels,
        spec={
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": facts.labels},
        },
    )


def _policy(platform: Platform, facts: Facts) -> Obj:
    callers: list[Obj] = [{"namespaceSelector": {"matchLabels": {GATEWAY_LABEL: "true"}}}]
    if space := prometheus_namespace(platform):
        callers.append({"namespaceSelector": {"matchLabels": {_NAME: space}}})
    if space := derive.meter_namespace(platform):  # it reads requests and tokens at /metrics
        key, value = derive.METER_LABEL
        callers.append(
            {"namespaceSelector": {"matchLabels": {_NAME: space}}, "podSelector": {"matchLabels": {key: value}}}
        )
    ingress: list[Obj] = [{"from": callers, "ports": [{"protocol": "TCP", "port": facts.port}]}]
    egress: list[Obj] = [_names(platform)]
    if facts.grouped:  # ranks choose their ports themselves
        ingress.append({"from": [{"podSelector": {"matchLabels": facts.labels}}]})
        egress.append({"to": [{"podSelector": {"matchLabels": facts.labels}}]})
    if facts.model.remote:
        outside = {"ipBlock": {"cidr": "0.0.0.0/0", "except": _PRIVATE}}
        egress.append({"to": [outside], "ports": [{"protocol": "TCP", "port": 443}]})
    return thing(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        facts.account,
        facts.namespace,
        labels=facts.labels,
        spec={
            "podSelector": {"matchLabels": facts.labels},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    )


def _names(platform: Platform) -> Obj:
    """Egress to the cluster's name service; OpenShift's pods listen on 5353."""
    if platform.cluster.provider == "openshift":
        space, pods, port = "openshift-dns", {"dns.operator.openshift.io/daemonset-dns": "default"}, 5353
    else:
        space, pods, port = "kube-system", {"k8s-app": "kube-dns"}, 53
    peer = {"namespaceSelector": {"matchLabels": {_NAME: space}}, "podSelector": {"matchLabels": pods}}
    return {"to": [peer], "ports": [{"protocol": protocol, "port": port} for protocol in ("UDP", "TCP")]}


def prometheus_namespace(platform: Platform) -> str:
    """The namespace Prometheus asks from, by its address inside the cluster; "" where that does not tell."""
    host = urlsplit(platform.observability.prometheus.url).hostname or ""
    parts = host.split(".")
    inside = len(parts) == 2 or (len(parts) > 2 and parts[2] == "svc")
    return parts[1] if inside and not parts[-1].isdigit() else ""
