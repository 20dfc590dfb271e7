"""A cluster in a file: what is there as far as the file holds it, and what applying would change by the rules."""

from __future__ import annotations

from msgspec.structs import replace

from plimsoll.kube import kinds
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import MANAGER, Obj, Ref, items, labels, text
from plimsoll.kube.redact import redacted
from plimsoll.kube.snapshot import Coverage, Snapshot
from plimsoll.plan import defaults, local, record
from plimsoll.plan.model import MANAGED_BY, PLATFORM, Chart
from plimsoll.plan.order import wave
from plimsoll.plan.record import Recorded
from plimsoll.plan.result import Action, Item

# Fields of which a change is a new object. Source: the API's validation of updates.
_FIXED = {
    "Deployment": ("spec.selector",),
    "StatefulSet": ("spec.selector", "spec.serviceName", "spec.podManagementPolicy", "spec.volumeClaimTemplates"),
    "DaemonSet": ("spec.selector",),
    "Job": ("spec.template", "spec.selector", "spec.completions"),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
    "LocalQueue": ("spec.clusterQueue",),
    "Topology": ("spec.levels",),
    "PriorityClass": ("value",),
}


class Frozen:
    """The cluster in a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.place = snapshot.source.place

    def item(self, obj: Obj, pillar: str, *, creations: bool) -> Item:  # noqa: ARG002 - as Cluster's
        """What applying an object would do; UNKNOWN where the snapshot cannot tell."""
        ref = Ref.of(obj)
        base = Item(ref=ref, action=Action.KEEP, pillar=pillar, wave=wave(obj), obj=obj)
        kind = kind_of(ref)
        if kind is None:
            return replace(base, action=Action.UNKNOWN, why="snapshots do not hold its kind")
        live = self._snapshot.get(kind, ref.name, ref.namespace)
        if live is None:
            if self._snapshot.coverage(kind) is not Coverage.WHOLE:
                return replace(base, action=Action.UNKNOWN, why=self._snapshot.why_unread(kind))
            return replace(base, action=Action.CREATE)
        if text(live, "metadata", "deletionTimestamp"):
            return replace(base, action=Action.BLOCKED, why="it was being deleted, and something still held it")
        fields = local.changes(redacted(self._kept(obj, kind)), live)  # as the snapshot was
        fixed = _FIXED.get(ref.kind, ())
        if broken := [each.path for each in fields if each.path.startswith(fixed)]:
            why = f"a field that it was created with cannot change: {', '.join(broken)}"
            return replace(base, action=Action.REPLACE, fields=fields, why=why)
        return replace(base, action=Action.CHANGE if fields else Action.KEEP, fields=fields)

    def _kept(self, obj: Obj, kind: Kind) -> Obj:
        return obj if kind.builtin else defaults.filled(obj, self.definition(f"{kind.plural}.{kind.group}"))

    def ours(self, platform: str) -> list[Obj]:
        return [each for each in self._snapshot if _ours(each, platform)]

    def recorded(self, platform: str) -> Recorded | None:
        found = self._snapshot.get(kinds.CONFIG_MAP, record.name(platform), record.NAMESPACE)
        return record.read(found) if found else None

    def definition(self, crd: str) -> Obj | None:
        return self._snapshot.get(kinds.CRD, crd)

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def release(self, chart: Chart, version: str, base: Item, platform: str) -> Item:  # noqa: ARG002 - as Cluster's
        """Of a release: Helm's own records are Secrets, of which a snapshot holds no values; ours says what we gave."""
        there = bool(chart.crds) and all(self.definition(each) is not None for each in chart.crds)
        return record.release(self.recorded(platform), chart, base, there=there)


def kind_of(ref: Ref) -> Kind | None:
    return kinds.BY_GROUP_KIND.get((ref.api_version.rpartition("/")[0], ref.kind))


def _ours(obj: Obj, platform: str) -> bool:
    marks = labels(obj)
    if marks.get(MANAGED_BY) != MANAGER or marks.get(PLATFORM) != platform:
        return False
    if any(each.get("controller") for each in items(obj, "metadata", "ownerReferences")):
        return False
    written = items(obj, "metadata", "managedFields")
    return not written or any(text(entry, "manager") == MANAGER for entry in written)
