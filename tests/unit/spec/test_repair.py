"""One run says all mistakes: a bad field hides no other's, and nothing untrue follows from it."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from plimsoll.spec import values
from plimsoll.spec.document import read
from plimsoll.spec.load import from_mapping, load
from plimsoll.spec.model import Platform
from plimsoll.spec.problems import SpecError
from plimsoll.spec.repair import STAND_INS, readable
from plimsoll.spec.validate import problems

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*/platform.yaml"))

MIXED = """
apiVersion: plimsoll.dev/v1
kind: Platform
pools:
  - name: h100
    gpu: H100-SXM5                        #! must be a GPU of the catalogue; did you mean H100-SXM5-80GB
    gpusPerNode: 8
    nodes:
      min: 5                              #! must be at most max, which is 4
      max: 4
    nodeselector: {pool: h100}            #! there is no such field; did you mean nodeSelector?
  - name: a100-mig
    gpu: A100-SXM4-80GB
    gpusPerNode: 8
    nodes: {max: 1}
    partition:
      mig:
        layout: {1g.10gb: 2, 3g.40gb: 3}  #! does not fit on one A100-SXM4-80GB
    price:
      perNodeHour: 5 USD                  #! must be an amount of money
      currency: EUR                       #! must be USD, the currency of observability.costs
      source: list
      asOf: 2026-01-01
  - name: l4-spot
    gpu: L4
    gpusPerNode: 1
    nodes: {max: 2}
    capacity: spot
teams:
  - name: research
    weight: heavy                         #! must be a number from 0.001 to 1000
    quota:
      h100: 64                            #! but pool h100 has at most 32 nvidia.com/gpu
      v100: 1                             #! must be the name of a pool
    borrow:
      l4-spot: some                       #! must be a whole number
  - name: search
    quota: {h100: 8}
    isolation: alone                      #! must be one of exclusive, partitioned, shared
services:
  - name: chat
    team: serch                           #! must be the name of a team; did you mean search?
    model: m
    pool: h100
    cpu: 8 cores                          #! must be a Kubernetes quantity
    replicas:
      min: 4                              #! must be at most max, which is 2
      max: 2
  - name: chat                            #! must be a name that no other of services has
    team: search
    model: m
    pool: l4-spot                         #! must not be a spot pool #! but team search has no quota there
    slo: {ttft: {p90: fast}}              #! must be a duration
spot:
  fallback: [h200]                        #! must be the name of a pool
  checkpoint: {grace: 90}                 #! must be a duration
"""


def test_mistakes_of_both_kinds_are_said_in_one_run() -> None:
    with pytest.raises(SpecError) as caught:
        load(MIXED, "platform.yaml")
    left = list(caught.value.problems)
    for number, line in enumerate(MIXED.splitlines(), 1):
        for part in re.split(r"\s*#! ", line)[1:]:
            found = [problem for problem in left if problem.line == number and part in str(problem)]
            assert len(found) == 1, (number, part, [str(each) for each in left if each.line == number])
            left.remove(found[0])
    assert not left, [str(each) for each in left]
    assert len(caught.value.problems) >= 12


def _paths(value: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(path for key, each in entries for path in _paths(each, (*above, key)))]


def _changed(data: Any, path: tuple[str | int, ...], how: str) -> Any:
    changed = copy.deepcopy(data)
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    last: Any = path[-1]
    if how == "wrong":
        holder[last] = [["wrong"], {"x": None}]
    elif how == "gone":
        del holder[last]
    elif isinstance(holder, dict):
        holder[f"{last}x" if how == "misspelt" else str(last).upper()] = holder.pop(last)
    return changed


@pytest.mark.parametrize("how", ["wrong", "gone", "misspelt", "shouted"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_from_one_bad_field_nothing_follows(example: Path, how: str) -> None:
    """The examples have no mistake, so that with one in them nothing else may be said."""
    data = read(example.read_bytes(), "p").value
    for path in _paths(data)[1:]:
        changed = _changed(data, path, how)
        schema = {problem.path for problem in problems(changed)}
        if not schema:  # what is left is another declaration, right or not
            continue
        with pytest.raises(SpecError) as caught:
            from_mapping(changed)
        more = [str(problem) for problem in caught.value.problems if problem.path not in schema]
        assert not more, (path, how, more)


def test_names_of_broken_entries_are_names() -> None:
    text = """
pools:
  - {name: One_Pool, gpu: L4, gpusPerNode: 1, nodes: {max: 1}}
  - {name: two, gpu: L4, gpusPerNode: 1, nodes: {max: 1}, colour: red}
  - {gpu: L4, gpusPerNode: 1, nodes: {max: 1}}
teams: [{name: a, quota: {one-pool: 1, two: 1, three: 1}}]
"""
    with pytest.raises(SpecError) as caught:
        load(text, "p")
    assert [(each.line, each.path) for each in caught.value.problems] == [
        (3, ("pools", 0, "name")),
        (4, ("pools", 1, "colour")),
        (5, ("pools", 2, "name")),
    ]
    with pytest.raises(SpecError, match=r"three.*must be the name of a pool(?!.*there (is|are))"):
        load(text.replace("  - {gpu", "  - {name: four, gpu"), "p")


def test_every_required_field_has_a_stand_in_that_converts() -> None:
    required: dict[str, bool] = {}
    structs: list[inspect.Type] = [inspect.type_info(Platform)]
    while structs:
        kind = structs.pop()
        if isinstance(kind, inspect.StructType):
            required |= {f"{kind.cls.__name__}.{each.encode_name}": True for each in kind.fields if each.required}
            structs += [each.type for each in kind.fields]
        structs += [getattr(kind, name) for name in ("type", "item_type") if hasattr(kind, name)]
        structs += getattr(kind, "types", ())
    composed = {"Platform.pools", "Platform.teams", "Pool.nodes"}  # made of those of what they hold
    assert set(STAND_INS) == set(required) - composed
    empty: dict[str, Any] = {}
    rest, _ = readable(empty, [problem.path for problem in problems(empty)])
    assert msgspec.convert(rest, Platform, dec_hook=values.decode).pools[0].name == "nameless-0"
