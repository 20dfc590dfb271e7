"""Defaults of a kind's schema, filled in only where they would look like a change."""

from __future__ import annotations

from plimsoll.plan.defaults import filled

DEFINITION = {
    "spec": {
        "versions": [
            {
                "name": "v1",
                "schema": {
                    "openAPIV3Schema": {
                        "properties": {
                            "spec": {
                                "properties": {
                                    "mode": {"default": "fast"},
                                    "steps": {"items": {"properties": {"action": {"default": "replace"}}}},
                                    "named": {
                                        "x-kubernetes-list-type": "map",
                                        "items": {"properties": {"size": {"default": 1}}},
                                    },
                                }
                            }
                        }
                    }
                },
            }
        ]
    }
}


def test_only_lists_that_are_one_value_get_defaults() -> None:
    given = {"apiVersion": "x.dev/v1", "spec": {"steps": [{}, {"action": "drop"}], "named": [{"name": "a"}]}}
    assert filled(given, DEFINITION)["spec"] == {
        "steps": [{"action": "replace"}, {"action": "drop"}],
        "named": [{"name": "a"}],
    }


def test_without_a_schema_it_stays_as_it_is() -> None:
    given = {"apiVersion": "x.dev/v2", "spec": {"steps": [{}]}}
    assert filled(given, DEFINITION) == given
    assert filled(given, None) is given
