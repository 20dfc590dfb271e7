"""A snapshot that may leave the company: the same cluster under other names.

First every name that is the owner's is collected (nodes, namespaces, workloads, queues, values of
their own labels, image registries and repositories, hosts, buckets, accounts), then each is
replaced wherever it stands: whole, as a part of a derived name (`chat-6775464669-9lsvc` stays the
pod of `chat`), or inside a message. Label and resource keys, kinds, reasons, numbers, instance types,
regions and the names of public software stay, because checks read them. So does a name that is only a
common word (gpu, main, inference): it tells nothing of its owner, and the word is used everywhere.
What cannot survive is likeness: that `mian` was meant to be `main` is lost.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import secrets
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, items, labels, mapping, name, namespace, text
from plimsoll.kube.operands import OPERANDS
from plimsoll.kube.snapshot import Snapshot, Source, Unread


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Namespaces of the platform, not of its tenants.
_SYSTEM = _words(
    "default gpu-operator nvidia-gpu-operator nvidia-network-operator kueue-system keda monitoring prometheus"
    " observability node-feature-discovery karpenter cert-manager ingress-nginx jobset-system lws-system kuberay-system"
    " kuberay-operator knative-serving kserve istio-system calico-system tigera-operator cilium argocd flux-system"
    " external-secrets hami-system volcano-system local-path-storage metallb-system dynamo-system"
)
_SYSTEM_PREFIXES = ("kube-", "openshift-", "gke-", "gmp-", "cattle-")
# Objects that public software brings, wherever it is installed.
_PUBLIC_PREFIXES = (
    "nvidia-", "gpu-operator", "gpu-feature-discovery", "kueue-", "keda-", "kube-", "prometheus", "grafana", "dcgm",
    "node-feature-discovery", "nfd-", "karpenter", "coredns", "cluster-autoscaler", "metrics-server", "kuberay",
    "jobset-", "lws-", "cert-manager", "system:", "system-", "default-", "hami-", "volcano", "aws-", "ebs-", "efs-",
    "gke-", "azure-", "csi-", "cilium", "calico", "node-exporter", "alertmanager", "istio", "ingress-nginx",
)  # fmt: skip
# Kinds without a namespace whose names their owner chooses.
_CLUSTER_WIDE = frozenset({
    "Node", "Namespace", "ClusterQueue", "Cohort", "ResourceFlavor", "Topology", "AdmissionCheck", "PriorityClass",
    "WorkloadPriorityClass", "NodePool", "ClusterRole", "ClusterRoleBinding", "StorageClass", "RuntimeClass",
    "DeviceClass", "ResourceSlice", "ClusterTriggerAuthentication", "NVIDIADriver",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
})  # fmt: skip
_WORDS = _words(
    # public software and its parts
    "nvidia cuda gpu gpus mig mps vgpu dcgm exporter driver toolkit operator validator device plugin feature discovery"
    " manager controller webhook admission apiserver metrics scheduler autoscaler agent master worker gc daemonset"
    " daemon kueue keda karpenter kubernetes k8s prometheus grafana alertmanager loki tempo otel nginx envoy istio"
    " redis postgres mysql minio kafka rabbitmq vllm openai sglang triton tritonserver tgi huggingface llama ollama"
    " lmcache dynamo ray rayproject pytorch torch tensorflow jax jupyter notebook python ubuntu debian alpine busybox"
    " pause kserve knative kuberay jobset lws hami volcano argo flux helm dind sidecar proxy init server client api"
    " frontend backend web app apps service services svc cluster local queue queues batch job jobs pod pods node nodes"
    " namespace container containers image images volume secret configmap config default main base latest stable test"
    " tests dev prod production staging demo example inference training train serving serve model models data cache"
    " spot reserved preemptible dedicated shared general compute cpu memory storage zone region team user users admin"
    " edit view root system public private internal external true false none null yes no on off all any ready running"
    " pending failed succeeded unknown high low medium normal critical batch-low priority restricted baseline"
    " privileged audit warn enforce amd64 arm64 linux windows http https grpc tcp udp health probe library"
    " nccl uccl kata runc gvisor project workload status error failure back off sh bash env run exec"
    " debug add set get list busy free past next first last start stop wait check time size name type kind value key"
) | {word for operand in OPERANDS for word in operand.daemonset.split("-")}
# Names of public software in which a name made of common words could stand.
_KNOWN = " ".join(f"-{each}-" for each in (
    *(operand.daemonset for operand in OPERANDS),
    "kueue-controller-manager", "kube-controller-manager", "keda-operator",
    "keda-admission-webhooks", "keda-metrics-apiserver", "cluster-autoscaler", "gpu-operator", "prometheus-operator",
    "k8s-device-plugin", "k8s-mig-manager", "k8s-cc-manager", "k8s-kata-manager", "vgpu-device-manager",
    "kubevirt-gpu-device-plugin", "node-feature-discovery-master", "node-feature-discovery-worker",
    "k8s-driver-manager",
))  # fmt: skip
# Checks know a server by these in the name of its image, so a pseudonym carries them on.
_SOFTWARE = _words(
    "vllm sglang triton tritonserver tgi ollama lmcache dynamo ray llmd nim trtllm dcgm prometheus kueue keda"
)
_PUBLIC_HOSTS = _words(
    "nvcr.io registry.k8s.io k8s.gcr.io gcr.io quay.io docker.io index.docker.io ghcr.io public.ecr.aws"
    " mcr.microsoft.com localhost kubernetes.default github.com huggingface.co nvidia.com k8s.io svc cluster.local"
)
_PUBLIC_ORGS = _words(
    "nvidia kedacore kueue prometheus prometheus-operator grafana vllm vllm-project lmcache rayproject huggingface"
    " library kubernetes kubernetes-sigs nfd sig-storage jetstack cilium calico coreos istio k8s-staging-kueue"
    " ingress-nginx autoscaling eks-distro eks aws-ec2 karpenter project-hami openai bitnami"
)
# Labels of a public domain whose values their owner chooses.
_OWN_LABELS = frozenset({
    "kubernetes.io/hostname", "eks.amazonaws.com/nodegroup", "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool", "kubernetes.azure.com/cluster", "karpenter.sh/nodepool",
    "alpha.eksctl.io/cluster-name", "alpha.eksctl.io/nodegroup-name", "kops.k8s.io/instancegroup",
    "app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/part-of",
    "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class",
})  # fmt: skip
_PUBLIC_DOMAINS = (
    "k8s.io", "kubernetes.io", "nvidia.com", "karpenter.sh", "keda.sh", "amazonaws.com", "google.com", "azure.com",
    "k8s.aws", "helm.sh", "coreos.com", "openshift.io", "eksctl.io", "projectcalico.org", "cilium.io", "istio.io",
    "cert-manager.io", "ray.io", "kserve.io", "knative.dev", "volcano.sh", "hami.io", "run.ai", "intel.com", "amd.com",
    "gke.io",
)  # fmt: skip
_DOMAIN = re.compile(rf"(?:^|\.)(?:{'|'.join(map(re.escape, _PUBLIC_DOMAINS))})$")
# Labels of machines, which only hardware and operators choose; the names of configurations are the owner's.
_MACHINE = ("nvidia.com/", "feature.node.kubernetes.io/")
_HASHES = frozenset({"pod-template-hash", "controller-revision-hash", "controller-uid", "pod-template-generation"})
_LABELS = ("labels", "matchLabels", "nodeSelector", "nodeLabels")
# Fields of enumerations and of label or resource keys: never a name, and checks read them.
_FIXED = frozenset({
    "kind", "apiVersion", "apiGroup", "apiGroups", "group", "key",
    "topologyKey", "type", "reason", "phase", "operator", "effect", "status", "verbs", "protocol",
    "policy", "coveredResources", "resourceName", "level", "creationTimestamp", "lastTransitionTime", "schedulerName",
})  # fmt: skip
_SETTINGS = ("data", "binaryData", "stringData")
_TELLING = ("machineID", "systemUUID", "bootID")  # of a node: numbers that identify a machine

_UUID = re.compile(r"(?<![0-9a-fA-F])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-fA-F])")
_IPV4 = re.compile(r"(?<![\w.])((?:\d{1,3}\.){3}\d{1,3})(/\d{1,2}\b)?(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w.:])((?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(/\d{1,3}\b)?(?![\w:])")
_ACCOUNT = re.compile(r"(?<=:)\d{12}(?=:)")  # in an ARN
_MAIL = re.compile(r"[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_HOST = re.compile(r"://([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8})")
_BUCKET = re.compile(r"\b(?:s3a?|gs|abfss?|wasbs?|hdfs)://([\w.-]{1,222})")
_RUN = re.compile(r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)*")
_PART = re.compile(r"[A-Za-z0-9]+")
_VERSION = re.compile(r"v?\d+(?:\.\d+)*(?:[-+.](?:rc|beta|alpha|cuda|cu|ubuntu|distroless|ubi)?[\d.]*)*")
_INFRA = ("0.0.0.0", "127.0.0.1", "169.254.169.254", "255.255.255.255", "::", "::1")  # noqa: S104  left as they are


def anonymized(snapshot: Snapshot, salt: bytes | None = None) -> Snapshot:
    """The snapshot under other names; nothing else of it changes.

    A name has one pseudonym throughout. `salt`: two snapshots renamed with the same salt agree
    (at most 64 bytes are used); default: random, and kept nowhere, so nobody can try names against it.
    """
    renamer = _Renamer(set(_own_names(snapshot)), salt or secrets.token_bytes(32))
    return Snapshot(
        [renamer.obj(obj) for obj in snapshot],
        source=Source(snapshot.source.form, "anonymized", snapshot.source.taken_at_is),
        taken_at=snapshot.taken_at,
        coverage={kind: snapshot.coverage(kind) for kind in kinds.ALL},
        unread=[Unread(each.kind, renamer.text(each.reason)) for each in snapshot.unread],
    )


def _machine_fields(fields: object) -> Obj:
    """Of the fields that a manager has set, a node's labels of NVIDIA: names of other fields may name anything."""
    known: Obj = {key: {} for key in mapping(fields, "f:metadata", "f:labels") if key.startswith("f:nvidia.com/")}
    return {"f:metadata": {"f:labels": known}} if known else {}


