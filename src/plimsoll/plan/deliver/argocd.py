"""Argo CD: an Application for each step and one that has them all.

Order is by sync wave. Argo CD waits for an Application of an earlier wave only where it is told how to judge the health
of Applications; where it is not, what came too early is tried again until what it needs is there.
"""

from __future__ import annotations

from plimsoll.kube.objects import Obj, namespace, text
from plimsoll.plan.deliver import yamltext
from plimsoll.plan.deliver.manifests import Files, declares, head
from plimsoll.plan.deliver.source import Source
from plimsoll.plan.deliver.steps import FIRST, Step, short
from plimsoll.plan.model import Chart, thing
from plimsoll.plan.order import RESOURCES

_API = "argoproj.io/v1alpha1"
_SPACE = "argocd"
_FOLDER = "argocd"
_HERE = "https://kubernetes.default.svc"  # the cluster Argo CD runs in, as it calls it
_NAME_MAX = 63  # Argo CD puts it in a label
_DELETES = "resources-finalizer.argocd.argoproj.io"
_RETRY = {"limit": 20, "backoff": {"duration": "30s", "factor": 2, "maxDuration": "5m"}}


def files(platform: str, steps: tuple[Step, ...], source: Source) -> Files:
    """argocd.yaml is applied by hand and brings argocd/, which brings the rest."""
    project = short(platform, _NAME_MAX)
    found = {
        f"{_FOLDER}/{step.name}.yaml": yamltext.stream([_application(platform, step, steps, source)], head(platform))
        for step in steps
    }
    found[f"{_FOLDER}/project.yaml"] = yamltext.stream([_project(project, platform, steps, source)], head(platform))
    found["argocd.yaml"] = yamltext.stream([_root(project, source)], head(platform))
    return found


def _project(name: str, platform: str, steps: tuple[Step, ...], source: Source) -> Obj:
    """What the Applications may read. Charts bring objects of any kind, some of them into kube-system."""
    charts = {_repository(step.chart) for step in steps if step.chart}
    spec = {
        "description": f"The GPU platform {platform}",
        "sourceRepos": [source.repository, *sorted(charts - {source.repository})],
        "destinations": [{"server": _HERE, "namespace": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    }
    return thing(_API, "AppProject", name, _SPACE, annotations={"argocd.argoproj.io/sync-wave": "-1"}, spec=spec)


def _root(project: str, source: Source) -> Obj:
    """The Application of Applications. It is no part of the project that it brings."""
    spec = {
        "project": "default",
        "source": _folder(source, _FOLDER),
        "destination": {"server": _HERE, "namespace": _SPACE},
        "syncPolicy": {
            "automated": {"prune": True, "selfHeal": True},
            "syncOptions": ["ServerSideApply=true"],
            "retry": _RETRY,
        },
    }
    return thing(_API, "Application", project, _SPACE, spec=spec)


def _application(platform: str, step: Step, steps: tuple[Step, ...], source: Source) -> Obj:
    """What is pruned goes with its Application, too; charts and namespaces stay: all that is theirs would go."""
    chart = step.chart
    keeps = chart is not None or step.name == FIRST
    options = ["ServerSideApply=true"]
    if step.stage >= RESOURCES:
        options.append("SkipDryRunOnMissingResource=true")  # kinds may come from systems that others install
    destination = {"server": _HERE}
    if chart is not None:
        destination["namespace"] = chart.namespace
        if not declares(steps, chart.namespace):
            options.append("CreateNamespace=true")
    spec: Obj = {
        "project": short(platform, _NAME_MAX),
        "source": _chart(chart) if chart else _folder(source, step.folder),
        "destination": destination,
        "syncPolicy": {
            "automated": {"prune": step.name != FIRST, "selfHeal": True},
            "syncOptions": options,
            "retry": _RETRY,
        },
    }
    if scaled := _scaled(step):
        options.append("RespectIgnoreDifferences=true")
        spec["ignoreDifferences"] = scaled
    annotations = {
        "argocd.argoproj.io/sync-wave": str(step.stage),
        "argocd.argoproj.io/compare-options": "ServerSideDiff=true",  # else defaults of the API server look like drift
    }
    name = short(f"{platform}-{step.name}", _NAME_MAX)
    found = thing(_API, "Application", name, _SPACE, annotations=annotations, spec=spec)
    if not keeps:
        found["metadata"]["finalizers"] = [_DELETES]
    return found


def _folder(source: Source, folder: str) -> Obj:
    return {"repoURL": source.repository, "targetRevision": source.revision, "path": source.at(folder)}


def _chart(chart: Chart) -> Obj:
    return {
        "repoURL": _repository(chart),
        "chart": chart.chart,
        "targetRevision": chart.version,
        "helm": {"releaseName": chart.name, "valuesObject": chart.values},
    }


def _repository(chart: Chart) -> str:
    """Argo CD tells a registry from a repository by the scheme that it lacks."""
    return chart.repository.removeprefix("oci://")


def _scaled(step: Step) -> list[Obj]:
    """Workloads whose number of replicas a ScaledObject sets."""
    targets = [
        (namespace(each), text(each, "spec", "scaleTargetRef", "kind") or "Deployment",
         text(each, "spec", "scaleTargetRef", "name"))
        for each in step.objects if text(each, "kind") == "ScaledObject"
    ]  # fmt: skip
    found = []
    for each in step.objects:
        kind, name, space = text(each, "kind"), text(each, "metadata", "name"), namespace(each)
        if (space, kind, name) in targets:
            group = text(each, "apiVersion").rpartition("/")[0]
            found.append(
                {
                    "group": group,
                    "kind": kind,
                    "name": name,
                    "namespace": space,
                    "jsonPointers": ["/spec/replicas"],
                }
            )
    return found
