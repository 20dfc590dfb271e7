"""A bar on stderr for work over two seconds; nothing where stderr is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]  # what it is at, how many are done, how many there are


@contextmanager
def bar(title: str) -> Iterator[Progress]:
    """Give a callback that moves the bar."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None)

        def move(what: str, done: int, total: int) -> None:
            bars.update(task, description=f"{title}: {what}"[:60], completed=done, total=total or None)

        yield move
