"""What the verbs about money share: which ledger, which prices, which time."""

from __future__ import annotations

import os
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from plimsoll.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plimsoll.cost.ledger import Ledger
    from plimsoll.cost.price import Tariff
    from plimsoll.cost.window import Window
    from plimsoll.spec.model import Platform

F = TypeVar("F", bound="Callable[..., Any]")

SINCE = "7d"
FORMATS = ("table", "wide", "json", "csv", "markdown")
_DATABASE = ("postgresql://", "postgres://")


def place() -> str:
    """Where a ledger lies by default: `${XDG_STATE_HOME:-~/.local/state}/plimsoll/ledger.duckdb`."""
    said = os.environ.get("XDG_STATE_HOME", "")
    if said.startswith("/"):
        base = Path(said)
    else:
        try:
            base = Path.home() / ".local" / "state"
        except RuntimeError:
            raise InputError("there is no home directory to look for a ledger in", hint="name one: --ledger") from None
    return str(base / "plimsoll" / "ledger.duckdb")


def ledger(function: F) -> F:
    return click.option(
        "--ledger", "at", metavar="PLACE", envvar="PLIMSOLL_LEDGER", show_envvar=True,
        help="The ledger: a file, or postgresql://user@host/database. "
        "Default: ~/.local/state/plimsoll/ledger.duckdb",
    )(function)  # fmt: skip


def platform(function: F) -> F:
    return click.option(
        "-f", "--platform", type=click.Path(path_type=Path), metavar="FILE",
        help="The declaration: its prices, currency, budgets. Without it: observed prices and the price book.",
    )(function)  # fmt: skip


def window(function: F) -> F:
    function = click.option("--window", "between", metavar="A,B", help="From A until before B: days or moments, UTC.")(
        function
    )
    return click.option("--since", metavar="DURATION", help=f"The last so long, such as 12h. Default: {SINCE}")(
        function
    )


def dividing(function: F) -> F:
    """How prices are divided; both default to what the declaration says."""
    function = click.option(
        "--idle", type=click.Choice(("shown", "spread")),
        help="Unused GPUs: shown as lines of their own, or spread over those who held GPUs. Default: as declared.",
    )(function)  # fmt: skip
    return click.option(
        "--split", type=click.Choice(("measured", "requested", "even")),
        help="How sharers of a GPU divide its price. Default: as declared.",
    )(function)  # fmt: skip


def output(*formats: str) -> Callable[[F], F]:
    return click.option("-o", "--output", type=click.Choice(formats), default=formats[0], show_default=True)


def now() -> int:
    """In milliseconds since 1970, of a full second."""
    return int(time.time()) * 1000


def wanted(since: str | None, between: str | None) -> Window:
    """The window that was asked for. Raises InputError where it is none, or has not begun yet."""
    from plimsoll.cost import window as windows

    if since and between:
        raise click.UsageError("give --since or --window, not both")
    moment = now()
    found = windows.between(between, moment) if between else windows.since(since or SINCE, moment)
    if found.began > moment:
        raise InputError(f"the window begins in the future: {windows.text(found.began)}")
    return found


def month(given: str | None) -> Window:
    """The calendar month that was asked for, or the one that is now. Raises InputError where it has not begun yet."""
    from plimsoll.cost import window as windows

    moment = now()
    found = windows.month(given) if given else windows.month_of(moment)
    if found.began > moment:
        raise InputError(f"the month begins in the future: {given}")
    return found


def opened(at: str | None) -> Ledger:
    """The ledger at a place, to read. Raises InputError where there is none."""
    from plimsoll.cost.statement import START, read

    at = at or place()
    if not at.startswith(_DATABASE) and not Path(at).is_file():
        what = "this is no file" if Path(at).exists() else "there is no ledger here"
        raise InputError(what, where=at, hint=f"{START}; or name another place: --ledger, PLIMSOLL_LEDGER")
    return read(at)


def tariff(platform: Platform | None) -> Tariff:
    from plimsoll.cost.price import Tariff

    return Tariff.of(platform) if platform else Tariff()


def divided(platform: Platform | None, split: str | None, idle: str | None) -> dict[str, Any]:
    """The fields of a Query that say how prices are divided: as asked, else as declared."""
    costs = platform.observability.costs if platform else None
    return {
        "split": split or (costs.split if costs else "measured"),
        "idle": idle or (costs.idle if costs else "shown"),
    }


def text(module: str, form: str, found: Any) -> str:
    """What a module of report/cost makes of it; see `show`."""
    rendered: str = import_module(f"plimsoll.report.cost.{module}{form}").render(found)
    return rendered


def show(module: str, form: str, found: Any, notes: Iterable[str] = ()) -> None:
    """Print what a module of report/cost makes of it, and notes where the form does not hold them.

    module: "" for a bill, else the beginning of the module's name, such as `job_`.
    """
    import sys

    from plimsoll.cli import options

    name = "table" if form == "wide" else form
    render = import_module(f"plimsoll.report.cost.{module}{name}").render
    if name == "table":
        color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        more = {"wide": True} if form == "wide" else {}
        click.echo(render(found, color=color, width=options.width(), **more), nl=False, color=color)
    else:
        click.echo(render(found), nl=False)
    for note in notes if name in ("table", "csv") else ():
        click.echo(f"note: {note}", err=True)
