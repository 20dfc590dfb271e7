"""Who may talk to whom: every namespace of a team is closed, then what all of its jobs need is opened."""

from __future__ import annotations

from collections.abc import Iterator

from plimsoll.kube.objects import Obj
from plimsoll.plan.model import thing
from plimsoll.spec.model import Platform

_API = "networking.k8s.io/v1"
_NAME = "kubernetes.io/metadata.name"
TRAINING = {"app.kubernetes.io/component": "training"}
_LOCAL_DNS = "169.254.20.10/32"  # NodeLocal DNSCache answers here
# Where a pod gets short-lived credentials from. Sources: EKS Pod Identity; GKE metadata server under NetworkPolicy.
_CREDENTIALS = {
    "eks": (("169.254.170.23/32", 80),),
    "gke": (("169.254.169.252/32", 988), ("169.254.169.254/32", 80)),
}
_ENFORCED = {
    "eks": "the VPC CNI keeps them once its add-on says enableNetworkPolicy: true",
    "gke": "Dataplane V2 keeps them",
    "aks": "an engine for them is chosen with --network-policy or Cilium when the cluster is made",
    "openshift": "OVN-Kubernetes keeps them",
    "generic": "Calico, Cilium and Antrea keep them, flannel does not",
}


def objects(platform: Platform) -> Iterator[Obj]:
    if platform.security.network == "open":
        return
    for space in (space for team in platform.teams for space in team.spaces):
        both = ["Ingress", "Egress"]
        yield thing(_API, "NetworkPolicy", "default-deny", space, spec={"podSelector": {}, "policyTypes": both})
        egress = _names(platform)
        yield thing(
            _API, "NetworkPolicy", "names", space, spec={"podSelector": {}, "policyTypes": ["Egress"], "egress": egress}
        )
        peers = [{"podSelector": {"matchLabels": TRAINING}}]
        ranks = {"ingress": [{"from": peers}], "egress": [{"to": peers}]}
        yield _training("ranks", space, both, ranks)
        if remote(platform):
            yield _training("object-store", space, ["Egress"], {"egress": _store(platform)})


def notes(platform: Platform) -> Iterator[str]:
    if platform.security.network == "default-deny":
        yield f"NetworkPolicies are kept by the cluster's network alone: {_ENFORCED[platform.cluster.provider]}."


def remote(platform: Platform) -> bool:
    """Whether checkpoints go to a store outside of the cluster."""
    scheme = platform.spot.checkpoint.storage.partition("://")[0]
    return scheme not in ("", "pvc", "file")


def _training(name: str, space: str, types: list[str], rules: Obj) -> Obj:
    """A policy for the pods of jobs, known by their component."""
    selector = {"matchLabels": TRAINING}
    return thing(_API, "NetworkPolicy", name, space, spec={"podSelector": selector, "policyTypes": types, **rules})


def _names(platform: Platform) -> list[Obj]:
    """Where names are looked up: the cluster's DNS, and its cache on the node."""
    if platform.cluster.provider == "openshift":
        space, pods, port = "openshift-dns", {"dns.operator.openshift.io/daemonset-dns": "default"}, 5353
    else:
        space, pods, port = "kube-system", {"k8s-app": "kube-dns"}, 53
    dns = {"namespaceSelector": {"matchLabels": {_NAME: space}}, "podSelector": {"matchLabels": pods}}
    addresses = [_LOCAL_DNS, *(["169.254.169.254/32"] if platform.cluster.provider == "gke" else [])]  # Cloud DNS
    near = [{"ipBlock": {"cidr": address}} for address in addresses]
    return [{"to": [dns], "ports": _ports(port)}, {"to": near, "ports": _ports(53)}]


def _ports(port: int) -> list[Obj]:
    return [{"protocol": protocol, "port": port} for protocol in ("UDP", "TCP")]


def _store(platform: Platform) -> list[Obj]:
    """Out to the store, but to no private address and not to the cloud's metadata service, which knows node keys."""
    private = ["169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
    rules: list[Obj] = [
        {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": private}}], "ports": [{"protocol": "TCP", "port": 443}]}
    ]
    for address, port in (
        _CREDENTIALS.get(platform.cluster.provider, ()) if platform.security.identity == "cloud" else ()
    ):
        rules.append({"to": [{"ipBlock": {"cidr": address}}], "ports": [{"protocol": "TCP", "port": port}]})
    return rules