class _Renamer:
    """Pseudonyms for a set of names, and everything that has the form of an identity."""

    def __init__(self, names: set[str], salt: bytes) -> None:
        self._salt = salt[:64]
        self._names = {each: self._pseudonym(each) for each in names}
        self._longest: dict[str, list[int]] = {}  # by first part: how many parts names have, most first
        for each in (each for each in names if len(each) > 2):  # two letters are too often a part of something else
            parts = _PART.findall(each)
            lengths = self._longest.setdefault(parts[0], [])
            if len(parts) not in lengths:
                lengths.append(len(parts))
                lengths.sort(reverse=True)
        self._done: dict[str, str] = {}
        self._addresses: dict[str, str] = {}

    def _digest(self, what: str) -> bytes:
        return hashlib.blake2b(what.encode(), key=self._salt, digest_size=16).digest()

    def _pseudonym(self, what: str) -> str:
        known = [part for part in _PART.findall(what.lower()) if part in _SOFTWARE]
        return "-".join(["x" + base64.b32encode(self._digest(what))[:10].decode().lower(), *known])

    def obj(self, obj: Obj) -> Obj:
        return self._map(obj)

    def _map(self, value: Obj, *, labels: bool = False) -> Obj:
        found: Obj = {}
        refers = "name" in value or "path" in value  # then `key` is one of a ConfigMap's or Secret's data
        for key, held in value.items():
            if key == "fieldsV1":
                found[key] = _machine_fields(held)
            elif isinstance(held, dict):
                found[key] = self._settings(held) if key in _SETTINGS else self._map(held, labels=key in _LABELS)
            elif (labels and _is_machine(key)) or (key in _FIXED and not labels and not (key == "key" and refers)):
                found[key] = held
            elif key in _TELLING and isinstance(held, str):
                found[key] = self._digest(held).hex()
            else:
                found[key] = self._value(held)
        return found

    def _settings(self, value: Obj) -> Obj:
        """Files by name, which a label or a reference may repeat."""
        return {self.text(key) if isinstance(key, str) else key: self._value(held) for key, held in value.items()}

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self._map(value)
        if isinstance(value, list):
            return [self._value(each) for each in value]
        return value

    def text(self, value: str) -> str:
        """A string with every name and identity in it replaced."""
        done = self._done.get(value) or self._names.get(value)
        if done is None:
            done = _MAIL.sub(self._mail, value) if "@" in value else value
            if "-" in done:
                done = _UUID.sub(self._uuid, done)
            done = _IPV4.sub(self._address, done) if "." in done else done
            if ":" in done:
                done = _ACCOUNT.sub(self._account, _IPV6.sub(self._address, done))
            done = self._done[value] = _RUN.sub(self._run, done)
        return done

    def _mail(self, match: re.Match[str]) -> str:
        # An image by digest (`app@sha256:…`) has no dot after the sign.
        return f"{self._pseudonym(match[0])}@mail.example"

    def _account(self, match: re.Match[str]) -> str:
        return str(int.from_bytes(self._digest(match[0])) % 10**12).zfill(12)

    def _uuid(self, match: re.Match[str]) -> str:
        return str(UUID(bytes=self._digest(match[0])))

    def _address(self, match: re.Match[str]) -> str:
        """Addresses by order of appearance, which nothing leads back from; a network stays one of its size."""
        said, size = match[1], match[2] or ""
        try:
            address = ipaddress.ip_address(said)
        except ValueError:
            return match[0]
        if said in _INFRA or said.endswith(".0.0.0"):
            return match[0]
        start = 10 << 24 if address.version == 4 else 0xFD << 120
        number = len(self._addresses) + 1
        if size:
            number <<= min(address.max_prefixlen - int(size[1:]), 16) if int(size[1:]) < address.max_prefixlen else 0
        fresh = type(address)(start + number)
        if size and int(size[1:]) <= address.max_prefixlen:
            fresh = ipaddress.ip_network(f"{fresh}{size}", strict=False).network_address
        return self._addresses.setdefault(match[0], f"{fresh}{size}")

    def _run(self, match: re.Match[str]) -> str:
        """A run of parts: the longest names first, from the left. An API's domain at its end stays."""
        run = match[0]
        if run in self._names and len(run) > 2:
            return self._names[run]
        if domain := _DOMAIN.search(run):
            return _RUN.sub(self._run, run[: domain.start()]) + domain[0]
        parts = list(_PART.finditer(run))
        out, index, end = "", 0, 0
        while index < len(parts):
            start = parts[index].start()
            out += run[end:start]
            for length in self._longest.get(parts[index][0], ()):
                if index + length <= len(parts):
                    end = parts[index + length - 1].end()
                    if pseudonym := self._names.get(run[start:end]):
                        out, index = out + pseudonym, index + length
                        break
            else:
                end = parts[index].end()
                out, index = out + parts[index][0], index + 1
        return out


