"""KEDA: its manifests as its own kustomization puts them together, then operator, metrics adapter and webhooks.

It makes its certificates itself, as in a real cluster: the operator writes Secret kedaorg-certs and the CA bundles.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from plimsoll.errors import LabError
from plimsoll.kube.objects import Obj, get, text
from plimsoll.lab.run import deployed
from plimsoll.lab.run.cluster import Cluster
from plimsoll.lab.run.controlplane import http_probe
from plimsoll.lab.run.network import LOOPBACK
from plimsoll.lab.run.process import Program

NAMESPACE = "keda"
_ACCOUNT = "keda-operator"
_FIRST = ("CustomResourceDefinition", "Namespace", "ServiceAccount")


async def declare(cluster: Cluster) -> None:
    """Apply what `kubectl kustomize config/default` prints, with the release's tag in place of `latest`."""
    objects = await _manifests(cluster.programs.path("kubectl"), cluster.programs.asset("keda", "config") / "default")
    version = cluster.programs.versions["keda-operator"].removeprefix("v")
    for obj in objects:
        for container in get(obj, "spec", "template", "spec", "containers") or ():
            image, _, tag = text(container, "image").rpartition(":")
            if tag == "latest":
                container["image"] = f"{image}:{version}"
                container["imagePullPolicy"] = "IfNotPresent"
    await cluster.apply(sorted(objects, key=lambda obj: _order(text(obj, "kind"))))


async def start(cluster: Cluster) -> None:
    """Run the three programs; the adapter last, since it asks the operator."""
    certificates = cluster.mount(NAMESPACE, "kedaorg-certs")
    account = await cluster.account(NAMESPACE, _ACCOUNT)
    grpc = await _operator(cluster, account, certificates)
    await cluster.until(lambda: (certificates / "tls.crt").exists() or None, "the certificates that KEDA makes itself")
    await asyncio.gather(_webhooks(cluster, account, certificates), _adapter(cluster, account, certificates, grpc))


async def _operator(cluster: Cluster, account: Path, certificates: Path) -> int:
    deployment = await _deployment(cluster, "keda-operator")
    metrics, health, grpc = (cluster.network.port() for _ in range(3))
    await cluster.serve(NAMESPACE, "keda-operator", {9666: grpc, 8080: metrics})
    argv = [
        str(cluster.programs.path("keda-operator")),
        *deployed.without(deployed.arguments(deployment), "leader-elect"),
        f"--kubeconfig={account}",
        f"--cert-dir={certificates}",
        f"--metrics-bind-address={LOOPBACK}:{metrics}",
        f"--health-probe-bind-address={LOOPBACK}:{health}",
        f"--metrics-service-bind-address={LOOPBACK}:{grpc}",
    ]
    cluster.network.release()
    env = {**deployed.environment(deployment), "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE}
    ready = http_probe(f"http://{LOOPBACK}:{health}/readyz")
    await cluster.run(Program(name="keda-operator", argv=argv, env=env, ready=ready))
    return grpc


async def _webhooks(cluster: Cluster, account: Path, certificates: Path) -> None:
    deployment = await _deployment(cluster, "keda-admission")
    metrics, health, webhook = (cluster.network.port() for _ in range(3))
    argv = [
        str(cluster.programs.path("keda-webhooks")),
        *deployed.arguments(deployment),
        f"--kubeconfig={account}",
        f"--cert-dir={certificates}",
        f"--port={webhook}",
        f"--metrics-bind-address={LOOPBACK}:{metrics}",
        f"--health-probe-bind-address={LOOPBACK}:{health}",
    ]
    cluster.network.release()
    await cluster.serve(NAMESPACE, "keda-admission-webhooks", {443: webhook, 8080: metrics})
    ready = http_probe(f"http://{LOOPBACK}:{health}/readyz")
    await cluster.run(Program(name="keda-webhooks", argv=argv, env=deployed.environment(deployment), ready=ready))


async def _adapter(cluster: Cluster, account: Path, certificates: Path, grpc: int) -> None:
    deployment = await _deployment(cluster, "keda-metrics-apiserver")
    secure, metrics = cluster.network.port(), cluster.network.port()
    own = ("secure-port", "client-ca-file", "tls-cert-file", "tls-private-key-file", "cert-dir")
    argv = [
        str(cluster.programs.path("keda-adapter")),
        *deployed.without(deployed.arguments(deployment), *own),
        f"--secure-port={secure}",
        f"--bind-address={LOOPBACK}",
        f"--client-ca-file={certificates / 'ca.crt'}",
        f"--tls-cert-file={certificates / 'tls.crt'}",
        f"--tls-private-key-file={certificates / 'tls.key'}",
        f"--cert-dir={certificates}",
        f"--lister-kubeconfig={account}",
        f"--authentication-kubeconfig={account}",
        f"--authorization-kubeconfig={account}",
        f"--metrics-service-address={LOOPBACK}:{grpc}",
        # The operator's certificate is for its Service's name, which nothing resolves here.
        f"--metrics-service-grpc-authority={_ACCOUNT}.{NAMESPACE}.svc.cluster.local",
        f"--port={metrics}",
    ]
    cluster.network.release()
    await cluster.serve(NAMESPACE, "keda-metrics-apiserver", {443: secure, 8080: metrics})
    env = {**deployed.environment(deployment), "KUBECONFIG": str(account)}
    ready = http_probe(f"https://{LOOPBACK}:{secure}/readyz", False)
    await cluster.run(Program(name="keda-adapter", argv=argv, env=env, ready=ready))


async def _deployment(cluster: Cluster, name: str) -> Obj:
    return await cluster.until(lambda: cluster.client.get("apps/v1/Deployment", name, NAMESPACE), f"Deployment {name}")


async def _manifests(kubectl: Path, folder: Path) -> list[Obj]:
    child = await asyncio.create_subprocess_exec(
        str(kubectl), "kustomize", str(folder), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={}
    )
    out, err = await child.communicate()
    if child.returncode:
        raise LabError(err.decode(errors="replace").strip()[:300], where=str(folder))
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(out, Loader=loader) if document]  # safe, in C


def _order(kind: str) -> int:
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
