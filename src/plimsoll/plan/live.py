"""A cluster that answers: what is there, and what it would make of an object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from msgspec.structs import replace

from plimsoll.kube import kinds
from plimsoll.kube.answers import AnswerError, Conflict, NotFound, Refused
from plimsoll.kube.client import Client
from plimsoll.kube.kinds import Kind
from plimsoll.kube.objects import MANAGER, Obj, Ref, annotations_of, items, mapping, text
from plimsoll.kube.redact import redacted
from plimsoll.kube.snapshot import Coverage, Snapshot, Source, Unread
from plimsoll.plan import local, record, releases
from plimsoll.plan.fields import Field, differences, without
from plimsoll.plan.model import MANAGED_BY, PLATFORM, Chart
from plimsoll.plan.order import wave
from plimsoll.plan.patience import passes
from plimsoll.plan.result import Action, Item, Owner

_SERVER_SIDE = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")
_CONFLICT = "FieldManagerConflict"
# As the API server's own kinds and the CustomResourceDefinitions of others say it.
_FIXED = re.compile(
    r"immutable|may not (?:be )?change|cannot change|updates to \w+ spec for fields other than", re.IGNORECASE
)
_NEVER = frozenset({"Pod", "Event", "Node", "ReplicaSet", "ControllerRevision", "EndpointSlice", "Workload", "Job"})
# What an impact is worked out from.
_READ = (kinds.NODE, kinds.POD, kinds.NAMESPACE, kinds.CLUSTER_QUEUE, kinds.CLUSTER_POLICY)


class Cluster:
    """The cluster behind a client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.place = client.place

    def find(self, ref: Ref) -> Obj | None:
        """An object. Raises NotFound (without a name) where its kind is not served."""
        return self._client.get(_kind(ref), ref.name, ref.namespace)

    def item(self, obj: Obj, pillar: str, *, creations: bool) -> Item:
        """What applying an object would do. `creations`: whether one that is not there is tried, too."""
        ref = Ref.of(obj)
        base = Item(ref=ref, action=Action.KEEP, pillar=pillar, wave=wave(obj), obj=obj)
        try:
            live = self.find(ref)
        except NotFound as missing:
            return replace(base, action=Action.BLOCKED, why=f"{missing.what}", hint=missing.hint)
        except Refused as refusal:
            return replace(base, action=Action.UNKNOWN, why=refusal.what, hint=refusal.hint)
        if live is None:
            return self._creation(base, obj) if creations else replace(base, action=Action.CREATE)
        if text(live, "metadata", "deletionTimestamp"):
            why = "it is being deleted, and something still holds it"
            return replace(base, action=Action.BLOCKED, why=why, hint=_held(live), judged=True)
        return self._change(base, obj, live)

    def _creation(self, base: Item, obj: Obj) -> Item:
        created = replace(base, action=Action.CREATE)
        try:
            self._client.apply(obj, manager=MANAGER, dry_run=True, strict=True)
        except NotFound:  # its namespace is created before it
            return created
        except AnswerError as refusal:
            if passes(refusal) or _may_not(refusal):
                return created
            return replace(base, action=Action.BLOCKED, why=refusal.what, hint=refusal.hint, judged=True)
        return replace(created, judged=True)

    def _change(self, base: Item, obj: Obj, live: Obj) -> Item:
        owners: tuple[Owner, ...] = ()
        try:
            try:
                after = self._client.apply(obj, manager=MANAGER, dry_run=True, strict=True, force=False)
            except Conflict as conflict:
                owners = tuple(
                    Owner(_manager(each.message), each.field.lstrip("."))
                    for each in conflict.causes
                    if each.reason == _CONFLICT
                )
                if not owners:
                    raise
                after = self._client.apply(obj, manager=MANAGER, dry_run=True, strict=True)
        except AnswerError as refusal:
            # A webhook that is not up yet, for which an apply waits; or an account that may only read.
            if passes(refusal) or _may_not(refusal):
                fields = local.changes(obj, live)
                why = "" if _may_not(refusal) else refusal.what
                return replace(base, action=Action.CHANGE if fields else Action.KEEP, fields=fields, why=why)
            if unchangeable(refusal):
                why = f"a field that it was created with cannot change: {refusal.what}"
                found = tuple(differences(_kept(live), _kept(dict(obj))))
                fields = tuple(each for each in found if each.after is not None)
                return replace(base, action=Action.REPLACE, why=why, fields=fields, judged=True)
            return replace(base, action=Action.BLOCKED, why=refusal.what, hint=refusal.hint, judged=True)
        fields = _shown(live, after)
        action = Action.CHANGE if fields else Action.KEEP
        return replace(base, action=action, fields=fields, owners=owners if fields else (), judged=True)

    def ours(self, platform: str) -> list[Obj]:
        """All that we applied for a platform and nobody else controls. Kinds that cannot be listed are passed over."""
        selector = f"{MANAGED_BY}={MANAGER},{PLATFORM}={platform}"
        found: list[Obj] = []
        for kind in kinds.ALL:
            if kind.kind in _NEVER:
                continue
            try:
                found += self._client.list(kind, labels=selector)
            except (NotFound, Refused):
                continue
        return [each for each in found if _applied(each)]

    def release(self, chart: Chart, version: str, base: Item, platform: str) -> Item:
        """What installing or upgrading a chart would change; `version` is what the chart at hand calls itself."""
        selector = f"owner=helm,name={chart.name}"
        try:
            found = releases.newest(self._client.list(kinds.SECRET, chart.namespace, labels=selector))
        except Refused as refusal:
            if not _may_not(refusal):
                raise
            kept = self._client.get(kinds.CONFIG_MAP, record.name(platform), record.NAMESPACE)
            there = all(self.definition(each) is not None for each in chart.crds)
            return record.release(record.read(kept) if kept else None, chart, base, there=there)
        if found is None:
            if self._of_others(chart):
                why = "there, and not by a chart of ours: left as it is"
                return replace(base, why=why, judged=True, foreign=True)
            return replace(base, action=Action.CREATE)
        fields = releases.changed(found.values, chart.values)
        if found.version.lstrip("v") != version.lstrip("v"):
            fields = (Field("version", found.version, version), *fields)
        why = "" if found.status == "deployed" else f"its last revision is {found.status}"
        action = Action.CHANGE if fields or why else Action.KEEP
        return replace(base, action=action, fields=fields, why=why, judged=True)

    def _of_others(self, chart: Chart) -> bool:
        """Whether a system is there that no release of this chart made: its kinds and its Deployments.

        Kinds alone are not enough: Helm creates them before it records the release, and may have been killed between.
        """
        if not all(self.definition(each) is not None for each in chart.crds):
            return False
        made_by = {"meta.helm.sh/release-name": chart.name, "meta.helm.sh/release-namespace": chart.namespace}
        found = [
            each
            for name_ in chart.deployments
            for each in self._client.list(kinds.DEPLOYMENT, fields=f"metadata.name={name_}")
        ]
        return any(not made_by.items() <= annotations_of(each).items() for each in found)

    def definition(self, crd: str) -> Obj | None:
        return self._client.get(kinds.CRD, crd)

    def snapshot(self) -> Snapshot:
        """Who uses the cluster now: nodes, pods, queues."""
        objects: list[Obj] = []
        coverage: dict[Kind, Coverage] = {}
        unread: list[Unread] = []
        for kind in _READ:
            try:
                objects += self._client.list(kind)
                coverage[kind] = Coverage.WHOLE
            except NotFound:
                coverage[kind] = Coverage.WHOLE
            except Refused as refusal:
                unread.append(Unread(kind, refusal.what))
        source = Source("live", self.place)
        return Snapshot(objects, source=source, taken_at=datetime.now(UTC), coverage=coverage, unread=unread)


