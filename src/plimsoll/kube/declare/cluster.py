"""The sections about the cluster itself: provider and versions, the GPU Operator and its driver, metrics, security."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from plimsoll.kube import kinds
from plimsoll.kube.declare.machines import INSTANCE_TYPE
from plimsoll.kube.declare.meter import find_meter
from plimsoll.kube.declare.words import Say, gap, listed, usual, valid
from plimsoll.kube.nodes import gpu_nodes
from plimsoll.kube.objects import Obj, containers, get, items, labels, mapping, name, namespace, pod_template, text
from plimsoll.kube.operands import cluster_policy, operator_deployment, operator_namespace
from plimsoll.kube.snapshot import Snapshot
from plimsoll.spec.model import Cluster
from plimsoll.spec.observability import Observability, Prometheus
from plimsoll.spec.operator import Drain, Driver, Operator, Upgrades
from plimsoll.spec.security import Security
from plimsoll.spec.values import Duration, Name, Portion, Url, Version, as_name
from plimsoll.units import count

Provider = Literal["eks", "gke", "aks", "openshift", "generic"]
ManagedBy = Literal["operator", "host", "cloud"]
# OpenShift runs on the clouds too, so that it is asked first. Sources: node labels each service sets.
_LABELS: tuple[tuple[str, Provider], ...] = (
    ("node.openshift.io/", "openshift"), ("eks.amazonaws.com/", "eks"), ("k8s.io/cloud-provider-aws", "eks"),
    ("cloud.google.com/gke-", "gke"), ("kubernetes.azure.com/", "aks"),
)  # fmt: skip
_KUBELETS: tuple[tuple[str, Provider], ...] = (("-eks-", "eks"), ("-gke.", "gke"))
_CLOUDS: tuple[tuple[str, Provider], ...] = (("aws://", "eks"), ("gce://", "gke"), ("azure://", "aks"))
_TYPES: tuple[tuple[str, Provider], ...] = (
    (r"[a-z][a-z0-9-]*\.(metal|nano|micro|small|medium|[0-9]*x?large)", "eks"),
    (r"(a[234]x?|g[24]|n[1-4]d?|c[234]d?|e2)-[a-z]+-[0-9a-z]+", "gke"),
    (r"Standard_[A-Z]+[0-9]+\w*", "aks"),
)
_REGIONS = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_LEVELS: tuple[Literal["restricted", "baseline", "privileged"], ...] = ("privileged", "baseline", "restricted")
_PSA = "pod-security.kubernetes.io/enforce"


def find_cluster(snapshot: Snapshot, say: Say) -> Cluster:
    nodes = snapshot.list(kinds.NODE)
    versions = [".".join(found[:2]) for node in nodes if (found := _release(node))]
    most = usual(versions)
    if len(set(versions)) > 1:
        say(f"the nodes run Kubernetes {listed(sorted(set(versions)))}; declared {most}, which most of them run")
    elif most is None:
        say("no node tells its Kubernetes version")
    regions = [region for node in nodes if (region := _region(node))]
    if len(set(regions)) > 1:
        say(f"the nodes are in several regions ({listed(sorted(set(regions)))}); declared the one most of them are in")
    return Cluster(provider=_provider(nodes, say), kubernetes=most, region=usual(regions) or "")


def called(snapshot: Snapshot, here: Cluster) -> str:
    """A name for the platform: its context's, of which EKS and GKE write the cluster last; else provider and region."""
    form, place = snapshot.source.form, snapshot.source.place
    if form == "live" and place != "anonymized":
        last = place.rpartition("/")[2]
        return as_name(last.rpartition("_")[2] if last.startswith("gke_") else last, "platform")
    words = [here.provider if here.provider != "generic" else "", here.region]
    return as_name("-".join(filter(None, words)), "platform")


def _release(node: Obj) -> list[str]:
    match = re.match(r"v?([0-9]{1,3})\.([0-9]{1,3})", text(node, "status", "nodeInfo", "kubeletVersion"))
    return list(match.groups()) if match else []


def _region(node: Obj) -> str:
    found = (text(labels(node), key) for key in _REGIONS)
    return next((region for region in found if region and region.isprintable()), "")


