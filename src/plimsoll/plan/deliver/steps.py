"""What is applied together, and what has to be there before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import msgspec

from plimsoll.kube.objects import Obj, Ref, namespace, text
from plimsoll.plan.model import Chart, Wanted
from plimsoll.plan.order import DEFINITIONS, OPERATORS, POLICIES, RESOURCES, WORKLOADS, rank, wave

FIRST = "first"
_STAGES = {POLICIES: "policies", RESOURCES: "resources", WORKLOADS: "workloads"}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Objects of one pillar and wave, or a release of a chart.

    name: unique in the platform. stage: the number of its wave. folder: where its files lie. needs: names of steps.
    chart: of a release, which has no objects.
    The first step has the definitions and namespaces of all pillars: it is of none ("") and never taken away again,
    since all that lies in them would go with them.
    """

    name: str
    stage: int
    pillar: str
    folder: str
    objects: tuple[Obj, ...] = ()
    chart: Chart | None = None
    needs: tuple[str, ...] = ()


def steps(wanted: Wanted) -> tuple[Step, ...]:
    """All of them, each after those it needs, which are as few as say it all."""
    done: list[Step] = []
    behind: dict[str, set[str]] = {}  # step to all that are needed before it
    for step in sorted(_bare(wanted), key=lambda each: each.stage):  # stable: pillars stay in their order
        needs = {each.name for each in done if each.stage < step.stage and _needs(step, each)}
        implied = {far for near in needs for far in behind[near]}
        behind[step.name] = needs | implied
        done.append(msgspec.structs.replace(step, needs=tuple(sorted(needs - implied))))
    return tuple(done)


def in_order(objects: Iterable[Obj]) -> tuple[Obj, ...]:
    """As they are applied: by wave, rank and name."""
    return tuple(sorted(objects, key=lambda each: (wave(each), rank(Ref.of(each)), Ref.of(each))))


def _bare(wanted: Wanted) -> Iterator[Step]:
    """Steps without their needs."""
    if first := [each for each in wanted.objects if _is_first(each)]:
        yield Step(name=FIRST, stage=DEFINITIONS, pillar="", folder=FIRST, objects=in_order(first))
    for pillar, part in wanted.parts.items():
        for stage, word in _STAGES.items():
            if own := [each for each in part.objects if wave(each) == stage and not _is_first(each)]:
                yield Step(
                    name=f"{pillar}-{word}",
                    stage=stage,
                    pillar=pillar,
                    folder=f"{pillar}/{word}",
                    objects=in_order(own),
                )
        for chart in part.charts:
            folder = f"{pillar}/{chart.name}"
            yield Step(name=f"{pillar}-chart-{chart.name}", stage=OPERATORS, pillar=pillar, folder=folder, chart=chart)


def _is_first(obj: Obj) -> bool:
    return wave(obj) == DEFINITIONS or text(obj, "kind") == "Namespace"


def _needs(step: Step, earlier: Step) -> bool:
    """Whether a step waits for one of an earlier stage: its namespaces, the rest of its pillar, the kinds it is of,
    and what else lies in its namespaces, such as a queue that its pods go through."""
    if earlier.name == FIRST:
        return True
    if step.pillar == earlier.pillar and step.chart is None:
        return True
    if earlier.chart is not None:
        groups = {each.partition(".")[2] for each in earlier.chart.crds}
        return any(text(each, "apiVersion").rpartition("/")[0] in groups for each in step.objects)
    spaces = {step.chart.namespace} if step.chart else {namespace(each) for each in step.objects} - {""}
    return any(namespace(each) in spaces for each in earlier.objects)


def short(name: str, longest: int) -> str:
    """A name of at most `longest` characters, still its own: what is cut off is stood for by its fingerprint."""
    if len(name) <= longest:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: longest - len(mark) - 1].rstrip('-')}-{mark}"
