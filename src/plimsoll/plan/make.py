"""The plan: everything a declaration asks for, held against a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from msgspec.structs import replace

from plimsoll.kube import kinds
from plimsoll.kube.objects import Obj, Ref, labels, mapping
from plimsoll.kube.snapshot import Snapshot
from plimsoll.plan import charts as checking
from plimsoll.plan import impact, nodes
from plimsoll.plan.charts import Charts
from plimsoll.plan.model import PILLAR, Chart, Wanted
from plimsoll.plan.order import OPERATORS, rank, wave
from plimsoll.plan.result import Action, Item, Plan
from plimsoll.spec.model import Platform
from plimsoll.spec.settle import settled

Progress = Callable[[str, int, int], None]
_WORKERS = 8
RELEASE = "helm.sh/v3"
# What brings a kind that no chart of ours brings, and what a declaration says that does without.
_MISSING = {
    "karpenter.sh": "install Karpenter, or declare cluster.autoscaler: other",
    "karpenter.k8s.aws": "install Karpenter, or declare cluster.autoscaler: other",
    "monitoring.coreos.com": "install the Prometheus Operator, or declare observability.prometheus.operator: false",
    "kueue.x-k8s.io": "let Plimsoll manage queueing (cluster.manage), or install Kueue",
    "keda.sh": "let Plimsoll manage serving (cluster.manage), or install KEDA",
}


class Source(Protocol):
    """A cluster, live or in a file."""

    place: str

    def item(self, obj: Obj, pillar: str, *, creations: bool) -> Item: ...
    def ours(self, platform: str) -> list[Obj]: ...
    def release(self, chart: Chart, version: str, base: Item, platform: str) -> Item: ...
    def definition(self, crd: str) -> Obj | None: ...
    def snapshot(self) -> Snapshot: ...


def plan(
    platform: Platform,
    wanted: Wanted,
    source: Source,
    charts: Charts,
    *,
    creations: bool = True,
    progress: Progress | None = None,
) -> Plan:
    """What applying `wanted` would change.

    creations: whether the server is asked about objects that are not there yet. progress: told what is looked at, how
    much is done and how much there is.
    """
    platform, seen = settled(platform), source.snapshot()
    asked = [(pillar, obj) for pillar, part in wanted.parts.items() for obj in part.objects]
    coming = {crd for chart in wanted.charts for crd in chart.crds if source.definition(crd) is None}
    found = [_release(chart, pillar, source, charts, wanted.platform) for pillar, chart in _charts(wanted)]
    with ThreadPoolExecutor(_WORKERS) as pool:
        work = [pool.submit(source.item, obj, pillar, creations=creations) for pillar, obj in asked]
        for done, future in enumerate(work):
            found.append(_awaited(future.result(), coming))
            if progress:
                progress(str(found[-1].ref), done + 1, len(work))
    found += nodes.items(wanted.nodes, seen.list(kinds.NODE))
    found += _pruned(source.ours(wanted.platform), wanted)
    items = tuple(sorted(found, key=order))
    return Plan(
        platform=wanted.platform,
        against=source.place,
        items=items,
        impact=impact.impact(platform, items, seen),
        notes=wanted.notes,
    )


def order(item: Item) -> tuple[int, int, tuple[int, int], Ref]:
    """Waves, ranks in them, names; what goes away comes last, in the opposite order."""
    if item.action is Action.PRUNE:
        first, second = rank(item.ref)
        return 1, -item.wave, (-first, -second), item.ref
    return 0, item.wave, rank(item.ref), item.ref


def _charts(wanted: Wanted) -> Iterable[tuple[str, Chart]]:
    return ((pillar, chart) for pillar, part in wanted.parts.items() for chart in part.charts)


def _release(chart: Chart, pillar: str, source: Source, charts: Charts, platform: str) -> Item:
    ref = Ref(RELEASE, "Release", chart.namespace, chart.name)
    base = Item(ref=ref, action=Action.KEEP, pillar=pillar, wave=OPERATORS, chart=chart)
    place = charts.local(chart)
    if found := list(checking.problems(chart, place, source.definition)):
        said = checking.told(found, chart)
        return replace(base, action=Action.BLOCKED, why=said.what, hint=said.hint)
    version = checking.version_of(place) if place else chart.version
    return source.release(chart, version, base, platform)


def _awaited(item: Item, coming: set[str]) -> Item:
    """What the cluster does not serve yet is created once the chart that brings its kind is there."""
    if item.action is not Action.BLOCKED or item.judged or item.obj is None:
        return item
    group, kind = item.ref.api_version.rpartition("/")[0], item.ref.kind
    known = kinds.BY_GROUP_KIND.get((group, kind))
    name = f"{known.plural if known else kind.lower() + 's'}.{group}"
    if name in coming:
        return replace(item, action=Action.CREATE, why="", hint="")
    return replace(item, hint=_MISSING.get(group, item.hint))


def _pruned(ours: Iterable[Obj], wanted: Wanted) -> list[Item]:
    """What we applied for this platform and is wanted no more. Parts that were not rendered are not asked about."""
    kept = {_identity(Ref.of(each)) for each in wanted.objects}
    found = []
    for obj in ours:
        pillar = labels(obj).get(PILLAR, "")
        ref = Ref.of(obj)
        if (
            _identity(ref) not in kept
            and pillar in wanted.parts
            and not mapping(obj, "metadata").get("deletionTimestamp")
        ):
            found.append(Item(ref=ref, action=Action.PRUNE, pillar=pillar, wave=wave(obj), obj=obj, judged=True))
    return found


def _identity(ref: Ref) -> tuple[str, str, str, str]:
    """An object whatever version it is read in."""
    return ref.api_version.rpartition("/")[0], ref.kind, ref.namespace, ref.name
