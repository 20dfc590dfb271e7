"""YAML inside a ConfigMap: text from a stranger, read with bounds."""

from __future__ import annotations

from typing import Any

import yaml

MAX_BYTES = 256 * 1024  # the largest shipped file (default-mig-parted-config) has 12 KiB; a ConfigMap may hold 1 MiB
MAX_DEPTH = 24
MAX_EVENTS = 100_000
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RefusedError(Exception):
    """We will not read this text; whether its reader would is unknown."""


class MalformedError(Exception):
    """This is no YAML, so no reader can use it."""


def parse(text: str) -> Any:
    """The value of a YAML document of plain scalars, lists and maps.

    Raises RefusedError where it is larger or deeper than any real file of its kind or uses aliases
    (with merge keys those expand exponentially), and MalformedError where it is no YAML.
    """
    if len(text) > MAX_BYTES:
        raise RefusedError(f"{len(text)} characters, more than the {MAX_BYTES} we read")
    try:
        _bound(text)
        return yaml.load(text, _Loader)  # noqa: S506  a safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        raise MalformedError(f"{place}{getattr(error, 'problem', None) or 'not YAML'}") from error
    except (ValueError, RecursionError, OverflowError) as error:  # an integer of 5,000 digits, the 31st of February
        raise RefusedError("a value of it cannot be read") from error


def _bound(text: str) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.AliasEvent):
            raise RefusedError("it uses YAML aliases")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_EVENTS:
            raise RefusedError("nested deeper or longer than any real file of its kind")
