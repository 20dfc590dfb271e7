"""Text for a terminal of a given width, with tables; what stands in a cluster is never read as markup."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

from plimsoll.report.view import clean


def drawn(draw: Callable[[Any], None], *, color: bool, width: int) -> str:
    """What `draw` prints on the rich console it is given. `color`: ANSI codes; without them words must do."""
    from rich.console import Console  # 90 ms, so only where something is drawn

    out = StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=color,
        no_color=not color,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    draw(console)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def line(console: Any, text: str, style: str = "", indent: int = 0) -> None:
    """Print text as it is. Wrapped lines keep the indent."""
    from rich.padding import Padding
    from rich.text import Text

    console.print(Padding(Text(clean(text), style=style), (0, 0, 0, indent)))
