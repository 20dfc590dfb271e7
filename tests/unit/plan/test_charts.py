"""Where charts are found, and what is said of values that arrive nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plimsoll.errors import InputError
from plimsoll.kube import helm
from plimsoll.kube.objects import Obj
from plimsoll.plan import charts
from plimsoll.plan.charts import Charts, problems, told, unreceived, version_of
from plimsoll.plan.model import Chart


def chart(version: str = "1.2.3", name: str = "demo", values: Any = None, **more: Any) -> Chart:
    return Chart(name=name, namespace="n", chart=name, repository="https://charts.example.com", version=version,
                 values=values or {}, **more)  # fmt: skip


def made(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "Chart.yaml").write_text("name: demo\nversion: v1.2.3\n")
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLIMSOLL_CHARTS", raising=False)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such folder of charts"):
        Charts(tmp_path / "no")
    monkeypatch.setenv("PLIMSOLL_CHARTS", str(tmp_path / "neither"))
    with pytest.raises(InputError, match="neither"):
        Charts()


@pytest.mark.parametrize(
    ("there", "asked"),
    [("demo-1.2.3", "1.2.3"), ("demo-v1.2.3", "1.2.3"), ("demo-1.2.3", "v1.2.3"), ("demo-1.2.3-rc.1", "1.2.3-rc.1")],
)
def test_a_chart_of_the_folder_is_found_by_its_version(tmp_path: Path, there: str, asked: str) -> None:
    place = made(tmp_path / there)
    with Charts(tmp_path) as found:
        assert found.local(chart(asked)) == found.find(chart(asked)) == place


def test_an_archive_is_a_chart_too(tmp_path: Path) -> None:
    (tmp_path / "demo-1.2.3.tgz").write_bytes(b"")
    with Charts(tmp_path) as found:
        assert found.local(chart()) == tmp_path / "demo-1.2.3.tgz"


def test_another_version_is_an_error_that_names_both(tmp_path: Path) -> None:
    made(tmp_path / "demo-1.2.2")
    made(tmp_path / "demo-2.0.0")
    with Charts(tmp_path) as found, pytest.raises(InputError) as error:
        found.find(chart())
    assert "has demo 1.2.2, 2.0.0; the declaration asks for 1.2.3" in error.value.what
    assert error.value.where == str(tmp_path)


def test_a_chart_whose_name_only_begins_alike_is_another(tmp_path: Path) -> None:
    made(tmp_path / "demo-crds-1.2.3")
    with Charts(tmp_path) as found:
        assert found.local(chart()) is None


def test_what_no_folder_has_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def pull(name: str, *, repository: str, version: str, into: Path) -> Path:
        assert (name, repository, version) == ("demo", "https://charts.example.com", "1.2.3")
        asked.append(into)
        return made(into / name)

    monkeypatch.setattr(helm, "pull", pull)
    with Charts() as found:
        assert found.local(chart()) is None
        place = found.find(chart())
        assert found.find(chart()) == place
        assert (len(asked), place.is_dir()) == (1, True)
    assert not place.exists()


CRD: Obj = {
    "metadata": {"name": "demos.example.com"},
    "spec": {"versions": [
        {"name": "v1alpha1", "storage": False, "schema": {"openAPIV3Schema": {}}},
        {"name": "v1", "storage": True, "schema": {"openAPIV3Schema": {"properties": {"spec": {"properties": {
            "driver": {"properties": {
                "version": {"type": "string"},
                "env": {"items": {"properties": {"name": {}}}},
                "labels": {"additionalProperties": {"type": "string"}},
                "any": {"x-kubernetes-preserve-unknown-fields": True},
                "free": {"additionalProperties": True},
            }},
        }}}}}},
    ]},
}  # fmt: skip
RECEIVES = {"driver": ("demos.example.com", "spec.driver")}


def said(value: Chart, place: Path | None, crd: Obj | None = None) -> list[str]:
    return list(problems(value, place, lambda name: crd if name == "demos.example.com" else None))


def test_a_value_that_no_field_receives_is_named() -> None:
    driver = {"version": "1", "labels": {"a": "b"}, "any": {"x": {"y": 1}}, "free": {"z": 1}, "env": [{"name": "a"}]}
    assert said(chart(values={"driver": driver}, receives=RECEIVES), None, CRD) == []
    wrong = driver | {"verison": "1", "env": [{"name": "a"}, {"nmae": "a"}]}
    assert said(chart(values={"driver": wrong}, receives=RECEIVES), None, CRD) == [
        "values.driver.env[1].nmae: no field of demos (spec.driver) receives it",
        "values.driver.verison: no field of demos (spec.driver) receives it",
    ]


def test_without_a_definition_nothing_is_claimed() -> None:
    assert said(chart(values={"driver": {"x": 1}}, receives=RECEIVES), None, None) == []
    assert said(chart(values={}, receives=RECEIVES), None, CRD) == []


def test_a_definition_that_the_chart_brings_is_used(tmp_path: Path) -> None:
    place = made(tmp_path / "demo", values__yaml="driver: {}\n")
    (place / "crds").mkdir()
    (place / "crds" / "a.yaml").write_text(
        f"# two\n---\n{json.dumps({'metadata': {'name': 'x'}})}\n---\n{json.dumps(CRD)}\n"
    )
    assert said(chart(values={"driver": {"x": 1}}, receives=RECEIVES), place) == [
        "values.driver.x: no field of demos (spec.driver) receives it"
    ]


def test_values_that_the_chart_does_not_have(tmp_path: Path) -> None:
    place = made(tmp_path / "demo", values__yaml="a:\n  b: 1\nopen: {}\nlist: []\n")
    good = {"a": {"b": 2}, "open": {"x": {"y": 1}}, "list": [1]}
    assert said(chart(values=good), place) == []
    assert said(chart(values=good | {"a": {"c": 1}, "d": 1}), place) == [
        "values.a.c: the chart has no such value",
        "values.d: the chart has no such value",
    ]


def test_values_that_break_the_schema(tmp_path: Path) -> None:
    schema = {"properties": {"a": {"properties": {"b": {"type": "integer"}}}}}
    place = made(tmp_path / "demo", values__yaml="a:\n  b: 1\n", values__schema__json=json.dumps(schema))
    assert said(chart(values={"a": {"b": 1}}), place) == []
    [only] = said(chart(values={"a": {"b": "x"}}), place)
    assert only.startswith("values.a.b: ")


def test_a_schema_fetches_nothing(tmp_path: Path) -> None:
    schema = {"properties": {"a": {"$ref": "https://charts.example.invalid/a.json"}}}
    place = made(tmp_path / "demo", values__yaml="a: 1\n", values__schema__json=json.dumps(schema))
    assert said(chart(values={"a": 1}), place) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"type": "nope"}', '{"$ref": "#/x"}', '{"pattern": "("}'])
def test_a_schema_that_is_none_is_an_error_with_a_place(tmp_path: Path, text: str) -> None:
    place = made(tmp_path / "demo", values__schema__json=text)
    with pytest.raises(InputError, match="not a JSON schema") as error:
        said(chart(), place)
    assert error.value.where == str(place / "values.schema.json")


@pytest.mark.parametrize(
    ("text", "version"), [("version: 1.2.3\n", "1.2.3"), ("version: 1\n", "1"), ("", ""), ("[]\n", ""), ("name: x", "")]
)
def test_a_charts_own_word_for_its_version(tmp_path: Path, text: str, version: str) -> None:
    place = made(tmp_path / "demo")
    (place / "Chart.yaml").write_text(text)
    assert version_of(place) == version


def test_a_chart_yaml_that_is_none_is_an_error(tmp_path: Path) -> None:
    place = made(tmp_path / "demo")
    (place / "Chart.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"Chart\.yaml"):
        version_of(place)
    (place / "Chart.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"Chart\.yaml"):
        version_of(place)


def test_no_schema_means_that_every_path_is_dropped() -> None:
    assert list(unreceived({"a": 1, "b": {"c": 2}}, {}, "v")) == ["v.a", "v.b"]


def test_only_the_first_problems_are_told() -> None:
    error = told([f"p{n}" for n in range(8)], chart())
    assert (error.what, error.where) == (
        "values that do not arrive: p0; p1; p2; p3; p4; and 3 more",
        "chart demo 1.2.3",
    )


def test_the_folder_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = made(tmp_path / "demo-1.2.3")
    monkeypatch.setenv(charts.FOLDER, str(tmp_path))
    with Charts() as found:
        assert found.local(chart()) == place
