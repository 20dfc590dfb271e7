"""Kinds of systems whose controllers the lab does not run: the API server judges such objects, nothing acts on them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from plimsoll.kube.objects import Obj, condition, name, text
from plimsoll.lab.run.cluster import Cluster

_KIND = "apiextensions.k8s.io/v1/CustomResourceDefinition"
# Those that a platform may ask for. All that these systems have would make the API server slow and add nothing.
NAMES = (
    "servicemonitors.monitoring.coreos.com",
    "podmonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
    "prometheuses.monitoring.coreos.com",
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
    files = cluster.programs.definitions()
    definitions = await cluster.call(lambda: [obj for file in files if (obj := _read(file))])
    await asyncio.gather(*(cluster.apply([each]) for each in definitions))
    await cluster.until(lambda: _served(cluster) or None, "CustomResourceDefinitions that are served")


def _served(cluster: Cluster) -> bool:
    served = {
        name(each) for each in cluster.client.list(_KIND) if text(condition(each, "Established"), "status") == "True"
    }
    return served.issuperset(NAMES)


def _read(file: Path) -> Obj | None:
    """The definition in a file, if it is one of ours. Its name is looked for first: reading all takes seconds."""
    written = file.read_text(encoding="utf-8")
    if not any(f"name: {each}\n" in written for each in NAMES):
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    read = yaml.load(written, Loader=loader)  # noqa: S506  # safe, in C
    return read if isinstance(read, dict) and name(read) in NAMES else None