def _own_names(snapshot: Snapshot) -> Iterator[str]:
    """Every name that is the owner's, not of public software."""
    for obj in snapshot:
        for said in _said_by(obj):
            yield from (word for word in re.split(r"[:/\s]+", said) if _chosen(word))


def _chosen(word: str) -> bool:
    """Whether somebody chose this word: it is no common one, number, version or name of public software."""
    if len(word) < 2 or not _RUN.fullmatch(word) or _VERSION.fullmatch(word) or _UUID.fullmatch(word):
        return False
    parts = _PART.findall(word)
    if any(part.lower() not in _WORDS and not part.isdigit() for part in parts):
        return True
    return len(parts) > 1 and f"-{word}-" not in _KNOWN


def _said_by(obj: Obj) -> Iterator[str]:
    """What an object contributes: its own name, and names it alone mentions."""
    kind, title, home = text(obj, "kind"), name(obj), namespace(obj)
    public = title.startswith(_PUBLIC_PREFIXES) or "kubernetes.io/bootstrapping" in labels(obj)
    public = public or title.endswith(tuple(f".{domain}" for domain in _PUBLIC_DOMAINS))  # a DeviceClass, say
    if kind == "Namespace":
        public = _is_system(title)
    elif kind == "Node":
        public = False
        yield from _of_node(obj)
    shared = _is_system(home) and home != "default"  # its name is everybody's, what runs in it is not
    tenant = not public and (not shared if home else kind in _CLUSTER_WIDE)
    owners = [text(each, "name") for each in items(obj, "metadata", "ownerReferences")]
    if tenant and kind != "Event" and not any(each and each in title for each in owners):
        yield title  # a name derived from its owner's is replaced in that part
    yield from (word for word in _mentioned(obj, tenant=tenant) if not word.startswith(_PUBLIC_PREFIXES))
    for subject in items(obj, "subjects"):
        if not text(subject, "name").startswith("system:") and text(subject, "kind") in ("User", "Group"):
            yield text(subject, "name")
    for field in ("cohort", "cohortName"):
        yield text(obj, "spec", field)


