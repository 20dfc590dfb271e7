"""helmfile: each chart and each folder of objects as a release.

A folder of objects becomes a chart whose only template hands out objects.yaml as it stands: alerts and dashboards are
full of braces that Helm would take for its own.
"""

from __future__ import annotations

from plimsoll.kube.objects import Obj, mapping
from plimsoll.plan.deliver import yamltext
from plimsoll.plan.deliver.manifests import OBJECTS, Files, declares, head, values_file
from plimsoll.plan.deliver.steps import FIRST, Step, short
from plimsoll.plan.model import Chart

_NAME_MAX = 53  # Helm's, of a release
_HOME = "default"  # where releases of objects are recorded: a namespace that is there before any is made
_TEMPLATE = f'{{{{ .Files.Get "{OBJECTS}" }}}}\n'


def files(platform: str, steps: tuple[Step, ...]) -> Files:
    """helmfile.yaml, values of charts, and what makes a chart of each folder of objects."""
    found: Files = {}
    repositories: dict[str, Obj] = {}
    releases = []
    placed = {step.name: _placed(platform, step) for step in steps}
    for step in steps:
        needs = {"needs": [placed[each] for each in step.needs]} if step.needs else {}
        if step.chart:
            repository = repositories.setdefault(step.chart.repository, _repository(step.chart))
            found[values_file(step)] = yamltext.stream([step.chart.values], head(platform))
            releases.append(_release(step, step.chart, repository["name"], steps) | needs)
        else:
            found |= _local(platform, step)
            space, _, name = placed[step.name].partition("/")
            local = {"name": name, "namespace": space, "chart": f"./{step.folder}", "disableValidationOnInstall": True}
            releases.append(local | needs)
    written: Obj = {"helmDefaults": {"createNamespace": False, "wait": True, "timeout": 900}}
    if repositories:
        written["repositories"] = list(repositories.values())
    found["helmfile.yaml"] = yamltext.stream([written | {"releases": releases}], head(platform))
    return found


def _placed(platform: str, step: Step) -> str:
    """A release as another's needs name it."""
    if step.chart:
        return f"{step.chart.namespace}/{step.chart.name}"
    return f"{_HOME}/{short(f'{platform}-{step.name}', _NAME_MAX)}"


def _repository(chart: Chart) -> Obj:
    if chart.repository.startswith("oci://"):
        return {"name": chart.name, "url": chart.repository.removeprefix("oci://"), "oci": True}
    return {"name": chart.name, "url": chart.repository}


def _release(step: Step, chart: Chart, repository: str, steps: tuple[Step, ...]) -> Obj:
    found: Obj = {
        "name": chart.name,
        "namespace": chart.namespace,
        "chart": f"{repository}/{chart.chart}",
        "version": chart.version,
        "values": [values_file(step)],
    }
    return found if declares(steps, chart.namespace) else found | {"createNamespace": True}


def _local(platform: str, step: Step) -> Files:
    """The files of a chart; namespaces and definitions outlive their release."""
    chart = {
        "apiVersion": "v2",
        "name": step.name,
        "description": f"{step.name} of the GPU platform {platform}",
        "type": "application",
        "version": "1.0.0",
    }
    found = {
        f"{step.folder}/Chart.yaml": yamltext.stream([chart], head(platform)),
        f"{step.folder}/templates/{OBJECTS}": _TEMPLATE,
    }
    if step.name == FIRST:
        found[f"{step.folder}/{OBJECTS}"] = yamltext.stream(map(_kept, step.objects), head(platform))
    return found


def _kept(obj: Obj) -> Obj:
    annotations = mapping(obj, "metadata", "annotations") | {"helm.sh/resource-policy": "keep"}
    return obj | {"metadata": obj["metadata"] | {"annotations": annotations}}