def unchangeable(refusal: AnswerError) -> bool:
    """Whether an object is refused for nothing but fields of it that may never change: anew, it would be taken."""
    if refusal.status != HTTPStatus.UNPROCESSABLE_ENTITY:
        return False
    said = [each.message for each in refusal.causes] or [refusal.what]
    return all(_FIXED.search(each) for each in said)


def _may_not(refusal: AnswerError) -> bool:
    """Whether the account lacks the right, so that its rules are not the object's fault. A plan needs only to read."""
    return refusal.status == HTTPStatus.FORBIDDEN and " cannot " in refusal.message


def _kept(obj: Obj) -> Mapping[str, Any]:
    """An object without what the server alone writes."""
    return without(obj, "status") | {"metadata": without(mapping(obj, "metadata"), *_SERVER_SIDE)}


def _shown(live: Obj, after: Obj) -> tuple[Field, ...]:
    """The fields that change, without values that look like credentials."""
    fields = tuple(differences(_kept(live), _kept(after)))
    safe = {each.path: each for each in differences(_kept(redacted(live)), _kept(redacted(after)))} if fields else {}
    return tuple(safe.get(each.path, Field(each.path, "<redacted>", "<redacted>")) for each in fields)


def _manager(message: str) -> str:
    """The name in `conflict with "kubectl" using apps/v1`."""
    _, _, rest = message.partition('"')
    return rest.partition('"')[0] or "another manager"


def _held(live: Obj) -> str:
    held = [str(each) for each in live["metadata"].get("finalizers", [])]
    return f"it waits for {', '.join(held)}" if held else "wait until it is gone"


def _applied(obj: Obj) -> bool:
    """Whether we wrote it, and no controller made it (of something of ours whose labels it copied)."""
    wrote = any(entry.get("manager") == MANAGER for entry in items(obj, "metadata", "managedFields"))
    return wrote and not any(each.get("controller") for each in items(obj, "metadata", "ownerReferences"))


def _kind(ref: Ref) -> str:
    return f"{ref.api_version}/{ref.kind}"
