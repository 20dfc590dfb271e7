"""What every form has: the objects, the labels of nodes, and what people have to know."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from plimsoll.kube.objects import MANAGER, name, text
from plimsoll.plan.deliver import yamltext
from plimsoll.plan.deliver.steps import FIRST, Step, in_order
from plimsoll.plan.model import NodeRule, Wanted

Files = dict[str, str]
OBJECTS = "objects.yaml"
_BEGIN = {
    "argocd": "Commit the folder, then `kubectl apply -f argocd.yaml` once: Argo CD applies the rest.",
    "flux": "Commit the folder, then `kubectl apply -f flux.yaml` once: Flux applies the rest.",
    "helmfile": "`helmfile apply` in this folder.",
}


def head(platform: str) -> tuple[str, ...]:
    """The comment that a file begins with."""
    return (f"Rendered from the declaration of {platform}: change that and render again.",)


def files(wanted: Wanted, steps: tuple[Step, ...], delivery: str) -> Files:
    """Objects by step, and what is read by people."""
    found = {
        f"{step.folder}/{OBJECTS}": yamltext.stream(step.objects, head(wanted.platform))
        for step in steps
        if step.objects
    }
    found["NOTES.md"] = "\n".join(_notes(wanted, steps, delivery)) + "\n"
    if wanted.nodes:
        found["nodes.md"] = "\n".join(_nodes(wanted.nodes)) + "\n"
    return found


def one_stream(wanted: Wanted) -> str:
    """All objects in the order in which they are applied; what is none is named at the head."""
    lines = [
        *head(wanted.platform),
        *(
            f"Needs chart {each.chart} {each.version} of {each.repository} in {each.namespace}."
            for each in wanted.charts
        ),
    ]
    if wanted.nodes:
        lines.append(f"Needs labels on the nodes of {', '.join(each.pool for each in wanted.nodes)}.")
    return yamltext.stream(in_order(wanted.objects), lines)


def values_file(step: Step) -> str:
    return f"{step.folder}.values.yaml"


def _notes(wanted: Wanted, steps: tuple[Step, ...], delivery: str) -> Iterator[str]:
    yield f"# {wanted.platform}"
    yield ""
    yield _BEGIN.get(delivery, "`plimsoll apply` does all of this. By hand, from this folder and in this order:")
    if delivery == "apply":
        yield from ("", "```sh", *(_by_hand(step, steps) for step in steps), "```")
    if wanted.nodes:
        yield from ("", "Nodes need labels that no object gives them: [nodes.md](nodes.md).")
    for pillar, part in wanted.parts.items():
        if part.notes:
            yield from ("", f"## {pillar}", "", *(f"- {each}" for each in part.notes))


def _by_hand(step: Step, steps: tuple[Step, ...]) -> str:
    chart = step.chart
    if chart is None:
        return f"kubectl apply --server-side --field-manager={MANAGER} -f {step.folder}/"
    oci = chart.repository.startswith("oci://")
    place = f"{chart.repository}/{chart.chart}" if oci else f"{chart.chart} --repo {chart.repository}"
    return (
        f"helm upgrade --install {chart.name} {place} --version {chart.version} --namespace {chart.namespace}"
        f"{'' if declares(steps, chart.namespace) else ' --create-namespace'} --values {values_file(step)} --wait"
    )


def declares(steps: tuple[Step, ...], space: str) -> bool:
    """Whether a namespace is among the objects."""
    found = (each for step in steps if step.name == FIRST for each in step.objects)
    return any(text(each, "kind") == "Namespace" and name(each) == space for each in found)


def _nodes(rules: tuple[NodeRule, ...]) -> Iterator[str]:
    """What a node controller would do, for where none is: a line of kubectl for each pool."""
    yield "# Labels of nodes"
    yield ""
    yield "`plimsoll apply` sets them, and empties a node first where that is needed. New nodes get them from their"
    yield "node group or NodePool; those that are there, from these lines."
    for rule in rules:
        given = [f"{key}={value}" if value is not None else f"{key}-" for key, value in sorted(rule.labels.items())]
        chosen = ",".join(f"{key}={value}" for key, value in sorted(rule.selector.items()))
        yield from ("", f"## {rule.pool}", "")
        if rule.disruptive:
            keys = ", ".join(f"`{each}`" for each in sorted(rule.disruptive))
            yield from (f"A change of {keys} takes the GPUs from running pods: drain each node before.", "")
        words = " ".join(map(shlex.quote, given))
        yield from ("```sh", f"kubectl label nodes --overwrite -l {shlex.quote(chosen)} {words}", "```")
