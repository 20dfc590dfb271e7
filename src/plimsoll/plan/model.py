"""What a declaration asks of a cluster: objects, charts and labels of nodes, from each pillar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from plimsoll.kube.objects import MANAGER, Obj, Ref

MANAGED_BY = "app.kubernetes.io/managed-by"
PLATFORM = "plimsoll.dev/platform"  # label on all that is ours: the name of its declaration
PILLAR = "plimsoll.dev/pillar"
HOME = "plimsoll-system"  # the namespace of what belongs to no team


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A release of a Helm chart.

    name, namespace: of the release. chart: its name in `repository` (https://… or oci://…). version: of the chart.
    values: all we say; the rest is the chart's own.
    crds: names of the CustomResourceDefinitions it brings. Where they are there without a release, somebody else
    installed the system, and it is left alone.
    deployments: names of its Deployments that must be available before anything goes on.
    resources: custom resources it brings whose state says whether it works.
    receives: parts of `values` that arrive in a custom resource as they are: the path in the values to the CRD's name
    and the path in its objects, such as {"driver": ("clusterpolicies.nvidia.com", "spec.driver")}. A value that no
    field receives is an error.
    """

    name: str
    namespace: str
    chart: str
    repository: str
    version: str
    values: Obj
    crds: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    resources: tuple[Ref, ...] = ()
    receives: Mapping[str, tuple[str, str]] = {}


class NodeRule(msgspec.Struct, frozen=True, kw_only=True):
    """Labels that every node of a pool carries. Nodes come from elsewhere: ones that are there are labelled.

    selector: labels that make a node one of the pool. labels: value by key; None: the node must not have it.
    disruptive: keys whose change empties the node's GPUs of pods.
    """

    pool: str
    selector: Mapping[str, str]
    labels: Mapping[str, str | None]
    disruptive: tuple[str, ...] = ()


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one pillar asks for.

    objects: in any order, as server-side apply takes them: every field in them is ours.
    notes: what a person has to do or know that no object says, a sentence each.
    """

    objects: tuple[Obj, ...] = ()
    charts: tuple[Chart, ...] = ()
    nodes: tuple[NodeRule, ...] = ()
    notes: tuple[str, ...] = ()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole declaration asks for: the parts by pillar, objects marked as ours."""

    platform: str
    parts: Mapping[str, Part]

    @property
    def objects(self) -> tuple[Obj, ...]:
        return tuple(each for part in self.parts.values() for each in part.objects)

    @property
    def charts(self) -> tuple[Chart, ...]:
        return tuple(each for part in self.parts.values() for each in part.charts)

    @property
    def nodes(self) -> tuple[NodeRule, ...]:
        return tuple(each for part in self.parts.values() for each in part.nodes)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(each for part in self.parts.values() for each in part.notes)


def thing(
    api_version: str,
    kind: str,
    name: str,
    namespace: str = "",
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **fields: Any,
) -> Obj:
    """An object; `fields` are what stands beside its metadata, such as spec and data."""
    metadata: Obj = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    if annotations:
        metadata["annotations"] = dict(annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def marked(obj: Obj, platform: str, pillar: str) -> Obj:
    """The object with the labels by which we know it again."""
    metadata = obj["metadata"]
    ours = {MANAGED_BY: MANAGER, PLATFORM: platform, PILLAR: pillar}
    return obj | {"metadata": metadata | {"labels": metadata.get("labels", {}) | ours}}
