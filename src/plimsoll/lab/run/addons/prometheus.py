"""Prometheus and Alertmanager, scraping the lab's telemetry; a Service leads to it as a cluster's would."""

from __future__ import annotations

from plimsoll.lab.run.cluster import Cluster
from plimsoll.lab.run.controlplane import http_probe
from plimsoll.lab.run.network import LOOPBACK
from plimsoll.lab.run.process import Program
from plimsoll.lab.run.sandbox import at
from plimsoll.lab.telemetry import prometheus as scraping

NAMESPACE = "monitoring"
PORT = 9090
HOST = "0.90"  # within the ClusterIPs, among those that are never given out by chance: manifests may name it


async def declare(cluster: Cluster) -> None:
    """The namespace, the Service, and a Deployment whose pod stands for the process.

    No name service runs in a lab, so whoever asks Prometheus asks its address: 127.96.0.90, unless labs share the
    host's loopback.
    """
    labels = {"app.kubernetes.io/name": "prometheus"}
    service = {"clusterIP": f"{cluster.network.prefix}.{HOST}", "selector": labels}
    container = {
        "name": "prometheus",
        "image": f"quay.io/prometheus/prometheus:v{cluster.programs.versions['prometheus'].removeprefix('v')}",
        "ports": [{"name": "web", "containerPort": PORT}],
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    }
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    await cluster.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "prometheus", "namespace": NAMESPACE, "labels": labels},
                "spec": {**service, "ports": [{"name": "web", "port": PORT}]},
            },
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "prometheus", "namespace": NAMESPACE, "labels": labels},
                "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
            },
        ]
    )


async def start(cluster: Cluster) -> None:
    """Run both until they answer."""
    web = cluster.network.port("prometheus")
    alerts = cluster.network.port("alertmanager")
    folder = cluster.folder.root / "prometheus"
    (folder / "rules").mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    config.write_text(scraping.config(cluster.telemetry, alertmanager=f"{LOOPBACK}:{alerts}"))
    receivers = folder / "alertmanager.yml"
    receivers.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    cluster.network.release()
    alertmanager = [
        *_program(cluster, "alertmanager"),
        f"--config.file={receivers}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={LOOPBACK}:{alerts}",
        "--cluster.listen-address=",
    ]
    prometheus = [
        *_program(cluster, "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=2d",
        f"--web.listen-address={LOOPBACK}:{web}",
        "--web.enable-lifecycle",
    ]
    await cluster.run(
        Program(name="alertmanager", argv=alertmanager, ready=http_probe(f"http://{LOOPBACK}:{alerts}/-/ready"))
    )
    await cluster.run(Program(name="prometheus", argv=prometheus, ready=http_probe(f"http://{LOOPBACK}:{web}/-/ready")))
    await cluster.open("alertmanager", alerts)
    await cluster.open("prometheus", web)
    await cluster.serve(NAMESPACE, "prometheus", {PORT: web})


def _program(cluster: Cluster, name: str) -> list[str]:
    """The program, in a file system that has the data of its Debian package where it looks for them."""
    path = cluster.programs.path(name)
    data = path.parents[1] / "share" / "prometheus"
    if cluster.programs.found[name].source != "debian" or not data.is_dir():
        return [str(path)]
    return at([str(path)], {"/usr/share/prometheus": data}, cluster.folder.root, cluster.bwrap)
