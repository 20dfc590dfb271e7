"""Flux: a Kustomization for each step, which waits for those it needs; charts as HelmReleases inside of theirs.

A HelmRelease can wait only for HelmReleases, a Kustomization only for Kustomizations: so each release lies in a
Kustomization of its own, which is healthy when the release is.
"""

from __future__ import annotations

from plimsoll.errors import InputError
from plimsoll.kube.objects import Obj
from plimsoll.plan.deliver import yamltext
from plimsoll.plan.deliver.manifests import Files, declares, head
from plimsoll.plan.deliver.source import Source
from plimsoll.plan.deliver.steps import FIRST, Step, short
from plimsoll.plan.model import Chart, thing
from plimsoll.plan.order import OPERATORS, WORKLOADS

_SOURCE = "source.toolkit.fluxcd.io/v1"
_KUSTOMIZE = "kustomize.toolkit.fluxcd.io/v1"
_HELM = "helm.toolkit.fluxcd.io/v2"
_SPACE = "flux-system"
_FOLDER = "flux"
_NAME_MAX = 63  # Flux puts it in a label
_EVERY, _AGAIN = "10m", "1m"
_SLOW = (OPERATORS, WORKLOADS)  # drivers are built and models loaded
_CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def files(platform: str, steps: tuple[Step, ...], source: Source) -> Files:
    """flux.yaml is applied by hand and brings flux/, which brings the rest. Raises InputError for an odd address."""
    if not source.repository.startswith(("https://", "http://", "ssh://")):
        raise InputError(
            f"Flux takes no repository at {source.repository}",
            where="--repository",
            hint="https://… or ssh://git@host/owner/name",
        )
    name = short(platform, _NAME_MAX)
    found = {
        f"{_FOLDER}/{step.name}.yaml": yamltext.stream([_kustomization(platform, step, source)], head(platform))
        for step in steps
    }
    found |= {
        f"{step.folder}/release.yaml": yamltext.stream(_release(platform, step.chart, steps), head(platform))
        for step in steps
        if step.chart
    }
    found["flux.yaml"] = yamltext.stream(_root(name, source), head(platform))
    return found


def _root(name: str, source: Source) -> list[Obj]:
    """The repository, and the Kustomization of Kustomizations."""
    if source.is_commit:
        ref = {"commit": source.revision}
    else:
        ref = {"name" if source.revision.startswith("refs/") else "branch": source.revision}
    spec = {
        "interval": _EVERY,
        "retryInterval": _AGAIN,
        "path": f"./{source.at(_FOLDER)}",
        "prune": True,
        "sourceRef": {"kind": "GitRepository", "name": name},
    }
    return [
        thing(
            _SOURCE,
            "GitRepository",
            name,
            _SPACE,
            spec={"interval": _AGAIN, "url": source.repository, "ref": ref},
        ),
        thing(_KUSTOMIZE, "Kustomization", name, _SPACE, spec=spec),
    ]


def _kustomization(platform: str, step: Step, source: Source) -> Obj:
    """What is pruned goes with its Kustomization, too; charts and namespaces stay: all that is theirs would go."""
    spec: Obj = {
        "interval": _EVERY,
        "retryInterval": _AGAIN,
        "timeout": "20m" if step.stage in _SLOW else "5m",
        "path": f"./{source.at(step.folder)}",
        "prune": step.chart is None and step.name != FIRST,
        "sourceRef": {"kind": "GitRepository", "name": short(platform, _NAME_MAX)},
    }
    if step.needs:
        spec["dependsOn"] = [{"name": _named(platform, each)} for each in step.needs]
    if step.chart:
        spec["healthChecks"] = _health(platform, step.chart)
    else:
        spec["wait"] = True
    return thing(_KUSTOMIZE, "Kustomization", _named(platform, step.name), _SPACE, spec=spec)


def _health(platform: str, chart: Chart) -> list[Obj]:
    """The release, and what it brings that says of itself whether it works."""
    release = {"apiVersion": _HELM, "kind": "HelmRelease", "name": _named(platform, chart.name), "namespace": _SPACE}
    found = [release]
    found += [
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": each, "namespace": chart.namespace}
        for each in chart.deployments
    ]
    for ref in chart.resources:
        space = {"namespace": ref.namespace} if ref.namespace else {}
        found.append({"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name, **space})
    return found


def _release(platform: str, chart: Chart, steps: tuple[Step, ...]) -> list[Obj]:
    """Where the chart is, and the release: its records lie where `helm` would look for them."""
    name = _named(platform, chart.name)
    remedy = {"remediation": {"retries": 3}}
    spec: Obj = {
        "interval": _EVERY,
        "timeout": "15m",
        "releaseName": chart.name,
        "targetNamespace": chart.namespace,
        "storageNamespace": chart.namespace,
    }
    if chart.repository.startswith("oci://"):
        layer = {"mediaType": _CHART_LAYER, "operation": "copy"}
        tag = chart.version.replace("+", "_")  # as Helm pushes it
        place = thing(
            _SOURCE,
            "OCIRepository",
            name,
            _SPACE,
            spec={
                "interval": _EVERY,
                "url": f"{chart.repository}/{chart.chart}",
                "ref": {"tag": tag},
                "layerSelector": layer,
            },
        )
        spec["chartRef"] = {"kind": "OCIRepository", "name": name}
    else:
        place = thing(
            _SOURCE,
            "HelmRepository",
            name,
            _SPACE,
            spec={"interval": "1h", "url": chart.repository},
        )
        reference = {"kind": "HelmRepository", "name": name}
        spec["chart"] = {"spec": {"chart": chart.chart, "version": chart.version, "sourceRef": reference}}
    spaces: Obj = {} if declares(steps, chart.namespace) else {"createNamespace": True}
    spec |= {
        "install": {"crds": "CreateReplace", **remedy, **spaces},
        "upgrade": {"crds": "CreateReplace", **remedy},
        "driftDetection": {"mode": "enabled"},
        "values": chart.values,
    }
    return [place, thing(_HELM, "HelmRelease", name, _SPACE, spec=spec)]


def _named(platform: str, name: str) -> str:
    return short(f"{platform}-{name}", _NAME_MAX)
