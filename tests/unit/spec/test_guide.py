"""The guide to the declaration names every field there is and no other, with its default; its examples load."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plimsoll.check.waive import covers
from plimsoll.kube.objects import Ref
from plimsoll.spec.document import read
from plimsoll.spec.load import from_mapping
from plimsoll.spec.schema import json_schema
from plimsoll.spec.validate import problems
from plimsoll.spec.values import as_name

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "guides" / "platform.md").read_text()
ROWS = [line for line in GUIDE.splitlines() if re.match(r"\| `[a-zA-Z]+[.\[`]", line)]


def _fields(schema: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and rule of every field that holds a plain value: `pools[].nodes.max`."""
    for name, rule in schema["properties"].items():
        inner, mark = _definition(rule), ""
        if inner is None and isinstance(rule.get("items"), dict):
            inner, mark = _definition(rule["items"]), "[]"
        if inner is None:
            yield above + name, rule
        else:
            yield from _fields(inner, f"{above}{name}{mark}.")


def _definition(rule: dict[str, Any]) -> dict[str, Any] | None:
    """The struct a rule refers to, or None."""
    found = json_schema()["$defs"].get(str(rule.get("$ref", "")).rpartition("/")[2])
    return found if found and "properties" in found else None


FIELDS = dict(_fields(json_schema()["$defs"]["Platform"]))


def test_every_field_is_in_the_guide_and_no_other() -> None:
    named = [path for row in ROWS for path in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    assert sorted(named) == sorted(FIELDS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: as_name(row.split("`")[1], "row"))
def test_defaults_are_those_of_the_schema(row: str) -> None:
    fields, default, _ = row.removeprefix("| ").split(" | ", 2)
    rule = FIELDS[re.findall(r"`([^`]+)`", fields)[0]]
    written = re.fullmatch(r"`([^`{\[]+)`", default)
    if "default" in rule and isinstance(rule["default"], str | int | float) and rule["default"] not in ("", "none"):
        assert written
        assert written[1].lower() == str(rule["default"]).lower()


def test_the_examples_of_the_guide_are_declarations() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    found = [read(block, "guide").value for block in blocks if not block.startswith("#")]
    assert from_mapping(found[0]).pools[0].name == "gpus"
    for block in found:
        assert not problems({**found[0], **block}), block
    assert {name for block in found for name in block} == set(json_schema()["$defs"]["Platform"]["properties"])


def test_targets_of_waivers_mean_what_the_guide_says() -> None:
    targets = re.findall(r"^\| `\"?([^`\"]+)\"?` \|", GUIDE.partition("| target |")[2], re.MULTILINE)
    chat = Ref("apps/v1", "Deployment", "search", "chat")
    meant = {
        "node/gpu-7": Ref("v1", "Node", "", "gpu-7"),
        "deployment/search/chat": chat,
        "deployment/chat": chat,
        "namespace/search": chat,
        "*": chat,
    }
    assert set(targets) == set(meant)
    smallest = {"pools": [{"name": "p", "gpu": "L4", "gpusPerNode": 1, "nodes": {"max": 1}}], "teams": [{"name": "a"}]}
    for target, ref in meant.items():
        waiver = {"check": "gpu075", "target": target, "owner": "o", "reason": "r", "until": "2027-01-31"}
        declared = from_mapping({**smallest, "waivers": [waiver]})
        assert covers(declared.waivers[0], ref), target
        if target != "*":
            assert not covers(declared.waivers[0], Ref("v1", "Pod", "other", "x"))
