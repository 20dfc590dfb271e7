"""Self-contained HTML pages: one frame, one look, filled in by each report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from plimsoll import __version__


def filled(
    template: str, *, alarm: bool, filters: Mapping[str, Callable[..., Any]] | None = None, **values: Any
) -> str:
    """A template of this package, which extends frame.html. alarm: the mark is red. Every value is escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # 40 ms; only these formats need it

    folder = files("plimsoll.report").joinpath("templates")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text()),
    )  # fmt: skip
    environment.filters.update(filters or {})
    return environment.get_template(template).render(version=__version__, alarm=alarm, **values)
