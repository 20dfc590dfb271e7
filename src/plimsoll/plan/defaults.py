"""Defaults that an API server fills into entries of lists that are one value, by the schema of a kind's definition.

Such a list is ours with all that is in it, so that what the server added must be told from what somebody changed.
Elsewhere a default is nobody's and does not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plimsoll.kube.objects import Obj, items, mapping

_MERGED = ("map", "set")


def filled(obj: Obj, definition: Obj | None) -> Obj:
    """The object as it would be kept; itself where no definition is at hand."""
    version = str(obj.get("apiVersion", "")).rpartition("/")[2]
    served = next((each for each in items(definition, "spec", "versions") if each.get("name") == version), {})
    schema = mapping(served, "schema", "openAPIV3Schema")
    return _value(obj, schema, whole=False) if schema else obj


def _value(value: Any, schema: Mapping[str, Any], *, whole: bool) -> Any:
    if isinstance(value, list):
        inner = mapping(schema, "items")
        one = whole or schema.get("x-kubernetes-list-type") not in _MERGED
        return [_value(each, inner, whole=one) for each in value]
    if not isinstance(value, dict):
        return value
    known, other = mapping(schema, "properties"), mapping(schema, "additionalProperties")
    found = {key: _value(each, mapping(known, key) or other, whole=whole) for key, each in value.items()}
    if whole:
        for key, rule in known.items():
            if key not in found and isinstance(rule, dict) and "default" in rule:
                found[key] = _value(rule["default"], rule, whole=True)
    return found
