"""Kueue: its chart through Helm, its manager with the configuration that the chart put into the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from plimsoll.kube.objects import Obj, mapping, text
from plimsoll.lab import values
from plimsoll.lab.run import charts, deployed
from plimsoll.lab.run.cluster import Cluster
from plimsoll.lab.run.controlplane import http_probe
from plimsoll.lab.run.follow import Followed, Launch
from plimsoll.lab.run.network import LOOPBACK
from plimsoll.lab.run.process import Program
from plimsoll.lab.run.sandbox import at

NAMESPACE = "kueue-system"
_MANAGER = "kueue-controller-manager"


async def declare(cluster: Cluster) -> None:
    """Install the chart."""
    chart = charts.chart(cluster.folder.charts, "kueue")
    settings = configuration(chart, values.kueue_config(cluster.platform))
    await charts.install(cluster, "kueue", NAMESPACE, {"managerConfig": {"controllerManagerConfigYaml": settings}})


def configuration(chart: Path, ours: Mapping[str, Any]) -> str:
    """The chart's Configuration, which it takes only as a whole, with what we say in each of its blocks."""
    usual = yaml.safe_load((chart / "values.yaml").read_text())
    settings = yaml.safe_load(usual["managerConfig"]["controllerManagerConfigYaml"])
    for key, block in ours.items():
        settings[key] = {**mapping(settings, key), **block}
    return yaml.safe_dump(settings, sort_keys=False)


async def launch(cluster: Cluster, manager: Obj) -> Launch:
    """The manager, which is ready when its webhooks answer."""
    configured = await cluster.until(
        lambda: cluster.client.get("v1/ConfigMap", "kueue-manager-config", NAMESPACE), "ConfigMap kueue-manager-config"
    )
    settings = yaml.safe_load(text(configured, "data", "controller_manager_config.yaml"))
    health, metrics, webhook, visibility = (cluster.network.port() for _ in range(4))
    certificates = cluster.mount(NAMESPACE, "kueue-webhook-server-cert")
    settings["health"] = {**mapping(settings, "health"), "healthProbeBindAddress": f"{LOOPBACK}:{health}"}
    settings["metrics"] = {**mapping(settings, "metrics"), "bindAddress": f"{LOOPBACK}:{metrics}"}
    settings["webhook"] = {
        **mapping(settings, "webhook"),
        "host": LOOPBACK,
        "port": webhook,
        "certDir": str(certificates),
    }
    settings["visibilityServer"] = {"bindAddress": LOOPBACK, "bindPort": visibility}
    settings["leaderElection"] = {**mapping(settings, "leaderElection"), "leaderElect": False}
    written = yaml.safe_dump(settings)
    # A file for each: the manager that runs until this one is ready reads its own when it has to start again.
    file = cluster.folder.root / f"kueue-{sha256(written.encode()).hexdigest()[:8]}.yaml"
    file.write_text(written)
    account = await cluster.account(NAMESPACE, deployed.account(manager))
    visible = cluster.folder.mounts / "visibility"
    visible.mkdir(exist_ok=True)
    argv = [
        str(cluster.programs.path("kueue")),
        f"--config={file}",
        f"--kubeconfig={account}",
        *deployed.without(deployed.arguments(manager), "config"),
    ]
    argv = at(argv, {"/visibility": visible}, cluster.folder.root, cluster.bwrap)
    cluster.network.release()
    return Launch(
        Program(
            name="kueue",
            argv=argv,
            env={"KUEUE_NAMESPACE": NAMESPACE, **deployed.environment(manager)},
            ready=http_probe(f"http://{LOOPBACK}:{health}/readyz"),
        ),
        {
            "kueue-webhook-service": {443: webhook},
            "kueue-visibility-server": {443: visibility},
            "kueue-controller-manager-metrics-service": {8443: metrics},
        },
    )


FOLLOWED = Followed(
    program="kueue",
    namespace=NAMESPACE,
    deployment=_MANAGER,
    labels={"control-plane": "controller-manager"},
    launch=launch,
)
