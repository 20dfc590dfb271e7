"""Kinds of systems whose controllers the lab does not run: the API server judges such objects, nothing acts on them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from plimsoll.kube.objects import Obj, condition, name, text
from plimsoll.lab.run.cluster import Cluster
from plimsoll.spec.model import Platform

_KIND = "apiextensions.k8s.io/v1/CustomResourceDefinition"
# Those that a platform may ask for. All that these systems have would make the API server slow and add nothing.
_MONITORING = (
    "servicemonitors.monitoring.coreos.com",
    "podmonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
)
_NAMES = (
    "jobsets.jobset.x-k8s.io",
    "leaderworkersets.leaderworkerset.x-k8s.io",
    "nodepools.karpenter.sh",
    "nodeclaims.karpenter.sh",
    "ec2nodeclasses.karpenter.k8s.aws",
    "applications.argoproj.io",
    "appprojects.argoproj.io",
    "helmreleases.helm.toolkit.fluxcd.io",
    "kustomizations.kustomize.toolkit.fluxcd.io",
    "helmrepositories.source.toolkit.fluxcd.io",
    "ocirepositories.source.toolkit.fluxcd.io",
    "gitrepositories.source.toolkit.fluxcd.io",
)


async def declare(cluster: Cluster) -> None:
    """Apply them and wait until they are served."""
    wanted = names(cluster.platform)
    files = cluster.programs.definitions()
    definitions = await cluster.call(lambda: [obj for file in files if (obj := _read(file, wanted))])
    await asyncio.gather(*(cluster.apply([each]) for each in definitions))
    await cluster.until(lambda: _served(cluster, wanted) or None, "CustomResourceDefinitions that are served")


def names(platform: Platform | None) -> tuple[str, ...]:
    """The definitions for a platform: those of the Prometheus Operator unless it declares that it has none.

    The GPU Operator makes ServiceMonitors as soon as there is such a kind.
    """
    monitored = platform is None or platform.observability.prometheus.operator
    return (*_MONITORING, *_NAMES) if monitored else _NAMES


def _served(cluster: Cluster, wanted: tuple[str, ...]) -> bool:
    served = {
        name(each) for each in cluster.client.list(_KIND) if text(condition(each, "Established"), "status") == "True"
    }
    return served.issuperset(wanted)


def _read(file: Path, wanted: tuple[str, ...]) -> Obj | None:
    """The definition in a file, if it is one of ours. Its name is looked for first: reading all takes seconds."""
    written = file.read_text(encoding="utf-8")
    if not any(f"name: {each}\n" in written for each in wanted):
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    read = yaml.load(written, Loader=loader)  # noqa: S506  # safe, in C
    return read if isinstance(read, dict) and name(read) in wanted else None