def _provider(nodes: Iterable[Obj], say: Say) -> Provider:
    """Who runs the cluster: by what the service itself writes on nodes, else by the machines they run on."""

    def seen(node: Obj) -> Iterator[tuple[int, Provider]]:
        have, kubelet = labels(node), text(node, "status", "nodeInfo", "kubeletVersion")
        yield from ((at, who) for at, (key, who) in enumerate(_LABELS) if any(str(k).startswith(key) for k in have))
        yield from ((10, who) for part, who in _KUBELETS if part in kubelet)
        yield from ((20, who) for part, who in _CLOUDS if text(node, "spec", "providerID").startswith(part))
        yield from ((30, who) for form, who in _TYPES if re.fullmatch(form, text(have, INSTANCE_TYPE)))

    signs = sorted(sign for node in nodes for sign in seen(node))
    if not signs:
        say("nothing on the nodes names a provider: declared generic")
        return "generic"
    weight, who = signs[0]
    if weight >= 20:
        what = "machines" if weight < 30 else "instance types"
        say(f"the provider is taken for {who} by the {what} of the nodes only")
    return who


def find_operator(snapshot: Snapshot, provider: Provider, say: Say) -> Operator:
    standard = Operator()
    policy = cluster_policy(snapshot)
    deployment = operator_deployment(snapshot)
    if policy is None and deployment is None:
        missed = gap(snapshot, kinds.CLUSTER_POLICY, kinds.DEPLOYMENT)
        why = f"the GPU Operator was not read ({missed})" if missed else "no GPU Operator was found"
        say(f"{why}: the operator section has its defaults, and the driver as the nodes show it")
    release = _image_version(deployment) or _chart_version(deployment) or _chart_version(policy)
    if not release and (policy or deployment):
        say(f"the version of the GPU Operator was not found: declared the default, {standard.version}")
    home = operator_namespace(snapshot)
    return Operator(
        version=release or standard.version,
        namespace=home if valid(home, Name) else standard.namespace,
        driver=_driver(snapshot, policy, provider, say),
        upgrades=_upgrades(mapping(policy, "spec", "driver", "upgradePolicy")),
    )


def _image_version(deployment: Obj | None) -> str:
    """The tag of the operator's image where it is a version."""
    for _, container in containers(pod_template(deployment or {})):
        repository, _, tag = text(container, "image").partition("@")[0].rpartition(":")
        if repository.endswith("gpu-operator") and "." in tag and valid(tag, Version):
            return tag
    return ""


def _chart_version(obj: Obj | None) -> str:
    """The version in the label of the chart that made an object; a development build is none."""
    found = text(labels(obj or {}), "helm.sh/chart").removeprefix("gpu-operator-")
    return found if "devel" not in found and "." in found and valid(found, Version) else ""


def _driver(snapshot: Snapshot, policy: Obj | None, provider: Provider, say: Say) -> Driver:
    nodes = gpu_nodes(snapshot)
    gates = [text(labels(node), "nvidia.com/gpu.deploy.driver") for node in nodes]
    asked = mapping(policy, "spec", "driver")
    own: ManagedBy = "cloud" if provider in ("gke", "aks") else "host"
    found, there = gates.count("pre-installed"), len(gates)
    managed: ManagedBy = "operator"
    if policy is None and not any(gates):
        managed = own
        say(f"nothing says who installs the driver: declared {own}")
    elif (policy is not None and asked.get("enabled") is False) or found * 2 > there:
        managed = own
    if 0 < found < there:
        say(f"the driver is pre-installed on {found} of {there} GPU nodes only; declared managedBy {managed}")
    running = [release for node in nodes if (release := _node_driver(node))]
    wanted = text(asked, "version") if managed == "operator" else ""
    if len(set(running)) > 1:
        say(f"the nodes run drivers {listed(sorted(set(running)))}")
    chosen = wanted if valid(wanted, Version) else usual(running)
    if not chosen:
        say(f"no driver version was found: declared the default, {Driver().version}")
    module = text(asked, "kernelModuleType")
    return Driver(
        version=chosen or Driver().version,
        managed_by=managed,
        kernel_module=module if module in ("open", "proprietary") else "auto",  # type: ignore[arg-type]
    )