def _is_system(title: str) -> bool:
    return title in _SYSTEM or title.startswith(_SYSTEM_PREFIXES)


def _of_node(node: Obj) -> Iterator[str]:
    yield from (text(each, "address") for each in items(node, "status", "addresses")
                if text(each, "type") in ("Hostname", "InternalDNS", "ExternalDNS"))  # fmt: skip
    place = text(node, "spec", "providerID").partition("://")[2]
    region = {text(labels(node), f"topology.kubernetes.io/{field}") for field in ("zone", "region")}
    yield from (part for part in place.split("/") if part and part not in region)
    for image in items(node, "status", "images"):
        for title in image["names"] if isinstance(image.get("names"), list) else ():
            yield from _of_image(title)
    for taint in items(node, "spec", "taints"):
        yield from _of_label(text(taint, "key"), taint.get("value"))


def _mentioned(value: Any, *, tenant: bool) -> Iterator[str]:
    """Images anywhere in an object; in a tenant's also labels, selectors, containers, hosts and buckets."""
    if isinstance(value, str) and tenant and "://" in value:
        yield from (host for host in _HOST.findall(value) if not _is_public(host))
        yield from _BUCKET.findall(value)
    elif isinstance(value, list):
        for each in value:
            yield from _mentioned(each, tenant=tenant)
    elif isinstance(value, dict):
        if isinstance(value.get("image"), str):  # a ClusterPolicy keeps the repository apart
            yield from _of_image("/".join(filter(None, (text(value, "repository"), value["image"]))))
        if tenant:
            yield from _labelled(value)
        for held in value.values():
            yield from _mentioned(held, tenant=tenant)


