"""The schema for editors, and the examples it must accept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from plimsoll.spec.document import read
from plimsoll.spec.dump import to_yaml
from plimsoll.spec.load import load
from plimsoll.spec.schema import ID, json_schema

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(ROOT.glob("examples/*/platform.yaml"))
SHARED = ROOT.parent / "shared" / "platform.example.yaml"


def test_it_is_a_schema_with_a_name() -> None:
    schema = json_schema()
    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == ID
    assert schema["title"] == "Plimsoll platform"


def test_every_field_is_described_and_none_is_null() -> None:
    def walk(rule: Any, path: str) -> None:
        if isinstance(rule, dict):
            assert rule.get("type") != "null", path
            for name, each in rule.get("properties", {}).items():
                assert "$ref" in each or "description" in each or "enum" in each or "type" in each, f"{path}.{name}"
            for key, each in rule.items():
                if key != "default":
                    walk(each, f"{path}.{key}")
        elif isinstance(rule, list):
            for each in rule:
                walk(each, path)

    schema = json_schema()
    walk(schema, "")
    pool = schema["$defs"]["Pool"]
    assert pool["properties"]["gpusPerNode"]["description"] == "whole GPUs of one node"
    assert pool["required"] == ["name", "gpu", "gpusPerNode", "nodes"]
    assert schema["$defs"]["Queueing"]["properties"]["waitForPodsReady"]["default"] == "10m"
    assert schema["$defs"]["Freeze"]["properties"]["from"]["format"] == "date"


def test_its_defaults_are_valid() -> None:
    schema = json_schema()
    for name, definition in schema["$defs"].items():
        for field, rule in definition.get("properties", {}).items():
            if "default" in rule:
                alone = {"$defs": schema["$defs"], **rule}
                assert jsonschema_rs.is_valid(alone, rule["default"]), f"{name}.{field}"


def test_there_are_examples() -> None:
    assert [path.parent.name for path in EXAMPLES] == [
        "01-first-cluster", "02-shared-gpus", "03-spot-training", "04-serving", "05-everything", "lab", "practice",
    ]  # fmt: skip


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_example_is_valid_loads_and_reads_back(path: Path) -> None:
    content = path.read_bytes()
    assert content.startswith(b"# ")
    jsonschema_rs.Draft202012Validator(json_schema(), validate_formats=True).validate(read(content, path.name).value)
    platform = load(content, path.name)
    assert load(to_yaml(platform), "again") == platform


@pytest.mark.skipif(not SHARED.exists(), reason="the shared example is not beside this checkout")
def test_the_shared_example_loads_unchanged() -> None:
    platform = load(SHARED.read_bytes(), SHARED.name)
    assert platform.metadata.name == "acme"
    assert platform.pools[0].price is not None
    assert platform.pools[0].price.per_node_hour == 55_040_000
