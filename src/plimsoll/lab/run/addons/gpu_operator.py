"""NVIDIA's GPU Operator: its chart through Helm, its controller with what the chart's Deployment says."""

from __future__ import annotations

from plimsoll.kube.objects import Obj
from plimsoll.lab import values
from plimsoll.lab.run import charts, deployed
from plimsoll.lab.run.cluster import Cluster
from plimsoll.lab.run.controlplane import http_probe
from plimsoll.lab.run.follow import Followed, Launch
from plimsoll.lab.run.network import LOOPBACK
from plimsoll.lab.run.process import Program
from plimsoll.lab.run.sandbox import at

NAMESPACE = "gpu-operator"
_OS_RELEASE = (
    'ID=ubuntu\nVERSION_ID="22.04"\nNAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n'  # what the fake nodes run
)


async def declare(cluster: Cluster) -> None:
    """Install the chart; the namespace is told first that its pods are privileged."""
    labels = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}
    await cluster.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}},
            *values.config_maps(cluster.platform, NAMESPACE),
        ]
    )
    await charts.install(cluster, "gpu-operator", NAMESPACE, values.chart_values(cluster.platform))


async def launch(cluster: Cluster, deployment: Obj) -> Launch:
    """The controller, which deploys its operands by itself."""
    account = await cluster.account(NAMESPACE, deployed.account(deployment))
    metrics, health = cluster.network.port(), cluster.network.port()
    release = cluster.folder.root / "os-release"
    release.write_text(_OS_RELEASE)
    assets = cluster.programs.asset("gpu-operator", "assets")
    paths = {f"/opt/gpu-operator/{state.name}": state for state in sorted(assets.iterdir())}
    paths["/opt/gpu-operator/manifests"] = cluster.programs.asset("gpu-operator", "manifests")
    paths["/host-etc/os-release"] = release
    argv = [
        str(cluster.programs.path("gpu-operator")),
        *deployed.without(deployed.arguments(deployment), "leader-elect"),
        f"--metrics-bind-address={LOOPBACK}:{metrics}",
        f"--health-probe-bind-address={LOOPBACK}:{health}",
    ]
    argv = at(argv, paths, cluster.folder.root, cluster.bwrap)
    cluster.network.release()
    env = {**deployed.environment(deployment), "KUBECONFIG": str(account)}
    ready = http_probe(f"http://{LOOPBACK}:{health}/readyz")
    return Launch(Program(name="gpu-operator", argv=argv, env=env, ready=ready))


FOLLOWED = Followed(
    program="gpu-operator",
    namespace=NAMESPACE,
    deployment="gpu-operator",
    labels={"app": "gpu-operator"},
    launch=launch,
)
