"""The charts of what the lab runs, as their projects publish them.

A module holds its chart as it is developed. What a release changes in it is the versions, and so do we: without that
the chart would say it is another one than the declaration asks for, and its images would be of no release.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

from plimsoll.errors import LabError, PlimsollError
from plimsoll.kube import helm
from plimsoll.lab.build.found import Programs
from plimsoll.lab.run.cluster import Cluster

_PLACES = {"kueue": "charts/kueue", "gpu-operator": "deployments/gpu-operator"}
# What its values say while it is developed, and what the released chart says.
_IMAGES = (
    (r"(?m)^(\s+tag:) release-\d+\.\d+$", r"\1 {version}"),
    (r"(?m)^(\s+pullPolicy:) Always$", r"\1 IfNotPresent"),
)

_UNKNOWN = "no matches for kind"  # Helm's words
_PATIENCE, _PAUSE = 60.0, 1.0  # seconds


def publish(programs: Programs, folder: Path) -> None:
    """Lay all charts into `folder`, each as NAME-VERSION."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, place in _PLACES.items():
        version = programs.versions[name]
        chart = folder / f"{name}-{version}"
        shutil.copytree(programs.asset(name, place), chart)
        about = (chart / "Chart.yaml").read_text(encoding="utf-8")
        stamp = version if re.search(r"(?m)^version: v", about) else version.removeprefix("v")
        about = re.sub(r"(?m)^version: .*$", f"version: {stamp}", about)
        about = re.sub(r"(?m)^appVersion: .*$", f'appVersion: "{version}"', about)
        (chart / "Chart.yaml").write_text(about, encoding="utf-8")
        values = (chart / "values.yaml").read_text(encoding="utf-8")
        for developed, released in _IMAGES:
            values = re.sub(developed, released.format(version=version), values)
        (chart / "values.yaml").write_text(values, encoding="utf-8")


def chart(folder: Path, name: str) -> Path:
    """The chart of that name in such a folder. Raises LabError where there is none."""
    found = sorted(folder.glob(f"{name}-v*"))
    if not found:
        raise LabError(f"there is no chart {name}", where=str(folder))
    return found[0]


async def install(cluster: Cluster, name: str, namespace: str, values: helm.Values) -> None:
    """Install a chart, again while the API server does not speak of a kind that Helm has just put there."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    while True:
        try:
            await cluster.call(
                helm.upgrade,
                chart(cluster.folder.charts, name),
                name=name,
                namespace=namespace,
                values=values,
                kubeconfig=cluster.plane.access.admin,
            )
        except PlimsollError as error:
            if _UNKNOWN not in str(error) or loop.time() > end:
                raise
            await asyncio.sleep(_PAUSE)
        else:
            return
