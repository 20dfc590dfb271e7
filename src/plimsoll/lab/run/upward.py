"""What coming up is, as steps."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Iterable
from functools import partial

from plimsoll.lab.run import addons, charts, fleet
from plimsoll.lab.run.cluster import Cluster
from plimsoll.lab.run.controlplane import http_probe
from plimsoll.lab.run.follow import Follower
from plimsoll.lab.run.process import Program
from plimsoll.lab.run.steps import Step


def work(cluster: Cluster) -> tuple[list[Step], dict[str, Follower]]:
    """The steps until everything has settled, and who follows which program."""
    etcd, api, *others = cluster.plane.programs()
    cluster.network.release()
    made = [
        Step("charts", partial(cluster.call, charts.publish, cluster.programs, cluster.folder.charts)),
        Step(etcd.name, partial(cluster.run, etcd)),
        Step(api.name, partial(cluster.run, api), (etcd.name,)),
        Step("doors", partial(_doors, cluster), (api.name,)),
        *(Step(each.name, partial(cluster.run, each), ("doors",)) for each in others),
        Step("nodes", partial(fleet.create, cluster), ("doors",)),
        Step("node software", partial(_node_software, cluster), ("nodes",)),
    ]
    added, followers = _addons(cluster)
    made += added
    if cluster.settings.manifests:
        made.append(Step("manifests", partial(fleet.apply, cluster), tuple(each.name for each in made)))
    made.append(Step("settled", partial(fleet.settled, cluster), tuple(each.name for each in made)))
    return made, followers


def _addons(cluster: Cluster) -> tuple[list[Step], dict[str, Follower]]:
    """Nothing is declared after Kueue: its webhooks refuse objects until it runs."""
    chosen = {name: addon for name, addon in addons.BY_NAME.items() if name in cluster.settings.addons}
    waits = cluster.settings.charts == "wait"
    declared = {name: f"{name} declared" for name, addon in chosen.items() if not (waits and addon.followed)}
    earlier = tuple(title for name, title in declared.items() if name != "kueue")
    made = []
    for name, title in declared.items():
        before = (*earlier, "doors", "charts") if name == "kueue" else ("doors", "charts")
        made.append(Step(title, partial(chosen[name].declare, cluster), before))
    followers = {}
    for name, addon in chosen.items():
        if addon.followed:
            follower = followers[addon.followed.program] = Follower(cluster, addon.followed)
            if waits:
                made.append(Step(f"{name} awaited", follower.follow, ("doors",)))
            else:
                made.append(Step(f"{name} started", follower.begin, (declared[name],)))
        elif addon.start:
            made.append(Step(f"{name} started", partial(addon.start, cluster), (declared[name],)))
    return made, followers


async def _doors(cluster: Cluster) -> None:
    port = cluster.plane.port
    await cluster.open("api-server", port)
    await cluster.forwarder.add(cluster.network.api_address, 443, port, listener=cluster.network.api_listener)


async def _node_software(cluster: Cluster) -> None:
    """The two programs that play what runs on GPU nodes."""
    access = cluster.plane.access
    python = [sys.executable, "-m"]
    env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONUNBUFFERED": "1"}
    hardware = [
        *python,
        "plimsoll.lab.hardware",
        f"--kubeconfig={access.hardware}",
        f"--state={cluster.folder.hardware}",
        *(["--operator"] if "gpu-operator" in cluster.settings.addons else []),
    ]
    telemetry = [
        *python,
        "plimsoll.lab.telemetry",
        f"--kubeconfig={access.viewer}",
        f"--listen={cluster.telemetry}",
    ]
    ready = http_probe(f"http://{cluster.telemetry}/healthz")
    await together(
        (
            cluster.run(Program(name="hardware", argv=hardware, env=env)),
            cluster.run(Program(name="telemetry", argv=telemetry, env=env, ready=ready)),
        )
    )
    await cluster.open("telemetry", int(cluster.telemetry.rpartition(":")[2]))


async def together(work: Iterable[Awaitable[object]]) -> None:
    """All at once; the first failure is raised when all have ended, so that none goes on unseen."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
