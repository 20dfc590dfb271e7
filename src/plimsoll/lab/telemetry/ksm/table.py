"""Every object's series, grouped by metric."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import Obj
from plimsoll.lab.telemetry import exposition
from plimsoll.lab.telemetry.exposition import Labels
from plimsoll.lab.telemetry.ksm import nodes, pods, workloads
from plimsoll.lab.telemetry.ksm.common import Family

Key = tuple[str, str]  # namespace and name
_COUNTERS = ("kube_pod_container_status_restarts_total",)


class Metrics(msgspec.Struct, frozen=True):
    """What there is to say of one kind. own: the labels that every series of an object begins with."""

    kind: Kind
    families: tuple[Family, ...]
    own: Callable[[Obj], Labels]


KINDS = (
    Metrics(kinds.POD, pods.POD, pods.of_pod),
    Metrics(kinds.NODE, nodes.NODE, nodes.of_node),
    Metrics(kinds.JOB, workloads.JOB, workloads.of_job),
    Metrics(kinds.DEPLOYMENT, workloads.DEPLOYMENT, workloads.of_deployment),
    Metrics(kinds.REPLICA_SET, workloads.REPLICA_SET, workloads.of_replica_set),
)


def lines(metrics: Metrics, obj: Obj) -> tuple[str, ...]:
    """The series of one object, as text, by family. Of two with the same labels the last one counts."""
    own = exposition.labelled(metrics.own(obj))
    made = []
    for title, _, read in metrics.families:
        series = {exposition.labelled(pairs): value for pairs, value in read(obj)}
        made.append("".join(f"{title}{{{own}{',' if more else ''}{more}}} {series[more]}\n" for more in series))
    return tuple(made)


class Table:
    """The lines of every object, kept while it does not change; the page is put together when it is asked for."""

    def __init__(self) -> None:
        self._lines: dict[Kind, dict[Key, tuple[str, ...]]] = {each.kind: {} for each in KINDS}
        self._page: str | None = None

    def __len__(self) -> int:
        """Objects in it."""
        return sum(len(rows) for rows in self._lines.values())

    def put(self, kind: Kind, key: Key, obj: Obj | None) -> None:
        """An object as it is now, None where it is gone; of another kind is passed over."""
        metrics = next((each for each in KINDS if each.kind == kind), None)
        if metrics is None:
            return
        rows = self._lines[kind]
        now = lines(metrics, obj) if obj is not None else None
        if rows.get(key) != now:
            self._page = None
            if now is None:
                del rows[key]
            else:
                rows[key] = now

    def page(self) -> str:
        """The whole, objects by namespace and name."""
        if self._page is None:
            parts: list[str] = []
            for metrics in KINDS:
                rows = [found for _, found in sorted(self._lines[metrics.kind].items())]
                for index, (title, help_, _) in enumerate(metrics.families):
                    parts.append(exposition.head(title, "counter" if title in _COUNTERS else "gauge", help_))
                    parts += [row[index] for row in rows]
            self._page = "".join(parts)
        return self._page
