"""Helm's records as a cluster holds them, whole and hostile."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from plimsoll.kube.objects import Obj
from plimsoll.plan import releases
from plimsoll.plan.fields import Field


def packed(clear: bytes) -> str:
    return base64.b64encode(base64.b64encode(gzip.compress(clear))).decode()


def secret(revision: Any, data: Any = None, **more: Any) -> Obj:
    found = {"name": "kueue", "namespace": "kueue-system", "info": {"status": "deployed"},
             "chart": {"metadata": {"version": "0.18.4"}}, "config": {"a": {"b": revision}}} | more  # fmt: skip
    text = packed(json.dumps(found).encode()) if data is None else data
    return {"metadata": {"labels": {"version": revision}}, "data": {"release": text}}


def test_the_newest_revision_counts_by_number() -> None:
    found = releases.newest([secret("9"), secret("10"), secret("2")])
    assert found is not None
    assert (found.name, found.namespace, found.revision, found.status, found.version) == (
        "kueue", "kueue-system", 10, "deployed", "0.18.4",
    )  # fmt: skip
    assert found.values == {"a": {"b": "10"}}
    assert releases.newest([]) is None


BOMB = packed(b"[" + b" " * (80 << 20))
BAD = {
    "no base64": "%%%",
    "base64 of no base64": base64.b64encode("é%".encode("latin-1")).decode(),
    "not ascii": "é",
    "no gzip": base64.b64encode(base64.b64encode(b"plain")).decode(),
    "half a gzip": base64.b64encode(base64.b64encode(gzip.compress(b'{"name": "x"}')[:12])).decode(),
    "a gzip bomb": BOMB,
    "no JSON": packed(b"{"),
    "no object": packed(b"[1]"),
    "deep JSON": packed(b'{"a":' * 100_000),
    "not UTF-8": packed(b'{"name": "\xff"}'),
    "a number": 7,
    "nothing": "",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_read_ends_nothing(data: Any) -> None:
    assert releases.newest([secret("1", data)]) is None
    older = releases.newest([secret("1"), secret("2", data)])
    assert older is not None
    assert older.revision == 1


@pytest.mark.parametrize("revision", ["", "x", "-1", "²", "１", "1" * 5000, None, 3, {}, ["1"]])
def test_a_revision_that_is_no_number_is_passed_over(revision: Any) -> None:
    assert releases.newest([secret(revision)]) is None


def test_odd_fields_of_a_release_are_empty() -> None:
    found = releases.newest([secret("1", chart=5, info=[], config=None, name={})])
    assert found is not None
    assert (found.name, found.status, found.version, found.values) == ("", "", "", {})


def test_values_that_differ_are_named_from_the_root() -> None:
    assert releases.changed({"a": {"b": 1}, "c": 2}, {"a": {"b": 2}}) == (
        Field("values.a.b", 1, 2),
        Field("values.c", 2, None),
    )
