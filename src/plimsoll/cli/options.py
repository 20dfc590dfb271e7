"""What several verbs share: which cluster, which declaration, how wide."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from plimsoll.errors import InputError
from plimsoll.kube.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plimsoll.spec.model import Platform

F = TypeVar("F", bound="Callable[..., Any]")

PLATFORM_BYTES_MAX = 1 << 20


def platform(function: F) -> F:
    return click.option(
        "-f", "--platform", type=click.Path(path_type=Path), metavar="FILE", help="The declaration to judge against."
    )(function)


def declaration(function: F) -> F:
    """The declaration where there must be one."""
    return click.option(
        "-f", "--platform", type=click.Path(path_type=Path), metavar="FILE", default="platform.yaml",
        show_default=True, help="The declaration.",
    )(function)  # fmt: skip


def charts(function: F) -> F:
    return click.option(
        "--charts", type=click.Path(path_type=Path), metavar="FOLDER", envvar="PLIMSOLL_CHARTS", show_envvar=True,
        help="Charts at hand, as NAME-VERSION or NAME-VERSION.tgz; others are fetched.",
    )(function)  # fmt: skip


def notes(function: F) -> F:
    return click.option("--notes", is_flag=True, help="Print what a person has to do or know that no object says.")(
        function
    )


def say(found: Sequence[str], whole: bool) -> None:
    """The notes of a plan, or how many there are."""
    for note in found if whole else ():
        click.echo(f"note: {note}", err=True)
    if found and not whole:
        what = "1 thing" if len(found) == 1 else f"{len(found)} things"
        click.echo(f"note: {what} that no object says, such as what the cloud must be told: --notes", err=True)


def cluster(function: F) -> F:
    function = click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: $KUBECONFIG.")(function)
    return click.option("--context", help="Context of the kubeconfig to read; default: its current one.")(function)


def load_platform(path: Path | None) -> Platform | None:
    """The declaration in a file, or None if none was asked for."""
    return None if path is None else declared(path)


def declared(path: Path) -> Platform:
    """The declaration in a file."""
    from plimsoll.spec.load import load

    return load(read_bytes(path, PLATFORM_BYTES_MAX), str(path))


def read_bytes(path: Path, limit: int) -> bytes:
    """A regular file of at most `limit` bytes, or an InputError that says what is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror}", where=str(path)) from error
    if len(content) > limit:
        raise InputError(f"larger than {limit >> 20} MiB, which no declaration is", where=str(path))
    return content


def read_cluster(snapshot: Path | None, context: str | None, kubeconfig: Path | None) -> Snapshot:
    """The snapshot in a file, or the live cluster frozen now."""
    if snapshot is not None:
        if context or kubeconfig:
            raise click.UsageError("give a SNAPSHOT or a --context, not both")
        return _open(snapshot)
    from plimsoll.cli.progress import bar
    from plimsoll.kube.capture import capture

    with bar("reading the cluster") as progress:
        return capture(context=context, kubeconfig=kubeconfig, progress=progress)


def _open(path: Path) -> Snapshot:
    """The snapshot in a file. A pipe (`-`, /dev/stdin, `<(…)`) is copied first: some forms are read from their end."""
    from plimsoll.kube.store import open_snapshot
    from plimsoll.kube.unpack import BYTES_MAX

    if str(path) != "-" and not path.is_fifo():
        return open_snapshot(path)
    with tempfile.NamedTemporaryFile(prefix="plimsoll-") as copy:
        with path.open("rb") if str(path) != "-" else nullcontext(sys.stdin.buffer) as pipe:
            left = BYTES_MAX + 1  # one byte too many is refused by the reader
            while left > 0 and (chunk := pipe.read(min(left, 1 << 20))):
                copy.write(chunk)
                left -= len(chunk)
        copy.flush()
        try:
            found = open_snapshot(Path(copy.name))
        except InputError as error:
            error.where = error.where.replace(copy.name, str(path))
            raise
        found.source = found.source._replace(place=found.source.place.replace(copy.name, str(path)))
        return found


def width() -> int:
    """Columns to print into: the terminal's, 110 where there is none, never under 60."""
    return max(60, shutil.get_terminal_size((110, 40)).columns) if sys.stdout.isatty() else 110
