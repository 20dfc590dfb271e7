"""YAML as Kubernetes writes it: times stay text, nothing is run, nothing grows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from plimsoll.errors import InputError
from plimsoll.kube.decode import HINT

YAML_BYTES_MAX = 64 << 20  # the parser does 1.5 MB a second: more would look like a hang
_DEPTH_MAX = 200
_GROWTH_MAX = 10  # how many times aliases may multiply what is written


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain values only. A word is what it is: no times, no yes and no, no base 60, no merging."""


def _rules() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """First character of a plain word to what it may be. YAML 1.2's JSON-like words, as Kubernetes reads them."""
    words = {
        "null": (r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
        "bool": (r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
        "int": (r"(?:[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+)", list("-+0123456789")),
        "float": (r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    }
    found: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for name, (pattern, starts) in words.items():
        for start in starts:
            found.setdefault(start, []).append((f"tag:yaml.org,2002:{name}", re.compile(rf"^{pattern}\Z")))
    return found


_Loader.yaml_implicit_resolvers = _rules()


def documents(text: str, where: str) -> Iterator[tuple[int, Any]]:
    """Every document of a YAML text with the line it begins in. Depth, growth and size are bounded beforehand."""
    if len(text) > YAML_BYTES_MAX:
        limit = YAML_BYTES_MAX >> 20
        raise InputError(f"more than {limit} MiB of YAML", where=where, hint="take it as JSON: kubectl get … -o json")
    try:
        lines = _bounded(text, where)
        yield from zip(lines, yaml.load_all(text, _Loader), strict=True)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        raise InputError(f"not YAML: {_said(error)}", where=place, hint=HINT) from error
    except (ValueError, RecursionError, OverflowError, TypeError) as error:
        raise InputError(f"not YAML that can be read: {error}", where=where, hint=HINT) from error


def _said(error: yaml.YAMLError) -> str:
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or type(error).__name__
    return str(what).splitlines()[0][:200]


def _bounded(text: str, where: str) -> list[int]:
    """The first line of every document; an InputError for a text that is deep, or that its aliases multiply.

    Counts what the text would be with every alias written out: `inside` has the open collections,
    `sizes` the finished ones that have an anchor.
    """
    lines: list[int] = []
    sizes: dict[str | None, int] = {}
    inside: list[tuple[str | None, int]] = []
    written = grown = 0
    for event in yaml.parse(text, _Loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            lines.append(line)
            sizes.clear()
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise InputError("an alias stands for nothing that is finished", where=f"{where}:{line}")
            grown += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            written += 1
            inside.append((event.anchor, written + grown))
            sizes.pop(event.anchor, None)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = inside.pop()
            if anchor is not None:
                sizes[anchor] = written + grown - before + 1
        elif isinstance(event, yaml.ScalarEvent):
            written += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1 + len(event.value) // 64  # long texts count for more
        if len(inside) > _DEPTH_MAX:
            raise InputError(f"nested more than {_DEPTH_MAX} deep", where=f"{where}:{line}")
        if grown > _GROWTH_MAX * max(written, 1000):
            raise InputError(f"its aliases make it more than {_GROWTH_MAX} times longer", where=f"{where}:{line}")
    return lines