def _labelled(value: Obj) -> Iterator[str]:
    """Values of labels and selectors, and the name of what runs an image, one level deep."""
    for field in _LABELS:
        for key, held in mapping(value, field).items():
            yield from _of_label(str(key), held)
    for held in value["values"] if isinstance(value.get("values"), list) else ():
        yield from _of_label(text(value, "key"), held)
    if "image" in value:
        yield text(value, "name")


def _of_label(key: str, value: object) -> Iterator[str]:
    """The value of a label, if its owner chose it."""
    domain, _, last = key.rpartition("/")
    own = key in _OWN_LABELS or not (domain.endswith(_PUBLIC_DOMAINS) if domain else last in _HASHES)
    if own and isinstance(value, str):
        yield value


def _is_machine(key: object) -> bool:
    return isinstance(key, str) and key.startswith(_MACHINE) and not key.endswith(".config")


def _is_public(host: str) -> bool:
    return host in _PUBLIC_HOSTS or host.endswith(tuple(f".{each}" for each in _PUBLIC_HOSTS))


def _of_image(image: object) -> Iterator[str]:
    """Registry, organisation, repository and tag of an image, as far as they are not public."""
    if not isinstance(image, str):
        return
    place, _, _ = image.partition("@")
    host, _, path = place.partition("/")
    if not path or not ("." in host or ":" in host or host == "localhost"):
        host, path = "docker.io", place
    path, _, tag = path.partition(":")
    host = host.partition(":")[0]
    steps = path.split("/")
    if _is_public(host) and (steps[0] in _PUBLIC_ORGS or host in ("registry.k8s.io", "mcr.microsoft.com")):
        return
    if not _is_public(host):
        yield host
    yield from (step for step in (*steps, tag) if not step.startswith(_PUBLIC_PREFIXES))
