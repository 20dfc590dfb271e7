"""The text format of Prometheus, version 0.0.4: what all exporters write."""

from __future__ import annotations

import re
from collections.abc import Iterable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = Iterable[tuple[str, str]]

_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")


def labelled(labels: Labels) -> str:
    """`key="value",…`, escaped, without braces."""
    return ",".join(f'{key}="{escaped(value)}"' for key, value in labels)


def escaped(value: str) -> str:
    """A label value between quotes."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value


def head(name: str, kind: str, help_: str) -> str:
    """The two lines before a family's series. kind: gauge, counter or histogram."""
    return f"# HELP {name} {help_}\n# TYPE {name} {kind}\n"


def sanitised(name: str) -> str:
    """A Kubernetes name as part of a label name: every other character becomes `_`."""
    return _NO_NAME.sub("_", name)


def number(value: float) -> str:
    """A value as Go programs write it: whole numbers bare, others as short as they are exact."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
