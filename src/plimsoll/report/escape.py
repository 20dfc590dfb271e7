"""Somebody else's words in Markdown: they stay words."""

from __future__ import annotations

from plimsoll.report.view import clean

_MARKUP = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#!~"})


def text(raw: str) -> str:
    """On one line; nothing in it becomes a link, an image, a tag or a table cell."""
    return _line(raw).translate(_MARKUP)


def code(raw: str, *, cell: bool = False) -> str:
    """A code span. A backtick, which no Kubernetes name holds, turns into a quote. cell: it stands in a table."""
    span = f"`{_line(raw).replace('`', chr(39))}`"
    return span.replace("|", "\\|") if cell else span


def _line(raw: str) -> str:
    return " ".join(clean(raw).split())
