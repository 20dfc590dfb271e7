"""A strict reader of Prometheus' text format: what it accepts, Prometheus accepts, and more than it asks."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)\Z")
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|\Z)')
_SUFFIXES = ("_bucket", "_count", "_sum")


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


class Family(NamedTuple):
    name: str
    kind: str
    help: str
    samples: list[Sample]


def parse(text: str) -> dict[str, Family]:
    """Families by name. Raises AssertionError for a wrong line, a series that comes twice, or scattered families."""
    families: dict[str, Family] = {}
    helps: dict[str, str] = {}
    current: Family | None = None
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    assert text == "" or text.endswith("\n")
    for line in text.removesuffix("\n").split("\n") if text else ():  # of all line ends only \n counts here
        if line.startswith("# HELP "):
            _, _, name, help_ = line.split(" ", 3)
            assert name not in helps, f"{name} is told of twice"
            helps[name] = help_
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind in ("gauge", "counter", "histogram") and name in helps
            current = families[name] = Family(name, kind, helps[name], [])
        else:
            sample = _sample(line)
            assert current is not None and _of(current, sample.name), f"{line} is not of the family before it"
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in seen, f"{line} comes twice"
            seen.add(key)
            current.samples.append(sample)
    for family in families.values():
        if family.kind == "histogram":
            _cumulative(family)
    return families


def _sample(line: str) -> Sample:
    match = _SAMPLE.fullmatch(line)
    assert match, f"no sample: {line!r}"
    inside, labels = match[2] or "", {}
    at = 0
    while at < len(inside):
        pair = _PAIR.match(inside, at)
        assert pair, f"no labels: {inside[at:]!r}"
        assert pair[1] not in labels
        labels[pair[1]] = re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), pair[2])
        at = pair.end()
    return Sample(match[1], labels, float(match[3]))


def _of(family: Family, name: str) -> bool:
    if family.kind == "histogram":
        return name.removesuffix(next((each for each in _SUFFIXES if name.endswith(each)), "\0")) == family.name
    return name == family.name


def _cumulative(family: Family) -> None:
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = defaultdict(list)
    counts = {}
    for sample in family.samples:
        rest = tuple(sorted((key, value) for key, value in sample.labels.items() if key != "le"))
        if sample.name.endswith("_bucket"):
            buckets[rest].append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_count"):
            counts[rest] = sample.value
    assert buckets.keys() == counts.keys()
    for rest, found in buckets.items():
        assert found == sorted(found), f"{family.name}: buckets do not grow"
        assert [value for _, value in found] == sorted(value for _, value in found)
        assert found[-1] == (float("inf"), counts[rest])


def shapes(text: str) -> dict[str, set[frozenset[str]]]:
    """The sets of label names that the series of each metric have."""
    found: dict[str, set[frozenset[str]]] = defaultdict(set)
    for family in parse(text).values():
        for sample in family.samples:
            found[sample.name].add(frozenset(sample.labels))
    return dict(found)


def recorded(text: str) -> dict[str, set[frozenset[str]]]:
    """The same of a recording, which may be an excerpt without its families' heads."""
    found: dict[str, set[frozenset[str]]] = defaultdict(set)
    for line in text.splitlines():
        if line and not line.startswith("#"):
            sample = _sample(line)
            found[sample.name].add(frozenset(sample.labels))
    return dict(found)