def _node_driver(node: Obj) -> str:
    """The driver of a node by GFD's labels, new or old; "" if it is not told."""
    have = labels(node)
    full = text(have, "nvidia.com/cuda.driver-version.full")
    parts = [text(have, f"nvidia.com/cuda.driver.{part}") for part in ("major", "minor", "rev")]
    found = full or ".".join(filter(None, parts))
    return found if "." in found and valid(found, Version) else ""


def _upgrades(policy: dict[str, Any]) -> Upgrades:
    standard = Upgrades()
    portion = get(policy, "maxUnavailable")
    plain = str(portion) if isinstance(portion, int | str) and not isinstance(portion, bool) else ""
    fits = re.fullmatch(r"[1-9][0-9]{0,5}|(100|[1-9][0-9]?)%", plain)
    seconds = count(get(policy, "drain", "timeoutSeconds"))
    drain = Drain(timeout=Duration(seconds * 1000)) if 0 < seconds <= 86_400 else standard.drain
    return Upgrades(max_unavailable=Portion(plain) if fits else standard.max_unavailable, drain=drain)


def find_observability(snapshot: Snapshot, say: Say) -> Observability:
    """Prometheus as ScaledObjects ask it, or as its Service shows; dashboards where all Deployments were read; the
    meter as it runs."""
    standard = Observability()
    asked = [
        address
        for scaled in snapshot.list(kinds.SCALED_OBJECT)
        for trigger in items(scaled, "spec", "triggers")
        if (address := text(trigger, "metadata", "serverAddress")) and valid(address, Url)
    ]
    url = usual(asked) or _prometheus_service(snapshot)
    if not url:
        missed = gap(snapshot, kinds.SCALED_OBJECT, kinds.SERVICE)
        why = f"the address of Prometheus was not read ({missed})" if missed else "no Prometheus was found"
        say(f"{why}: declared the default, {standard.prometheus.url}")
    elif not asked:
        say(f"the address of Prometheus is that of a Service of its name: {url}")
    operator = standard.prometheus.operator
    if snapshot.whole(kinds.CRD):
        groups = {text(crd, "spec", "group") for crd in snapshot.list(kinds.CRD)}
        operator = "monitoring.coreos.com" in groups
    grafana = any("grafana" in name(each) for each in snapshot.list(kinds.DEPLOYMENT))
    none = snapshot.whole(kinds.DEPLOYMENT, kinds.STATEFUL_SET) and not grafana
    none = none and not any("grafana" in name(each) for each in snapshot.list(kinds.STATEFUL_SET))
    return Observability(
        prometheus=Prometheus(url=url or standard.prometheus.url, operator=operator),
        dashboards="none" if none else "grafana",
        meter=find_meter(snapshot, say),
    )


def _prometheus_service(snapshot: Snapshot) -> str:
    """The address of a Service of Prometheus's name on its usual port; "" if there is none."""
    for service in sorted(snapshot.list(kinds.SERVICE), key=lambda each: (namespace(each), name(each))):
        ports = get(service, "spec", "ports")
        served = any(get(port, "port") == 9090 for port in (ports if isinstance(ports, list) else []))
        url = f"http://{name(service)}.{namespace(service)}:9090"
        if "prometheus" in name(service) and "alertmanager" not in name(service) and served and valid(url, Url):
            return url
    return ""


def find_security(snapshot: Snapshot, spaces: Iterable[str], say: Say) -> Security:
    """The Pod Security level that the namespaces of teams enforce, the weakest of them; else the default."""
    wanted = list(spaces)
    read = [found for space in wanted if (found := snapshot.get(kinds.NAMESPACE, space)) is not None]
    levels = [text(labels(each), _PSA) for each in read]
    standard = Security()
    without = [name(each) for each, level in zip(read, levels, strict=True) if not level]
    weakest = next((level for level in _LEVELS if level in levels), None)
    if weakest is None:
        missed = gap(snapshot, kinds.NAMESPACE) if len(read) < len(wanted) else ""
        why = f"not all namespaces of teams were read ({missed})" if missed else "no namespace of a team enforces it"
        say(f"Pod Security level: {why}; declared the default, {standard.pod_security}")
        return standard
    if without:
        say(f"{listed(without)} enforce no Pod Security level; declared {weakest}, the weakest that others enforce")
    return msgspec.structs.replace(standard, pod_security=weakest)
