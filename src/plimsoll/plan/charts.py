"""Where charts are, and whether what they are given arrives anywhere."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs

from plimsoll.errors import InputError
from plimsoll.kube import helm
from plimsoll.kube.objects import Obj, get, items, mapping, text
from plimsoll.kube.yamldocs import documents
from plimsoll.plan.model import Chart

FOLDER = "PLIMSOLL_CHARTS"
_SHOWN = 5


class Charts:
    """Charts of a folder, and where that has none those of their repositories, fetched once.

    folder: holds charts as NAME-VERSION or NAME-VERSION.tgz; default $PLIMSOLL_CHARTS. What is there of a chart is all
    that is used of it, so that a lab or a place without a network never asks the outside.
    """

    def __init__(self, folder: Path | None = None) -> None:
        given = folder or (Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else None)
        if given is not None and not given.is_dir():
            raise InputError("no such folder of charts", where=str(given))
        self._folder = given
        self._fetched: dict[tuple[str, str], Path] = {}
        self._temporary: list[tempfile.TemporaryDirectory[str]] = []

    def close(self) -> None:
        for each in self._temporary:
            each.cleanup()

    def __enter__(self) -> Charts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def local(self, chart: Chart) -> Path | None:
        """The chart in the folder; None if that has none of this name. Raises InputError for another version."""
        if self._folder is None:
            return None
        there = {_version(each.name, chart.chart): each for each in sorted(self._folder.glob(f"{chart.chart}-*"))}
        there.pop("", None)
        if not there:
            return None
        if found := there.get(chart.version.lstrip("v")):
            return found
        raise InputError(
            f"the folder of charts has {chart.chart} {', '.join(there)}; the declaration asks for {chart.version}",
            where=str(self._folder),
            hint="declare that version, or put the one that is declared there",
        )

    def find(self, chart: Chart) -> Path:
        """The chart, fetched if need be. Raises InputError where it cannot be had."""
        if (local := self.local(chart)) is not None:
            return local
        key = chart.chart, chart.version
        if key not in self._fetched:
            folder = tempfile.TemporaryDirectory(prefix="plimsoll-charts-")
            self._temporary.append(folder)
            self._fetched[key] = helm.pull(
                chart.chart, repository=chart.repository, version=chart.version, into=Path(folder.name)
            )
        return self._fetched[key]


def _version(file: str, chart: str) -> str:
    """The version in NAME-VERSION[.tgz]; "" where the rest begins with no version, as of gpu-operator-crds-1.0."""
    rest = file.removesuffix(".tgz").removeprefix(f"{chart}-").lstrip("v")
    return rest if rest[:1].isdigit() else ""


def version_of(place: Path) -> str:
    """What the chart's own Chart.yaml says; "" for an archive, whose name says it."""
    file = place / "Chart.yaml"
    return next((str(get(each, "version") or "") for each in _read(file)), "") if file.is_file() else ""


def problems(chart: Chart, place: Path | None, definition: Callable[[str], Obj | None]) -> Iterator[str]:
    """What is wrong with the values of a chart, a clause each.

    place: the unpacked chart, if there is one. definition: a CustomResourceDefinition by name, of the cluster.
    """
    if place is not None and (schema := helm.values_schema(place)):
        for error in _validator(schema, place).iter_errors(chart.values):
            yield f"values.{'.'.join(map(str, error.instance_path))}: {error.message}"
    received: set[str] = set()
    for path, (crd, field) in chart.receives.items():
        value = _at(chart.values, path)
        found = definition(crd) or (_shipped(place, crd) if place else None)
        if value is None or found is None:
            continue
        received.add(path)
        for each in unreceived(value, _schema(found, field), f"values.{path}"):
            yield f"{each}: no field of {crd.partition('.')[0]} ({field}) receives it"
    if place is not None and (place / "Chart.yaml").is_file():
        usual = helm.default_values(place)
        for each in _unknown(chart.values, usual, "", received):
            yield f"values.{each}: the chart has no such value"


def _validator(schema: Obj, place: Path) -> Any:
    """Of a chart's schema. Nothing is fetched for it: parts that lie elsewhere permit anything."""
    try:
        return jsonschema_rs.validator_for(schema, retriever=lambda _address: {})
    except ValueError as error:
        said = getattr(error, "message", str(error))
        raise InputError(f"not a JSON schema: {said}", where=str(place / "values.schema.json")) from None


def unreceived(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Paths within a value that a structural schema has no field for, and so drops."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, dict):
        known, other = mapping(schema, "properties"), schema.get("additionalProperties")
        for key, each in value.items():
            if key in known:
                yield from unreceived(each, known[key], f"{path}.{key}")
            elif isinstance(other, dict):
                yield from unreceived(each, other, f"{path}.{key}")
            elif not other:
                yield f"{path}.{key}"
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from unreceived(each, mapping(schema, "items"), f"{path}[{index}]")


def _unknown(values: Mapping[str, Any], usual: Mapping[str, Any], path: str, received: set[str]) -> Iterator[str]:
    """Values that the chart's own do not have. Maps that are empty there take anything."""
    for key, value in values.items():
        place = f"{path}.{key}" if path else key
        if any(place == each or place.startswith(f"{each}.") for each in received):
            continue
        if key not in usual:
            yield place
        elif isinstance(value, dict) and isinstance(usual[key], dict) and usual[key]:
            yield from _unknown(value, usual[key], place, received)


def _at(values: Mapping[str, Any], path: str) -> Any:
    found: Any = values
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _schema(crd: Obj, field: str) -> Mapping[str, Any]:
    version = next((each for each in items(crd, "spec", "versions") if each.get("storage")), {})
    found: Mapping[str, Any] = mapping(version, "schema", "openAPIV3Schema")
    for step in field.split("."):
        found = mapping(found, "properties", step)
    return found


def _shipped(place: Path, crd: str) -> Obj | None:
    """A CustomResourceDefinition that the chart brings in its folder crds."""
    for file in sorted((place / "crds").glob("*.y*ml")) if (place / "crds").is_dir() else ():
        for each in _read(file):
            if isinstance(each, dict) and text(each, "metadata", "name") == crd:
                return each
    return None


def _read(file: Path) -> Iterator[Any]:
    """The documents of a file of a chart. Raises InputError where it is no YAML."""
    try:
        written = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read it: {error}", where=str(file)) from None
    return (found for _, found in documents(written, str(file)))


def told(found: list[str], chart: Chart) -> InputError:
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return InputError(
        f"values that do not arrive: {'; '.join(found[:_SHOWN])}{more}",
        where=f"chart {chart.chart} {chart.version}",
        hint="the declared version of the system and the chart at hand must be of one time",
    )
