"""What was last applied, kept in the cluster: the declaration itself and what each chart was given.

It is no source of truth: ownership lies in the objects' labels, releases in Helm's records. It lets `init` give the
declaration back, and `plan` speak of releases where only a snapshot is at hand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from plimsoll.kube.objects import Obj, mapping, text
from plimsoll.plan.model import HOME, Chart, marked, thing
from plimsoll.plan.result import Action, Item
from plimsoll.spec.dump import to_yaml
from plimsoll.spec.model import Platform

NAMESPACE = HOME
PILLAR_VALUE = "record"  # of the label, for what belongs to no pillar
_DECLARATION = "platform.yaml"
_CHARTS = "charts.json"
_BYTES_MAX = 900_000  # of a declaration; a ConfigMap holds 1 MiB


class Recorded(msgspec.Struct, frozen=True):
    """declaration: the text of platform.yaml, "" where it was too long to keep. charts: summary by release."""

    declaration: str
    charts: dict[str, str]


def name(platform: str) -> str:
    return f"platform.{platform}"


def objects(platform: Platform, charts: tuple[Chart, ...], earlier: Mapping[str, str] | None = None) -> list[Obj]:
    """The record of a declaration, and of what each chart was given.

    earlier: the charts of the record that is there; those of pillars that were not applied this time stay.
    """
    declared = platform.metadata.name
    text_ = to_yaml(platform)
    data = {_CHARTS: msgspec.json.encode({**(earlier or {}), **{each.name: summary(each) for each in charts}}).decode()}
    if len(text_.encode()) <= _BYTES_MAX:
        data[_DECLARATION] = text_
    kept = thing("v1", "ConfigMap", name(declared), NAMESPACE, data=data)
    return [marked(kept, declared, PILLAR_VALUE)]


def read(found: Obj) -> Recorded:
    """What a ConfigMap of ours says; empty parts for what is not as we write it."""
    data = mapping(found, "data")
    try:
        charts = msgspec.json.decode(text(data, _CHARTS), type=dict[str, str])
    except msgspec.MsgspecError:
        charts = {}
    return Recorded(text(data, _DECLARATION), charts)


def release(found: Recorded | None, chart: Chart, base: Item, *, there: bool) -> Item:
    """What a release needs, as far as the record tells. `there`: whether the kinds it brings are in the cluster."""
    if found and (said := found.charts.get(chart.name)):
        if said == summary(chart):
            return base
        return replace(base, action=Action.CHANGE, why="its version or values are not those last applied")
    if there:
        return replace(base, action=Action.UNKNOWN, why="it is there; with which values was not to be read")
    return replace(base, action=Action.CREATE)


def summary(chart: Chart) -> str:
    """Version and fingerprint of the values: two releases with one summary are one."""
    values = msgspec.json.encode(chart.values, order="sorted")
    return f"{chart.version} {hashlib.sha256(values).hexdigest()[:16]}"
