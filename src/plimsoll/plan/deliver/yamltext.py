"""YAML that every reader takes for the same, and that a person can review.

Readers differ: YAML 1.1 takes `on`, `1:30` and `012` for no text, YAML 1.2 `1e3` and `0o7`. What any of them could take
for something else is quoted. Nothing is folded, so that a long word is one line in a diff; nothing is an alias.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

_WIDTH = 1 << 30  # no folding
_WORDS = frozenset({"", "~", "=", "<<", "y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})
# Digits and what may stand among them in a number, a time or a date of any version; names such as 80Gi have more.
_NUMBERLIKE = re.compile(r"[-+]?\.?[0-9][-+0-9a-fA-FxXoOtTzZ_.,: ]*|[-+]?\.(?:inf|nan)|inf|nan|infinity", re.IGNORECASE)
_ODD_BREAKS = re.compile("[\r\t\x85\u2028\u2029\ufeff]")  # breaks in one version of YAML, characters in the other


class _Writer(yaml.SafeDumper):
    """Block style all through, lists indented below their key. Python's own, so that every machine writes the same."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  equal values are written out, not shared
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)


def _scalar(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if _ODD_BREAKS.search(text) or text.lower() in _WORDS or _NUMBERLIKE.fullmatch(text):
        style = '"'
    elif "\n" in text:
        # Where a line ends in spaces the writer itself falls back to quotes; a first line that begins with one would
        # need a number of columns in its head.
        style = '"' if text[0] in " \n" else "|"
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _scalar)


def document(value: Any) -> str:
    """One value; maps keep their order."""
    written: str = yaml.dump(
        value, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=False
    )
    return written


def stream(values: Iterable[Any], head: Iterable[str] = ()) -> str:
    """Documents one after another, under lines of comment."""
    comment = "".join(f"# {line}".rstrip() + "\n" for line in head)
    return comment + "---\n".join(document(each) for each in values)
