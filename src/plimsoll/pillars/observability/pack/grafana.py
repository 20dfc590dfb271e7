"""Panels and dashboards, and the JSON that Grafana reads (schema version 39, Grafana 10.3 and later).

A board is the same bytes for the same value. Panels stand in their rows from left to right, 24 columns wide; where the
data comes from is a variable, so that a board works whatever the data source is called.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from plimsoll.pillars.observability.pack.model import one_line

COLUMNS = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_SCHEMA = 39


class Query(msgspec.Struct, frozen=True):
    """An expression, and what its series are called: {{label}} stands for a label."""

    expr: str
    legend: str = ""


class Step(msgspec.Struct, frozen=True):
    """From a value on, a colour."""

    value: float
    colour: Literal["green", "yellow", "orange", "red"]


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One picture.

    about: what it shows and what to make of it. unit: as Grafana names it, such as percentunit, bytes, celsius, watt.
    most: the end of the axis, where the largest value is known. stack: series add up. steps: colours by value; only
    where something is to be done about it.
    """

    title: str
    about: str
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat", "table", "bargauge"] = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 8
    most: float | None = None
    stack: bool = False
    steps: tuple[Step, ...] = ()


class Row(msgspec.Struct, frozen=True):
    """Panels under a title."""

    title: str
    panels: tuple[Panel, ...]


class Variable(msgspec.Struct, frozen=True):
    """A choice above the board: values of a label of a metric, or all of them."""

    name: str
    label: str
    metric: str
    of: str


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """A dashboard. uid: stable, so that links and stars stay."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)


def text(board: Board) -> str:
    """The board as JSON."""
    return json.dumps(_board(board), indent=1, ensure_ascii=False) + "\n"


def _board(board: Board) -> dict[str, Any]:
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.about,
        "tags": ["plimsoll"],
        "schemaVersion": _SCHEMA,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [
            {"title": "Plimsoll", "type": "dashboards", "tags": ["plimsoll"], "asDropdown": True, "keepTime": True}
        ],
        "annotations": {"list": []},
        "templating": {"list": [_data_source(), *map(_variable, board.variables)]},
        "panels": list(_placed(board)),
    }


def _data_source() -> dict[str, Any]:
    return {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"}


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": _SOURCE,
        "query": {"query": f"label_values({variable.metric}, {variable.of})", "refId": variable.name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _placed(board: Board) -> Iterator[dict[str, Any]]:
    """Rows and panels with their places, top to bottom, and ids in that order."""
    number = top = 0
    for row in board.rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }
        top, left, tallest = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            number += 1
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield {"id": number, "gridPos": place} | _panel(panel)
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest


def _panel(panel: Panel) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "targets": [_target(panel, place, query) for place, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }
    if panel.kind == "table":
        drawn["transformations"] = [{"id": "merge", "options": {}}]
    return drawn


def _target(panel: Panel, place: int, query: Query) -> dict[str, Any]:
    now = panel.kind != "timeseries"
    return {
        "refId": chr(ord("A") + place),
        "datasource": _SOURCE,
        "expr": one_line(query.expr),
        "legendFormat": query.legend or "__auto",
        "instant": now,
        "range": not now,
        **({"format": "table"} if panel.kind == "table" else {}),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green" if panel.steps else "text", "value": None}]
    steps += [{"color": step.colour, "value": step.value} for step in panel.steps]
    found: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.most is not None:
        found["max"] = panel.most
    if panel.kind == "timeseries":
        found["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stack else 5,
            "showPoints": "never",
            "spanNulls": False,  # a gap is a gap: nobody measured
            "stacking": {"mode": "normal" if panel.stack else "none", "group": "A"},
        }
    return found


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if panel.kind == "table":
        return {"showHeader": True, "cellHeight": "sm"}
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if panel.kind == "bargauge":
        return {"orientation": "horizontal", "displayMode": "basic", "reduceOptions": last}
    return {"colorMode": "value" if panel.steps else "none", "graphMode": "none", "reduceOptions": last}
